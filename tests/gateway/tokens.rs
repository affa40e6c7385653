//! Every token of the demo does what its name says.

use crate::support::{Demo, raw};

#[test]
fn good_tokens_are_served_by_their_own_region() {
    let demo = Demo::start();
    for region in ["us", "eu"] {
        let answer = demo.ask(region, "GET", "/sources");
        assert_eq!((answer.status, answer.region()), (200, Some(region)));
        assert!(answer.json()["data"]["sources"].is_array());
        let who = demo.ask(region, "GET", "/tollgate/v1/whoami").json();
        let data = &who["data"];
        assert_eq!(data["workspaceId"], *demo.text(&format!("/tokens/{region}/workspace")));
        assert_eq!(data["tokenId"], *demo.text(&format!("/tokens/{region}/id")));
        assert_eq!([&data["region"], &data["plan"], &data["role"]], [region, "business", "owner"]);
        assert_eq!(data["baseUrl"], *demo.text("/public"));
        assert_eq!(data["scopes"], serde_json::json!(["public_api:read_write"]));
    }
}

#[test]
fn bad_tokens_are_refused_and_told_why() {
    let demo = Demo::start();
    for (name, status, reason, kind) in [
        ("revoked", 401, "token_revoked", "unauthorized"),
        ("expired", 401, "token_expired", "unauthorized"),
        ("free_plan", 403, "plan_required", "forbidden"),
        ("suspended", 403, "workspace_suspended", "forbidden"),
    ] {
        for method in ["GET", "DELETE"] {
            let answer = demo.ask(name, method, "/sources/x");
            assert_eq!(answer.said(), (status, reason.to_owned()), "{name}");
            let error = answer.error();
            assert_eq!((&error["type"], &error["status"]), (&kind.into(), &status.into()));
            assert_eq!(error["data"]["forwarded"], "no");
            assert_eq!(answer.field("x-request-id"), error["data"]["requestId"].as_str());
            assert_eq!(answer.field("cache-control"), Some("no-store"));
            assert_eq!(answer.field("www-authenticate").is_some(), status == 401, "{name}");
        }
    }
    let plans = demo.ask("free_plan", "GET", "/sources").error();
    assert_eq!(plans["data"]["plansRequired"], serde_json::json!(["team", "business"]));
}

#[test]
fn the_tiny_limit_is_five_a_minute_on_everything() {
    let demo = Demo::start();
    let mut connection = demo.connect();
    let targets = ["/sources", "/echo?message=x", "/warehouses", "/no/such/path", "/sample/raw/x"];
    for (target, left) in targets.iter().zip((0..5).rev()) {
        let bytes = crate::support::request("GET", target, demo.token("tiny_limit"), "");
        let answer = connection.send(&bytes);
        assert_ne!(answer.status, 429, "{target}");
        assert_eq!(answer.field("x-ratelimit-remaining"), Some(left.to_string().as_str()), "{target}");
    }
    for _ in 0..3 {
        let answer = demo.ask("tiny_limit", "GET", "/sources");
        assert_eq!(answer.said(), (429, "rate_limited".to_owned()));
        let error = answer.error();
        assert_eq!((&error["type"], &error["data"]["policy"]), (&"RequestError".into(), &"token".into()));
        assert_eq!(
            (&error["data"]["remainingPoints"], &error["data"]["consumedPoints"]),
            (&0.into(), &5.into())
        );
        let wait = answer.field("retry-after").unwrap().parse::<u64>().unwrap();
        let millis = error["data"]["msBeforeNext"].as_u64().unwrap();
        assert!(
            (1..=12).contains(&wait) && millis <= wait * 1000 && millis + 1000 > wait * 1000,
            "{wait} {millis}"
        );
        assert!(answer.field("ratelimit").unwrap().starts_with("\"token\";r=0;t="), "{answer:?}");
        assert!(answer.field("ratelimit-policy").unwrap().starts_with("\"token\";q=5;w=60"), "{answer:?}");
    }
    assert_eq!(demo.ask("us", "GET", "/sources").status, 200, "another token of the workspace");
}

#[test]
fn what_is_no_good_credential_is_told_the_same_by_all_strangers() {
    let demo = Demo::start();
    let good = demo.token("us").to_owned();
    let mut misspelled = good.clone();
    let last = if misspelled.pop() == Some('a') { 'b' } else { 'a' };
    misspelled.push(last);
    let ask = |fields: &str| demo.connect().send(&raw("GET", "/sources", fields, b""));
    assert_eq!(ask("").said(), (401, "credential_missing".to_owned()));
    for (value, reason) in [
        (format!("Bearer {misspelled}"), "token_unknown"),
        ("Bearer 1ba60ccaae1c1a5230".to_owned(), "token_unknown"),
        ("Basic dXNlcjpwYXNz".to_owned(), "credential_malformed"),
        (format!("Bearer {good} {good}"), "credential_malformed"),
        (format!("Bearer {good},x"), "credential_malformed"),
        ("Bearer".to_owned(), "credential_malformed"),
    ] {
        let answer = ask(&format!("Authorization: {value}\r\n"));
        assert_eq!(answer.said(), (401, reason.to_owned()), "{reason}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(&good[8..]));
    }
    let twice = format!("Authorization: Bearer {good}\r\nAuthorization: Bearer {good}\r\n");
    assert_eq!(ask(&twice).said(), (400, "several_credentials".to_owned()));
    let query = |target: &str, fields: &str| demo.connect().send(&raw("GET", target, fields, b""));
    let target = format!("/sources?access_token={good}");
    assert_eq!(query(&target, "").said(), (401, "credential_in_query".to_owned()));
    assert_eq!(query(&format!("/sources?x={good}"), "").said(), (401, "credential_in_query".to_owned()));
    let both = format!("Authorization: Bearer {good}\r\n");
    assert_eq!(query(&target, &both).said(), (400, "several_credentials".to_owned()));
    assert_eq!(ask(&format!("authorization: bearer {good}\r\n")).status, 200, "the scheme's case is free");
}
