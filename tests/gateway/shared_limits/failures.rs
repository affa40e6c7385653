//! What a gateway has met with at Redis, by its metrics and its log.

use std::time::Duration;

use crate::support::{Gateway, until};

/// What one gateway's questions without an answer came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failures {
    pub(super) unanswered: u64,
    /// Requests that were decided without an answer while it was not given up.
    pub(super) undecided: u64,
    /// How often it gave Redis up.
    pub(super) given_up: u64,
    /// For how long it went on without.
    pub(super) away: Duration,
}

impl Failures {
    /// Once the gateway has Redis again.
    pub(super) fn of(gateway: &Gateway) -> Self {
        let metrics = gateway.metrics();
        let calls = |result| metrics.count("tollgate_redis_calls_total", &[("result", result)]);
        // The log is written after what the metrics say.
        let log = until("the log to say that Redis answers", || {
            let log = gateway.process.stderr.text();
            let count = |words: &str| log.matches(words).count();
            let is_told = count("shared limits: Redis answers") > count("shared limits: Redis is away");
            is_told.then_some(log)
        });
        let away = log.split("\"away_seconds\":").skip(1).filter_map(|rest| {
            let end = rest.find([',', '}'])?;
            rest[..end].parse::<f64>().ok()
        });
        Self {
            undecided: metrics.count("tollgate_limit_path_total", &[("path", "unanswered")]),
            unanswered: calls("timed_out") + calls("failed") + calls("busy"),
            given_up: log.matches("shared limits: Redis is away").count() as u64,
            away: away.map(Duration::from_secs_f64).sum(),
        }
    }
}
