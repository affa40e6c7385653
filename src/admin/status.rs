//! What the operator's listener shows, and who provides it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Control;
use crate::gateway::explain::{Explanation, NotAQuestion, Question};
use crate::telemetry::Traffic;

/// Where the listener's answers come from. Called on the listener's own thread; may take milliseconds.
pub trait Operator: Control {
    /// Whether this instance wants traffic.
    fn ready(&self) -> Readiness;
    /// All metrics in Prometheus's text format.
    fn metrics(&self) -> String;
    /// What `/status.json` says.
    fn status(&self) -> Status;
    /// What `/explain.json` says of a request.
    fn explain(&self, question: &Question) -> Result<Explanation, NotAQuestion>;
    /// Called once a second, to note what the history of the status page shows.
    fn each_second(&self);
}

/// Whether an instance wants traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Why it does not; empty if it does.
    pub reasons: Vec<String>,
    /// What is impaired without speaking against it.
    pub notes: Vec<String>,
}

impl Readiness {
    /// Whether nothing speaks against it.
    pub const fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// What `/status.json` says.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The gateway's clock, in milliseconds since 1970.
    pub now_unix_millis: u64,
    /// When the process started.
    pub started_unix_seconds: u64,
    /// Whether it wants traffic.
    pub readiness: Readiness,
    /// What runs.
    pub build: BuildStatus,
    /// The configuration in force.
    pub config: ConfigStatus,
    /// What happens.
    pub traffic: Traffic,
    /// Every upstream of every region.
    pub upstreams: Vec<UpstreamStatus>,
    /// Every issuer of JWTs.
    pub issuers: Vec<IssuerStatus>,
    /// The registry of workspaces and tokens.
    pub registry: RegistryStatus,
    /// How owners are told of leaks.
    pub notifications: NotificationStatus,
    /// Where limits are shared, by region.
    pub shared_limits: Vec<SharedLimitsStatus>,
}

/// How owners are told of leaks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NotificationStatus {
    /// Messages that are neither delivered nor given up.
    pub waiting: u64,
    /// How long the oldest of them waits.
    pub oldest_seconds: u64,
    /// Messages that were delivered by this process since its start.
    pub delivered: u64,
    /// Attempts that failed and are made again.
    pub failed: u64,
    /// Messages that nobody could be told; the audit trail has each.
    pub given_up: u64,
}

/// What runs.
#[derive(Clone, Debug, Serialize)]
pub struct BuildStatus {
    /// The package's version.
    pub version: &'static str,
    /// The commit that it was built from.
    pub commit: &'static str,
    /// How many cores serve requests.
    pub cores: usize,
}

/// The configuration in force.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigStatus {
    /// How many were loaded since the start, this one included.
    pub generation: u64,
    /// Its files.
    pub files: Vec<String>,
    /// When it was loaded.
    pub loaded_unix_seconds: u64,
    /// Why the last attempt to load another failed, if it did; the one in force is then the last good one.
    pub last_error: Option<String>,
}

/// One upstream.
#[derive(Clone, Debug, Serialize)]
pub struct UpstreamStatus {
    /// Its region.
    pub region: String,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// Whether it gets requests.
    pub healthy: bool,
    /// What is known beyond that: "breaker open for 12 s", "ejected: 5 failures in a row"; empty if nothing is.
    pub detail: String,
    /// Requests that it is serving.
    pub in_flight: u64,
    /// The most that it may serve at the moment.
    pub in_flight_limit: u64,
    /// How often it was ejected since the start.
    pub ejections: u64,
}

/// One issuer of JWTs.
#[derive(Clone, Debug, Serialize)]
pub struct IssuerStatus {
    /// Its `iss`.
    pub issuer: String,
    /// How many of its keys are known.
    pub keys: usize,
    /// Age of these; [`None`] if none were ever had.
    pub age_seconds: Option<u64>,
    /// Why the last fetch failed, if it did.
    pub last_error: Option<String>,
}

/// The Redis server in which a region's gateways share limits.
#[derive(Clone, Debug, Serialize)]
pub struct SharedLimitsStatus {
    /// The region.
    pub region: String,
    /// Where it is, without its password.
    pub address: String,
    /// The breaker: `closed` while it answers, `open`, `half_open`.
    pub breaker: &'static str,
    /// For how long it has answered, or has not.
    pub since_seconds: u64,
    /// Gateways that share it, by the last that is known.
    pub replicas: u32,
    /// How many policies are decided how: `lease`, `strict`, and without the server `share`, `open`, `closed`.
    pub modes: BTreeMap<&'static str, usize>,
    /// Why it does not answer, if it does not.
    pub last_error: Option<String>,
}

/// The registry of workspaces and tokens.
#[derive(Clone, Debug, Serialize)]
pub struct RegistryStatus {
    /// The kind of store: `sqlite`, `postgresql`.
    pub store: String,
    /// Workspaces known.
    pub workspaces: u64,
    /// Live tokens known.
    pub tokens: u64,
    /// How far memory is behind the store, in seconds; [`None`] if that cannot be told.
    pub staleness_seconds: Option<f64>,
    /// Whether the store was read since the start; if not, all is as the saved registry has it.
    pub store_reached: bool,
    /// Revocations that are in force here and wait for the store.
    pub unwritten_revocations: u64,
    /// Why the store cannot be read, if it cannot.
    pub last_error: Option<String>,
}
