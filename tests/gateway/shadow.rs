//! What is tried and what is going away is told to operators, and to callers only where they can act on it.

use serde_json::Value;

use crate::support::{Behaviour, Gateway, Upstream, config, request, segment_table, until};

/// The lines of the access log for a path.
fn lines(gateway: &Gateway, path: &str, count: usize) -> Vec<Value> {
    until("the access log", || {
        let text = gateway.process.stdout.text();
        let lines: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["path"] == path)
            .collect();
        (lines.len() >= count).then_some(lines)
    })
}

fn status(gateway: &Gateway) -> Value {
    gateway.operate("GET", "/status.json", "").json()
}

#[test]
fn a_policy_in_shadow_mode_refuses_nobody_and_is_told_to_operators_alone() {
    let policies = r#"
[[limits.policies]]
name = "tried"
per = ["token"]
quota = "2 per day"
mode = "shadow"
[[limits.policies]]
name = "default"
per = ["token"]
quota = "100 per day"
"#;
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), policies));
    let (_, token) = gateway.token("ws-us", &[]);
    for left in (95..100).rev() {
        let answer = gateway.ask(&token, "/sources");
        assert_eq!((answer.status, answer.field("x-ratelimit-remaining")), (200, Some(&*left.to_string())));
        assert!(!format!("{answer:?}").contains("tried"), "{answer:?}");
    }
    let page = gateway.ask(&token, "/tollgate/v1/limits");
    assert!(page.status == 200 && !format!("{page:?}").contains("tried"), "{page:?}");
    let lines = lines(&gateway, "/sources", 5);
    assert_eq!(lines.iter().filter(|line| line["would_refuse"] == "tried").count(), 3);
    assert!(lines.iter().all(|line| line["outcome"] == "forwarded" && line.get("policy").is_none()));
    let metrics = gateway.metrics();
    let decided = |decision: &str| {
        let labels = [("policy", "tried"), ("decision", decision), ("mode", "shadow")];
        metrics.count("tollgate_limit_decisions_total", &labels)
    };
    assert_eq!((decided("admit"), decided("refuse")), (2, 3));
    let shadow = &status(&gateway)["traffic"]["shadow"];
    assert_eq!((&shadow[0]["name"], &shadow[0]["count"]), (&"tried · ws-us".into(), &3.into()));
}

#[test]
fn a_version_that_is_going_away_is_told_with_who_calls_it() {
    let table = format!(
        "[endpoints]\n{}\n[[endpoints.extra]]\noperation = \"listThings\"\nmethod = \"GET\"\npath = \"/things\"\n\
         versions = [\"v1\", \"v1alpha\"]\n\
         deprecated = [{{ version = \"v1alpha\", since = \"2026-01-31\", sunset = \"2099-01-31\" }}]\n",
        segment_table()
    );
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &table));
    let (_, token) = gateway.token("ws-us", &[]);
    let old = "Accept: application/vnd.segment.v1alpha+json\r\n";
    for (fields, deprecated) in [(old, true), ("", false), (old, true)] {
        let answer = gateway.connect().send(&request("GET", "/things", &token, fields));
        assert_eq!((answer.status, answer.field("deprecation").is_some()), (200, deprecated));
        assert_eq!(answer.field("sunset").is_some(), deprecated);
    }
    let lines = lines(&gateway, "/things", 3);
    let told: Vec<&Value> = lines.iter().filter(|line| line["deprecated"] == "yes").collect();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|line| line["accept"] == "application/vnd.segment.v1alpha+json"));
    let labels = [("operation", "listThings"), ("version", "v1alpha")];
    assert_eq!(gateway.metrics().count("tollgate_deprecated_requests_total", &labels), 2);
    let deprecated = &status(&gateway)["traffic"]["deprecated"][0];
    assert_eq!((&deprecated["operation"], &deprecated["requests"]), (&"listThings".into(), &2.into()));
    let caller = &deprecated["workspaces"][0];
    assert_eq!((&caller["name"], &caller["count"]), (&"ws-us".into(), &2.into()));
}
