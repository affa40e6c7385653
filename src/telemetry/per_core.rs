//! One core's end of telemetry: what the request path holds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::cells::Cells;
use super::journal_lines::JournalLines;
use super::lines::Lines;
use super::masking::{cut, has_token, masked};
use super::trace::TraceParents;
use super::{
    Access, Arrival, ConnectionFault, Decision, Deprecated, Facts, Format, Labels, Mode, PolicyLabel, Record,
    RequestId, RequestIds, TopK, TraceParent, access_line,
};
use crate::clock::{Clock, Now};
use crate::domain::{Family, LimitPath, Outcome};

/// The most frequent names of one core.
#[derive(Debug, Default)]
pub(super) struct Tops {
    pub(super) tokens: TopK,
    pub(super) workspaces: TopK,
    pub(super) limits: TopK,
    pub(super) shadow: TopK,
    pub(super) deprecated: Deprecated,
    pub(super) origins: TopK,
    pub(super) exposed: TopK,
    scratch: String,
}

/// The access log as one core sees it.
#[derive(Debug)]
pub(super) struct AccessLog {
    pub(super) lines: Arc<Lines>,
    pub(super) format: Format,
    pub(super) access: Access,
    pub(super) sample: u32,
}

/// What one core counts, writes and names. Held by everything that runs on that core; may be used from other
/// threads, at the price of shared cache lines.
#[derive(Debug)]
pub struct Core {
    pub(super) index: usize,
    pub(super) cells: Cells,
    pub(super) tops: Mutex<Tops>,
    pub(super) ids: RequestIds,
    pub(super) traces: TraceParents,
    pub(super) labels: Arc<Labels>,
    pub(super) log: Option<AccessLog>,
    /// Where writes and refusals go beside the log.
    pub(super) journal: OnceLock<JournalLines>,
    pub(super) served: AtomicU64,
    /// The clock that records close by.
    pub(super) clock: Clock,
}

impl Core {
    /// The id of a new request: the inbound one if it is well-formed and no credential, otherwise a new one.
    pub fn request_id(&self, inbound: Option<&[u8]>) -> RequestId {
        let inbound = inbound.filter(|id| !has_token(id));
        inbound.and_then(RequestId::kept).unwrap_or_else(|| self.ids.next())
    }

    /// The trace of a new request: the inbound one if it is well-formed, otherwise a new one.
    pub fn trace(&self, inbound: Option<&[u8]>) -> TraceParent {
        inbound.and_then(TraceParent::kept).unwrap_or_else(|| self.traces.start())
    }

    /// Opens the record of a request.
    pub fn open(self: &Arc<Self>, arrival: Arrival<'_>) -> Record {
        self.cells.in_flight.fetch_add(1, Ordering::Relaxed);
        Record::new(
            Arc::clone(self),
            Facts::at_arrival(arrival, self.log.is_some() || self.journal.get().is_some()),
        )
    }

    /// Counts a connection for as long as the result lives.
    pub fn connection(self: &Arc<Self>) -> Connection {
        self.cells.connections.fetch_add(1, Ordering::Relaxed);
        self.cells.connections_opened.fetch_add(1, Ordering::Relaxed);
        Connection(Arc::clone(self))
    }

    /// Counts a connection that is closed before anything is served on it.
    pub fn connection_refused(&self, fault: ConnectionFault) {
        self.cells.connections_refused[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what a limit decided.
    pub fn limit_decision(&self, policy: PolicyLabel, decision: Decision, mode: Mode) {
        self.cells.decision(policy, decision, mode);
    }

    /// Counts a request by how shared limits decided it.
    pub fn limit_path(&self, path: LimitPath) {
        self.cells.limit_paths[path as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Notes whose page sent a preflight.
    pub fn preflight(&self, origin: &[u8], now: Now) {
        self.note(|tops| tops.origins.add(&printable(&masked(cut(origin, LONGEST_ORIGIN_BYTES))), true, now));
    }

    /// Notes a live token that was seen where it must not be: in a query, or beside a browser's `Origin`.
    pub fn token_exposed(&self, token_id: &str, now: Now) {
        self.cells.exposed_tokens.fetch_add(1, Ordering::Relaxed);
        self.note(|tops| tops.exposed.add(token_id, true, now));
    }

    /// Counts a panic that was caught.
    pub fn panicked(&self) {
        self.cells.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts and writes a record that closes.
    pub(super) fn close(&self, facts: &Facts, outcome: Outcome) {
        self.cells.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.cells.request(facts, outcome);
        let served = outcome.family() == Family::Served;
        self.note(|tops| tops.request(facts, served, &self.labels));
        if let Some(journal) = self.journal.get() {
            journal.note(self.index, facts, outcome, &self.labels);
        }
        let Some(log) = &self.log else { return };
        let sample = if served { log.sample } else { 1 };
        let skip = match log.access {
            Access::Off => true,
            Access::Refused => served,
            Access::All => {
                sample > 1 && !self.served.fetch_add(1, Ordering::Relaxed).is_multiple_of(u64::from(sample))
            }
        };
        if !skip {
            log.lines.push(self.index, |out| {
                access_line::write(log.format, facts, outcome, sample, &self.labels, out);
            });
        }
    }

    /// Counts frequent names, unless a scrape is reading them at this instant: they are estimates anyway.
    fn note(&self, add: impl FnOnce(&mut Tops)) {
        if let Ok(mut tops) = self.tops.try_lock() {
            add(&mut tops);
        }
    }
}

impl Tops {
    fn request(&mut self, facts: &Facts, served: bool, labels: &Labels) {
        let now = facts.arrived;
        if let Some(id) = &facts.token_id {
            self.tokens.add(id, !served, now);
        }
        if let Some(id) = &facts.workspace_id {
            self.workspaces.add(id, !served, now);
        }
        let who = facts.workspace_id.as_deref().unwrap_or("unknown callers");
        for (policy, top) in [(facts.policy, &mut self.limits), (facts.would_refuse, &mut self.shadow)] {
            let Some(policy) = policy else { continue };
            let name = &mut self.scratch;
            name.clear();
            labels.with_policy(policy, |policy| name.push_str(policy));
            name.push_str(" · ");
            name.push_str(who);
            top.add(name, true, now);
        }
        if facts.deprecated && (served || facts.workspace_id.is_some()) {
            self.deprecated.add(facts, who, !served);
        }
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub struct Connection(Arc<Core>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.cells.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

const LONGEST_ORIGIN_BYTES: usize = 200;

/// Bytes from a client as text that a page can show.
fn printable(bytes: &[u8]) -> String {
    let shown = bytes.iter().map(|&byte| if byte.is_ascii_graphic() { byte } else { b'?' });
    String::from_utf8(shown.collect()).unwrap_or_default()
}
