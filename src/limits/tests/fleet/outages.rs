//! What holds while the store does not answer, and when it answers again.

use super::accuracy::{limit_of, policy};
use super::bounds::{HUNDRED, HUNDRED_LIMIT};
use super::{DEADLINE, Fleet, MILLI, SECOND};
use crate::limits::tests::world::ASK;

/// A probe, and the wait for others.
const FOUND_AGAIN_SECONDS: f64 = 1.5;

const QUOTAS: [&str; 3] = ["60 per minute", "600 per minute", "6000 per minute"];

/// Ten times the limit for 60 s, with the store away from 15 s to 40 s.
fn through_an_outage(seed: u64, quota: &str, failing: &str, away: fn(&mut Fleet, bool)) -> Fleet {
    let toml = format!("{failing}\n{}", policy(quota));
    let mut fleet = Fleet::new(seed, 8, &toml);
    fleet.at(15 * SECOND, move |fleet| away(fleet, true));
    fleet.at(40 * SECOND, move |fleet| away(fleet, false));
    let rate = limit_of(quota).rate * if quota == "6000 per minute" { 3.0 } else { 10.0 };
    fleet.poisson((SECOND, 61 * SECOND), rate, &[1; 8], &ASK);
    fleet.run();
    fleet
}

fn frozen(fleet: &mut Fleet, is: bool) {
    fleet.weather.is_frozen = is;
}

fn dead(fleet: &mut Fleet, is: bool) {
    fleet.weather.is_dead = is;
}

#[test]
fn a_whole_outage_admits_the_rate_and_one_for_each_replica() {
    for quota in QUOTAS {
        let limit = limit_of(quota);
        for (seed, away) in (0..).zip([frozen, dead]) {
            let fleet = through_an_outage(seed, quota, "", away);
            let worst = fleet.worst_window(limit);
            assert!(worst <= limit.burst + 8.0 + 1e-6, "{quota}: {worst}, burst {}", limit.burst);
            // 5 ms and a round trip, also of those who asked a store that froze.
            assert!(
                fleet.longest_wait_millis() <= fleet.patience_millis(),
                "{}",
                fleet.longest_wait_millis()
            );
            let during = fleet.admitted().filter(|ended| (17..40).contains(&(ended.at / SECOND))).count();
            assert!(during as f64 <= limit.rate * 23.0 + 8.0, "{quota}: {during} in the outage");
            assert!(during as f64 >= limit.rate * 23.0 * 0.9 - 8.0, "{quota}: {during} in the outage");
        }
    }
}

/// Its lease outlasts the calls that a store which froze is given up after; its share takes over then.
#[test]
fn a_key_with_a_steady_demand_does_not_wait_for_a_store_that_froze() {
    for (seed, times) in [(8, 0.9), (9, 0.9), (10, 0.75), (11, 0.5)] {
        let mut fleet = Fleet::new(seed, 8, HUNDRED);
        let (begin, end) = (15 * SECOND + fleet.dice.below(SECOND), 30 * SECOND);
        fleet.at(begin, |fleet| fleet.weather.is_frozen = true);
        fleet.at(end, |fleet| fleet.weather.is_frozen = false);
        let step = (1e9 * 8.0 / (HUNDRED_LIMIT.rate * times)) as u64;
        for replica in 0..8 {
            let mut at = SECOND + step / 8 * replica as u64;
            while at < 40 * SECOND {
                let early = fleet.dice.below(step / 4);
                fleet.request(at - early, replica, &ASK);
                at += step;
            }
        }
        fleet.run();
        let during = || fleet.ended.iter().filter(|ended| (begin..end).contains(&ended.arrived));
        let waited = during().filter(|ended| ended.at > ended.arrived).count();
        assert_eq!(waited, 0, "of {}, at {times} of the limit", during().count());
        let refused = during().filter(|ended| ended.refused.is_some()).count();
        assert!(
            refused <= during().count() / 100,
            "{refused} of {}, at {times} of the limit",
            during().count()
        );
        assert!(fleet.worst_window(HUNDRED_LIMIT) <= HUNDRED_LIMIT.burst + 1e-6);
    }
}

#[test]
fn closed_refuses_and_open_admits() {
    let closed = through_an_outage(3, "60 per minute", "on_store_failure = \"closed\"", dead);
    let during = |fleet: &Fleet, refused: Option<u64>| {
        let within = |at: u64| (17 * SECOND..40 * SECOND).contains(&at);
        fleet.ended.iter().filter(|ended| within(ended.at) && ended.refused == refused).count()
    };
    assert_eq!(during(&closed, None), 0);
    assert!(during(&closed, Some(u64::MAX)) > 100);
    let open = through_an_outage(3, "60 per minute", "on_store_failure = \"open\"", dead);
    assert!(during(&open, None) > 100);
    assert_eq!(during(&open, Some(u64::MAX)), 0);
}

#[test]
fn three_of_eight_cut_off_stay_within_their_shares() {
    for quota in QUOTAS {
        let limit = limit_of(quota);
        let fleet = through_an_outage(4, quota, "", |fleet, is| {
            fleet.weather.cut_off = if is { vec![1, 4, 6] } else { Vec::new() };
        });
        let worst = fleet.worst_window(limit);
        let most = limit.burst + 3.0 + 3.0 / 8.0 * limit.rate * (25.0 + FOUND_AGAIN_SECONDS);
        assert!(worst <= most, "{quota}: {worst} of {most}");
    }
}

#[test]
fn a_flush_costs_one_burst_and_a_clock_step_what_it_says() {
    for quota in QUOTAS {
        let limit = limit_of(quota);
        let flushed = through_an_outage(5, quota, "", |fleet, is| {
            if is {
                fleet.model.flush();
            }
        });
        let worst = flushed.worst_window(limit);
        assert!(worst <= 2.0 * limit.burst, "{quota}: {worst}");
        for step in [5, -5] {
            let mut fleet = Fleet::new(6, 8, &policy(quota));
            fleet.at(15 * SECOND, move |fleet| fleet.weather.clock_ahead += step * SECOND as i64);
            fleet.poisson((SECOND, 31 * SECOND), limit.rate * 3.0, &[1; 8], &ASK);
            fleet.run();
            let worst = fleet.worst_window(limit);
            let most = limit.burst + 5.0 * limit.rate;
            assert!(worst <= most, "{quota}, {step} s: {worst} of {most}");
            let after = fleet.admitted().filter(|ended| ended.at > 25 * SECOND).count();
            assert!(after as f64 >= limit.rate * 6.0 * 0.9 - 1.0, "{quota}, {step} s: locked out, {after}");
        }
    }
}

#[test]
fn a_store_that_comes_and_goes_hands_out_nothing() {
    let limit = limit_of("60 per minute");
    let mut fleet = Fleet::new(7, 8, &policy("60 per minute"));
    for round in 0..20 {
        let at = (5 + round * 3) * SECOND;
        fleet.at(at, |fleet| fleet.weather.is_dead = true);
        fleet.at(at + 1_500 * MILLI, |fleet| fleet.weather.is_dead = false);
    }
    fleet.poisson((SECOND, 66 * SECOND), 10.0, &[1; 8], &ASK);
    fleet.run();
    let worst = fleet.worst_window(limit);
    // Between outages, which is half of the time, what each replica begins one with comes back at the share's own rate.
    let between = limit.rate * (66.0 - 20.0 * 1.5);
    assert!(worst <= limit.burst + 8.0 + between, "{worst}");
}

/// A policy that refuses without an answer waits for it as long as the store takes at most; others wait with it.
#[test]
fn only_who_would_be_refused_without_an_answer_waits_longer() {
    let deadline = DEADLINE as f64 / 1e6;
    let (closed, share) = ("on_store_failure = \"closed\"", "on_store_failure = \"share\"");
    let each =
        |failing| format!(r#"{{ name = "each", per = ["token"], quota = "60 per minute", {failing} }}"#);
    let all =
        |failing| format!(r#"{{ name = "all", per = ["workspace"], quota = "50 per minute", {failing} }}"#);
    for (policies, is_closed) in [
        (each(closed), true),
        (format!("{}, {}", each(closed), all(share)), true),
        (format!("{}, {}", each(share), all(closed)), true),
        (format!("{}, {}", each(share), all(share)), false),
    ] {
        let mut fleet = Fleet::new(12, 1, &format!("policies = [{policies}]"));
        let patience = fleet.patience_millis();
        fleet.weather.is_frozen = true;
        (0..3).for_each(|at| fleet.request(SECOND + at * 10 * MILLI, 0, &ASK));
        fleet.run();
        let refused: Vec<_> = fleet.ended.iter().map(|ended| ended.refused).collect();
        if is_closed {
            assert!(refused.iter().all(|refused| *refused == Some(u64::MAX)), "{policies}: {refused:?}");
            assert!(fleet.longest_wait_millis() > deadline - 1.0, "{policies}");
            assert!(fleet.longest_wait_millis() <= 2.0 * deadline + 5.0, "{policies}");
        } else {
            assert_eq!(refused.iter().filter(|refused| refused.is_none()).count(), 1, "{policies}");
            let waits: Vec<_> = fleet.ended.iter().map(|ended| ended.at - ended.arrived).collect();
            assert_eq!(waits.iter().filter(|wait| **wait > 0).count(), 1, "{policies}: {waits:?}");
            assert!(fleet.longest_wait_millis() <= patience, "{policies}: {waits:?}");
        }
    }
}
