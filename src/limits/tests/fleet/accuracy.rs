//! The accuracy table: every distinct limit of the sample's endpoint table, in calm, overload, outage and partition. It is
//! printed as it stands in the documentation of `limits::shared`:
//! `cargo test --lib accuracy_table -- --nocapture`.

use super::tally::Limit;
use super::{Fleet, SECOND};
use crate::limits::tests::world::ASK;

#[path = "../../../../benches/accuracy/quotas.rs"]
mod quotas;

use quotas::QUOTAS;

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

/// As [`run`] at ten times the limit, with the middle half of the time changed.
fn disturbed(seed: u64, quota: &str, seconds: u64, change: fn(&mut Fleet, bool)) -> Fleet {
    let limit = limit_of(quota);
    let mut fleet = Fleet::new(seed, REPLICAS, &policy(quota));
    fleet.at((1 + seconds / 4) * SECOND, move |fleet| change(fleet, true));
    fleet.at((1 + seconds * 3 / 4) * SECOND, move |fleet| change(fleet, false));
    fleet.poisson((SECOND, (seconds + 1) * SECOND), limit.rate * 10.0, &[1; REPLICAS], &ASK);
    fleet.run();
    fleet
}

#[test]
fn accuracy_table() {
    println!(
        "| limit | 0.9 ×: false refusals | waited | asked | 10 ×: used | worst window | asked | store down | 3 of 8 cut off |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for quota in QUOTAS {
        let limit = limit_of(quota);
        // A thousand requests and more in calm, two fills in overload.
        let seconds = (1_500.0 / limit.rate).clamp(30.0, 1_500_000.0) as u64;
        let calm = run(1, &policy(quota), limit, 0.9, seconds);
        let overload = (limit.burst / limit.rate * 2.0).clamp(30.0, 172_800.0) as u64;
        let over = run(2, &policy(quota), limit, 10.0, overload);
        let down = disturbed(3, quota, overload, |fleet, is| fleet.weather.is_dead = is);
        let cut = disturbed(4, quota, overload, |fleet, is| {
            fleet.weather.cut_off = if is { vec![1, 4, 6] } else { Vec::new() };
        });
        let beyond = |fleet: &Fleet| fleet.worst_window(limit) - limit.burst;
        println!(
            "| {quota} | {:.3} % | {:.1} % | {:.1} % | {:.1} % | {:+.1} | {:.1} % | {:+.1} | {:+.1} (≤ {:.1}) |",
            calm.false_refusals(limit) * 100.0,
            calm.waited() * 100.0,
            calm.questions() * 100.0,
            over.use_of(limit, overload as f64) * 100.0,
            beyond(&over),
            over.questions() * 100.0,
            beyond(&down),
            beyond(&cut),
            3.0 + 3.0 / 8.0 * limit.rate * (overload as f64 / 2.0 + 1.5),
        );
        assert!(beyond(&calm) <= 1e-6 && beyond(&over) <= 1e-6, "{quota}");
        assert!(over.use_of(limit, overload as f64) * (limit.burst * 3.0) >= limit.burst * 3.0 * 0.95 - 1.0);
        assert!(beyond(&down) <= 8.0 + 1e-6, "{quota}: {}", beyond(&down));
    }
}
