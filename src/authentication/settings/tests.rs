use std::path::Path;

use super::*;
use crate::authentication::fixture::regions;
use crate::authentication::issuer::Typ;
use crate::authentication::jwt::Algorithm;
use crate::domain::{Plan, Problem, Problems, Region, RegionId, Regions};

const GOOD: &str = r#"
[[issuers]]
issuer = "https://oauth2.example.com"
audiences = ["https://api.example.com"]
jwks_uri = "https://oauth2.example.com/jwks.json"
regions = ["us"]
"#;

fn check(text: &str) -> Result<Checked, Vec<Problem>> {
    let settings: Settings = toml::from_str(text).unwrap();
    let mut problems = Problems::new();
    let checked = from_settings(&settings, &regions(), None, Path::new(""), &mut problems);
    checked.ok_or(problems.0)
}

/// The keys and codes of the problems that a changed line causes.
fn problems(from: &str, to: &str) -> Vec<(String, &'static str)> {
    assert!(GOOD.contains(from), "{from}");
    let found = check(&GOOD.replace(from, to)).unwrap_err();
    assert!(found.iter().all(|problem| !problem.reason.is_empty() && !problem.fix.is_empty()));
    found
        .into_iter()
        .map(|problem| (problem.key.replace("authentication.issuers[0].", ""), problem.code))
        .collect()
}

#[test]
fn nothing_configured_means_no_jwt() {
    let checked = check("").unwrap();
    assert_eq!((checked.verified_tokens, checked.issuers.len()), (100_000, 0));
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let issuer = check(GOOD).unwrap().issuers.remove(0);
    let rules = issuer.rules;
    assert_eq!(rules.algorithms, [Algorithm::Rs256, Algorithm::Es256]);
    assert_eq!(rules.typ, [Typ::Jwt, Typ::AtJwt, Typ::Absent]);
    assert_eq!((rules.leeway_seconds, rules.max_lifetime_seconds), (60, 30 * 86_400));
    assert_eq!(rules.regions, [("us".into(), RegionId(0))]);
    assert!(rules.plans.is_empty() && !rules.claims_suffice && !rules.accept_sender_constrained);
    let seconds =
        [issuer.pace.refresh, issuer.pace.cool_down, issuer.pace.max_stale, issuer.pace.removal_overlap]
            .map(|wait| wait.as_secs());
    assert_eq!(seconds, [600, 5, 86_400, 600]);
    assert_eq!(issuer.saved, None);
}

#[test]
fn everything_can_be_said() {
    let all = GOOD.to_owned()
        + r#"
ca_file = "Cargo.toml"
algorithms = ["PS512", "EdDSA", "ES384"]
typ = ["at+jwt"]
leeway_seconds = 0
max_lifetime_seconds = 3600
refresh_seconds = 60
unknown_key_seconds = 30
max_stale_seconds = 3600
plans = ["business", "team"]
claims_suffice = true
claimed_features = ["regulations"]
role_default = "owner"
accept_sender_constrained = true
[issuers.claims]
workspace = "w"
region = "r"
role = "o"
scopes = "scp"
client = "app"
plan = "tier"
"#;
    let rules = check(&all).unwrap().issuers.remove(0).rules;
    assert_eq!(rules.algorithms, [Algorithm::Ps512, Algorithm::EdDsa, Algorithm::Es384]);
    assert_eq!(*rules.plans, [Plan::Business, Plan::Team]);
    assert_eq!(rules.claims.client.as_deref(), Some("app"));
    let file =
        GOOD.replace(r#"jwks_uri = "https://oauth2.example.com/jwks.json""#, r#"jwks_file = "Cargo.toml""#);
    assert!(matches!(check(&file).unwrap().issuers[0].source, Source::File(_)));
}

#[test]
fn each_mistake_is_named_with_its_key() {
    let issuer = r#"issuer = "https://oauth2.example.com""#;
    let audiences = r#"audiences = ["https://api.example.com"]"#;
    let uri = r#"jwks_uri = "https://oauth2.example.com/jwks.json""#;
    let regions = r#"regions = ["us"]"#;
    let with = |line: &str| format!("{regions}\n{line}");
    for (from, to, key, code) in [
        (issuer, "", "issuer", "issuer_missing"),
        (audiences, "", "audiences", "audience_missing"),
        (audiences, r#"audiences = ["a", ""]"#, "audiences", "audience_missing"),
        (uri, "", "jwks_uri", "jwks_missing"),
        (regions, &with(r#"jwks_file = "x""#), "jwks_file", "jwks_twice"),
        (regions, "", "regions", "regions_missing"),
        (regions, r#"regions = ["us", "mars"]"#, "regions[1]", "region_unknown"),
        (regions, &with("algorithms = []"), "algorithms", "algorithms_missing"),
        (regions, &with(r#"algorithms = ["RS256", "HS256"]"#), "algorithms[1]", "algorithm_unknown"),
        (regions, &with(r#"algorithms = ["none"]"#), "algorithms[0]", "algorithm_unknown"),
        (regions, &with(r#"algorithms = ["rs256"]"#), "algorithms[0]", "algorithm_unknown"),
        (regions, &with("typ = []"), "typ", "typ_missing"),
        (regions, &with(r#"typ = ["id"]"#), "typ[0]", "typ_unknown"),
        (regions, &with(r#"plans = ["gold"]"#), "plans[0]", "plan_unknown"),
        (regions, &with("leeway_seconds = 601"), "leeway_seconds", "seconds_out_of_range"),
        (regions, &with("max_lifetime_seconds = 0"), "max_lifetime_seconds", "seconds_out_of_range"),
        (regions, &with("refresh_seconds = 0"), "refresh_seconds", "seconds_out_of_range"),
        (uri, r#"jwks_file = "nowhere.json""#, "jwks_file", "file_unreadable"),
        (regions, &with(r#"ca_file = "nowhere.pem""#), "ca_file", "file_unreadable"),
        (regions, &with("unknown_key_seconds = 0"), "unknown_key_seconds", "seconds_out_of_range"),
        (regions, &with("max_stale_seconds = 1"), "max_stale_seconds", "seconds_out_of_range"),
        (regions, &with(r#"claimed_features = ["x"]"#), "claimed_features", "claimed_features_unused"),
        (regions, &with("claims = { workspace = \"\" }"), "claims.workspace", "claim_unnamed"),
        (regions, &with("claims = { client = \"\" }"), "claims.client", "claim_unnamed"),
    ] {
        assert_eq!(problems(from, to), [(key.to_owned(), code)], "{to}");
    }
    let file = "jwks_file = \"Cargo.toml\"\nca_file = \"y\"";
    assert_eq!(problems(uri, file), [("ca_file".to_owned(), "ca_file_unused")]);
    assert_eq!(check("verified_tokens = 99999999").unwrap_err()[0].code, "verified_tokens_too_many");
    let twice = check(&GOOD.repeat(2)).unwrap_err();
    assert_eq!((twice[0].key.as_str(), twice[0].code), ("authentication.issuers[1].issuer", "issuer_twice"));
    assert_eq!(check("[[issuers]]\n[[issuers]]").unwrap_err().len(), 8);
    assert!(toml::from_str::<Settings>("[[issuers]]\nissuers = 1").is_err());
}

#[test]
fn only_addresses_that_can_be_trusted_are_taken() {
    let uri = "https://oauth2.example.com/jwks.json";
    for good in [
        "https://issuer.test",
        "https://issuer.test:8443/a?b=c",
        "http://127.0.0.1:1/jwks",
        "http://localhost/jwks",
        "http://[::1]:1/jwks",
        "https://10.0.0.1/jwks",
    ] {
        assert!(check(&GOOD.replace(uri, good)).is_ok(), "{good}");
    }
    for bad in [
        "",
        "/jwks",
        "issuer.test/jwks",
        "http://issuer.test/jwks",
        "http://127.0.0.1.evil.test/jwks",
        "http://localhost.evil.test/jwks",
        "http://127.0.0.1@evil.test/jwks",
        "https://user:pass@issuer.test/jwks",
        "ftp://issuer.test/jwks",
        "file:///etc/passwd",
        "http://0.0.0.0/jwks",
    ] {
        assert_eq!(problems(uri, bad), [("jwks_uri".to_owned(), "jwks_uri_invalid")], "{bad}");
    }
}

#[test]
fn one_region_needs_no_binding() {
    let only = Region { name: "main".into(), letter: 'm', base_url: "https://main".into() };
    let settings: Settings = toml::from_str(&GOOD.replace("regions = [\"us\"]", "")).unwrap();
    let checked =
        from_settings(&settings, &Regions::new(vec![only]), None, Path::new(""), &mut Problems::new())
            .unwrap();
    assert_eq!(checked.issuers[0].rules.regions, [("main".into(), RegionId(0))]);
}

#[test]
fn problems_of_other_rooms_do_not_make_good_settings_bad() {
    let mut problems = Problems::new();
    problems.add("listen", "x", "x", "x");
    assert!(
        from_settings(&toml::from_str(GOOD).unwrap(), &regions(), None, Path::new(""), &mut problems)
            .is_some()
    );
}
