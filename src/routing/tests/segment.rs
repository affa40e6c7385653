//! Segment's table against the facts, and every row against itself.

use std::collections::BTreeMap;

use super::*;
use crate::domain::{ApiVersion, Endpoint, LimitScope, Method, Plan, Role};

/// The path of an endpoint with parameters filled in.
fn example(endpoint: &Endpoint, fill: impl Fn(&str) -> String) -> String {
    endpoint
        .template
        .split('/')
        .map(|part| part.strip_prefix('{').map_or(part.to_owned(), |name| fill(name.trim_end_matches('}'))))
        .collect::<Vec<_>>()
        .join("/")
}

fn count<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

#[test]
fn the_table_holds_the_facts() {
    let table = segment();
    let endpoints = table.endpoints();
    assert_eq!(endpoints.len(), 201);
    assert_eq!(count(endpoints.iter().map(|endpoint| &endpoint.template)).len(), 126);
    let methods = count(endpoints.iter().map(|endpoint| endpoint.method.unwrap().name()));
    assert_eq!(
        methods.into_iter().collect::<Vec<_>>(),
        [("DELETE", 28), ("GET", 100), ("PATCH", 23), ("POST", 43), ("PUT", 7)]
    );
    let features = count(endpoints.iter().filter_map(|endpoint| endpoint.feature.as_deref()));
    let expected = [
        ("Audience", 20),
        ("Computed Trait", 5),
        ("Destination Subscriptions", 5),
        ("Functions", 14),
        ("Live Plugins", 3),
        ("Protocols", 17),
        ("Space Filters", 5),
        ("Spaces", 4),
    ];
    assert_eq!(features.into_iter().collect::<Vec<_>>(), expected);
    let owners: Vec<_> = endpoints.iter().filter(|endpoint| endpoint.role == Some(Role::Owner)).collect();
    assert_eq!(
        count(owners.iter().map(|endpoint| &*endpoint.operation)).into_keys().collect::<Vec<_>>(),
        ["deleteCredential", "updateCredential"]
    );
    for endpoint in endpoints {
        assert_eq!(endpoint.scope.as_deref(), Some("public_api:read_write"));
        assert_eq!(endpoint.plans, [Plan::Team, Plan::Business]);
        assert!(!endpoint.public);
    }
}

#[test]
fn the_limits_are_the_stated_ones() {
    let table = segment();
    let limited: Vec<_> = table.endpoints().iter().filter(|endpoint| !endpoint.limits.is_empty()).collect();
    assert_eq!(limited.len(), 67);
    let limits = limited.iter().flat_map(|endpoint| &endpoint.limits);
    let texts = count(limits.map(|limit| match &limit.scope {
        LimitScope::Token => limit.quota.to_string(),
        LimitScope::Workspace => format!("{}, workspace", limit.quota),
        LimitScope::PathParameter(name) => format!("{}, {name}", limit.quota),
    }));
    let expected = [
        ("10 per minute", 3),
        ("100 per minute", 2),
        ("120 per day, workspace", 1),
        ("2 per minute", 6),
        ("20 per minute", 2),
        ("200 per minute", 2),
        ("25 per minute", 10),
        ("250 per minute", 1),
        ("300 per minute", 1),
        ("5 per minute", 4),
        ("50 per minute", 11),
        ("60 per minute", 21),
        ("600 per minute", 3),
        ("700 per month, spaceId", 1),
    ];
    assert_eq!(texts.iter().map(|(text, count)| (&**text, *count)).collect::<Vec<_>>(), expected);
    assert_eq!(texts.values().sum::<usize>(), 68);
    assert_eq!(table.by_operation("createDownload").unwrap().limits[0].scope, LimitScope::Workspace);
    assert_eq!(table.by_operation("createAudiencePreview").unwrap().limits.len(), 2);
}

#[test]
fn the_versions_are_the_listed_ones() {
    let table = segment();
    let versions =
        count(table.endpoints().iter().map(|endpoint| {
            endpoint.versions.iter().map(ApiVersion::to_string).collect::<Vec<_>>().join("+")
        }));
    let expected = [
        ("v1", 6),
        ("v1+v1alpha", 7),
        ("v1+v1beta+v1alpha", 113),
        ("v1alpha", 62),
        ("v1beta", 7),
        ("v1beta+v1alpha", 6),
    ];
    assert_eq!(versions.iter().map(|(names, count)| (&**names, *count)).collect::<Vec<_>>(), expected);
}

#[test]
fn every_row_matches_itself() {
    let table = segment();
    let fills: [fn(&str) -> String; 5] = [
        |name| format!("{name}_1"),
        |_| "IqDTy1TpoU".into(),
        |_| "a%2Fb%20%252F%C3%A9".into(),
        |_| "a;b=1.x".into(),
        |_| "x".repeat(255),
    ];
    for endpoint in table.endpoints() {
        let method = endpoint.method.unwrap();
        for fill in fills {
            let target = format!("{}?x=/%2F", example(endpoint, fill));
            let escaped = target.replacen("so", "%73%6f", 1).replacen("spa", "s%70a", 1);
            for target in [target, escaped] {
                assert_eq!(word(&table, &head(method.name(), &target)), &*endpoint.operation, "{target}");
                let as_head = word(&table, &head("HEAD", &target));
                if method == Method::Get {
                    assert_eq!(as_head, &*endpoint.operation, "{target}");
                } else {
                    assert_ne!(as_head, &*endpoint.operation, "{target}");
                }
            }
        }
    }
}

#[test]
fn every_row_names_its_parameters() {
    let table = segment();
    for endpoint in table.endpoints() {
        let target = example(endpoint, |name| format!("{name}%2D7"));
        let head = head(endpoint.method.unwrap().name(), &target);
        let Ok(Match::Matched(matched)) = table.find(&head) else { panic!("{target}") };
        let wanted = endpoint.template.split('/').filter_map(|part| part.strip_prefix('{'));
        let wanted: Vec<_> = wanted.map(|name| name.trim_end_matches('}')).collect();
        let found: Vec<_> = matched.params.iter(&head).collect();
        assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), wanted);
        for (name, value) in found {
            assert_eq!(value, format!("{name}%2D7").as_bytes());
            assert_eq!(&*matched.params.canonical(name, &head).unwrap(), format!("{name}-7").as_bytes());
        }
    }
}

#[test]
fn every_row_has_each_of_its_versions_and_no_other() {
    let table = segment();
    for endpoint in table.endpoints() {
        let target = example(endpoint, str::to_owned);
        for name in ["v1", "v1beta", "v1alpha", "v2", "stable", "beta", "alpha"] {
            let media_type = format!("application/vnd.segment.{name}+json");
            let long = match name {
                "stable" => "v1".to_owned(),
                "beta" | "alpha" => format!("v1{name}"),
                name => name.to_owned(),
            };
            let version = ApiVersion::by_name(&long).unwrap();
            let fields = [
                (&b"Accept"[..], media_type.as_bytes()),
                (b"Content-Type", media_type.as_bytes()),
                (b"Content-Length", b"2"),
            ];
            for fields in [&fields[..1], &fields[1..], &fields[..]] {
                let method = endpoint.method.unwrap().name().as_bytes();
                let head =
                    Head::from_parts(Version::Http11, method, target.as_bytes(), fields.iter().copied());
                let found = match table.find(&head).unwrap() {
                    Match::Matched(matched) => matched.version,
                    Match::Unmatched(_) => None,
                };
                assert_eq!(found, endpoint.versions.contains(&version).then_some(version), "{target} {name}");
            }
        }
    }
}
