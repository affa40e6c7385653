use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::config::load_text;

const CONFIG: &str = r#"
[listen]
plain = ["127.0.0.1:0"]
[regions.us]
letter = "u"
upstreams = ["http://127.0.0.1:9"]
[regions.eu]
letter = "e"
upstreams = ["http://127.0.0.1:9"]
[[endpoints.extra]]
operation = "listThings"
method = "GET"
path = "/things"
versions = ["v1", "v1alpha"]
deprecated = [{ version = "v1alpha", since = "2026-01-31" }]
[[endpoints.extra]]
operation = "createThing"
method = "POST"
path = "/things/{spaceId}"
role = "owner"
feature = "Things"
[[endpoints.extra]]
operation = "health"
method = "GET"
path = "/health"
public = true
"#;

const POLICIES: &str =
    "[[limits.policies]]\nname = \"default\"\nper = [\"token\"]\nquota = \"5 per minute\"\n";

const START_MILLIS: u64 = 1_795_600_800_000;

/// One line of a log at so many milliseconds after the start; `more` is added before its end.
fn line(millis: u64, outcome: &str, method: &str, path: &str, more: &str) -> String {
    let time = jiff::Timestamp::from_millisecond((START_MILLIS + millis).cast_signed()).unwrap();
    format!(
        "{{\"time\":\"{time}\",\"outcome\":\"{outcome}\",\"status\":0,\"method\":\"{method}\",\"path\":\"{path}\",\
         \"peer\":\"192.0.2.7:4000\",\"total_micros\":1500{more}}}\n"
    )
}

fn by(workspace: &str, token: &str) -> String {
    format!(
        ",\"workspace_id\":\"{workspace}\",\"token_id\":\"{token}\",\"plan\":\"business\",\"role\":\"owner\",\
         \"region\":\"us\""
    )
}

fn config_in(folder: &Path, more: &str) -> Config {
    let file = folder.join("tollgate.toml");
    load_text(&file, &format!("{CONFIG}{more}"), &|_| None).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn replayed(log: &str, more: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    replay(&mut log.as_bytes(), &config_in(folder.path(), more), &mut |_| {}).unwrap()
}

/// The rows as `workspace status reason policy requests`.
fn rows(report: &Report) -> Vec<String> {
    let policy = |row: &NewlyRefused| row.policy.clone().unwrap_or_else(|| "-".to_owned());
    let text = |row: &NewlyRefused| {
        format!("{} {} {} {} {}", row.workspace, row.status, row.reason, policy(row), row.requests)
    };
    report.refused.iter().map(text).collect()
}

#[test]
fn a_stricter_limit_refuses_by_the_logs_own_times() {
    let mut log = String::new();
    for second in 0..20 {
        log += &line(second * 1_000, "forwarded", "GET", "/things", &by("acme", "tok_a"));
        log += &line(second * 60_000, "forwarded", "GET", "/things", &by("calm", "tok_c"));
    }
    let report = replayed(&log, POLICIES);
    // A burst of 5, and one more at 12 s.
    assert_eq!(rows(&report), ["acme 429 rate_limited default 14"]);
    let row = &report.refused[0];
    assert_eq!((row.first.0, row.last.0), (START_MILLIS / 1_000 + 5, START_MILLIS / 1_000 + 19));
    assert!((row.share - 0.7).abs() < 1e-9 && row.tokens == ["tok_a"]);
    assert_eq!((report.requests, report.newly_refused, report.newly_served), (40, 14, 0));
    assert_eq!((report.first.unwrap().0, report.last.unwrap().0), (1_795_600_800, 1_795_600_800 + 1_140));
    assert!(replayed(&log, "").refused.is_empty(), "6,000 a minute");
}

#[test]
fn lines_count_in_the_order_of_their_arrival() {
    let mut lines: Vec<String> =
        (0..10).map(|n| line(n * 12_000, "forwarded", "GET", "/things", &by("acme", "tok_a"))).collect();
    lines.reverse();
    assert!(replayed(&lines.concat(), POLICIES).refused.is_empty());
}

#[test]
fn what_the_table_and_the_permit_refuse_is_told_by_its_reason() {
    let everything = by("acme", "tok_a");
    let restricted = everything.replace("owner", "restricted");
    let free = everything.replace("business", "free");
    let elsewhere = everything.replace("\"us\"", "\"mars\"");
    let v9 = format!("{everything},\"accept\":\"application/vnd.segment.v9+json\"");
    let issuer = format!("{everything},\"issuer\":\"https://gone.example\"");
    let log = [
        line(0, "forwarded", "POST", "/things/s", &everything),
        line(1, "forwarded", "POST", "/things/s", &restricted),
        line(2, "forwarded", "GET", "/things", &free),
        line(3, "forwarded", "GET", "/things", &v9),
        line(4, "forwarded", "GET", "/things", &issuer),
        line(5, "forwarded", "GET", "/gone", &everything),
        line(6, "upstream_timeout", "DELETE", "/things", &everything),
        line(7, "forwarded", "GET", "/health", ""),
        line(8, "forwarded", "GET", "/things", ""),
        line(9, "forwarded", "GET", "/things", &elsewhere),
    ]
    .concat();
    let report = replayed(&log, "[endpoints]\nunmatched = \"refuse\"\n");
    let mut found = rows(&report);
    found.sort();
    let expected = [
        "(no credential) 401 credential_missing - 1",
        "acme 401 token_unknown - 1",
        "acme 403 plan_required - 1",
        "acme 403 role_required - 1",
        "acme 404 not_found - 1",
        "acme 405 method_not_allowed - 1",
        "acme 406 version_unsupported - 1",
        "acme 503 registry_unavailable - 1",
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_was_refused_is_not_newly_refused_and_may_be_served_now() {
    let who = by("acme", "tok_a");
    let log = [
        line(0, "token_unknown", "GET", "/things", ""),
        line(1, "browser_preflight", "OPTIONS", "/things", ""),
        line(2, "answered", "GET", "/tollgate/v1/whoami", &who),
        line(3, "rate_limited", "GET", "/things", &who),
        line(4, "role_required", "POST", "/things/s", &who.replace("owner", "restricted")),
    ]
    .concat();
    let report = replayed(&log, "");
    assert_eq!((report.newly_refused, report.newly_served, report.requests), (0, 1, 5));
    let refused_alone =
        log.lines().filter(|line| !line.contains("answered")).fold(String::new(), |mut all, line| {
            writeln!(all, "{line}").unwrap();
            all
        });
    assert!(
        replayed(&refused_alone, "")
            .warnings
            .iter()
            .any(|warning| warning.contains("refused requests alone"))
    );
}

#[test]
fn requests_in_flight_are_those_of_the_logs_durations() {
    let slow = by("acme", "tok_a").replace("\"us\"", "\"us\",\"x\":0");
    let slow = |millis| {
        line(millis, "forwarded", "GET", "/things", &slow)
            .replace("\"total_micros\":1500", "\"total_micros\":5000000")
    };
    let log: String = [0, 1_000, 2_000, 5_000, 5_500, 7_000].map(slow).concat();
    let report = replayed(&log, "[limits.in_flight]\nper_token = 2\n");
    assert_eq!(rows(&report), ["acme 429 too_many_in_flight in_flight_token 2"]);
}

#[test]
fn a_line_that_cannot_be_read_is_told_and_the_rest_counts() {
    let good = line(0, "forwarded", "GET", "/things", &by("acme", "tok_a"));
    let report = replayed(&format!("{good}what is this\n{good}"), "");
    assert_eq!((report.lines, report.requests, report.malformed), (3, 2, 1));
    assert_eq!(report.first_malformed[0].line, 2);
    let sampled = good.replace("\"status\":0", "\"status\":200,\"sample\":10");
    assert!(replayed(&sampled, "").warnings[0].contains("one of 10"));
}

#[test]
fn callers_of_versions_that_are_going_away_are_told() {
    let old = |workspace| {
        let accept = ",\"accept\":\"application/vnd.segment.v1alpha+json\"";
        line(0, "forwarded", "GET", "/things", &(by(workspace, "tok") + accept))
    };
    let log = [old("acme"), old("acme"), old("calm")].concat();
    let report = replayed(&log, "");
    let row = &report.deprecated[0];
    assert_eq!((&*row.operation, &*row.version, row.requests), ("listThings", "v1alpha", 3));
    assert_eq!(row.workspaces, ["acme", "calm"]);
}

#[test]
fn the_registry_is_read_as_it_was_and_left_as_it_is() {
    use crate::clock::Clock;
    use crate::domain::Role;
    use crate::tokens::{Mint, NewWorkspace, SystemRandom, TokenRequest};
    let folder = tempfile::tempdir().unwrap();
    let config = config_in(folder.path(), "");
    let clock = Clock::manual(START_MILLIS / 1_000 - 60);
    let mint =
        Mint::open(&config.tokens, config.places.regions(), Box::new(SystemRandom), clock.now()).unwrap();
    let act = || tokens::Act::by("test", clock.now());
    let new = NewWorkspace {
        id: "acme".into(),
        region: "eu".into(),
        plan: crate::domain::Plan::Team,
        features: vec![],
        contacts: vec![],
    };
    mint.create_workspace(act(), &new).unwrap();
    let request = TokenRequest {
        workspace: "acme".into(),
        name: String::new(),
        scopes: vec![],
        role: Role::Owner,
        own_limit: Some("3 per day".parse().unwrap()),
        lifetime_seconds: None,
        allowed_networks: Vec::new(),
        decoy: false,
    };
    let id = mint.create_token(act(), &request).unwrap().record.id;
    clock.advance(std::time::Duration::from_mins(2));
    mint.revoke_token(act(), &id, "later").unwrap();
    let head = mint.store().head().unwrap();
    let log: String = [0, 1, 2, 3, 70_000]
        .map(|millis| line(millis, "forwarded", "GET", "/things", &by("acme", &id)))
        .into_iter()
        .chain([line(4, "forwarded", "POST", "/things/s", &by("acme", &id))])
        .collect();
    let report = replay(&mut log.as_bytes(), &config, &mut |_| {}).unwrap();
    let mut found = rows(&report);
    found.sort();
    let expected =
        ["acme 401 token_revoked - 1", "acme 403 feature_required - 1", "acme 429 quota_exceeded token 1"];
    assert_eq!(found, expected, "revoked after a minute, a limit of its own, no feature");
    assert!(report.warnings.is_empty());
    assert_eq!(mint.store().head().unwrap(), head);
}
