//! What holds while the store answers: no window beyond the limit, nearly all of it used, hardly a false refusal, few
//! questions, no long wait. Refusals first.

use super::accuracy::{limit_of, policy, run};
use super::tally::Limit;
use super::{DEADLINE, Ended, Fleet, MILLI, SECOND, Weather};
use crate::domain::LimitPath;
use crate::limits::tests::world::ASK;

pub(super) const HUNDRED: &str =
    r#"policies = [{ name = "default", per = ["token"], quota = "100 per second", burst = 600 }]"#;
pub(super) const HUNDRED_LIMIT: Limit = Limit { rate: 100.0, burst: 600.0 };

/// The bound, and what is to be used of it: 95 of 100, one less for small quotas.
#[track_caller]
fn holds(fleet: &Fleet, limit: Limit, seconds: f64) {
    let worst = fleet.worst_window(limit);
    assert!(worst <= limit.burst + 1e-6, "a window of {worst} beyond the rate, the burst is {}", limit.burst);
    let most = limit.burst + limit.rate * seconds;
    let admitted = fleet.admitted().count() as f64;
    assert!(admitted >= most * 0.95 - 1.0, "{admitted} of {most}");
    assert!(fleet.longest_wait_millis() < 10.0, "{} ms", fleet.longest_wait_millis());
}

#[test]
fn ten_times_the_limit_admits_no_more_than_the_limit_and_nearly_all_of_it() {
    for (seed, quota) in (10..).zip([
        "2 per minute",
        "5 per minute",
        "25 per minute",
        "60 per minute",
        "300 per minute",
        "600 per minute",
    ]) {
        let limit = limit_of(quota);
        let fleet = run(seed, &policy(quota), limit, 10.0, 60);
        holds(&fleet, limit, 60.0);
    }
    let fleet = run(20, HUNDRED, HUNDRED_LIMIT, 10.0, 30);
    holds(&fleet, HUNDRED_LIMIT, 30.0);
}

#[test]
fn nine_tenths_of_the_limit_is_hardly_ever_refused_and_hardly_ever_asks() {
    let fleet = run(30, HUNDRED, HUNDRED_LIMIT, 0.9, 60);
    assert!(fleet.false_refusals(HUNDRED_LIMIT) <= 0.0001, "{}", fleet.false_refusals(HUNDRED_LIMIT));
    assert!(fleet.questions() <= 0.10, "{} questions for each request", fleet.questions());
    for (seed, quota) in (31..).zip(["600 per minute", "60 per minute", "5 per minute"]) {
        let limit = limit_of(quota);
        let fleet = run(seed, &policy(quota), limit, 0.9, 600);
        assert!(fleet.false_refusals(limit) <= 0.0001, "{quota}: {}", fleet.false_refusals(limit));
        if quota == "600 per minute" {
            assert!(fleet.questions() <= 0.40, "{} questions for each request", fleet.questions());
        }
    }
}

#[test]
fn an_idle_bucket_gives_its_whole_burst() {
    for quota in ["2 per minute", "60 per minute", "600 per minute"] {
        let limit = limit_of(quota);
        let mut fleet = Fleet::new(40, 8, &policy(quota));
        for at in 0..limit.burst as u64 {
            fleet.request(SECOND + at * 8 * MILLI, (at % 8) as usize, &ASK);
        }
        fleet.run();
        let refused = fleet.ended.iter().filter(|ended| ended.refused.is_some()).count();
        assert!(refused as f64 <= limit.burst * 0.03, "{quota}: {refused} refused");
    }
}

#[test]
fn skewed_and_single_replicas_get_the_whole_limit() {
    let limit = limit_of("600 per minute");
    for weights in [[65, 5, 5, 5, 5, 5, 5, 5], [1, 0, 0, 0, 0, 0, 0, 0]] {
        let mut fleet = Fleet::new(50, 8, &policy("600 per minute"));
        fleet.poisson((SECOND, 61 * SECOND), 100.0, &weights, &ASK);
        fleet.run();
        holds(&fleet, limit, 60.0);
    }
}

#[test]
fn lost_and_slow_messages_break_no_bound() {
    for seed in 60..66 {
        for quota in ["60 per minute", "600 per minute"] {
            let limit = limit_of(quota);
            let weather = Weather { lost_permille: 20, most_way: 2 * MILLI, ..Weather::default() };
            let mut fleet = Fleet::new(seed, 8, &policy(quota)).used_to(weather);
            fleet.poisson((SECOND, 31 * SECOND), limit.rate * 10.0, &[1; 8], &ASK);
            fleet.run();
            // What each replica admits without an answer, and has not been charged.
            let worst = fleet.worst_window(limit);
            assert!(worst <= limit.burst + 8.0, "{quota}, seed {seed}: {worst}");
            assert!(
                fleet.longest_wait_millis() <= fleet.patience_millis(),
                "{}",
                fleet.longest_wait_millis()
            );
        }
    }
}

/// A store that takes no longer than it did lately is waited for, however slow it is: no replica decides without it.
#[test]
fn a_slow_store_adds_nothing() {
    for (seed, quota) in (65..).zip(["5 per minute", "60 per minute", "600 per minute", "6000 per minute"]) {
        let limit = limit_of(quota);
        let weather = Weather { least_way: 0, most_way: DEADLINE / 2 - MILLI, ..Weather::default() };
        let mut fleet = Fleet::new(seed, 8, &policy(quota)).used_to(weather);
        fleet.poisson((SECOND, 31 * SECOND), limit.rate * 10.0, &[1; 8], &ASK);
        fleet.run();
        let worst = fleet.worst_window(limit);
        assert!(worst <= limit.burst + 1e-6, "{quota}: {worst}");
        assert!(
            fleet.use_of(limit, 30.0) >= 0.95 - 1.0 / limit.burst,
            "{quota}: {}",
            fleet.use_of(limit, 30.0)
        );
        assert!(
            fleet.ended.iter().all(|ended| ended.path != Some(LimitPath::Unanswered)),
            "somebody did not wait"
        );
        assert!(fleet.longest_wait_millis() <= fleet.patience_millis(), "{}", fleet.longest_wait_millis());
    }
}

/// Nobody waits for a store that has become slow: a share is admitted, and charged by its answer.
#[test]
fn a_store_that_becomes_slow_adds_one_for_each_replica() {
    for (seed, quota) in (75..).zip(["5 per minute", "60 per minute", "600 per minute", "6000 per minute"]) {
        let limit = limit_of(quota);
        let mut fleet = Fleet::new(seed, 8, &policy(quota));
        let used_to = fleet.patience_millis();
        let way = DEADLINE / 2 - MILLI;
        fleet.at(11 * SECOND, move |fleet| {
            let (least_way, most_way) = (way - MILLI, way);
            fleet.weather = Weather { least_way, most_way, ..Weather::default() };
        });
        fleet.at(13 * SECOND, |fleet| fleet.says_present());
        fleet.poisson((SECOND, 31 * SECOND), limit.rate * 10.0, &[1; 8], &ASK);
        fleet.run();
        let unanswered = |ended: &&Ended| ended.path == Some(LimitPath::Unanswered);
        let longest = fleet.ended.iter().filter(unanswered).map(|ended| ended.at - ended.arrived).max();
        assert!(longest.is_none_or(|longest| longest as f64 / 1e6 <= used_to), "{quota}: {longest:?} ns");
        // What each replica is not charged for yet.
        let most = limit.burst + 8.0 + limit.rate * 2.0 * way as f64 / 1e9;
        let worst = fleet.worst_window(limit);
        assert!(worst <= most, "{quota}: {worst} of {most}");
        assert!(fleet.use_of(limit, 30.0) >= 0.95 - 1.0 / limit.burst, "{quota}");
        let later = fleet.ended.iter().filter(unanswered).filter(|ended| ended.arrived > 13 * SECOND);
        assert_eq!(later.count(), 0, "{quota}");
    }
}

#[test]
fn who_waits_as_told_is_admitted_and_who_comes_sooner_is_not() {
    for (seed, quota) in (70..).zip(["2 per minute", "5 per minute", "60 per minute"]) {
        let limit = limit_of(quota);
        let mut fleet = Fleet::new(seed, 8, &policy(quota));
        for at in 0..limit.burst as u64 + 3 {
            fleet.request(SECOND + at * 20 * MILLI, (at % 8) as usize, &ASK);
        }
        fleet.run();
        let last = *fleet.ended.iter().rfind(|ended| ended.refused.is_some()).unwrap();
        let wait = last.refused.unwrap().div_ceil(SECOND) * SECOND;
        fleet.ended.clear();
        // Whichever replica it comes to.
        fleet.request(last.at + last.refused.unwrap() - SECOND / 2, 5, &ASK);
        fleet.request(last.at + wait, 3, &ASK);
        fleet.run();
        let refused: Vec<bool> = fleet.ended.iter().map(|ended| ended.refused.is_some()).collect();
        assert_eq!(refused, [true, false], "{quota}");
    }
}

#[test]
fn reloads_hand_out_nothing_and_lock_nobody_out() {
    let quotas = ["60 per minute", "120 per minute", "30 per minute"];
    let mut fleet = Fleet::new(80, 8, &policy(quotas[0]));
    for round in 0..100_u64 {
        for replica in 0..8 {
            let toml = policy(quotas[round as usize % 3]);
            // Not all at the same moment.
            fleet.at(SECOND + round * 100 * MILLI + replica as u64 * 3 * MILLI, move |fleet| {
                fleet.reload(replica, &toml);
            });
        }
    }
    fleet.poisson((SECOND, 11 * SECOND), 100.0, &[1; 8], &ASK);
    fleet.run();
    let admitted = fleet.admitted().count();
    // One full burst, which is the fraction of the widest, and ten seconds at the widest rate.
    assert!((60..=140).contains(&admitted), "{admitted}");
    assert!(fleet.admitted().any(|ended| ended.at > 10 * SECOND), "somebody is locked out");
}

/// However often a store stalls, what is admitted meanwhile is charged by its next answers.
#[test]
fn a_store_that_stalls_again_and_again_adds_no_more_than_once() {
    for (seed, quota, times) in
        [(85, "60 per minute", 1.2), (86, "60 per minute", 2.0), (87, "10 per minute", 1.5)]
    {
        let limit = limit_of(quota);
        let mut fleet = Fleet::new(seed, 8, &policy(quota));
        for stall in 0..400 {
            let at = 2 * SECOND + stall * 1_500 * MILLI;
            fleet.at(at, |fleet| fleet.weather.is_frozen = true);
            fleet.at(at + 600 * MILLI, |fleet| fleet.weather.is_frozen = false);
        }
        fleet.poisson((SECOND, 601 * SECOND), limit.rate * times, &[1; 8], &ASK);
        fleet.run();
        let unanswered = fleet.admitted().filter(|ended| ended.path == Some(LimitPath::Unanswered)).count();
        assert!(unanswered > 20, "{quota}: {unanswered} were admitted without an answer");
        let worst = fleet.worst_window(limit);
        assert!(worst <= limit.burst + 8.0, "{quota}: {worst}");
    }
}
