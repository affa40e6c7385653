//! The head of the audit trail leaves the gateway with its log, signed, and the trail is held against it.

use crate::support::{Behaviour, Gateway, Upstream, config, run, run_json, until};

#[test]
fn the_log_has_signed_heads_that_the_trail_agrees_with() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let keyed = "[tokens]\naudit_key_file = \"head.key\"\n";
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), keyed));
    let text = until("a signed head", || {
        Some(gateway.process.stderr.text()).filter(|text| text.contains("signed_head"))
    });
    let (file, log) = (gateway.file.to_str().unwrap(), gateway.folder.path().join("log"));
    let key = std::fs::read_to_string(gateway.folder.path().join("head.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(!text.contains(secret), "the key itself is in the log");
    let head = run_json(&["audit", "-c", file, "head"]);
    std::fs::write(&log, format!("{text}{head}\n")).unwrap();
    gateway.token("ws-us", &[]);
    let verify = ["audit", "-c", file, "verify", "--heads", log.to_str().unwrap()];
    let public = head["public_key"].as_str().unwrap();
    for words in [&verify[..], &[&verify[..], &["--public-key", public]].concat()] {
        let verified = run(words);
        let said = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(verified.status.success() && said.contains("2 signed heads agree"), "{verified:?}");
    }
    let other = run(&[&verify[..], &["--public-key", "AAAA"]].concat());
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("signed with another key"), "{other:?}");
}
