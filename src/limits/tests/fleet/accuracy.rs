//! The accuracy table: every distinct limit of the sample's endpoint table, in calm, overload and outage.

use super::tally::Limit;
use super::{Fleet, SECOND};
use crate::limits::tests::world::ASK;

/// The distinct limits of Segment's endpoint table, and the default.
const QUOTAS: [&str; 14] = [
    "2 per minute",
    "5 per minute",
    "10 per minute",
    "20 per minute",
    "25 per minute",
    "50 per minute",
    "60 per minute",
    "100 per minute",
    "200 per minute",
    "250 per minute",
    "300 per minute",
    "600 per minute",
    "6000 per minute",
    "120 per day",
];
const REPLICAS: usize = 8;

pub(super) fn limit_of(quota: &str) -> Limit {
    let quota = super::super::world::quota(quota);
    let rate = f64::from(quota.requests.get()) / f64::from(quota.period_seconds);
    Limit { rate, burst: f64::from(quota.burst.get()) }
}

pub(super) fn policy(quota: &str) -> String {
    format!(r#"policies = [{{ name = "default", per = ["token"], quota = "{quota}" }}]"#)
}

/// A fleet under a policy that is asked for `times` its rate for so many seconds, evenly spread.
pub(super) fn run(seed: u64, toml: &str, limit: Limit, times: f64, seconds: u64) -> Fleet {
    let mut fleet = Fleet::new(seed, REPLICAS, toml);
    fleet.poisson((SECOND, (seconds + 1) * SECOND), limit.rate * times, &[1; REPLICAS], &ASK);
    fleet.run();
    fleet
}

#[test]
fn accuracy_table() {
    for quota in QUOTAS {
        let limit = limit_of(quota);
        // So long that a thousand requests come and more; overload for six fills.
        let seconds = (1_500.0 / limit.rate).clamp(30.0, 90_000.0) as u64;
        let calm = run(1, &policy(quota), limit, 0.9, seconds);
        let overload = (limit.burst / limit.rate * 2.0).clamp(30.0, 172_800.0) as u64;
        let over = run(2, &policy(quota), limit, 10.0, overload);
        println!(
            "{quota:16} calm: false {:.4}% questions {:.1}% waited {:.1}% window {:.1} | 10x: use {:.1}% questions {:.1}% window {:.2}/{} wait {:.1} ms",
            calm.false_refusals(limit) * 100.0,
            calm.questions() * 100.0,
            calm.waited() * 100.0,
            calm.worst_window(limit),
            over.use_of(limit, overload as f64) * 100.0,
            over.questions() * 100.0,
            over.worst_window(limit),
            limit.burst,
            over.longest_wait_millis(),
        );
    }
}
