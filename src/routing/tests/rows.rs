//! What `from_rows` refuses, and that it tells everything at once.

use super::*;
use crate::domain::{LimitScope, Plan, Window};

/// The problems of one row, as (key, code).
#[track_caller]
fn problems_of(text: &str) -> Vec<(String, &'static str)> {
    let row: EndpointRow = toml::from_str(text).unwrap();
    problems_in(vec![row], &Settings::default())
}

fn problems_in(rows: Vec<EndpointRow>, settings: &Settings) -> Vec<(String, &'static str)> {
    let mut problems = Problems::new();
    let table = Table::from_rows(&keyed(rows), settings, &mut problems);
    assert_eq!(table.is_some(), problems.is_empty());
    for problem in &problems.0 {
        assert!(!problem.reason.is_empty() && !problem.fix.is_empty());
    }
    problems.0.into_iter().map(|problem| (problem.key, problem.code)).collect()
}

#[track_caller]
fn one(text: &str, key: &str, code: &'static str) {
    let base = "operation = 'a'\nmethod = 'GET'\npath = '/a/{id}'\n";
    let kept: String = base
        .lines()
        .filter(|line| !text.lines().any(|other| other.split(" = ").next() == line.split(" = ").next()))
        .fold(String::new(), |kept, line| kept + line + "\n");
    assert_eq!(problems_of(&(kept + text)), [(format!("endpoint[0].{key}"), code)], "{text}");
}

#[test]
fn every_kind_of_mistake_is_refused() {
    for name in ["", "a b", "a\u{e9}", &"x".repeat(129)] {
        one(&format!("operation = '{name}'"), "operation", "operation_invalid");
    }
    for method in ["", "get", "HEAD", "CONNECT", "any", "GET,POST"] {
        one(&format!("method = '{method}'"), "method", "method_invalid");
    }
    for path in [
        "",
        "a",
        "//",
        "/a//b",
        "/a b",
        "/a/{",
        "/a/}",
        "/{}",
        "/{*}",
        "/{1a}",
        "/{a-b}",
        "/x{a}",
        "/{a}x",
        "/{a}{b}",
        "/{*a}/b",
        "/{a}/{a}",
        "/{a}/{*a}",
        "/a/..",
        "/./a",
        "/a%2Fb",
        "/a;b",
        "/é",
        "/a?b",
        "/a#b",
        "/a\\b",
        "*",
    ] {
        one(&format!("path = '{path}'"), "path", "path_invalid");
    }
    one(&format!("path = '{}'", "/x".repeat(33)), "path", "path_invalid");
    one("path = '/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{*i}'", "path", "path_invalid");
    one(&format!("path = '/{}'", "x".repeat(256)), "path", "path_invalid");
    for path in ["/tollgate", "/tollgate/v1/whoami", "/Tollgate/x"] {
        one(&format!("path = '{path}'"), "path", "path_reserved");
    }
    for version in ["", "1", "v0", "V1", "v1gamma", "stable"] {
        one(&format!("versions = ['v1', '{version}']"), "versions[1]", "version_invalid");
    }
    one("versions = ['v1', 'v1beta', 'v1']", "versions[2]", "version_invalid");
    for quota in ["", "60", "0 per minute", "60 per fortnight"] {
        one(&format!("limits = [{{ quota = '{quota}' }}]"), "limits[0].quota", "quota_invalid");
    }
    one("limits = [{ quota = '1 per day', burst = 0 }]", "limits[0].burst", "burst_invalid");
    for per in ["", "tokens", "address", "path", "path.", "path.nope"] {
        one(
            &format!("limits = [{{ quota = '1 per day', per = '{per}' }}]"),
            "limits[0].per",
            "limit_scope_invalid",
        );
    }
}

#[test]
fn every_kind_of_condition_is_checked() {
    one("feature = ''", "feature", "feature_invalid");
    one("scope = 'a b'", "scope", "scope_invalid");
    one("plans = []", "plans", "plans_empty");
    for asked in ["role = 'owner'", "feature = 'F'", "scope = ''", "plans = ['free']"] {
        one(&format!("public = true\n{asked}"), "public", "public_conflict");
    }
    for days in [
        "since = 'soon'",
        "since = '2026-02-30'",
        "since = '1969-12-31'",
        "since = '2026-02-02', sunset = '2026-02-01'",
    ] {
        let text = format!("versions = ['v1']\ndeprecated = [{{ version = 'v1', {days} }}]");
        one(&text, "deprecated[0]", "deprecation_invalid");
    }
    one(
        "deprecated = [{ version = 'v1', since = '2026-01-01' }]",
        "deprecated[0].version",
        "deprecation_invalid",
    );
}

#[test]
fn unknown_keys_and_words_are_refused_by_the_types() {
    let base = "operation = 'a'\nmethod = 'GET'\npath = '/a'\n";
    for text in [
        "limit = []",
        "role = 'admin'",
        "plans = ['gold']",
        "limits = [{ qouta = '1 per day' }]",
        "limits = [{}]",
    ] {
        assert!(toml::from_str::<EndpointRow>(&format!("{base}{text}")).is_err(), "{text}");
    }
    for text in [
        "unmatched = 'maybe'",
        "escaped_slash = 'forward'",
        "unknown_version = 'x'",
        "misspelled = 'match'",
        "nope = 1",
    ] {
        assert!(toml::from_str::<Settings>(text).is_err(), "{text}");
    }
    assert!(toml::from_str::<EndpointFile>("[[endpoints]]").is_err());
}

#[test]
fn duplicates_are_refused() {
    let rows = vec![
        row("a", "GET", "/a/{x}/b"),
        row("a", "POST", "/a"),
        row("c", "GET", "/a/{y}/b"),
        row("d", "ANY", "/a/{x}/b"),
        row("e", "ANY", "/a/{z}/b"),
        row("f", "GET", "/a/{x}/{*y}"),
        row("g", "GET", "/a/{x}/{*z}"),
        row("h", "GET", "/A/{x}/b"),
    ];
    let expected = [
        ("endpoint[1].operation", "operation_duplicate"),
        ("endpoint[2].path", "endpoint_duplicate"),
        ("endpoint[4].path", "endpoint_duplicate"),
        ("endpoint[6].path", "endpoint_duplicate"),
    ];
    assert_eq!(problems_in(rows, &Settings::default()), expected.map(|(key, code)| (key.to_owned(), code)));
}

#[test]
fn settings_are_checked_and_everything_is_told_at_once() {
    let mut bad = row("", "x", "y");
    bad.limits = vec![LimitRow {
        quota: "z".into(),
        window: Window::Rolling,
        burst: None,
        per: Some("path.a".into()),
    }];
    let settings = Settings {
        scope: "a b".into(),
        plans: Vec::new(),
        media_type_vendor: "vnd/x".into(),
        extra: vec![row("fine", "GET", "/fine"), row("also fine", "GET", "/fine")],
        ..Settings::default()
    };
    let keys: Vec<_> = problems_in(vec![bad], &settings).into_iter().map(|(key, _)| key).collect();
    let expected = [
        "endpoints.scope",
        "endpoints.plans",
        "endpoints.media_type_vendor",
        "endpoint[0].operation",
        "endpoint[0].method",
        "endpoint[0].path",
        "endpoint[0].limits[0].quota",
        "endpoints.extra[1].operation",
    ];
    assert_eq!(keys, expected);
    for vendor in ["", "vnd.", "a b", "é", "a+b"] {
        let settings = Settings { media_type_vendor: vendor.into(), ..Settings::default() };
        assert_eq!(problems_in(Vec::new(), &settings)[0].1, "media_type_vendor_invalid", "{vendor}");
    }
}

#[test]
fn there_is_a_most_of_endpoints() {
    let rows: Vec<_> = (0..65_001)
        .map(|index| {
            let mut row = row("x", "GET", "/x");
            row.operation = format!("op{index}");
            row.path = format!("/p{index}/{{id}}");
            row
        })
        .collect();
    let problems = problems_in(rows, &Settings::default());
    assert_eq!(problems, [("endpoint[65000]".to_owned(), "endpoints_too_many")]);
}

#[test]
fn a_row_overrides_the_settings_and_extra_rows_come_last() {
    let settings: Settings = toml::from_str(
        "tables = ['endpoints.toml']\nscope = 'read'\nplans = ['business']\nunmatched = 'refuse'\n\
         escaped_slash = 'refuse'\nunknown_version = 'forward'\nmisspelled = 'forward'\n\
         [[extra]]\noperation = 'raw'\nmethod = 'ANY'\npath = '/sample/raw/{*rest}'\nscope = ''\nplans = ['free', 'team']\n\
         limits = [{ quota = '5 per second', burst = 9, per = 'path.rest' }]\n\
         [[extra]]\noperation = 'open'\nmethod = 'GET'\npath = '/open'\npublic = true\n",
    )
    .unwrap();
    let table = table_of(vec![row("a", "GET", "/a")], &settings);
    assert_eq!(table.default_scope().map(|scope| &**scope), Some("read"));
    assert_eq!(table.default_plans(), [Plan::Business]);
    let a = table.by_operation("a").unwrap();
    assert_eq!((a.index, a.scope.as_deref(), &*a.plans), (0, Some("read"), &[Plan::Business][..]));
    let raw = table.by_operation("raw").unwrap();
    assert_eq!((raw.index, raw.method, raw.scope.as_deref()), (1, None, None));
    assert_eq!(raw.plans, [Plan::Free, Plan::Team]);
    assert_eq!(raw.limits[0].scope, LimitScope::PathParameter("rest".into()));
    assert_eq!((raw.limits[0].quota.requests.get(), raw.limits[0].quota.burst.get()), (5, 9));
    assert!(table.by_operation("open").unwrap().public && !a.public);
    assert!(table.by_operation("b").is_none());
}

#[test]
fn an_empty_table_matches_nothing_and_forwards() {
    let table = table_of(Vec::new(), &Settings::default());
    for target in ["/", "/a", "/a/b?c", "/a;b/"] {
        assert_eq!(word(&table, &head("GET", target)), "unknown_path -> forward");
    }
}
