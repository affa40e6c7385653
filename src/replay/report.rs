//! What a replay found, added up in bounded memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use super::decide::{Decision, Why};
use super::line::Line;
use crate::clock::Now;
use crate::domain::{ApiVersion, Family, Outcome};
use crate::telemetry::TopK;
use crate::tokens::Moment;

/// The first so many lines that could not be read are told.
const MALFORMED_TOLD: usize = 20;
/// How many rows are told apart, and how many workspaces; what comes after goes to one row.
const MOST_ROWS: usize = 10_000;
const MOST_WORKSPACES: usize = 1_000_000;
const OTHERS: &str = "(others)";
const NOBODY: &str = "(no credential)";
const TOKENS_TOLD: usize = 3;
const CALLERS_TOLD: usize = 10;

/// What a log would have met under a configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Lines of the log.
    pub lines: u64,
    /// Requests among them.
    pub requests: u64,
    /// When the first arrived; [`None`] for an empty log.
    pub first: Option<Moment>,
    /// When the last arrived.
    pub last: Option<Moment>,
    /// Lines that could not be read.
    pub malformed: u64,
    /// The first of these.
    pub first_malformed: Vec<Malformed>,
    /// Requests that were not refused and would be.
    pub newly_refused: u64,
    /// These by workspace, reason and policy; most requests first.
    pub refused: Vec<NewlyRefused>,
    /// Requests that were refused and would be served.
    pub newly_served: u64,
    /// Who called versions that the configuration marks as going away.
    pub deprecated: Vec<DeprecatedCallers>,
    /// What makes the rest less certain.
    pub warnings: Vec<String>,
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Malformed {
    /// Its number, from 1.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// Requests of one workspace that would newly be refused for one reason.
#[derive(Clone, Debug, Serialize)]
pub struct NewlyRefused {
    /// The workspace's id.
    pub workspace: String,
    /// The status of the refusal.
    pub status: u16,
    /// Its reason.
    pub reason: &'static str,
    /// The policy that refuses, of a 429.
    pub policy: Option<String>,
    /// How many.
    pub requests: u64,
    /// Of all requests of the workspace, from 0 to 1.
    pub share: f64,
    /// When the first arrived.
    pub first: Moment,
    /// When the last arrived.
    pub last: Moment,
    /// The tokens with the most of them.
    pub tokens: Vec<String>,
}

/// Who called a version that is going away.
#[derive(Clone, Debug, Serialize)]
pub struct DeprecatedCallers {
    /// Its operation.
    pub operation: String,
    /// The version.
    pub version: String,
    /// Its requests.
    pub requests: u64,
    /// The workspaces with the most of them.
    pub workspaces: Vec<String>,
}

/// A workspace, and why it is refused.
type RowKey = (Box<str>, usize, Option<Arc<str>>);

struct Row {
    status: u16,
    requests: u64,
    first_millis: u64,
    last_millis: u64,
    tokens: TopK,
}

/// Adds decisions up.
pub(super) struct Builder {
    has_registry: bool,
    requests: u64,
    span_millis: Option<(u64, u64)>,
    malformed: u64,
    first_malformed: Vec<Malformed>,
    newly_served: u64,
    rows: HashMap<RowKey, Row>,
    workspaces: HashMap<Box<str>, u64>,
    deprecated: BTreeMap<(Arc<str>, ApiVersion), (u64, TopK)>,
    largest_sample: u32,
    served: u64,
}

impl Builder {
    pub(super) fn new(has_registry: bool) -> Self {
        Self {
            has_registry,
            requests: 0,
            span_millis: None,
            malformed: 0,
            first_malformed: Vec::new(),
            newly_served: 0,
            rows: HashMap::new(),
            workspaces: HashMap::new(),
            deprecated: BTreeMap::new(),
            largest_sample: 1,
            served: 0,
        }
    }

    pub(super) fn malformed(&mut self, malformed: Malformed) {
        self.malformed += 1;
        if self.first_malformed.len() < MALFORMED_TOLD {
            self.first_malformed.push(malformed);
        }
    }

    pub(super) fn add(&mut self, line: &Line, decision: Decision) {
        self.requests += 1;
        self.largest_sample = self.largest_sample.max(line.sample);
        let at = line.unix_millis;
        let (first, last) = self.span_millis.unwrap_or((at, at));
        self.span_millis = Some((first.min(at), last.max(at)));
        let workspace = line.workspace.as_deref().unwrap_or(NOBODY);
        let is_room = self.workspaces.len() < MOST_WORKSPACES || self.workspaces.contains_key(workspace);
        *self.workspaces.entry(if is_room { workspace } else { OTHERS }.into()).or_default() += 1;
        let was_refused = line.outcome.family() == Family::Caller;
        self.served += u64::from(!was_refused);
        match decision {
            Decision::Unsaid => {}
            Decision::Served(deprecated) => {
                self.newly_served += u64::from(was_refused);
                if let Some(key) = deprecated {
                    let (requests, callers) =
                        self.deprecated.entry(key).or_insert_with(|| (0, TopK::lasting()));
                    *requests += 1;
                    callers.add(workspace, false, START);
                }
            }
            Decision::Refused(_) if was_refused => {}
            Decision::Refused(why) => self.refuse(line, workspace, why),
        }
    }

    fn refuse(&mut self, line: &Line, workspace: &str, why: Why) {
        let mut key: RowKey = (workspace.into(), why.outcome.index(), why.policy);
        if self.rows.len() >= MOST_ROWS && !self.rows.contains_key(&key) {
            key = (OTHERS.into(), why.outcome.index(), None);
        }
        let at = line.unix_millis;
        let row = self.rows.entry(key).or_insert_with(|| Row {
            status: why.status,
            requests: 0,
            first_millis: at,
            last_millis: at,
            tokens: TopK::lasting(),
        });
        row.requests += 1;
        row.last_millis = row.last_millis.max(at);
        if let Some(token) = &line.token {
            row.tokens.add(token, true, START);
        }
    }

    pub(super) fn finish(self, lines: u64) -> Report {
        let warnings = self.warnings();
        let workspaces = self.workspaces;
        let mut refused: Vec<NewlyRefused> = self
            .rows
            .into_iter()
            .map(|((workspace, outcome, policy), row)| {
                let outcome = Outcome::ALL[outcome];
                NewlyRefused {
                    status: row.status,
                    reason: outcome.reason(),
                    policy: policy.map(|policy| policy.to_string()),
                    share: share(row.requests, workspaces.get(&workspace).copied().unwrap_or(row.requests)),
                    workspace: workspace.into(),
                    requests: row.requests,
                    first: Moment(row.first_millis / 1_000),
                    last: Moment(row.last_millis / 1_000),
                    tokens: names(&row.tokens, TOKENS_TOLD),
                }
            })
            .collect();
        refused.sort_by(|a, b| {
            let order = |row: &NewlyRefused| (row.workspace.clone(), row.reason, row.policy.clone());
            b.requests.cmp(&a.requests).then_with(|| order(a).cmp(&order(b)))
        });
        let mut deprecated: Vec<DeprecatedCallers> = self
            .deprecated
            .into_iter()
            .map(|((operation, version), (requests, callers))| DeprecatedCallers {
                operation: operation.to_string(),
                version: version.to_string(),
                requests,
                workspaces: names(&callers, CALLERS_TOLD),
            })
            .collect();
        deprecated.sort_by_key(|row| std::cmp::Reverse(row.requests));
        Report {
            lines,
            requests: self.requests,
            first: self.span_millis.map(|(first, _)| Moment(first / 1_000)),
            last: self.span_millis.map(|(_, last)| Moment(last / 1_000)),
            malformed: self.malformed,
            first_malformed: self.first_malformed,
            newly_refused: refused.iter().map(|row| row.requests).sum(),
            refused,
            newly_served: self.newly_served,
            deprecated,
            warnings,
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.largest_sample > 1 {
            warnings.push(format!(
                "the log holds one of {} served requests (`logs.access_sample`): counts are of those written, and \
                 limits would refuse more",
                self.largest_sample
            ));
        }
        if self.requests > 0 && self.served == 0 {
            warnings.push(
                "the log holds refused requests alone (`logs.access`): nobody can newly be refused"
                    .to_owned(),
            );
        }
        if !self.has_registry {
            warnings.push(
                "the configuration's token store is not there: callers are taken as the log has them, with every \
                 scope and feature"
                    .to_owned(),
            );
        }
        warnings
    }
}

/// Counts that never fade need no time.
const START: Now = Now { monotonic_nanos: 0, unix_millis: 0 };

fn names(top: &TopK, most: usize) -> Vec<String> {
    let mut sums = HashMap::new();
    top.sum_into(&mut sums);
    TopK::largest(sums, most).into_iter().map(|top| top.name).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
