//! What happens at this moment, for the status page.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use serde::Serialize;

use super::cells::{OUTCOMES, RequestKey};
use super::histogram::{FINE, Histogram, Sum, WIDE};
use super::per_core::Tops;
use super::{Core, DeprecatedTraffic, Labels, Top, TopK, deprecated};
use crate::clock::Now;
use crate::domain::{Family, Outcome};

/// Counters since the start, and the most frequent names of late. A reader takes two of these and subtracts.
#[derive(Clone, Debug, Serialize)]
pub struct Traffic {
    /// Requests being served.
    pub in_flight: i64,
    /// Open connections.
    pub connections: i64,
    /// Connections opened since the start.
    pub connections_opened: u64,
    /// Bytes of requests since the start.
    pub bytes_in: u64,
    /// Bytes of answers since the start.
    pub bytes_out: u64,
    /// Requests sent to an upstream again since the start.
    pub retries: u64,
    /// Every outcome that came since the start.
    pub outcomes: Vec<OutcomeCount>,
    /// Answers by the first digit of their status, since the start; those without one come first.
    pub status_classes: [u64; 6],
    /// Times of requests, the gateway's own share, and times of upstreams.
    pub latency: [Latency; 3],
    /// The operations with the most requests since the start.
    pub operations: Vec<OperationTraffic>,
    /// The busiest credentials.
    pub tokens: Vec<Top>,
    /// The busiest workspaces.
    pub workspaces: Vec<Top>,
    /// Limits that refuse, each with the workspace that it refuses.
    pub limits: Vec<Top>,
    /// Limits in shadow mode that would refuse, each with the workspace that it would refuse.
    pub shadow: Vec<Top>,
    /// Versions that are going away and who still calls them, since the start; the most called first.
    pub deprecated: Vec<DeprecatedTraffic>,
    /// Whose pages send preflights.
    pub origins: Vec<Top>,
    /// Live credentials seen in a query or beside an `Origin`.
    pub exposed: Vec<Top>,
    /// Requests of each of the last seconds, oldest first.
    pub history: Vec<Second>,
    /// How often a live credential was seen where it must not be, since the start.
    pub exposed_tokens: u64,
    /// Panics caught since the start.
    pub panics: u64,
    /// Log lines lost since the start.
    pub log_lines_dropped: u64,
}

/// How often an outcome came.
#[derive(Clone, Debug, Serialize)]
pub struct OutcomeCount {
    /// The outcome's word.
    pub reason: &'static str,
    /// `served`, `caller`, `gateway` or `upstream`.
    pub family: &'static str,
    /// How often.
    pub count: u64,
}

/// A histogram since the start.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// `request`, `overhead` or `upstream`.
    pub of: &'static str,
    /// Upper bounds of all buckets but the last, in seconds.
    pub bounds_seconds: Vec<f64>,
    /// Observations in each bucket.
    pub counts: Vec<u64>,
}

/// One operation's requests.
#[derive(Clone, Debug, Serialize)]
pub struct OperationTraffic {
    /// Its name.
    pub name: String,
    /// Its requests since the start.
    pub requests: u64,
    /// Those that the gateway refused or could not serve.
    pub refused: u64,
}

/// Requests that ended in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    /// Which, since 1970.
    pub unix_seconds: u64,
    /// Served.
    pub served: u64,
    /// Refused for the caller's reasons.
    pub caller: u64,
    /// Not served for ours.
    pub gateway: u64,
    /// Not served for the upstream's.
    pub upstream: u64,
}

/// The last seconds' requests.
#[derive(Debug, Default)]
pub(super) struct History {
    seconds: VecDeque<Second>,
    before: Second,
}

const HISTORY_SECONDS: usize = 180;
const OPERATIONS_SHOWN: usize = 50;
const TOPS_SHOWN: usize = 10;

impl History {
    /// Notes what came since the last call.
    pub(super) fn sample(&mut self, cores: &[Arc<Core>], now: Now) {
        let mut total = Second { unix_seconds: now.unix_seconds(), ..Second::default() };
        for (outcome, count) in Outcome::ALL.iter().zip(outcomes(cores)) {
            *match outcome.family() {
                Family::Served => &mut total.served,
                Family::Caller => &mut total.caller,
                Family::Gateway => &mut total.gateway,
                Family::Upstream => &mut total.upstream,
            } += count;
        }
        if self.seconds.len() >= HISTORY_SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back(Second {
            unix_seconds: total.unix_seconds,
            served: total.served - self.before.served,
            caller: total.caller - self.before.caller,
            gateway: total.gateway - self.before.gateway,
            upstream: total.upstream - self.before.upstream,
        });
        self.before = total;
    }

    pub(super) fn seconds(&self) -> Vec<Second> {
        self.seconds.iter().copied().collect()
    }
}

/// Adds up every core.
pub(super) fn traffic(
    cores: &[Arc<Core>],
    labels: &Labels,
    history: Vec<Second>,
    log_lines_dropped: u64,
) -> Traffic {
    let (status_classes, operations) = requests(cores, labels);
    let sum = |of: fn(&Core) -> u64| cores.iter().map(|core| of(core)).sum::<u64>();
    Traffic {
        in_flight: cores.iter().map(|core| core.cells.in_flight.load(Ordering::Relaxed)).sum(),
        connections: cores.iter().map(|core| core.cells.connections.load(Ordering::Relaxed)).sum(),
        connections_opened: sum(|core| core.cells.connections_opened.load(Ordering::Relaxed)),
        bytes_in: sum(|core| core.cells.bytes_in.load(Ordering::Relaxed)),
        bytes_out: sum(|core| core.cells.bytes_out.load(Ordering::Relaxed)),
        retries: sum(|core| core.cells.retries.load(Ordering::Relaxed)),
        outcomes: Outcome::ALL
            .iter()
            .zip(outcomes(cores))
            .filter(|(_, count)| *count > 0)
            .map(|(outcome, count)| OutcomeCount {
                reason: outcome.reason(),
                family: family(*outcome),
                count,
            })
            .collect(),
        status_classes,
        latency: [
            latency("request", &WIDE, cores, |core| &core.cells.request_time),
            latency("overhead", &FINE, cores, |core| std::slice::from_ref(&core.cells.overhead)),
            latency("upstream", &WIDE, cores, |core| &core.cells.upstream_time),
        ],
        operations,
        tokens: tops(cores, |tops| &tops.tokens),
        workspaces: tops(cores, |tops| &tops.workspaces),
        limits: tops(cores, |tops| &tops.limits),
        shadow: tops(cores, |tops| &tops.shadow),
        deprecated: deprecated::traffic(cores, labels, TOPS_SHOWN),
        origins: tops(cores, |tops| &tops.origins),
        exposed: tops(cores, |tops| &tops.exposed),
        history,
        exposed_tokens: sum(|core| core.cells.exposed_tokens.load(Ordering::Relaxed)),
        panics: sum(|core| core.cells.panics.load(Ordering::Relaxed)),
        log_lines_dropped,
    }
}

/// Requests by outcome over all cores.
pub(super) fn outcomes(cores: &[Arc<Core>]) -> [u64; OUTCOMES] {
    let mut sums = [0; OUTCOMES];
    for core in cores {
        for (sum, count) in sums.iter_mut().zip(&core.cells.outcomes) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
    sums
}

const fn family(outcome: Outcome) -> &'static str {
    match outcome.family() {
        Family::Served => "served",
        Family::Caller => "caller",
        Family::Gateway => "gateway",
        Family::Upstream => "upstream",
    }
}

fn requests(cores: &[Arc<Core>], labels: &Labels) -> ([u64; 6], Vec<OperationTraffic>) {
    let mut series = BTreeMap::new();
    for core in cores {
        core.cells.requests.sum_into(&mut series);
    }
    let mut classes = [0; 6];
    let mut by_operation: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for (key, count) in series {
        let Some(key) = RequestKey::unpack(key) else { continue };
        classes[usize::from(key.class).min(5)] += count;
        let sums = by_operation.entry(key.operation).or_default();
        sums.0 += count;
        sums.1 += if key.outcome.family() == Family::Served { 0 } else { count };
    }
    let mut operations: Vec<_> = by_operation
        .into_iter()
        .map(|(label, (requests, refused))| OperationTraffic {
            name: labels.with_operation(label, str::to_owned),
            requests,
            refused,
        })
        .collect();
    operations.sort_unstable_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.name.cmp(&b.name)));
    operations.truncate(OPERATIONS_SHOWN);
    (classes, operations)
}

fn latency(
    of: &'static str,
    bounds: &[u64],
    cores: &[Arc<Core>],
    shares: impl Fn(&Core) -> &[Histogram],
) -> Latency {
    let mut sum = Sum::default();
    for share in cores.iter().flat_map(|core| shares(core)) {
        sum.add(share);
    }
    Latency {
        of,
        bounds_seconds: bounds.iter().map(|nanos| super::collector::seconds(*nanos)).collect(),
        counts: sum.counts.to_vec(),
    }
}

fn tops(cores: &[Arc<Core>], of: fn(&Tops) -> &TopK) -> Vec<Top> {
    let mut sums = HashMap::new();
    for core in cores {
        of(&core.tops.lock().unwrap_or_else(PoisonError::into_inner)).sum_into(&mut sums);
    }
    TopK::largest(sums, TOPS_SHOWN)
}
