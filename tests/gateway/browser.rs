//! Browsers: preflights are refused, nothing of CORS leaves, a page's token is reported.

use crate::support::{Behaviour, Demo, H2, Upstream, raw, request, until};

const PREFLIGHT: &str = "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n";

#[test]
fn a_preflight_is_refused_before_anything_is_looked_at() {
    let demo = Demo::start();
    let authorized = format!("{PREFLIGHT}Authorization: Bearer {}\r\n", demo.token("us"));
    for (target, fields) in [("/sources", PREFLIGHT), ("/no/such", PREFLIGHT), ("/sources", &authorized)] {
        let answer = demo.connect().send(&raw("OPTIONS", target, fields, b""));
        assert_eq!(answer.said(), (403, "browser_preflight".to_owned()));
        let message = answer.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("server"), "{message}");
        assert!(!answer.fields.iter().any(|(name, _)| name.to_lowercase().starts_with("access-control")));
    }
    let plain = demo.connect().send(&raw("OPTIONS", "/sources", "Origin: https://app.example\r\n", b""));
    assert_eq!(plain.said(), (401, "credential_missing".to_owned()), "an OPTIONS that is no preflight");
    until("the refusals in the metrics", || {
        let pairs = [("reason", "browser_preflight")];
        (demo.metrics().count("tollgate_refusals_total", &pairs) == 3).then_some(())
    });
}

#[test]
fn nothing_of_cors_leaves_even_if_the_upstream_sends_it() {
    let cors = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\naccess-control-allow-credentials: true\r\n\
                ACCESS-CONTROL-EXPOSE-HEADERS: X\r\nX-Kept: yes\r\nContent-Length: 2\r\n\r\n{}";
    let upstream = Upstream::start(Behaviour::Answer(cors.to_owned()));
    let demo = Demo::with(&["--upstream", &format!("us={}", upstream.url())]);
    let is_cors = |(name, _): &(String, String)| name.to_lowercase().starts_with("access-control");
    let fields = "Origin: https://app.example\r\n";
    let answer = demo.connect().send(&request("GET", "/sources", demo.token("us"), fields));
    assert_eq!((answer.status, answer.field("x-kept")), (200, Some("yes")));
    assert!(!answer.fields.iter().any(is_cors), "{answer:?}");
    let answer = H2::connect(demo.address()).ask("GET", "/sources", demo.token("us"));
    assert_eq!((answer.status, answer.field("x-kept")), (200, Some("yes")));
    assert!(!answer.fields.iter().any(is_cors), "{answer:?}");
}

#[test]
fn a_browsers_request_with_a_valid_token_is_served_and_reported() {
    let demo = Demo::start();
    let fields = "Origin: https://app.example\r\n";
    let ask = |token: &str| demo.connect().send(&request("GET", "/sources", token, fields)).status;
    assert_eq!(ask(demo.token("us")), 200);
    assert_eq!(ask(demo.token("us")), 200, "reported, never revoked");
    assert_eq!(ask(demo.token("revoked")), 401);
    until("the reports", || (demo.metrics().count("tollgate_exposed_tokens_total", &[]) == 2).then_some(()));
    let query = format!("/sources?access_token={}", demo.token("us"));
    assert_eq!(demo.connect().send(&raw("GET", &query, "", b"")).status, 401);
    until("the query's report", || {
        (demo.metrics().count("tollgate_exposed_tokens_total", &[]) == 3).then_some(())
    });
}

#[test]
fn problem_json_is_spoken_where_it_is_asked_for() {
    let demo = Demo::start();
    let accept = "Accept: application/problem+json\r\n";
    let answer = demo.connect().send(&request("GET", "/sources", demo.token("revoked"), accept));
    assert_eq!((answer.status, answer.field("content-type")), (401, Some("application/problem+json")));
    let body = answer.json();
    assert_eq!(body["status"], 401);
    assert_eq!(body["reason"], "token_revoked");
    assert!(body["type"].is_string() && body["title"].is_string() && body["detail"].is_string(), "{body}");
    assert_eq!(body["requestId"].as_str(), answer.field("x-request-id"));
    assert!(body.get("errors").is_none());
    let plain = demo.connect().send(&request("GET", "/sources", demo.token("revoked"), "Accept: */*\r\n"));
    assert!(plain.json()["errors"].is_array());
    assert!(plain.field("content-type").unwrap().starts_with("application/json"));
}
