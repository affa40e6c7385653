//! Versions, unmatched paths, escapes and HEAD.

use base64::Engine as _;

use crate::support::{Behaviour, Demo, Gateway, Upstream, config, raw, request, segment_table};

const V1: &str = "application/vnd.segment.v1+json";
const ALPHA: &str = "application/vnd.segment.v1alpha+json";

#[test]
fn a_version_that_is_not_on_offer_is_refused_with_the_choices() {
    let demo = Demo::start();
    let ask = |method, target, fields: &str, body: &[u8]| {
        let fields = format!("Authorization: Bearer {}\r\n{fields}", demo.token("us"));
        demo.connect().send(&raw(method, target, &fields, body))
    };
    let refused = ask("GET", "/spaces", &format!("Accept: {V1}\r\n"), b"");
    assert_eq!(refused.said(), (406, "version_unsupported".to_owned()));
    let choices = refused.error()["data"]["choices"].to_string();
    assert!(choices.contains(ALPHA) && !choices.contains(V1), "{choices}");
    let refused = ask("POST", "/sources/x/live-plugins/create", &format!("Content-Type: {V1}\r\n"), b"{}");
    assert_eq!(refused.said(), (415, "media_type_unsupported".to_owned()));
    let choices = refused.error()["data"]["choices"].to_string();
    assert!(choices.contains(ALPHA) && choices.contains("application/json"), "{choices}");
    for accept in [ALPHA, "application/vnd.segment.alpha+json", "*/*", "application/json", "text/html"] {
        let answer = ask("GET", "/spaces", &format!("Accept: {accept}\r\n"), b"");
        assert_eq!((answer.status, answer.field("vary")), (200, Some("Accept")), "{accept}");
    }
    let answer = ask("GET", "/spaces", &format!("Accept: {V1}, */*;q=0.1\r\n"), b"");
    assert_eq!(answer.status, 200, "something else is accepted too");
    let answer = ask("POST", "/sources/x/live-plugins/create", "Content-Type: application/json\r\n", b"{}");
    assert_ne!(answer.status, 415);
}

#[test]
fn unmatched_requests_are_forwarded_under_the_default_limit() {
    let demo = Demo::start();
    for (method, target) in [("GET", "/no/such/path?x=1"), ("PUT", "/sources"), ("PATCH", "/spaces/1/2/3/4")]
    {
        let answer = demo.ask("us", method, target);
        assert_eq!(answer.region(), Some("us"), "{method} {target}");
        assert!(answer.field("ratelimit").unwrap().starts_with("\"default\";r="), "{answer:?}");
    }
    let strange = demo.connect().send(&raw("GET", "/no/such/path", "", b""));
    assert_eq!(strange.said(), (401, "credential_missing".to_owned()));
}

#[test]
fn refused_unmatched_requests_are_told_only_to_callers() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let more =
        format!("[endpoints]\nunmatched = \"refuse\"\nescaped_slash = \"refuse\"\n{}", segment_table());
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &more));
    let (_, token) = gateway.token("ws-us", &[]);
    let ask = |method: &str, target: &str| gateway.connect().send(&request(method, target, &token, ""));
    assert_eq!(ask("GET", "/no/such").said(), (404, "not_found".to_owned()));
    let wrong_method = ask("PUT", "/sources");
    assert_eq!(wrong_method.said(), (405, "method_not_allowed".to_owned()));
    assert_eq!(wrong_method.field("allow"), Some("GET, HEAD, POST"));
    assert_eq!(ask("GET", "/sources/a%2Fb").said(), (400, "ambiguous_path".to_owned()));
    for (method, target) in
        [("GET", "/no/such"), ("PUT", "/sources"), ("GET", "/sources/a%2Fb"), ("GET", "/tollgate/x")]
    {
        for fields in ["", "Authorization: Bearer nobody\r\n"] {
            assert_eq!(gateway.connect().send(&raw(method, target, fields, b"")).status, 401, "{target}");
        }
    }
    upstream.assert_untouched("nothing of this is forwarded");
}

#[test]
fn paths_that_can_be_read_in_two_ways_are_refused() {
    let demo = Demo::start();
    for target in [
        "//sources",
        "/sources//x",
        "/sources/../x",
        "/sources/%2e%2e/x",
        "/a/./b",
        "/a\\b",
        "/a%5Cb",
        "/%00",
        "/%zz",
        "/%c0%af",
    ] {
        // Before a credential is looked at.
        let answer = demo.connect().send(&raw("GET", target, "", b""));
        assert_eq!(answer.said(), (400, "ambiguous_path".to_owned()), "{target}");
        assert!(demo.ask("us", "GET", target).status == 400, "{target}");
    }
    let strange = demo.connect().send(&raw("GET", "/no%2Fsuch", "", b""));
    assert_eq!(strange.said(), (401, "credential_missing".to_owned()), "depends on the table");
    assert_eq!(demo.ask("us", "GET", "/no%2Fsuch").said(), (400, "ambiguous_path".to_owned()));
    let label = demo.ask("us", "DELETE", "/labels/en%2Fv/a%20b%252F");
    assert_eq!((label.status, label.region()), (404, Some("us")));
    let message = label.error()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("'en/v'") && message.contains("'a b%2F'"), "{message}");
}

#[test]
fn targets_and_bodies_arrive_byte_for_byte() {
    let demo = Demo::start();
    for target in [
        "/sample/raw/a%2Fb/%7e/%7E;x=1,2?b=2&a=1&a=%2B+%20&[x]={y}&z",
        "/sample/raw/%73?%",
        "/sample/raw/x?",
        "/sample/raw/x?a=?&b=//../%00%zz",
    ] {
        let shown = demo.ask("us", "GET", target).json();
        assert_eq!(shown["target"], *target);
        assert_eq!(shown["method"], "GET");
    }
    let body: Vec<u8> = (0..=255).collect();
    let fields =
        format!("Authorization: Bearer {}\r\nContent-Type: application/octet-stream\r\n", demo.token("us"));
    let shown = demo.connect().send(&raw("POST", "/sample/raw/x", &fields, &body)).json();
    let encoded = base64::engine::general_purpose::STANDARD.encode(&body);
    assert_eq!(shown["body_base64"], *encoded);
}

#[test]
fn identity_and_credential_cannot_be_brought_along() {
    let demo = Demo::start();
    let spoofed = "X-Tollgate-Workspace: evil\r\nx_tollgate_workspace: evil\r\nX-TOLLGATE-ROLE: evil\r\n\
                   X-Tollgate_Region: evil\r\nX-Forwarded-For: evil\r\nForwarded: for=evil\r\nX-Real-IP: evil\r\n\
                   Connection: keep-alive, X-Hop, X-Tollgate-Token-Id\r\nX-Hop: evil\r\nKeep-Alive: evil\r\n\
                   Proxy-Authorization: evil\r\nTE: evil\r\nX-Kept: good\r\n";
    let answer = demo.connect().send(&request("GET", "/sample/raw/x", demo.token("us"), spoofed));
    let shown = answer.json();
    let text = shown["headers"].to_string();
    assert!(!text.contains("evil") && text.contains("good"), "{text}");
    assert!(!text.contains(demo.token("us")) && !text.to_lowercase().contains("\"authorization\""), "{text}");
    let values = |wanted: &str| -> Vec<String> {
        let all = shown["headers"].as_array().unwrap();
        all.iter()
            .filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(wanted))
            .map(|pair| pair[1].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(values("x-tollgate-workspace"), ["demo-us"]);
    assert_eq!(values("x-tollgate-region"), ["us"]);
    assert_eq!(values("x-tollgate-token-id"), [demo.text("/tokens/us/id")]);
    assert_eq!(values("x-tollgate-role"), ["owner"]);
    assert_eq!(values("x-tollgate-plan"), ["business"]);
    assert_eq!(values("x-tollgate-scopes"), ["public_api:read_write"]);
    assert_eq!(values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values("x-request-id"), [answer.field("x-request-id").unwrap()]);
    assert_eq!(values("host"), ["api.example"]);
}

#[test]
fn head_matches_as_get_and_has_no_body() {
    let demo = Demo::start();
    let mut connection = demo.connect();
    let head = connection.send(&request("HEAD", "/sources", demo.token("us"), ""));
    assert_eq!((head.status, head.region()), (200, Some("us")));
    let get = connection.send(&request("GET", "/sources", demo.token("us"), ""));
    assert_eq!(get.status, 200, "the connection is in step");
    assert_eq!(head.field("content-length"), Some(get.body.len().to_string().as_str()));
    let refused = connection.send(&request("HEAD", "/sources", demo.token("revoked"), ""));
    assert_eq!(refused.status, 401);
    assert_eq!(connection.send(&request("GET", "/sources", demo.token("us"), "")).status, 200);
    let metrics = demo.metrics();
    assert_eq!(
        metrics.count("tollgate_requests_total", &[("operation", "listSources"), ("method", "HEAD")]),
        2
    );
}

#[test]
fn our_own_paths_are_never_forwarded() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let demo = Demo::with(&["--upstream", &format!("us={}", upstream.url())]);
    for target in ["/tollgate/", "/tollgate/v1/nothing", "/%74ollgate/v1/whoami", "/tollgate"] {
        let answer = demo.ask("us", "GET", target);
        assert_ne!(answer.region(), Some("us"), "{target} {answer:?}");
    }
    assert_eq!(demo.ask("us", "POST", "/tollgate/v1/whoami").said(), (405, "method_not_allowed".to_owned()));
    upstream.assert_untouched("our own pages");
}
