//! A log that the gateway wrote, replayed under its own configuration and under another.

use serde_json::Value;

use crate::support::{Behaviour, Gateway, Upstream, config, raw, request, run, until};

fn replay(gateway: &Gateway, log: &str, more: &str) -> (i32, Value) {
    let folder = gateway.file.parent().unwrap();
    let (new, access) = (folder.join("new.toml"), folder.join("access.log"));
    let text = std::fs::read_to_string(&gateway.file).unwrap();
    std::fs::write(&new, text + more).unwrap();
    std::fs::write(&access, log).unwrap();
    let (new, access) = (new.to_str().unwrap(), access.to_str().unwrap());
    let output = run(&["replay", access, "--config", new, "--format", "json"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {text}"));
    (output.status.code().unwrap(), report)
}

#[test]
fn a_log_refuses_nobody_under_the_configuration_that_it_was_written_under() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), ""));
    let (_, owner) = gateway.token("ws-us", &["--role", "owner"]);
    let (id, tiny) = gateway.token("ws-us", &["--limit", "5 per hour"]);
    for _ in 0..8 {
        gateway.ask(&tiny, "/sources/x%2Fy?a=b");
    }
    let old = "Accept: application/vnd.segment.v1alpha+json\r\n";
    gateway.connect().send(&request("GET", "/sources", &owner, old));
    gateway.connect().send(&request("POST", "/sources", &owner, "Content-Type: application/json\r\n"));
    gateway.connect().send(&raw("GET", "/sources", "Authorization: Bearer nobody\r\n", b""));
    gateway.ask(&owner, "/no/such/path");
    gateway.ask(&owner, "/sources//x");
    let log = until("the access log", || {
        let text = gateway.process.stdout.text();
        let own = text.matches("/tollgate/v1/whoami").count();
        (text.matches("\"outcome\"").count() >= own + 13).then_some(text)
    });
    let (code, report) = replay(&gateway, &log, "");
    assert_eq!(
        (code, &report["newly_refused"], &report["newly_served"]),
        (0, &0.into(), &0.into()),
        "{report}"
    );
    assert_eq!((&report["malformed"], report["requests"].as_u64().unwrap() >= 13), (&0.into(), true));
    let policy =
        "[[limits.policies]]\nname = \"strict\"\nper = [\"token\", \"endpoint\"]\nquota = \"2 per day\"\n";
    let (code, report) = replay(&gateway, &log, policy);
    let row = &report["refused"][0];
    assert_eq!((code, &row["policy"], &row["requests"]), (1, &"strict".into(), &3.into()), "{report}");
    assert_eq!((&row["workspace"], &row["tokens"][0]), (&"ws-us".into(), &id.into()));
}
