//! `[limits]` as it is written.

use std::path::PathBuf;

use super::shared::{OnStoreFailure, Sharing};
use crate::domain::{Plan, Window};

/// `[limits]`: how much callers may ask for, beside the quotas of the endpoint table.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The policies. Default: one named `default`, 6,000 per minute for each token. A list of one's own replaces
    /// it; an empty list leaves only the endpoint table's quotas and the tokens' own limits.
    pub policies: Vec<PolicySettings>,
    /// The most memory in bytes that buckets take, 50 for each where it is reached; at least 1 MiB. A bucket is kept while
    /// it is not full. Past the bound, callers without a bucket share one for each policy. With Redis, half of it is for
    /// buckets that gateways share, 750 bytes each. Default: 104,857,600 (100 MiB, 2,097,152 buckets).
    pub memory_bytes: usize,
    /// The longest wait in seconds that `Retry-After` tells; for longer ones the field is left out, because
    /// clients sleep on it blindly (the body still says when). Default: 21,600 (6 hours).
    pub retry_after_ceiling_seconds: u32,
    /// The file in which the buckets are saved, so that a restart hands out no fresh ones; an empty path saves
    /// nothing. It names nobody and holds no credential. A relative path starts at the configuration file. Default
    /// `tollgate.limits`.
    pub snapshot_file: PathBuf,
    /// Seconds between two savings of the buckets, 1 to 3,600; they are also saved at the end. A kill forgets at most
    /// what was used in twice that time. Default: 10.
    pub snapshot_seconds: u64,
    /// How gateways that share a Redis server share limits, for all policies that do not say otherwise: `auto` leases
    /// tokens ahead of requests where that pays, `strict` asks for every request, `lease` always leases, `off` counts
    /// on each gateway by itself. Nothing is shared without such a server. Default: `auto`.
    pub shared: Sharing,
    /// What becomes of requests while the server does not answer, for all policies that do not say otherwise: `share`
    /// admits an equal part of the rate on each gateway, `open` admits all, `closed` refuses with 503. Default: `share`.
    pub on_store_failure: OnStoreFailure,
    /// Requests being served at the same time.
    pub in_flight: InFlightSettings,
    /// Failed authentications by address.
    pub failed_authentications: FailedAuthenticationSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policies: vec![PolicySettings {
                name: "default".to_owned(),
                per: vec!["token".to_owned()],
                quota: "6000 per minute".to_owned(),
                ..PolicySettings::default()
            }],
            memory_bytes: 100 << 20,
            retry_after_ceiling_seconds: 21_600,
            snapshot_file: PathBuf::from("tollgate.limits"),
            snapshot_seconds: 10,
            shared: Sharing::Auto,
            on_store_failure: OnStoreFailure::Share,
            in_flight: InFlightSettings::default(),
            failed_authentications: FailedAuthenticationSettings::default(),
        }
    }
}

/// The buckets that so much memory has room for.
pub(super) const fn cells_in(memory_bytes: usize) -> usize {
    memory_bytes / super::tables::CELL_BYTES
}

/// `[[limits.policies]]`: one quota, whose requests it counts together, and which requests it is for. Every
/// policy that a request matches must admit it.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySettings {
    /// Its name, unique, of `a-z 0-9 _ -`, at most 64; named in 429 answers, `RateLimit-Policy` and metrics.
    /// Required. Buckets belong to the name: a policy that keeps its name keeps them through a reload.
    pub name: String,
    /// The name that it had before, so that a policy that is renamed keeps its buckets. Default: `""`, it had none.
    pub formerly: String,
    /// What is counted apart: any of `token`, `workspace`, `endpoint`, `version`, `plan`, `address` (IPv4 by
    /// /32, IPv6 by /64), `site` (IPv4 by /32, IPv6 by /48) and `path.NAME`, a path parameter (counted within the
    /// workspace). On public endpoints a request without a credential is counted by address where others are by
    /// token. Required.
    pub per: Vec<String>,
    /// How much, for example `60 per minute`; per second, minute, hour, day (86,400 s) or month (30 days).
    /// Required.
    pub quota: String,
    /// `rolling`, or `calendar` for a quota per day or month: at most the quota in each day or month of the calendar
    /// (UTC), none of it before the next one begins. It has no `burst`. Default: `rolling`.
    pub window: Window,
    /// Requests that may come at once when nothing was used. In any window W at most burst + rate × W are
    /// admitted. Default: the quota's number.
    pub burst: Option<u32>,
    /// How many requests one request counts as; times the endpoint's `cost`, if it has one. Default: 1.
    pub cost: u32,
    /// A request counts as one more for each started so many kilobytes (1,024 bytes) of its body. A body without
    /// `Content-Length` is charged as it streams. Default: bodies are not counted.
    pub body_kilobytes_per_cost: Option<u32>,
    /// The upstream's response field that says how many requests the request counted as, for example `X-Cost`;
    /// what exceeds the charge is owed and delays later requests. Default: `""`, none.
    pub cost_from_header: String,
    /// `enforce`, or `shadow`: decided and counted in metrics, never refused and never shown. Default: `enforce`.
    pub mode: Mode,
    /// How gateways share it: `auto`, `strict`, `lease` or `off`. Default: `limits.shared`.
    pub shared: Option<Sharing>,
    /// What becomes of its requests while the server does not answer: `share`, `open` or `closed`. Default:
    /// `limits.on_store_failure`.
    pub on_store_failure: Option<OnStoreFailure>,
    /// Whether callers see it in headers and in `/tollgate/v1/limits`. Default: true.
    pub expose: bool,
    /// Only these operations of the endpoint table. Default: all, and requests that match none.
    pub endpoints: Vec<String>,
    /// Only workspaces of these plans. Default: all.
    pub plans: Vec<Plan>,
    /// Only these API versions, for example `v1beta`. Default: all.
    pub versions: Vec<String>,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            formerly: String::new(),
            per: Vec::new(),
            quota: String::new(),
            window: Window::Rolling,
            burst: None,
            cost: 1,
            body_kilobytes_per_cost: None,
            cost_from_header: String::new(),
            mode: Mode::Enforce,
            shared: None,
            on_store_failure: None,
            expose: true,
            endpoints: Vec::new(),
            plans: Vec::new(),
            versions: Vec::new(),
        }
    }
}

/// Whether a policy refuses.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It refuses.
    Enforce,
    /// It says what it would refuse.
    Shadow,
}

impl Mode {
    /// The name in configuration and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}

/// `[limits.in_flight]`: requests being served at the same time; a request counts until its answer ended.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InFlightSettings {
    /// For each token. Default: no cap.
    pub per_token: Option<u32>,
    /// For each workspace, over all its tokens. Default: no cap.
    pub per_workspace: Option<u32>,
    /// For this gateway. Default: no cap beside those on connections and streams.
    pub total: Option<u32>,
}

/// `[limits.failed_authentications]`: past its budget an address (IPv4 by /32, IPv6 by /64, and 16 budgets for each
/// /48) gets 429 for further failures only; a valid credential from it is always served.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FailedAuthenticationSettings {
    /// Failures of one address. Default: `1000 per minute`.
    pub quota: String,
    /// Addresses and networks (`10.0.0.0/8`) that are never charged. Default: none.
    pub exempt: Vec<String>,
}

impl Default for FailedAuthenticationSettings {
    fn default() -> Self {
        Self { quota: "1000 per minute".to_owned(), exempt: Vec::new() }
    }
}
