//! Every mistake is found, named by its key, and told with a fix.

use super::world::{checked, endpoints, limit};
use crate::domain::LimitScope;
use crate::limits::Settings;

/// The keys and codes of the problems of one policy.
fn problems(toml: &str) -> Vec<(String, &'static str)> {
    let problems = checked(toml, &endpoints()).map(drop).unwrap_err();
    problems.0.into_iter().map(|problem| (problem.key, problem.code)).collect()
}

fn of_policy(policy: &str) -> Vec<(String, &'static str)> {
    problems(&format!("policies = [{{ {policy} }}]"))
}

#[test]
fn each_mistake_of_a_policy_is_told() {
    for (policy, key, code) in [
        (r#"per = ["token"], quota = "1 per day""#, "name", "limit_policy_name_invalid"),
        (r#"name = "Aé", per = ["token"], quota = "1 per day""#, "name", "limit_policy_name_invalid"),
        (r#"name = "a\"b", per = ["token"], quota = "1 per day""#, "name", "limit_policy_name_invalid"),
        (r#"name = "token", per = ["token"], quota = "1 per day""#, "name", "limit_policy_name_reserved"),
        (r#"name = "echo2", per = [], quota = "1 per day""#, "per", "limit_per_missing"),
        (r#"name = "a", per = ["tokens"], quota = "1 per day""#, "per[0]", "limit_per_unknown"),
        (r#"name = "a", per = ["path."], quota = "1 per day""#, "per[0]", "limit_per_unknown"),
        (r#"name = "a", per = ["token", "token"], quota = "1 per day""#, "per[1]", "limit_per_duplicate"),
        (r#"name = "a", per = ["site", "address"], quota = "1 per day""#, "per", "limit_per_redundant"),
        (r#"name = "a", per = ["path.space"], quota = "1 per day""#, "per[0]", "limit_parameter_unknown"),
        (r#"name = "a", per = ["token"], quota = "0 per day""#, "quota", "quota_invalid"),
        (r#"name = "a", per = ["token"]"#, "quota", "quota_invalid"),
        (r#"name = "a", per = ["token"], quota = "1 per day", burst = 0"#, "burst", "limit_burst_zero"),
        (
            r#"name = "a", per = ["token"], quota = "1 per month", burst = 122"#,
            "burst",
            "limit_burst_too_large",
        ),
        (r#"name = "a", per = ["token"], quota = "1 per day", cost = 0"#, "cost", "limit_cost_invalid"),
        (
            r#"name = "a", per = ["token"], quota = "9 per day", burst = 2, cost = 3"#,
            "cost",
            "limit_cost_invalid",
        ),
        (
            r#"name = "a", per = ["token"], quota = "1 per day", endpoints = ["listSource"]"#,
            "endpoints[0]",
            "limit_operation_unknown",
        ),
        (
            r#"name = "a", per = ["token"], quota = "1 per day", versions = ["beta"]"#,
            "versions[0]",
            "limit_version_invalid",
        ),
    ] {
        assert_eq!(of_policy(policy), [(format!("limits.policies[0].{key}"), code)], "{policy}");
    }
    let elsewhere = r#"name = "a", per = ["path.spaceId"], quota = "1 per day", endpoints = ["echo"]"#;
    assert_eq!(of_policy(elsewhere)[0].1, "limit_parameter_unknown", "the parameter is another endpoint's");
}

#[test]
fn each_mistake_beside_the_policies_is_told() {
    for (toml, key, code) in [
        ("memory_bytes = 1048575", "limits.memory_bytes", "limit_memory_too_small"),
        ("retry_after_ceiling_seconds = 0", "limits.retry_after_ceiling_seconds", "limit_retry_after_zero"),
        ("in_flight = { per_token = 0 }", "limits.in_flight.per_token", "limit_in_flight_zero"),
        ("in_flight = { per_workspace = 0 }", "limits.in_flight.per_workspace", "limit_in_flight_zero"),
        ("in_flight = { total = 0 }", "limits.in_flight.total", "limit_in_flight_zero"),
        (
            r#"failed_authentications = { quota = "many" }"#,
            "limits.failed_authentications.quota",
            "quota_invalid",
        ),
        (
            r#"failed_authentications = { exempt = ["::1", "localhost"] }"#,
            "limits.failed_authentications.exempt[1]",
            "network_invalid",
        ),
    ] {
        assert_eq!(problems(toml), [(key.to_owned(), code)], "{toml}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let found = problems(
        r#"
        memory_bytes = 0
        policies = [
          { name = "a", per = ["token"], quota = "1 per day" },
          { name = "a", per = ["tokn"], quota = "daily", endpoints = ["x"] },
          { name = "createLabel", per = ["token"], quota = "1 per day" },
        ]"#,
    );
    let codes: Vec<&str> = found.iter().map(|(_, code)| *code).collect();
    assert_eq!(
        codes,
        [
            "limit_policy_duplicate",
            "limit_operation_unknown",
            "limit_per_unknown",
            "quota_invalid",
            "limit_policy_duplicate",
            "limit_policy_name_invalid",
            "limit_memory_too_small",
        ]
    );
}

#[test]
fn a_near_miss_is_suggested() {
    let fix = |toml: &str| checked(toml, &endpoints()).map(drop).unwrap_err().0[0].fix.clone();
    let of = |rest: &str| fix(&format!(r#"policies = [{{ name = "a", quota = "1 per day", {rest} }}]"#));
    assert_eq!(of(r#"per = ["tokne"]"#), "did you mean `token`?");
    assert_eq!(of(r#"per = ["path.spaceID"]"#), "did you mean `spaceId`?");
    assert_eq!(of(r#"per = ["token"], endpoints = ["listSource"]"#), "did you mean `listSources`?");
}

#[test]
fn unknown_keys_are_refused() {
    for toml in ["polices = []", "policies = [{ nam = \"a\" }]", "in_flight = { tokens = 1 }"] {
        assert!(toml::from_str::<Settings>(toml).is_err(), "{toml}");
    }
    assert!(toml::from_str::<Settings>("policies = [{ mode = \"dry\" }]").is_err());
}

#[test]
fn the_endpoint_tables_limits_are_checked_and_named() {
    let mut rows = endpoints();
    let names = |rows: &[_]| {
        let rules = checked("policies = []", rows).unwrap();
        rules.policies().iter().map(|policy| policy.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&rows)[4..], ["createAudiencePreview", "createAudiencePreview:spaceId"]);
    rows[0].limits = vec![limit("700 per day", LimitScope::Token), limit("60 per minute", LimitScope::Token)];
    assert_eq!(names(&rows)[..2], ["listSources", "listSources:day"]);
    for text in ["61 per minute", "62 per minute"] {
        rows[0].limits.push(limit(text, LimitScope::Token));
    }
    rows[1].limits = vec![limit("1 per day", LimitScope::PathParameter("sourceId".into()))];
    let found = checked("", &rows).map(drop).unwrap_err().0;
    let told: Vec<_> = found.iter().map(|problem| (problem.key.as_str(), problem.code)).collect();
    assert_eq!(
        told,
        [
            ("endpoints[0].limits[3]", "limit_policy_duplicate"),
            ("endpoints[1].limits[0]", "limit_parameter_unknown")
        ]
    );
}

#[test]
fn the_default_is_6000_a_minute_for_each_token() {
    let rules = checked("", &endpoints()).unwrap();
    let policy = rules.policies().iter().find(|policy| &*policy.name == "default").unwrap();
    assert_eq!(policy.quota.to_string(), "6000 per minute");
    assert_eq!(policy.per.iter().map(|word| word.name().into_owned()).collect::<Vec<_>>(), ["token"]);
    assert_eq!(rules.names().len(), rules.policies().len() + 5);
}
