//! When the store is asked: for each request where the arithmetic asks for it, at most once a bucket and 5 ms, and not at
//! all until the instant that it named.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::accuracy::{limit_of, policy};
use super::{Client, Fleet, MILLI, SECOND, Weather};
use crate::limits::SharedMode;
use crate::limits::bucket::Scale;
use crate::limits::calendar::Refill;
use crate::limits::shared::{OnStoreFailure, Shared, Sharing, mode_of};
use crate::limits::tests::world::{ASK, quota};

fn mode(text: &str, burst: Option<u32>, refill: Refill, sharing: Sharing, replicas: u32) -> SharedMode {
    let quota = quota(text);
    let mut scale = Scale::of(&quota);
    scale.burst = burst.map_or(scale.burst, |burst| NonZeroU32::new(burst).unwrap());
    let shared = Shared { sharing, on_store_failure: OnStoreFailure::Share };
    mode_of(scale, refill, shared, &Client::of(replicas))
}

/// A lease's time is three tenths of the fill, at most 5 s: it has to bring two tokens for each replica.
#[test]
fn small_limits_are_strict_and_large_ones_are_leased() {
    let auto = |text: &str, burst, replicas| mode(text, burst, Refill::Gradual, Sharing::Auto, replicas);
    for (replicas, least) in [(1, 24), (2, 48), (4, 96), (8, 192), (16, 384)] {
        let strict = format!("{} per minute", least - 1);
        assert_eq!(auto(&strict, None, replicas), SharedMode::Strict, "{strict}, {replicas} replicas");
        let leased = format!("{least} per minute");
        assert_eq!(auto(&leased, None, replicas), SharedMode::Lease, "{leased}, {replicas} replicas");
    }
    // A small burst fills soon, and so has short leases: 0.3 of 54 tokens are 16.
    assert_eq!(auto("100 per second", Some(53), 8), SharedMode::Strict);
    assert_eq!(auto("100 per second", Some(54), 8), SharedMode::Lease);
    // A lease of less than 50 ms is none, whatever it brings.
    assert_eq!(auto("1000 per second", Some(166), 8), SharedMode::Strict);
    assert_eq!(auto("1000 per second", Some(167), 8), SharedMode::Lease);
    // A long quota brings too little in 5 s.
    assert_eq!(auto("100000 per day", None, 8), SharedMode::Strict);
}

#[test]
fn a_policy_may_say_so_itself() {
    let gradual = |text, sharing| mode(text, None, Refill::Gradual, sharing, 8);
    assert_eq!(gradual("6000 per minute", Sharing::Strict), SharedMode::Strict);
    assert_eq!(gradual("5 per minute", Sharing::Lease), SharedMode::Lease);
    // By the calendar tokens live as long as the period, so that only a policy that says so is strict.
    let daily = |sharing| mode("120 per day", None, Refill::Daily, sharing, 8);
    assert_eq!(daily(Sharing::Auto), SharedMode::Lease);
    assert_eq!(daily(Sharing::Strict), SharedMode::Strict);
}

#[test]
fn a_strict_limit_is_asked_for_each_request_and_a_leased_one_is_not() {
    let asked = |quota: &str| {
        let mut fleet = Fleet::new(1, 8, &policy(quota));
        fleet.poisson((SECOND, 61 * SECOND), 1.5, &[1; 8], &ASK);
        fleet.run();
        assert_eq!(fleet.admitted().count(), fleet.ended.len());
        fleet.questions()
    };
    assert!(asked("191 per minute") >= 0.99, "{}", asked("191 per minute"));
    assert!(asked("600 per minute") <= 0.9, "{}", asked("600 per minute"));
}

/// Whatever is offered, lost or slow: several policies, and bursts far beyond them.
#[test]
fn a_bucket_is_asked_of_once_in_5_ms_by_each_replica() {
    let both = r#"policies = [
        { name = "each", per = ["token"], quota = "6000 per minute" },
        { name = "all", per = ["workspace"], quota = "50 per second", shared = "strict" },
    ]"#;
    for (seed, most_way, lost_permille) in [(1, MILLI / 2, 0), (2, 4 * MILLI, 50), (3, 30 * MILLI, 200)] {
        for toml in [both.to_owned(), policy("60 per minute"), policy("6000 per minute")] {
            let weather = Weather { least_way: 0, most_way, lost_permille, ..Weather::default() };
            let mut fleet = Fleet::new(seed, 4, &toml).used_to(weather);
            fleet.poisson((SECOND, 4 * SECOND), 3_000.0, &[5, 1, 1, 1], &ASK);
            fleet.run();
            let mut last: HashMap<(usize, Arc<str>), u64> = HashMap::new();
            for (at, replica, name) in std::mem::take(&mut fleet.asked_of) {
                let before = last.insert((replica, Arc::clone(&name)), at);
                let gap = before.map_or(u64::MAX, |before| at - before);
                assert!(gap >= 5 * MILLI, "{name} by {replica} after {gap} ns, seed {seed}");
            }
            assert!(fleet.asked > 20, "{}", fleet.asked);
        }
    }
}

/// A refusal is kept until the instant that the store named: nobody asks before it, and who comes then is admitted.
#[test]
fn a_refusal_holds_until_the_instant_that_the_store_named() {
    for (seed, quota) in (10..).zip(["2 per minute", "5 per minute", "60 per minute"]) {
        let mut fleet = Fleet::new(seed, 1, &policy(quota));
        for at in 0..=limit_of(quota).burst as u64 {
            fleet.request(SECOND + at * 6 * MILLI, 0, &ASK);
        }
        fleet.run();
        let last = *fleet.ended.last().unwrap();
        let until = last.at + last.refused.unwrap();
        let asked = fleet.asked;
        fleet.ended.clear();
        // It is told when there is a token for certain; that is a round trip, and what is held for a moment, later.
        let earliest = until - 8 * MILLI;
        let step = (earliest - last.at) / 500;
        for at in (last.at + step..earliest).step_by(step as usize) {
            fleet.request(at, 0, &ASK);
        }
        fleet.run();
        assert_eq!(fleet.asked, asked, "{quota}: it is known");
        for ended in &fleet.ended {
            assert_eq!(ended.at + ended.refused.unwrap(), until, "{quota}: each is told the same instant");
        }
        fleet.request(until, 0, &ASK);
        fleet.run();
        assert_eq!((fleet.asked, fleet.ended.last().unwrap().refused), (asked + 1, None), "{quota}");
    }
}
