use std::sync::Arc;

use super::*;
use crate::domain::{Plan, RegionId, Subject, Workspace, WorkspaceState};
use crate::message::Version;

const OTHER_TRACE: &str = "00-11111111111111111111111111111111-1111111111111111-01";

fn caller() -> Caller {
    let workspace = Workspace {
        id: "ws_1".into(),
        subject: Subject(1),
        region: RegionId(0),
        plan: Plan::Team,
        features: Arc::from(Vec::new()),
        state: WorkspaceState::Active,
        overrides: Arc::default(),
    };
    Caller::for_test(1, workspace)
}

fn sent(fields: &[(&str, &str)], settings: &Settings) -> String {
    let caller = caller();
    let kept = fields.iter().find_map(|(_, value)| TraceParent::kept(value.as_bytes()));
    let trace = kept.unwrap_or(TraceParent::kept(OTHER_TRACE.as_bytes()).unwrap());
    let mut all = vec![(&b"Host"[..], &b"api.example"[..])];
    all.extend(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let head = Head::from_parts(Version::Http11, b"GET", b"/a%2f?b=[1]", all);
    let client = Client {
        address: "192.0.2.7:4711".parse().unwrap(),
        is_tls: true,
        request_id: "req-1",
        trace: &trace,
        caller: Some(&caller),
        region: "us",
    };
    let mut out = Vec::new();
    FieldRules::new(settings).request_head(&head, &client, Announced::Nothing, "up:1", &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn identity_cannot_be_spoofed_in_any_spelling() {
    let spoofed = [
        ("x-tollgate-workspace", "evil"),
        ("X_Tollgate_Workspace", "evil"),
        ("X-TOLLGATE_REGION", "evil"),
        ("X-Forwarded-For", "evil"),
        ("x_forwarded_for", "evil"),
        ("Forwarded", "for=evil"),
        ("X-Real-IP", "evil"),
        ("X-Request-Id", "evil id"),
        ("x_request_id", "evil"),
        ("traceparent", "evil"),
    ];
    let out = sent(&spoofed, &Settings::default());
    assert!(!out.contains("evil"), "{out}");
    assert_eq!(out.matches("X-Tollgate-Workspace: ws_1\r\n").count(), 1);
    assert!(out.contains("x-forwarded-for: 192.0.2.7\r\nx-forwarded-proto: https\r\n"));
}

#[test]
fn connection_cannot_name_our_fields_away_but_its_own() {
    let fields = [
        ("Connection", "x-tollgate-workspace, X-Secret"),
        ("Connection", "close , x-more"),
        ("X-Secret", "1"),
        ("x-more", "2"),
        ("X-Kept", "3"),
    ];
    let out = sent(&fields, &Settings::default());
    assert!(out.contains("X-Tollgate-Workspace: ws_1"));
    assert!(!out.contains("X-Secret") && !out.contains("x-more") && out.contains("X-Kept: 3"), "{out}");
}

#[test]
fn hop_by_hop_fields_and_the_credential_end_here() {
    let hop = [
        ("Keep-Alive", "1"),
        ("Proxy-Connection", "1"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "x"),
        ("Proxy-Authorization", "x"),
        ("Expect", "100-continue"),
        ("Authorization", "Bearer x"),
        ("Trailer", "X-Sum"),
    ];
    let out = sent(&hop, &Settings::default());
    for (name, _) in &hop[..8] {
        assert!(
            !out.to_ascii_lowercase().contains(&format!("\n{}:", name.to_ascii_lowercase())),
            "{name}: {out}"
        );
    }
    assert!(out.contains("Trailer: X-Sum"));
    let forwarding = Settings { forward_credential: true, ..Settings::default() };
    assert!(sent(&hop, &forwarding).contains("Authorization: Bearer x"));
}

#[test]
fn target_host_and_order_stay_as_sent() {
    let out = sent(&[("B", "1"), ("a", "2"), ("B", "3")], &Settings::default());
    assert!(
        out.starts_with("GET /a%2f?b=[1] HTTP/1.1\r\nhost: api.example\r\nB: 1\r\na: 2\r\nB: 3\r\n"),
        "{out}"
    );
    let own = Settings { host: HostSetting::Upstream, ..Settings::default() };
    assert!(sent(&[], &own).contains("host: up:1\r\n"));
}

#[test]
fn exactly_one_traceparent_is_sent_on() {
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let out = sent(&[("Traceparent", good), ("tracestate", "a=1")], &Settings::default());
    assert!(out.contains(&format!("traceparent: {good}\r\n")) && out.contains("tracestate: a=1\r\n"));
    assert_eq!(out.to_lowercase().matches("traceparent").count(), 1);
}

#[test]
fn forwarded_is_written_as_rfc_7239_says() {
    let settings = Settings { forwarded_fields: ForwardedFields::Forwarded, ..Settings::default() };
    assert!(sent(&[], &settings).contains("forwarded: for=192.0.2.7;proto=https;host=\"api.example\"\r\n"));
}

#[test]
fn no_cors_field_leaves_and_hop_by_hop_ends_on_the_way_back() {
    let fields = [
        (&b"Access-Control-Allow-Origin"[..], &b"*"[..]),
        (b"access-control-expose-headers", b"x"),
        (b"Connection", b"x-hop"),
        (b"X-Hop", b"1"),
        (b"Keep-Alive", b"1"),
        (b"Content-Length", b"3"),
        (b"X-Request-Id", b"theirs"),
        (b"X-RateLimit-Remaining", b"9"),
        (b"Set-Cookie", b"a"),
        (b"Set-Cookie", b"b"),
    ];
    let head = Head::from_parts(Version::Http11, b"", b"", fields);
    let mut out = Vec::new();
    response_lines(&head, OwnFields { x_rate_limit: true, ..OwnFields::default() }, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "Set-Cookie: a\r\nSet-Cookie: b\r\n");
}

#[test]
fn what_we_set_does_not_leave_twice_and_what_we_do_not_set_stays() {
    let names = ["RateLimit", "ratelimit-policy", "Deprecation", "SUNSET", "X-RateLimit-Reset"];
    let head = Head::from_parts(
        Version::Http11,
        b"",
        b"",
        names.iter().map(|name| (name.as_bytes(), &b"theirs"[..])),
    );
    let left = |own| {
        let mut out = Vec::new();
        response_lines(&head, own, &mut out);
        let out = format!("\r\n{}", String::from_utf8(out).unwrap());
        names.iter().map(|name| out.contains(&format!("\r\n{name}: "))).collect::<Vec<_>>()
    };
    assert_eq!(left(OwnFields::default()), [true; 5]);
    let all = OwnFields { x_rate_limit: true, rate_limit: true, deprecation: true, sunset: true };
    assert_eq!(left(all), [false; 5]);
    assert_eq!(
        left(OwnFields { rate_limit: true, ..OwnFields::default() }),
        [false, false, true, true, true]
    );
    let deprecated = OwnFields { deprecation: true, ..OwnFields::default() };
    assert_eq!(left(deprecated), [true, true, false, true, true]);
}

#[test]
fn another_vary_does_not_hide_that_accept_matters() {
    let varies = |lines: &[&str]| {
        let fields = lines.iter().map(|line| (&b"Vary"[..], line.as_bytes()));
        varies_by_accept(&Head::from_parts(Version::Http11, b"", b"", fields))
    };
    assert!(varies(&["Origin, accept"]) && varies(&["Origin", "Accept"]) && varies(&["*"]));
    assert!(!varies(&[]) && !varies(&["Origin, Accept-Encoding"]));
}

#[test]
fn trailers_bring_in_nothing_late() {
    let mut out = Vec::new();
    let lines = b"X-Sum: 1\r\nAuthorization: x\r\nx_tollgate_workspace: x\r\nContent-Length: 1\r\nhost: x\r\nX_Forwarded_For: x\r\n";
    FieldRules::new(&Settings::default()).trailer_lines(lines, &mut out);
    assert_eq!(out, b"X-Sum: 1\r\n");
}

#[test]
fn identity_may_not_take_names_that_mean_something_else() {
    for name in
        ["Content-Length", "Host", "Origin", "user_agent", "Cookie", "X-Request-Id", "X_Forwarded_For"]
    {
        assert!(is_reserved(name), "{name}");
    }
    assert!(!is_reserved("X-Workspace") && !is_reserved(""));
    assert!(is_same_name("x_a", "X-A") && !is_same_name("x-a", "x-b"));
}
