//! Input rules: a body that breaks one is told so and never sent on; any other goes on byte for byte.

use crate::support::{Behaviour, Gateway, Upstream, config, raw};

const SETTINGS: &str = "/sources/qQEHquLrjRDN9j1ByrChyn/settings";

fn rule() -> String {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/config/schemas/updateSchemaSettingsInSource.json");
    format!("[[input.rules]]\noperation = \"updateSchemaSettingsInSource\"\nschema_file = {schema:?}\n")
}

#[test]
fn a_broken_rule_is_told_and_nothing_is_sent_on() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &rule()));
    let (_, token) = gateway.token("ws-us", &["--role", "owner"]);
    let fields = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let patch = |body: &str| gateway.connect().send(&raw("PATCH", SETTINGS, &fields, body.as_bytes()));

    for body in ["{\"forwardingViolationsTo\":null}", "{\"forwardingViolationsTo\":\"\"}"] {
        let answer = patch(body);
        let error = answer.error();
        assert_eq!(answer.said(), (422, "input_invalid".to_owned()), "{body}");
        assert_eq!(
            (&error["type"], &error["field"]),
            (&"input-validation".into(), &"forwardingViolationsTo".into())
        );
        assert!(error["message"].as_str().unwrap().contains("leave the field out"), "{error}");
        assert_eq!(error["data"]["forwarded"], "no");
        assert!(answer.field("ratelimit").is_some(), "it was admitted, and counts");
    }
    let chunked = format!("{fields}Transfer-Encoding: chunked\r\n");
    let pieces = b"1b\r\n{\"forwardingBlockedEventsTo\r\n7\r\n\":null}\r\n0\r\n\r\n";
    let mut request = raw("PATCH", SETTINGS, &chunked, b"");
    request.extend_from_slice(pieces);
    assert_eq!(gateway.connect().send(&request).error()["field"], "forwardingBlockedEventsTo");
    assert!(!upstream.text().contains("PATCH"), "nothing was sent on");

    let body = "{\"track\": {\"allowUnplannedEvents\":true},\"identify\":{\"commonEventOnViolations\":\"Block\"},\n \"group\":{}}";
    assert_eq!(patch(body).status, 200);
    assert!(upstream.text().ends_with(body), "byte for byte: {}", upstream.text());
}
