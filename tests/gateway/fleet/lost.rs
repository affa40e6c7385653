//! PostgreSQL is lost while a gateway runs: over HTTP, changes are refused and nothing of them is there afterwards, but
//! the revocations, which are in force at once; tokens and JWTs go on working.

use serde_json::json;

use super::alone;
use super::server::Server;
use crate::support::{Answer, Signer, now, raw, until};

const ISSUER: &str = "https://issuer.test";

fn refused(answer: &Answer, what: &str) {
    assert_eq!(answer.said(), (503, "registry_unavailable".to_owned()), "{what}");
    assert!(answer.field("retry-after").is_some(), "{what} names no time");
}

#[test]
fn changes_by_operators_and_owners_are_503_and_tokens_go_on_working() {
    let (server, signer) = (Server::start(), Signer::fresh("k"));
    let issuer = signer.served();
    let section = format!(
        "[[limits.policies]]\nname = \"default\"\nper = [\"token\"]\nquota = \"6000 per minute\"\n\
         [[authentication.issuers]]\nissuer = {ISSUER:?}\naudiences = [\"api\"]\njwks_uri = \"{}/jwks.json\"\n\
         regions = [\"us\", \"eu\"]\n",
        issuer.url()
    );
    let (gateway, _upstream) = alone(&server, &section);
    let owner = signer.sign(&json!({
        "iss": ISSUER, "aud": "api", "sub": "ana", "scope": "public_api:read_write", "workspace": "ws-us",
        "region": "us", "role": "owner", "iat": now(), "exp": now() + 300,
    }));
    let owners = |method: &str, path: &str, body: &str| {
        let fields = format!("Authorization: Bearer {owner}\r\nContent-Type: application/json\r\n");
        gateway.connect().send(&raw(method, &format!("/tollgate/v1/{path}"), &fields, body.as_bytes()))
    };
    until("the issuer's keys", || (owners("GET", "tokens", "").status == 200).then_some(()));
    let (kept_id, kept) = gateway.token("ws-us", &[]);
    let (foreign_id, foreign) = gateway.token("ws-eu", &[]);
    let ended: Vec<(String, String)> = (0..3).map(|_| gateway.token("ws-us", &[])).collect();
    let quota = |quota: &str| json!({"quota": quota, "until": "2099-01-01T00:00:00Z"}).to_string();
    let limit = format!("/v1/tokens/{kept_id}/overrides/default");
    assert_eq!(gateway.operate("PUT", &limit, &quota("5000 per minute")).status / 100, 2);
    let entries = || server.sql("test0", "SELECT seq FROM tollgate.head").parse::<u64>().unwrap();
    let before = entries();

    server.stop();
    let (rotate, revoke) =
        (format!("/v1/tokens/{kept_id}/rotate"), format!("/v1/tokens/{}/revoke", ended[0].0));
    for (method, path, body) in [
        ("POST", "/v1/workspaces", r#"{"id":"ws-x","region":"us","plan":"team"}"#),
        ("PATCH", "/v1/workspaces/ws-us", r#"{"state":"suspended"}"#),
        ("POST", "/v1/tokens", r#"{"workspace":"ws-us","name":"x"}"#),
        ("POST", &*rotate, "{}"),
        ("POST", &*revoke, "{}"),
        ("PUT", &*limit, &*quota("5 per minute")),
        ("DELETE", &*limit, ""),
        ("POST", "/v1/jwt-revocations", r#"{"workspace":"ws-eu"}"#),
    ] {
        refused(&gateway.operate(method, path, body), &format!("{method} {path}"));
    }
    let keyed =
        gateway.operate_with("POST", "/v1/tokens", "Idempotency-Key: a\r\n", r#"{"workspace":"ws-us"}"#);
    refused(&keyed, "a request with a key");
    let (rotate, revoke) = (format!("tokens/{kept_id}/rotate"), format!("tokens/{}/revoke", ended[1].0));
    let delete = format!("tokens/{}", ended[2].0);
    for (method, path, body) in [
        ("POST", "tokens", r#"{"name":"x"}"#),
        ("POST", &*rotate, "{}"),
        ("POST", &*revoke, "{}"),
        ("DELETE", &*delete, ""),
    ] {
        refused(&owners(method, path, body), &format!("owners' {method} {path}"));
    }
    refused(&owners("DELETE", &format!("tokens/{foreign_id}"), ""), "another workspace's token");
    assert_eq!(gateway.ask(&foreign, "/sources").status, 200, "it is none of this owner's");
    assert_eq!(gateway.ask(&kept, "/sources").status, 200, "a token that works");
    assert_eq!(gateway.ask(&owner, "/sources").status, 200, "a JWT that is good");
    for (_, token) in &ended {
        assert_eq!(gateway.ask(token, "/sources").said(), (401, "token_revoked".to_owned()), "at once");
    }
    assert_eq!(crate::support::ask_admin(gateway.admin, "/readyz").status, 200);

    server.go();
    until("what was revoked to be written", || {
        (gateway.metrics().count("tollgate_revocations_unwritten", &[]) == 0).then_some(())
    });
    // The tokens' revocations and that of the JWTs.
    assert_eq!(entries(), before + ended.len() as u64 + 1, "of the rest, something was changed");
    until("changes to be taken", || {
        let made =
            gateway.operate_with("POST", "/v1/tokens", "Idempotency-Key: a\r\n", r#"{"workspace":"ws-us"}"#);
        (made.status == 201).then_some(())
    });
    until("owners' changes to be taken", || (owners("POST", "tokens", "{}").status == 201).then_some(()));
    assert_eq!(gateway.ask(&kept, "/sources").status, 200);
}
