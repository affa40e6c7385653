//! What operators are shown of issuers' keys.

use std::sync::Arc;
use std::time::Duration;

use super::node::Node;
use super::operator::whole;
use crate::admin;
use crate::authentication::IssuerStatus;
use crate::clock::Now;
use crate::telemetry::Gauge;

/// Values of a family by their labels.
type Values = Vec<(Vec<String>, f64)>;

/// Registers the metrics of issuers' keys.
pub(super) fn add_gauges(node: &Arc<Node>) {
    let of_issuers = |name, help, labels, values: fn(IssuerStatus) -> Values| {
        let node = Arc::clone(node);
        Gauge::family(name, help, labels, move || {
            node.snapshot.load().authenticator.issuers(node.clock.now()).flat_map(values).collect()
        })
    };
    node.telemetry.add_gauge(of_issuers(
        "tollgate_jwks_age_seconds",
        "Age of an issuer's keys; absent while none were ever loaded.",
        &["issuer"],
        |issuer| {
            let age = issuer.age_seconds.map(|age| Duration::from_secs(age).as_secs_f64());
            age.into_iter().map(|age| (vec![issuer.issuer.to_string()], age)).collect()
        },
    ));
    node.telemetry.add_gauge(of_issuers(
        "tollgate_jwks_keys",
        "Usable keys of an issuer's current set.",
        &["issuer"],
        |issuer| vec![(vec![issuer.issuer.to_string()], whole(issuer.keys as u64))],
    ));
    let fetches = of_issuers(
        "tollgate_jwks_fetches_total",
        "Loads of an issuer's keys by how they ended.",
        &["issuer", "result"],
        |issuer| {
            let name = issuer.issuer;
            let labels = |result: &str| vec![name.to_string(), result.to_owned()];
            issuer.loads.into_iter().map(|(result, times)| (labels(result), whole(times))).collect()
        },
    );
    node.telemetry.add_gauge(fetches.counted());
}

/// Every issuer's keys.
pub(super) fn status(node: &Node, now: Now) -> Vec<admin::IssuerStatus> {
    let row = |issuer: IssuerStatus| admin::IssuerStatus {
        issuer: issuer.issuer.to_string(),
        keys: issuer.keys,
        age_seconds: issuer.age_seconds,
        last_error: issuer.last_failure.as_deref().cloned(),
    };
    node.snapshot.load().authenticator.issuers(now).map(row).collect()
}

/// Issuers whose tokens cannot be judged. They make the node no less ready, since opaque tokens and other issuers' are
/// served, and another node could not do better.
pub(super) fn notes(node: &Node) -> Vec<String> {
    let snapshot = node.snapshot.load();
    let without = snapshot.authenticator.issuers(node.clock.now()).filter(|issuer| !issuer.has_keys);
    without
        .map(|issuer| {
            let why = issuer.last_failure.as_deref().map_or("its keys are being loaded", String::as_str);
            format!("tokens of the issuer {} are answered 503: {why}", issuer.issuer)
        })
        .collect()
}
