//! What operators are shown of the registry and its store.

use std::sync::Arc;

use super::node::Node;
use super::operator::whole;
use crate::admin::RegistryStatus;
use crate::clock::Now;
use crate::telemetry::Gauge;

/// What a metric says of the registry.
type OfNode = fn(&Node) -> f64;

const METRICS: [(&str, &str, OfNode); 5] = [
    ("tollgate_tokens", "Tokens in memory.", |node| whole(node.registry.status().tokens as u64)),
    ("tollgate_jwt_revocations", "Revocations of JWTs in memory.", |node| {
        whole(node.registry.jwt_revocations() as u64)
    }),
    ("tollgate_registry_staleness_seconds", "How far memory may be behind the token store.", |node| {
        node.registry.staleness(node.clock.now()).as_secs_f64()
    }),
    (
        "tollgate_registry_store_reached",
        "Whether the token store was read since the start; if not, all is as the saved registry has it.",
        |node| f64::from(u8::from(node.registry.status().has_reached_store)),
    ),
    (
        "tollgate_revocations_unwritten",
        "Revocations that are in force here and wait for the token store.",
        |node| whole(node.registry.unwritten_revocations() as u64),
    ),
];

/// Registers the metrics of the registry.
pub(super) fn add_gauges(node: &Arc<Node>) {
    for (name, help, value) in METRICS {
        let of_node = Arc::clone(node);
        node.telemetry.add_gauge(Gauge::single(name, help, move || value(&of_node)));
    }
}

/// The registry as the status page has it.
pub(super) fn status(node: &Node, now: Now) -> RegistryStatus {
    let registry = node.registry.status();
    RegistryStatus {
        store: node.store_kind.to_owned(),
        workspaces: registry.workspaces as u64,
        tokens: registry.tokens as u64,
        staleness_seconds: Some(node.registry.staleness(now).as_secs_f64()),
        store_reached: registry.has_reached_store,
        unwritten_revocations: node.registry.unwritten_revocations() as u64,
        last_error: registry.error.map(|error| error.to_string()),
    }
}

/// Why this node wants no traffic on account of the registry, if it does not.
pub(super) fn reason(node: &Node) -> Option<String> {
    let now = node.clock.now();
    let seconds = node.registry.staleness(now).as_secs();
    node.registry.is_too_stale(now).then(|| {
        format!(
            "stale: the token store was not read for {seconds} s, longer than `tokens.max_staleness_seconds` allows"
        )
    })
}

/// That the store cannot be followed, if so. It makes the node no less ready: tokens work from memory, and another node
/// on the same store could do no better.
pub(super) fn note(node: &Node) -> Option<String> {
    let status = node.registry.status();
    // Why is not for everybody who may ask whether this node is ready: it names the store.
    status.error?;
    let known = if status.has_reached_store { "from memory" } else { "as the saved registry has them" };
    let seconds = node.registry.staleness(node.clock.now()).as_secs();
    Some(format!(
        "the token store cannot be followed: tokens work {known}, {seconds} s old, and changes are answered 503; the log \
         and the status page say why"
    ))
}
