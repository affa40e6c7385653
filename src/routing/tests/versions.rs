//! `Accept` and `Content-Type`.

use super::*;
use crate::domain::ApiVersion;

type Fields<'f> = &'f [(&'f str, &'f str)];

fn request(version: Version, method: &str, target: &str, fields: Fields<'_>) -> Head {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    Head::from_parts(version, method.as_bytes(), target.as_bytes(), fields)
}

/// The version that was settled on, or the refusal's status.
fn settled(table: &Table, head: &Head) -> String {
    match table.find(head) {
        Ok(Match::Matched(matched)) => {
            matched.version.map_or("none".to_owned(), |version| version.to_string())
        }
        Ok(Match::Unmatched(_)) => word(table, head)[..3].to_owned(),
        Err(fault) => panic!("{fault}"),
    }
}

/// `/sources` has v1, v1beta and v1alpha.
#[track_caller]
fn accept(lines: &[&str], expected: &str) {
    let fields: Vec<_> = lines.iter().map(|line| ("Accept", *line)).collect();
    assert_eq!(
        settled(&segment(), &request(Version::Http11, "GET", "/sources", &fields)),
        expected,
        "{lines:?}"
    );
}

fn vendor(name: &str) -> String {
    format!("application/vnd.segment.{name}+json")
}

#[test]
fn without_a_named_version_the_most_stable_one_is_meant() {
    accept(&[], "v1");
    for line in [
        "",
        "*/*",
        "application/*",
        "application/json",
        "application/problem+json",
        "text/html",
        "garbage",
        ",;,",
        "application/json;q=0",
        "*/*;q=0",
        "application/vnd.segmentation.v9+json",
        "text/vnd.segment.v9+json",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "image/png, \"application/vnd.segment.v9+json\"",
    ] {
        accept(&[line], "v1");
    }
}

#[test]
fn a_named_version_is_found_by_either_name() {
    for (name, expected) in [
        ("v1", "v1"),
        ("v1beta", "v1beta"),
        ("v1alpha", "v1alpha"),
        ("V1Beta", "v1beta"),
        ("stable", "v1"),
        ("beta", "v1beta"),
        ("alpha", "v1alpha"),
        ("ALPHA", "v1alpha"),
    ] {
        accept(&[&vendor(name)], expected);
        accept(&[&vendor(name).to_uppercase()], expected);
        accept(&[&format!(" {} ; charset=\"a,b\\\",;c\" ;q=0.5 ", vendor(name))], expected);
        accept(&["text/html", &vendor(name)], expected);
    }
}

#[test]
fn only_versions_that_are_missing_are_406_and_only_without_an_alternative() {
    for name in
        ["v2", "v9", "v1gamma", "v0", "foo", "", "v1.1", "*", "v99999", "v1betaalphagammadeltaepsilon"]
    {
        let missing = vendor(name);
        accept(&[&missing], "406");
        accept(&[&missing, "text/html, application/problem+json"], "406");
        accept(&[&missing, "application/json;q=0"], "406");
        accept(&[&format!("{missing}, application/json;q=0.1")], "v1");
        accept(&[&missing, "*/*;q=0.001"], "v1");
        accept(&[&missing, "application/*"], "v1");
        accept(&[&missing, &vendor("beta")], "v1beta");
    }
    for line in [
        "application/vnd.segment+json",
        "application/vnd.segment",
        "application/vnd.segment.v1",
        "application/vnd.segment.v1+xml",
        "application/vnd.segment.v1+json;q=0",
        "application/vnd.segment.v1+json;q=0.000, application/vnd.segment.v2+json",
    ] {
        accept(&[line], "406");
    }
}

#[test]
fn weights_decide_between_versions() {
    accept(&[&format!("{};q=0.5, {}", vendor("v1"), vendor("v1alpha"))], "v1alpha");
    accept(&[&format!("{}, {}", vendor("v1alpha"), vendor("v1beta"))], "v1beta");
    accept(&[&format!("{};q=0.2, {};Q=0.3", vendor("v1beta"), vendor("v1alpha"))], "v1alpha");
    accept(&[&format!("{};q=0.5, application/json", vendor("v1alpha"))], "v1");
    accept(&[&format!("{}, */*", vendor("v1alpha"))], "v1alpha");
    accept(&[&format!("{};q=0, */*", vendor("v1"))], "v1beta");
    accept(&[&format!("{};q=0", vendor("stable")), &format!("{};q=0.0", vendor("beta")), "*/*"], "v1alpha");
    accept(&[&format!("{};q=oops, {};q=0.9", vendor("v1alpha"), vendor("v1"))], "v1alpha");
    let all = ["v1", "v1beta", "v1alpha"].map(|name| format!("{};q=0", vendor(name))).join(",");
    accept(&[&all, "application/json"], "v1");
}

#[test]
fn an_endpoint_has_only_its_own_versions() {
    let table = segment();
    let alpha_only =
        |accept| settled(&table, &request(Version::Http11, "GET", "/spaces", &[("accept", accept)]));
    assert_eq!(alpha_only("application/json"), "v1alpha");
    assert_eq!(alpha_only("application/vnd.segment.v1alpha+json"), "v1alpha");
    assert_eq!(alpha_only("application/vnd.segment.alpha+json"), "v1alpha");
    assert_eq!(alpha_only("application/vnd.segment.v1+json"), "406");
    let head = request(Version::Http11, "GET", "/spaces", &[("accept", &vendor("v1"))]);
    assert_eq!(
        word(&table, &head),
        "406 application/vnd.segment.v1alpha+json, application/json -> version_unsupported"
    );
    let Ok(Match::Unmatched(unmatched)) = table.find(&head) else { panic!() };
    assert!(unmatched.reason.to_string().contains("on offer are application/vnd.segment.v1alpha+json"));
}

#[test]
fn the_type_of_a_body_names_a_version_too() {
    let table = segment();
    let post = |fields: Fields<'_>| settled(&table, &request(Version::Http11, "POST", "/sources", fields));
    let length = ("Content-Length", "2");
    for (kind, expected) in [
        ("application/json", "v1"),
        ("application/json; charset=utf-8", "v1"),
        ("text/plain", "v1"),
        ("multipart/form-data; boundary=x", "v1"),
        ("application/vnd.api+json", "v1"),
        ("", "v1"),
        ("*/*", "v1"),
        ("application/vnd.segment.v1beta+json", "v1beta"),
        ("application/vnd.segment.v1alpha+json; charset=utf-8", "v1alpha"),
        ("application/vnd.segment.stable+json", "v1"),
        ("application/vnd.segment.v2+json", "415"),
        ("application/vnd.segment+json", "415"),
        ("application/vnd.segment.v1", "415"),
        ("application/vnd.segment.v1+xml", "415"),
    ] {
        assert_eq!(post(&[("Content-Type", kind), length]), expected, "{kind}");
        assert_eq!(post(&[("content-type", kind), ("Transfer-Encoding", "chunked")]), expected, "{kind}");
        assert_eq!(
            post(&[("Accept", "application/json"), ("Content-Type", kind), length]),
            expected,
            "{kind}"
        );
        assert_eq!(post(&[("Content-Type", kind), ("Content-Length", "0")]), "v1", "{kind}");
        assert_eq!(post(&[("Content-Type", kind)]), "v1", "{kind}");
    }
    let alpha = vendor("v1alpha");
    assert_eq!(post(&[("Accept", &vendor("v1")), ("Content-Type", &alpha), length]), "v1");
    assert_eq!(post(&[("Content-Type", &alpha), ("Content-Type", &vendor("v7")), length]), "415");
}

#[test]
fn http2_bodies_need_not_say_their_length() {
    let table = segment();
    let wrong = vendor("v7");
    let ask =
        |method, fields: Fields<'_>| settled(&table, &request(Version::Http2, method, "/sources", fields));
    assert_eq!(ask("POST", &[("content-type", &wrong)]), "415");
    assert_eq!(ask("POST", &[("content-type", &wrong), ("content-length", "0")]), "v1");
    assert_eq!(ask("GET", &[("content-type", &wrong)]), "v1");
    assert_eq!(ask("GET", &[("content-type", &wrong), ("content-length", "1")]), "415");
}

#[test]
fn unknown_versions_are_forwarded_where_the_configuration_says_so() {
    let table = segment_with(|settings| settings.unknown_version = UnknownVersion::Forward);
    let ask = |fields: Fields<'_>| settled(&table, &request(Version::Http11, "POST", "/sources", fields));
    let (wrong, beta) = (vendor("v7"), vendor("beta"));
    assert_eq!(ask(&[("Accept", &wrong)]), "v1");
    assert_eq!(ask(&[("Content-Type", &wrong), ("Content-Length", "1")]), "v1");
    assert_eq!(ask(&[("Accept", &wrong), ("Content-Type", &beta), ("Content-Length", "1")]), "v1beta");
    assert_eq!(ask(&[("Accept", &beta)]), "v1beta");
}

#[test]
fn endpoints_without_versions_take_every_type() {
    let table = table_of(vec![row("plain", "ANY", "/plain")], &Settings::default());
    let head = request(
        Version::Http11,
        "POST",
        "/plain",
        &[
            ("Accept", "application/vnd.segment.v7+json"),
            ("Content-Type", "application/vnd.segment.v7+json"),
            ("Content-Length", "1"),
        ],
    );
    assert_eq!(settled(&table, &head), "none");
}

#[test]
fn the_most_stable_version_is_the_default_and_a_vendor_can_be_another() {
    let mut versioned = row("thing", "GET", "/thing");
    versioned.versions = ["v3alpha", "v1", "v2beta", "v2"].map(str::to_owned).to_vec();
    let settings = Settings { media_type_vendor: "vnd.acme-x".into(), ..Settings::default() };
    let table = table_of(vec![versioned], &settings);
    let names: Vec<_> = table.endpoints()[0].versions.iter().map(ApiVersion::to_string).collect();
    assert_eq!(names, ["v1", "v2", "v2beta", "v3alpha"]);
    for (accept, expected) in [
        ("*/*", "v1"),
        ("application/vnd.acme-x.v2+json", "v2"),
        ("application/vnd.acme-x.stable+json", "v1"),
        ("application/vnd.acme-x.v1beta+json", "406"),
        ("application/vnd.segment.v9+json", "v1"),
    ] {
        let head = request(Version::Http11, "GET", "/thing", &[("Accept", accept)]);
        assert_eq!(settled(&table, &head), expected, "{accept}");
    }
}

#[test]
fn a_version_that_is_going_away_is_marked() {
    let mut old = row("old", "GET", "/old");
    old.versions = ["v1", "v1alpha"].map(str::to_owned).to_vec();
    old.deprecated = vec![DeprecationRow {
        version: "v1alpha".into(),
        since: "2026-01-31".into(),
        sunset: Some("2026-07-01".into()),
    }];
    let table = table_of(vec![old], &Settings::default());
    let marked = |accept: &str| {
        let head = request(Version::Http11, "GET", "/old", &[("Accept", accept)]);
        let Ok(Match::Matched(matched)) = table.find(&head) else { panic!() };
        matched.deprecation.cloned()
    };
    assert_eq!(marked("application/json"), None);
    let deprecation = marked("application/vnd.segment.alpha+json").unwrap();
    assert_eq!(&*deprecation.since, "@1769817600");
    assert_eq!(deprecation.sunset.as_deref(), Some("Wed, 01 Jul 2026 00:00:00 GMT"));
}
