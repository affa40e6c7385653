//! Owners of a workspace manage its tokens by themselves: who may, what is refused, and that it works at once.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{
    Answer, Behaviour, Demo, Gateway, Signer, Upstream, claims, config, now, raw, run_json, send_admin, until,
};

struct World {
    demo: Demo,
    signer: Signer,
}

impl World {
    fn new() -> Self {
        let demo = Demo::start();
        let signer = Signer::issuer(&demo, "RS256");
        Self { demo, signer }
    }

    /// A JWT of these claims, changed.
    fn jwt(&self, kind: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims(&self.demo, kind);
        change(&mut claims);
        self.signer.sign(&claims)
    }

    fn owner(&self) -> String {
        self.jwt("owner", |_| {})
    }

    fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let fields = format!("Authorization: Bearer {token}\r\n");
        self.demo.connect().send(&raw(method, &format!("/tollgate/v1/{path}"), &fields, text.as_bytes()))
    }

    fn refused(&self, method: &str, path: &str, body: &Value) -> (u16, String, String) {
        let answer = self.ask(&self.owner(), method, path, body);
        let field = answer.error()["field"].as_str().unwrap_or_default().to_owned();
        (answer.status, answer.reason(), field)
    }

    fn works(&self, token: &str) -> (u16, String) {
        self.demo
            .connect()
            .send(&raw("GET", "/sources", &format!("Authorization: Bearer {token}\r\n"), b""))
            .said()
    }
}

fn token_of(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 201, "{}", answer.json());
    let token = &answer.json()["data"]["token"];
    (token["id"].as_str().unwrap().to_owned(), token["token"].as_str().unwrap().to_owned())
}

#[test]
fn nobody_but_a_person_who_owns_the_workspace_may() {
    let world = World::new();
    let opaque_owner = world.demo.token("us").to_owned();
    let member = world.jwt("us", |_| {});
    let suspended = world.jwt("owner", |claims| claims["workspace"] = json!("demo-suspended"));
    let unknown = world.jwt("owner", |claims| claims["workspace"] = json!("nobody"));
    let id = world.demo.text("/tokens/us/id");
    for (method, path) in [
        ("GET", "tokens".to_owned()),
        ("POST", "tokens".to_owned()),
        ("POST", format!("tokens/{id}/rotate")),
        ("POST", format!("tokens/{id}/revoke")),
        ("DELETE", format!("tokens/{id}")),
        ("GET", format!("audit-events?tokenId={id}")),
        ("PUT", "tokens".to_owned()),
    ] {
        for (token, status, reason) in [
            (opaque_owner.as_str(), 403, "role_required"),
            (&member, 403, "role_required"),
            (&suspended, 403, "workspace_suspended"),
            (&unknown, 403, "workspace_unknown"),
            ("sgp_nobody", 401, "token_unknown"),
        ] {
            let said = world.ask(token, method, &path, &Value::Null).said();
            assert_eq!(said, (status, reason.to_owned()), "{method} {path}");
        }
        let target = format!("/tollgate/v1/{path}");
        let said = world.demo.connect().send(&raw(method, &target, "", b"")).said();
        assert_eq!(said, (401, "credential_missing".to_owned()), "{method} {path}");
    }
    assert_eq!(world.works(&opaque_owner).0, 200, "a refused request revoked it");
}

#[test]
fn what_is_no_request_is_refused_by_its_field() {
    let world = World::new();
    let no = |field: &str| (422, "input_invalid".to_owned(), field.to_owned());
    for (method, path, body, expected) in [
        ("POST", "tokens", json!({"colour": 1}), no("colour")),
        ("POST", "tokens", json!({"workspace": "demo-eu"}), no("workspace")),
        ("POST", "tokens", json!({"name": 1}), no("name")),
        ("POST", "tokens", json!({"role": "king"}), no("role")),
        ("POST", "tokens", json!({"scopes": ["everything"]}), no("scopes")),
        ("POST", "tokens", json!({"ownLimit": "lots"}), no("ownLimit")),
        ("POST", "tokens", json!({"ownLimit": "6001 per minute"}), no("ownLimit")),
        ("POST", "tokens", json!({"ownLimit": "200 per second"}), no("ownLimit")),
        ("POST", "tokens", json!({"lifetimeSeconds": 0}), no("lifetimeSeconds")),
        ("POST", "tokens", json!(["a"]), no("")),
        ("POST", "tokens", Value::Null, no("")),
        ("GET", "tokens?page=1", Value::Null, no("page")),
        ("GET", "tokens?count=0", Value::Null, no("count")),
        ("GET", "tokens?cursor=*", Value::Null, no("cursor")),
        ("GET", "audit-events", Value::Null, no("tokenId")),
    ] {
        assert_eq!(world.refused(method, path, &body), expected, "{method} {path} {body}");
    }
    let long = json!({"name": "x".repeat(20_000)});
    assert_eq!(world.refused("POST", "tokens", &long).1, "body_too_large");
    let answer = world.ask(&world.owner(), "PATCH", "tokens", &Value::Null);
    assert_eq!((answer.status, answer.field("allow")), (405, Some("GET, HEAD, POST")));
    assert_eq!(world.refused("GET", "tokens/a/b/c", &Value::Null).1, "not_found");
}

#[test]
fn a_token_of_another_workspace_is_as_good_as_none() {
    let world = World::new();
    let foreign = world.demo.text("/tokens/eu/id").to_owned();
    for (method, path) in [
        ("POST", format!("tokens/{foreign}/rotate")),
        ("POST", format!("tokens/{foreign}/revoke")),
        ("DELETE", format!("tokens/{foreign}")),
        ("GET", format!("audit-events?tokenId={foreign}")),
    ] {
        let theirs = world.ask(&world.owner(), method, &path, &Value::Null);
        let none = world.ask(&world.owner(), method, &path.replace(&foreign, "tok_none"), &Value::Null);
        assert_eq!(theirs.said(), (404, "not_found".to_owned()), "{method} {path}");
        assert_eq!(theirs.error()["message"], none.error()["message"]);
    }
    assert_eq!(world.works(world.demo.token("eu")).0, 200);
    let listed = world.ask(&world.owner(), "GET", "tokens", &Value::Null).json();
    assert!(!listed.to_string().contains(&foreign));
}

#[test]
fn a_token_is_made_rotated_and_revoked_and_each_holds_when_the_answer_leaves() {
    let world = World::new();
    let body = json!({"name": "ci", "scopes": ["public_api:read_write"], "ownLimit": "5 per minute",
                      "lifetimeSeconds": 3600, "role": "owner"});
    let made = world.ask(&world.owner(), "POST", "tokens", &body);
    let (id, token) = token_of(&made);
    let shown = &made.json()["data"]["token"];
    assert_eq!((&shown["ownLimit"], &shown["role"]), (&json!("5 per minute"), &json!("owner")));
    assert_eq!(world.works(&token).0, 200);
    assert!(made.field("x-ratelimit-remaining").is_none(), "managing tokens is not charged as a call");
    let rotate = format!("tokens/{id}/rotate");
    let (successor, second) =
        token_of(&world.ask(&world.owner(), "POST", &rotate, &json!({"overlapSeconds": 0})));
    assert_eq!(world.works(&token), (401, "token_revoked".to_owned()));
    assert_eq!(world.works(&second).0, 200);
    let conflict = world.ask(&world.owner(), "POST", &rotate, &Value::Null);
    assert_eq!(conflict.said(), (409, "conflict".to_owned()));
    assert!(!conflict.json().to_string().contains("tollgate "), "an owner knows no command");
    let gone = world.ask(&world.owner(), "DELETE", &format!("tokens/{successor}"), &Value::Null);
    assert_eq!((gone.status, &gone.json()["data"]["token"]["state"]), (200, &json!("revoked")));
    assert_eq!(world.works(&second), (401, "token_revoked".to_owned()));
    let events = world.ask(&world.owner(), "GET", &format!("audit-events?tokenId={id}"), &Value::Null).json();
    let mut events = events["data"]["events"].as_array().unwrap().clone();
    events.retain(|event| event["resourceType"] == "TOKEN");
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["API Token Revoked", "API Token Rotated", "API Token Created"]);
    let person = claims(&world.demo, "owner")["sub"].as_str().unwrap().to_owned();
    for event in &events {
        assert_eq!(
            (&event["actor"], &event["resourceName"]),
            (&json!(format!("owner:{person}")), &json!("ci"))
        );
        assert_eq!(event["resourceType"], "TOKEN");
    }
    let operator = format!("Authorization: Bearer {}\r\n", world.demo.text("/operator_token"));
    let trail =
        send_admin(world.demo.admin(), "GET", &format!("/v1/audit-events?subject={id}"), &operator, "");
    assert!(trail.json().to_string().contains(&format!("owner:{person}")));
}

/// Creates, changes, is refused, is revoked and is tried again; the trail and the journal are told as one.
#[test]
fn what_a_token_did_stands_beside_what_became_of_it() {
    let world = World::new();
    let made = world.ask(&world.owner(), "POST", "tokens", &json!({"name": "ci", "role": "owner"}));
    let (id, token) = token_of(&made);
    let fields =
        format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\nUser-Agent: sdk/1\r\n");
    let body = br#"{"slug":"a","enabled":true,"metadataId":"IqDTy1TpoU"}"#;
    let written = world.demo.connect().send(&raw("POST", "/sources", &fields, body));
    assert_eq!(written.status, 201);
    assert_eq!(world.demo.connect().send(&raw("GET", "/sources/none//", &fields, b"")).status, 400);
    assert_eq!(world.works(&token).0, 200, "a read that was served is in neither");
    world.ask(&world.owner(), "POST", &format!("tokens/{id}/revoke"), &json!({"reason": "lost"}));
    for _ in 0..3 {
        assert_eq!(world.works(&token), (401, "token_revoked".to_owned()));
    }
    let page = |more: &str| {
        let path = format!("audit-events?tokenId={id}{more}");
        world.ask(&world.owner(), "GET", &path, &Value::Null).json()["data"].clone()
    };
    let all = until("the journal to have all", || {
        let events = page("")["events"].as_array().unwrap().clone();
        (events.len() == 6).then_some(events)
    });
    let types: Vec<&str> = all.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let refused = "API Request Refused";
    assert_eq!(
        types,
        [refused, refused, refused, "API Token Revoked", "API Request Forwarded", "API Token Created"]
    );
    let request = &all[4];
    assert_eq!(
        (&request["resourceId"], &request["resourceName"]),
        (&json!("/sources"), &json!("createSource"))
    );
    assert_eq!((&request["actor"], &request["resourceType"]), (&json!(id), &json!("REQUEST")));
    let how = &request["request"];
    assert_eq!(
        (&how["method"], &how["status"], &how["userAgent"]),
        (&json!("POST"), &json!(201), &json!("sdk/1"))
    );
    assert_eq!(how["requestId"].as_str(), written.field("x-request-id"));
    assert_eq!(all[0]["request"]["outcome"], "token_revoked");
    let (mut paged, mut next) = (Vec::new(), String::new());
    loop {
        let part = page(&format!("&count=1{next}"));
        paged.extend(part["events"].as_array().unwrap().clone());
        let Some(cursor) = part["pagination"]["next"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    assert_eq!(paged, all, "the same in pages of one");
    let operator = format!("Authorization: Bearer {}\r\n", world.demo.text("/operator_token"));
    let path = format!("/v1/tokens/{id}/requests?count=2");
    let first = send_admin(world.demo.admin(), "GET", &path, &operator, "").json()["data"].clone();
    let cursor = first["pagination"]["next"].as_str().unwrap();
    let rest =
        send_admin(world.demo.admin(), "GET", &format!("{path}&cursor={cursor}"), &operator, "").json();
    let rest = rest["data"]["requests"].as_array().unwrap().clone();
    assert_eq!((first["requests"][0]["outcome"].as_str(), rest.len()), (Some("token_revoked"), 2));
    assert_eq!(rest[1]["operation"], "createSource");
    let nobody = send_admin(world.demo.admin(), "GET", "/v1/tokens/tok_none/requests", &operator, "");
    assert_eq!(nobody.said(), (404, "not_found".to_owned()));
}

/// A token never may more than whoever made it: a credential of few scopes is no way to many.
#[test]
fn an_owner_gives_no_scope_that_it_does_not_hold() {
    let world = World::new();
    let narrow = world.jwt("owner", |claims| claims["scope"] = json!("functions:write"));
    let none = world.jwt("owner", |claims| claims["scope"] = json!(""));
    let lacks = |answer: &Answer| {
        assert_eq!(answer.said(), (403, "scope_missing".to_owned()), "{}", answer.json());
        assert_eq!(answer.error()["data"]["scope"], "public_api:read_write");
    };
    for owner in [&narrow, &none] {
        lacks(&world.ask(owner, "POST", "tokens", &json!({})));
        lacks(&world.ask(owner, "POST", "tokens", &json!({"scopes": ["public_api:read_write"]})));
    }
    let (usual, works) = token_of(&world.ask(&world.owner(), "POST", "tokens", &json!({})));
    lacks(&world.ask(&narrow, "POST", &format!("tokens/{usual}/rotate"), &json!({"overlapSeconds": 0})));
    assert_eq!(world.works(&works).0, 200, "a refused rotation ended it");
    let gone = world.ask(&narrow, "POST", &format!("tokens/{usual}/revoke"), &json!({}));
    assert_eq!(gone.status, 200, "taking away needs no scope");
}

#[test]
fn lists_are_paged() {
    let world = World::new();
    for _ in 0..3 {
        token_of(&world.ask(&world.owner(), "POST", "tokens", &json!({})));
    }
    let (mut seen, mut next) = (HashSet::new(), String::new());
    loop {
        let page = world.ask(&world.owner(), "GET", &format!("tokens?count=2{next}"), &Value::Null).json();
        for token in page["data"]["tokens"].as_array().unwrap() {
            assert!(seen.insert(token["id"].as_str().unwrap().to_owned()));
            assert!(token.get("token").is_none());
        }
        let Some(cursor) = page["data"]["pagination"]["next"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    let file = world.demo.text("/config_file");
    let all = run_json(&["token", "--config", file, "list", "--workspace", "demo-us", "--json"]);
    assert_eq!(seen.len(), all.as_array().unwrap().len());
}

#[test]
fn changes_are_bounded_for_each_workspace() {
    let world = World::new();
    let id = world.demo.text("/tokens/revoked/id");
    let path = format!("tokens/{id}/revoke");
    // One more comes every second, however slow the machine is.
    let refused = (0..1_000)
        .map(|_| world.ask(&world.owner(), "POST", &path, &Value::Null))
        .find(|answer| answer.status != 200)
        .unwrap();
    assert_eq!(refused.said(), (429, "rate_limited".to_owned()));
    assert!(refused.field("retry-after").is_some());
    assert_eq!(world.ask(&world.owner(), "GET", "tokens", &Value::Null).status, 200, "reading is no change");
}

#[test]
fn reading_is_bounded_for_each_workspace_and_keeps_nobody_from_changing() {
    let world = World::new();
    let (owner, mut client) = (world.owner(), world.demo.connect());
    let bytes = raw("GET", "/tollgate/v1/tokens?count=1", &format!("Authorization: Bearer {owner}\r\n"), b"");
    // Ten more come every second, however slow the machine is.
    let refused = (0..10_000).map(|_| client.send(&bytes)).find(|answer| answer.status != 200).unwrap();
    assert_eq!(refused.said(), (429, "rate_limited".to_owned()));
    assert_eq!(refused.error()["data"]["policy"], "token_reads");
    assert!(refused.field("retry-after").is_some());
    token_of(&world.ask(&owner, "POST", "tokens", &json!({})));
}

/// As many working tokens as the workspace may have, and no more; rotating makes none, and one that ended makes room.
#[test]
fn the_cap_on_a_workspaces_tokens_is_told() {
    const ISSUER: &str = "https://issuer.test";
    let (signer, upstream) = (Signer::fresh("k"), Upstream::start(Behaviour::status(200, "us")));
    let issuer = signer.served();
    let section = format!(
        "[tokens]\ntokens_per_workspace = 3\n[[authentication.issuers]]\nissuer = {ISSUER:?}\naudiences = [\"api\"]\n\
         jwks_uri = \"{}/jwks.json\"\nregions = [\"us\", \"eu\"]\n",
        issuer.url()
    );
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &section));
    let owner_of = |workspace: &str, region: &str| {
        signer.sign(&json!({
            "iss": ISSUER, "aud": "api", "sub": "ana", "scope": "public_api:read_write", "workspace": workspace,
            "region": region, "role": "owner", "iat": now(), "exp": now() + 300,
        }))
    };
    let ask = |owner: &str, method: &str, path: &str, body: &str| {
        let fields = format!("Authorization: Bearer {owner}\r\n");
        gateway.connect().send(&raw(method, &format!("/tollgate/v1/{path}"), &fields, body.as_bytes()))
    };
    let (owner, other) = (owner_of("ws-us", "us"), owner_of("ws-eu", "eu"));
    until("the issuer's keys", || (ask(&owner, "GET", "tokens", "").status == 200).then_some(()));
    let made: Vec<(String, String)> =
        (0..3).map(|_| token_of(&ask(&owner, "POST", "tokens", "{}"))).collect();
    let refused = ask(&owner, "POST", "tokens", "{}");
    assert_eq!(refused.said(), (409, "conflict".to_owned()));
    let message = refused.error()["message"].as_str().unwrap().to_owned();
    assert!(message.contains('3') && !message.contains("ws-eu"), "{message}");
    assert_eq!(ask(&other, "POST", "tokens", "{}").status, 201, "another workspace's cap");
    let rotated = ask(&owner, "POST", &format!("tokens/{}/rotate", made[0].0), r#"{"overlapSeconds":0}"#);
    assert_eq!(rotated.status / 100, 2, "{}", rotated.json());
    assert_eq!(ask(&owner, "POST", "tokens", "{}").status, 409, "a rotated token made room");
    assert_eq!(ask(&owner, "DELETE", &format!("tokens/{}", made[1].0), "").status / 100, 2);
    let (_, token) = token_of(&ask(&owner, "POST", "tokens", "{}"));
    assert_eq!(gateway.ask(&token, "/sources").status, 200);
    assert_eq!(ask(&owner, "POST", "tokens", "{}").status, 409);
}
