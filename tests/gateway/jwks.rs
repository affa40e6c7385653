//! An issuer's keys through every weather: a good token is never called invalid, known keys serve on, and the
//! issuer is asked no more often than stated.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Behaviour, Gateway, Signer, Upstream, ask_admin, config, now, request, until};

const ISSUER: &str = "https://issuer.test";

/// An issuer that answers with these keys.
fn keys(signers: &[&Signer]) -> Behaviour {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    key_set(&json!({ "keys": keys }).to_string(), "")
}

fn key_set(body: &str, fields: &str) -> Behaviour {
    let length = body.len();
    Behaviour::Answer(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n{body}"))
}

/// A gateway of this issuer over an upstream that answers 200.
struct Weather {
    issuer: Upstream,
    gateway: Gateway,
    _upstream: Upstream,
}

fn settings(issuer: &Upstream, authentication: &str, more: &str) -> String {
    format!(
        "[authentication]\n{authentication}\n[[authentication.issuers]]\nissuer = {ISSUER:?}\naudiences = [\"api\"]\n\
         jwks_uri = \"{}/jwks.json\"\nregions = [\"us\", \"eu\"]\n{more}\n",
        issuer.url()
    )
}

impl Weather {
    fn new(behaviour: Behaviour, more: &str) -> Self {
        let (issuer, upstream) = (Upstream::start(behaviour), Upstream::start(Behaviour::status(200, "us")));
        let text = config(&upstream.url(), &upstream.url(), &settings(&issuer, "", more));
        Self { gateway: Gateway::start(&text), issuer, _upstream: upstream }
    }

    /// Waits for the first keys.
    fn ready(self, signer: &Signer) -> Self {
        self.until_good(signer);
        self
    }

    fn until_good(&self, signer: &Signer) {
        until("the issuer's keys", || (self.status(signer, "ready") == 200).then_some(()));
    }

    fn status(&self, signer: &Signer, jti: &str) -> u16 {
        let answer = self.gateway.ask(&signer.sign(&claims(jti)), "/sources");
        assert_ne!(answer.status, 401, "a good token was called invalid: {answer:?}");
        answer.status
    }

    /// How often the issuer was asked.
    fn loads(&self) -> usize {
        self.issuer.text().matches("GET /jwks.json HTTP/1.1").count()
    }
}

fn claims(jti: &str) -> Value {
    claims_made(jti, 0)
}

/// Claims of a token that was made so many seconds ago.
fn claims_made(jti: &str, ago: u64) -> Value {
    let now = now();
    json!({
        "iss": ISSUER, "aud": "api", "sub": "s", "jti": jti, "iat": now - ago, "exp": now + 3_000,
        "workspace": "ws-us", "scope": "public_api:read_write",
    })
}

/// A token of a key that nobody has, older than the issuer's answer.
fn forged(signer: &mut Signer, kid: &str) -> String {
    signer.header.kid = Some(kid.to_owned());
    signer.sign(&claims_made(kid, 200))
}

#[test]
fn while_the_issuer_fails_in_any_way_known_keys_serve_on() {
    let signer = Signer::fresh("a");
    let weather = Weather::new(keys(&[&signer]), "unknown_key_seconds = 1").ready(&signer);
    let garbage = [
        Behaviour::Reset,
        Behaviour::Close,
        Behaviour::status(500, "none"),
        key_set("garbage", ""),
        key_set("<html>", "Content-Type: text/html\r\n"),
        key_set("{\"keys\":[]}", ""),
        key_set("{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"AAAA\"}]}", ""),
        key_set(&" ".repeat(300_000), ""),
        key_set(&format!("{{\"keys\":[{}{{}}]}}", "{},".repeat(64)), ""),
        Behaviour::Answer("HTTP/1.1 200 OK\r\nContent-Length: 999\r\nConnection: close\r\n\r\n{".to_owned()),
        Behaviour::Answer(format!(
            "HTTP/1.1 302 Found\r\nLocation: {}/jwks.json\r\nContent-Length: 0\r\n\r\n",
            Upstream::refusing()
        )),
        Behaviour::Hang,
    ];
    for (place, behaviour) in garbage.into_iter().enumerate() {
        weather.issuer.behave(behaviour);
        let before = weather.loads();
        // Makes the issuer be asked; what it answers proves nothing of the key.
        until("the issuer to be asked", || {
            let mut unknown = Signer::fresh("unknown");
            unknown.header.kid = Some(format!("unknown-{place}"));
            let mut client = weather.gateway.connect();
            client.write(&request("GET", "/sources", &unknown.sign(&claims("unknown")), ""));
            std::thread::sleep(Duration::from_millis(100));
            (weather.loads() > before).then_some(())
        });
        assert_eq!(weather.status(&signer, &format!("known-{place}")), 200, "{place}");
        let stranger = Signer::fresh("a").sign(&claims("stranger"));
        assert_eq!(
            weather.gateway.ask(&stranger, "/sources").said(),
            (401, "jwt_invalid".to_owned()),
            "{place}"
        );
    }
    let failed = weather.gateway.metrics().count("tollgate_jwks_fetches_total", &[("result", "bad_status")]);
    assert!(failed >= 2, "{failed}");
    assert_eq!(weather.gateway.metrics().count("tollgate_jwks_keys", &[("issuer", ISSUER)]), 1);
    weather.issuer.behave(keys(&[&signer]));
}

#[test]
fn a_rotation_at_any_moment_refuses_no_good_token() {
    let mut previous = Signer::fresh("0");
    let weather = Weather::new(keys(&[&previous]), "unknown_key_seconds = 1").ready(&previous);
    for number in 1..6 {
        let next = Signer::fresh(&number.to_string());
        weather.issuer.behave(keys(&[&next]));
        // Both at once, the new one within the cool-down of the one before.
        assert_eq!(weather.status(&next, &format!("{number}-new")), 200);
        assert_eq!(weather.status(&previous, &format!("{number}-old")), 200, "removed a moment ago");
        previous = next;
    }
}

#[test]
fn a_key_withdrawn_to_revoke_ends_with_the_next_load() {
    let (old, new) = (Signer::fresh("old"), Signer::fresh("new"));
    let weather = Weather::new(keys(&[&old]), "revoke_on_removal = true").ready(&old);
    weather.issuer.behave(keys(&[&new]));
    assert_eq!(weather.status(&new, "1"), 200);
    let revoked = weather.gateway.ask(&old.sign(&claims_made("2", 200)), "/sources");
    assert_eq!(revoked.said(), (401, "jwt_invalid".to_owned()));
}

#[test]
fn a_flood_of_random_key_ids_neither_asks_the_issuer_nor_delays_anybody() {
    let count: u32 = if std::env::var("TOLLGATE_LONG").as_deref() == Ok("1") { 100_000 } else { 3_000 };
    let signer = Signer::fresh("a");
    let weather = Weather::new(keys(&[&signer]), "").ready(&signer);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let gateway = &weather.gateway;
            scope.spawn(move || {
                let (mut stranger, mut client) = (Signer::fresh("x"), gateway.connect());
                for number in 0..count / 4 {
                    let token = forged(&mut stranger, &format!("{worker}-{number}"));
                    let answer = client.send(&request("GET", "/sources", &token, ""));
                    let said = answer.said();
                    assert!(
                        [(401, "jwt_invalid"), (429, "rate_limited"), (503, "issuer_unavailable")]
                            .contains(&(said.0, &*said.1)),
                        "{said:?}"
                    );
                }
            });
        }
        let mut client = weather.gateway.connect();
        for number in 0..200 {
            let token = signer.sign(&claims(&number.to_string()));
            assert_eq!(client.send(&request("GET", "/sources", &token, "")).status, 200);
        }
    });
    let allowed = 2 + start.elapsed().as_secs() as usize / 5;
    assert!(weather.loads() <= allowed, "{} loads, {allowed} allowed", weather.loads());
}

#[test]
fn an_issuer_that_never_answered_leaves_the_node_ready_and_is_told() {
    let weather = Weather::new(Behaviour::status(500, "none"), "");
    let signer = Signer::fresh("a");
    let answer = until("the first try", || {
        let answer = ask_admin(weather.gateway.admin, "/readyz");
        answer.json()["notes"][0].as_str()?.contains("answered 500").then_some(answer)
    });
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["status"], "ready");
    assert!(answer.json()["notes"][0].as_str().unwrap().contains(ISSUER), "{}", answer.json());
    let refused = weather.gateway.ask(&signer.sign(&claims("1")), "/sources");
    assert_eq!(refused.said(), (503, "issuer_unavailable".to_owned()));
    let status = weather.gateway.operate("GET", "/status.json", "").json();
    assert_eq!(status["issuers"][0]["keys"], 0);
    assert!(status["issuers"][0]["last_error"].as_str().unwrap().contains("answered 500"));
    assert_eq!(weather.gateway.metrics().with("tollgate_jwks_age_seconds", &[]).count(), 0);
    weather.issuer.behave(keys(&[&signer]));
    weather.until_good(&signer);
    assert_eq!(ask_admin(weather.gateway.admin, "/readyz").json()["notes"], json!([]));
    assert_eq!(weather.gateway.metrics().with("tollgate_jwks_age_seconds", &[("issuer", ISSUER)]).count(), 1);
}

#[test]
fn a_restart_does_not_need_the_issuer() {
    let signer = Signer::fresh("a");
    let (issuer, upstream) =
        (Upstream::start(keys(&[&signer])), Upstream::start(Behaviour::status(200, "us")));
    let text = config(&upstream.url(), &upstream.url(), &settings(&issuer, "keys_folder = \"keys\"", ""));
    let gateway = Gateway::start(&text);
    let folder = gateway.file.parent().unwrap().join("keys");
    let saved = until("the saved keys", || {
        let mut files = std::fs::read_dir(&folder).ok()?.map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|extension| extension == "jwks"))
    });
    issuer.behave(Behaviour::Reset);
    let gateway = Gateway::start_in(gateway.into_folder(), &text);
    let answer = gateway.ask(&signer.sign(&claims("1")), "/sources");
    assert_eq!(answer.status, 200, "{answer:?}");
    let stranger = Signer::fresh("a").sign(&claims("2"));
    assert_eq!(gateway.ask(&stranger, "/sources").said(), (401, "jwt_invalid".to_owned()));
    // What somebody else could have written is not believed.
    std::fs::set_permissions(&saved, std::fs::Permissions::from_mode(0o666)).unwrap();
    let gateway = Gateway::start_in(gateway.into_folder(), &text);
    let refused = gateway.ask(&signer.sign(&claims("3")), "/sources");
    assert_eq!(refused.said(), (503, "issuer_unavailable".to_owned()));
    let said = gateway.process.stderr.text();
    assert!(said.contains("others than its owner may write it"), "{said}");
}
