//! JWTs are revoked before they expire, also those that were verified before: black-box, on a warm cache.

use serde_json::{Value, json};

use crate::support::{Demo, Signer, claims, now, raw, run, run_json, send_admin, until};

struct World {
    demo: Demo,
    signer: Signer,
    issuer: String,
}

impl World {
    fn new() -> Self {
        let demo = Demo::start();
        let signer = Signer::issuer(&demo, "ES256");
        let issuer = demo.text("/jwt/issuer").to_owned();
        Self { demo, signer, issuer }
    }

    /// A JWT, changed, that was verified and used before this returns.
    fn warm(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims(&self.demo, "us");
        change(&mut claims);
        let token = self.signer.sign(&claims);
        for _ in 0..2 {
            assert_eq!(self.said(&token), (200, String::new()));
        }
        token
    }

    fn said(&self, token: &str) -> (u16, String) {
        let fields = format!("Authorization: Bearer {token}\r\n");
        self.demo.connect().send(&raw("GET", "/sources", &fields, b"")).said()
    }

    fn revoke(&self, body: &Value) -> (u16, Value) {
        let operator = format!("Authorization: Bearer {}\r\n", self.demo.text("/operator_token"));
        let path = "/v1/jwt-revocations";
        let answer = send_admin(self.demo.admin(), "POST", path, &operator, &body.to_string());
        (answer.status, answer.json())
    }
}

const REVOKED: (u16, &str) = (401, "jwt_revoked");

fn is_revoked(said: &(u16, String)) -> bool {
    (said.0, said.1.as_str()) == REVOKED
}

#[test]
fn what_names_no_jwts_is_refused() {
    let world = World::new();
    let issuer = &world.issuer;
    for body in [
        json!({}),
        json!({"issuer": issuer}),
        json!({"jti": "x"}),
        json!({"issuer": issuer, "jti": ""}),
        json!({"issuer": issuer, "jti": "x", "subject": "y"}),
        json!({"issuer": issuer, "jti": "x", "issued_before": "2026-01-01T00:00:00Z"}),
        json!({"issuer": "https://typo.example", "jti": "x"}),
        json!({"issuer": issuer, "workspace": "demo-us"}),
        json!({"workspace": "demo-us", "issued_before": "yesterday"}),
        json!({"workspace": "demo-us", "issued_before": "2999-01-01T00:00:00Z"}),
    ] {
        assert_eq!(world.revoke(&body).0, 422, "{body}");
    }
    assert_eq!(world.revoke(&json!({"workspace": "demo-typo"})).0, 404);
    let file = world.demo.text("/config_file");
    for arguments in [
        &["revoke", "--issuer", issuer][..],
        &["revoke", "--jti", "x"],
        &["revoke", "--issuer", "https://typo.example", "--jti", "x"],
        &["revoke", "--workspace", "demo-us", "--issuer", issuer],
    ] {
        let output = run(&[&["jwt", "--config", file], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn one_token_is_revoked_on_a_warm_cache_and_no_other() {
    let world = World::new();
    let leaked = world.warm(|claims| claims["jti"] = json!("leaked"));
    let other = world.warm(|claims| claims["jti"] = json!("other"));
    let (status, made) = world.revoke(&json!({"issuer": world.issuer, "jti": "leaked", "reason": "pasted"}));
    assert_eq!(status, 201, "{made}");
    // This process follows its own change before it answers.
    assert!(is_revoked(&world.said(&leaked)));
    assert_eq!(world.said(&other).0, 200);
    let file = world.demo.text("/config_file");
    let listed = run_json(&["jwt", "--config", file, "list", "--json"]);
    assert_eq!((&listed[0]["jti"], &listed[0]["reason"]), (&json!("leaked"), &json!("pasted")));
    let longest = 30 * 86_400 + 2 * 60;
    let ends: jiff::Timestamp = listed[0]["ends_at"].as_str().unwrap().parse().unwrap();
    assert!(
        ends.as_second().cast_unsigned() >= now() + longest - 60,
        "kept while a token may live: {listed}"
    );
}

#[test]
fn a_subjects_tokens_are_revoked_up_to_a_time_by_the_command() {
    let world = World::new();
    let subject = |claims: &mut Value| claims["sub"] = json!("ana");
    let mine = world.warm(subject);
    let undated = world.warm(|claims| {
        subject(claims);
        claims.as_object_mut().unwrap().remove("iat");
    });
    let ahead = now() + 30;
    let newer = world.warm(|claims| {
        subject(claims);
        claims["iat"] = json!(ahead);
    });
    let others = world.warm(|claims| claims["sub"] = json!("ben"));
    let file = world.demo.text("/config_file");
    let named = ["--issuer", &world.issuer, "--subject", "ana"];
    run_json(&[&["jwt", "--config", file, "revoke", "--json"], &named[..]].concat());
    until("the revocation", || is_revoked(&world.said(&mine)).then_some(()));
    assert!(is_revoked(&world.said(&undated)));
    assert_eq!(world.said(&newer).0, 200, "issued later");
    assert_eq!(world.said(&others).0, 200);
}

#[test]
fn a_workspaces_tokens_are_revoked_whoever_issued_them() {
    let world = World::new();
    let mine = world.warm(|_| {});
    let other = world.warm(|claims| {
        claims["workspace"] = json!("demo-eu");
        claims["region"] = json!("eu");
    });
    let opaque = world.demo.token("us").to_owned();
    assert_eq!(world.revoke(&json!({"workspace": "demo-us"})).0, 201);
    assert!(is_revoked(&world.said(&mine)));
    assert_eq!(world.said(&other).0, 200);
    assert_eq!(world.said(&opaque).0, 200, "an API token is no JWT");
    let revocations = world.demo.metrics().sum("tollgate_jwt_revocations", &[]);
    assert!((revocations - 1.0).abs() < f64::EPSILON);
}
