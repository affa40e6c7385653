//! Who takes alerts of leaked tokens, what works beside it, and what operators are shown of both.

use std::sync::Arc;
use std::{io, iter};

use tokio::runtime::Handle;

use super::node::Node;
use super::operator::whole;
use crate::clock::{Clock, Now};
use crate::config::Config;
use crate::secret_scanning::{KeysRefresher, Receiver, Relay, Shared};
use crate::telemetry::Gauge;
use crate::tokens::{Mint, Registry};

/// Derives the keys of alerts that wait from the peppers.
const QUEUE: &[u8] = b"tollgate: alerts of leaked tokens that wait for another region";

/// What works beside a receiver.
#[derive(Default)]
pub(super) struct Tasks {
    refresher: Option<KeysRefresher>,
    relay: Option<Arc<Relay>>,
}

impl Tasks {
    /// Lets them work for as long as they are needed.
    pub(super) fn spawn(self, on: &Handle, clock: &Clock) {
        if let Some(refresher) = self.refresher {
            on.spawn(refresher.run(clock.clone()));
        }
        if let Some(relay) = self.relay {
            on.spawn(relay.run(clock.clone()));
        }
    }
}

/// The receiver of a configuration, if it has alerts taken. `lasting` is what the last one left, whether or not it is still
/// in force: one folder of alerts that wait is sent by one relay.
pub(super) fn receiver(
    config: &Config,
    (previous, lasting): (Option<&Receiver>, Option<Arc<Shared>>),
    (mint, registry): (&Arc<Mint>, &Arc<Registry>),
    clock: &Clock,
) -> io::Result<(Option<Arc<Receiver>>, Tasks)> {
    let Some(rules) = config.secret_scanning.clone() else { return Ok((None, Tasks::default())) };
    let places = config.places.clone();
    if let Some(previous) = previous {
        let (receiver, refresher) = previous.reloaded(rules, places);
        return Ok((Some(Arc::new(receiver)), Tasks { refresher, relay: None }));
    }
    if let Some(lasting) = lasting {
        let (receiver, refresher) = Receiver::resumed(lasting, rules, places);
        return Ok((Some(Arc::new(receiver)), Tasks { refresher: Some(refresher), relay: None }));
    }
    let peppers = mint.peppers();
    // What waits since before a rotation is under another pepper than what is to come.
    let keys: Vec<_> = iter::once(peppers.derive_written(QUEUE)).chain(peppers.derive_each(QUEUE)).collect();
    let relay = Relay::open(&rules, places.regions(), &keys)?;
    let (store, registry) = (Arc::clone(mint.store()), Arc::clone(registry));
    let (receiver, refresher) =
        Receiver::new(rules, places, clock.clone(), registry, store, Arc::clone(&relay));
    Ok((Some(Arc::new(receiver)), Tasks { refresher: Some(refresher), relay: Some(relay) }))
}

/// Values of a family by their labels.
type Values = Vec<(Vec<String>, f64)>;
/// What a metric says of a receiver.
type OfReceiver = fn(&Receiver, Now) -> Values;

/// Every metric: name, help, labels, values, and whether it only grows.
const METRICS: [(&str, &str, &[&str], OfReceiver, bool); 7] = [
    (
        "tollgate_secret_scanning_alerts_total",
        "Alerts of leaked tokens by how they ended.",
        &["result"],
        |receiver, _| labelled(&receiver.counts().alerts()),
        true,
    ),
    (
        "tollgate_secret_scanning_tokens_total",
        "Tokens of accepted alerts by what they were.",
        &["label"],
        |receiver, _| labelled(&receiver.counts().tokens()),
        true,
    ),
    (
        "tollgate_secret_scanning_revocations_total",
        "Tokens that worked until an alert, those of their families included.",
        &[],
        |receiver, _| vec![(Vec::new(), whole(receiver.counts().revocations()))],
        true,
    ),
    (
        "tollgate_secret_scanning_keys_age_seconds",
        "Age of GitHub's keys; absent while none were ever loaded.",
        &[],
        |receiver, now| {
            let age = receiver.keys_status(now).age;
            age.into_iter().map(|age| (Vec::new(), age.as_secs_f64())).collect()
        },
        false,
    ),
    (
        "tollgate_secret_scanning_keys",
        "GitHub's keys in use.",
        &[],
        |receiver, now| vec![(Vec::new(), whole(receiver.keys_status(now).keys as u64))],
        false,
    ),
    (
        "tollgate_secret_scanning_relay_waiting",
        "Alerts that wait for another region, or for the token store.",
        &["region"],
        |receiver, _| {
            let waiting = receiver.relay().waiting();
            waiting.map(|(region, count)| (vec![region.to_string()], whole(count as u64))).collect()
        },
        false,
    ),
    (
        "tollgate_secret_scanning_relays_total",
        "Attempts to relay an alert by how they ended.",
        &["region", "result"],
        |receiver, _| {
            let attempts = receiver.relay().attempts();
            let value = |(region, result, count): (&Arc<str>, &str, u64)| {
                (vec![region.to_string(), result.to_owned()], whole(count))
            };
            attempts.map(value).collect()
        },
        true,
    ),
];

/// Registers the metrics of alerts.
pub(super) fn add_gauges(node: &Arc<Node>) {
    for (name, help, labels, values, is_counter) in METRICS {
        let of_node = Arc::clone(node);
        let gauge = Gauge::family(name, help, labels, move || {
            let snapshot = of_node.snapshot.load();
            let receiver = snapshot.alerts.as_ref();
            receiver.map_or_else(Vec::new, |receiver| values(receiver, of_node.clock.now()))
        });
        node.telemetry.add_gauge(if is_counter { gauge.counted() } else { gauge });
    }
}

fn labelled(counts: &[(&'static str, u64)]) -> Values {
    counts.iter().map(|(label, count)| (vec![(*label).to_owned()], whole(*count))).collect()
}

/// Why alerts cannot be taken at the moment, if they cannot. It makes the node no less ready: its requests are served.
pub(super) fn note(node: &Node) -> Option<String> {
    let snapshot = node.snapshot.load();
    let status = snapshot.alerts.as_ref()?.keys_status(node.clock.now());
    let why = status.last_failure.as_deref().map_or("GitHub's keys are being loaded", String::as_str);
    status.age.is_none().then(|| format!("alerts of leaked tokens are answered 503: {why}"))
}
