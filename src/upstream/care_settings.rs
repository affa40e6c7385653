//! `[upstream.health_check]`, `[upstream.ejection]`, `[upstream.breaker]`, `[upstream.retries]` and
//! `[upstream.in_flight]`: which upstreams get requests, how many, and what is sent again.

use serde::{Deserialize, Serialize};

/// Requests of our own that ask an upstream how it is. Off without a path.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheckSettings {
    /// What is asked for with GET, for example `/health`; 200 to 399 is healthy. Empty: no checks.
    pub path: String,
    /// Time between two checks of an upstream, in seconds.
    pub interval_seconds: u64,
    /// Time that a check may take, in milliseconds.
    pub timeout_milliseconds: u64,
    /// Failed checks in a row after which an upstream gets no requests.
    pub unhealthy_after: u32,
    /// Good checks in a row after which it gets requests again.
    pub healthy_after: u32,
}

impl Default for HealthCheckSettings {
    fn default() -> Self {
        Self {
            path: String::new(),
            interval_seconds: 5,
            timeout_milliseconds: 1_000,
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }
}

/// Outlier ejection: an upstream that fails while others do not is left out for a while, never more than half
/// of a region's.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EjectionSettings {
    /// Failures and 5xx answers in a row after which an upstream is ejected; 0: never.
    pub after_failures: u32,
    /// How long it is ejected the first time, in seconds; each further time so much longer.
    pub seconds: u64,
    /// The longest ejection, in seconds.
    pub longest_seconds: u64,
}

impl Default for EjectionSettings {
    fn default() -> Self {
        Self { after_failures: 5, seconds: 30, longest_seconds: 300 }
    }
}

/// The breaker of each upstream: it trips when no connection to the upstream can be made.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerSettings {
    /// Failures in a row after which it trips; 0: never.
    pub after_failures: u32,
    /// How long it stays tripped the first time, in seconds; twice as long each further time in a row.
    pub seconds: u64,
    /// The longest that it stays tripped, in seconds.
    pub longest_seconds: u64,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { after_failures: 10, seconds: 1, longest_seconds: 5 }
    }
}

/// Sending again what is safe to repeat, to another upstream of the region.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySettings {
    /// The most times that one request is sent again; 0: never.
    pub most: u32,
    /// Of so many percent of its requests a worker may send one again.
    pub budget_percent: u32,
    /// So many a second each worker may send again in any case.
    pub budget_floor_per_second: u32,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { most: 2, budget_percent: 20, budget_floor_per_second: 10 }
    }
}

/// How many requests an upstream serves at a time. The limit adapts between the two bounds.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InFlightSettings {
    /// The most requests that one upstream serves at a time, and how many at the start.
    pub most: u32,
    /// What the limit never falls below.
    pub least: u32,
    /// How many of a region's free places one workspace may hold, in percent of what is free.
    pub workspace_share_percent: u32,
}

impl Default for InFlightSettings {
    fn default() -> Self {
        Self { most: 1_000, least: 20, workspace_share_percent: 100 }
    }
}
