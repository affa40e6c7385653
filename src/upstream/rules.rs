//! Checked settings of upstream care, as plain numbers.

use std::sync::Arc;

use super::Settings;

const NANOS: u64 = 1_000_000_000;

/// What decides which upstreams get requests. Equal rules let a new configuration take over an upstream's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) check: Option<CheckRules>,
    pub(super) ejection: EjectionRules,
    pub(super) breaker: BreakerRules,
    pub(super) retries: RetryRules,
    pub(super) in_flight: InFlightRules,
    pub(super) resolve_nanos: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CheckRules {
    pub(super) path: Arc<str>,
    pub(super) interval_nanos: u64,
    pub(super) timeout_nanos: u64,
    pub(super) unhealthy_after: u32,
    pub(super) healthy_after: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EjectionRules {
    pub(super) after_failures: u32,
    pub(super) nanos: u64,
    pub(super) longest_nanos: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BreakerRules {
    pub(super) after_failures: u32,
    pub(super) nanos: u64,
    pub(super) longest_nanos: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RetryRules {
    pub(super) most: u32,
    pub(super) percent: u32,
    pub(super) floor_per_second: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InFlightRules {
    pub(super) most: u32,
    pub(super) least: u32,
    pub(super) share_percent: u32,
}

impl From<&Settings> for Rules {
    fn from(settings: &Settings) -> Self {
        let Settings { health_check: check, ejection, breaker, retries, in_flight, .. } = settings;
        Self {
            check: (!check.path.is_empty()).then(|| CheckRules {
                path: check.path.as_str().into(),
                interval_nanos: check.interval_seconds * NANOS,
                timeout_nanos: check.timeout_milliseconds * 1_000_000,
                unhealthy_after: check.unhealthy_after,
                healthy_after: check.healthy_after,
            }),
            ejection: EjectionRules {
                after_failures: ejection.after_failures,
                nanos: ejection.seconds * NANOS,
                longest_nanos: ejection.longest_seconds * NANOS,
            },
            breaker: BreakerRules {
                after_failures: breaker.after_failures,
                nanos: breaker.seconds * NANOS,
                longest_nanos: breaker.longest_seconds * NANOS,
            },
            retries: RetryRules {
                most: retries.most,
                percent: retries.budget_percent,
                floor_per_second: retries.budget_floor_per_second,
            },
            in_flight: InFlightRules {
                most: in_flight.most,
                least: in_flight.least,
                share_percent: in_flight.workspace_share_percent,
            },
            resolve_nanos: settings.dns_refresh_seconds * NANOS,
        }
    }
}
