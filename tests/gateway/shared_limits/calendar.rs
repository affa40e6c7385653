//! Counts by the calendar, and long quotas, on three gateways: exact together, across restarts and another quota.

use std::thread;
use std::time::{Duration, SystemTime};

use super::load::{Outcome, Targets, offer};
use super::{Fleet, PATIENT};
use crate::support::{Client, request};

const REPLICAS: usize = 3;

fn load(fleet: &Fleet, token: &str, per_second: u32, seconds: u64) -> Outcome {
    let pause = || thread::sleep(Duration::from_secs(seconds));
    let outcome = offer(&Targets::new(fleet.addresses()), token, per_second, 6, pause);
    outcome.assert_no_errors();
    outcome
}

fn day() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 86_400
}

/// A test's day must not end while it runs; the simulator has what happens then.
fn on_one_day(test: impl Fn()) {
    loop {
        let begun = day();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&test));
        if day() == begun {
            return result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }
}

fn remaining(fleet: &Fleet, token: &str) -> u32 {
    let answer = Client::connect(fleet.replicas[0].address).send(&request("GET", "/anything", token, ""));
    answer.field("x-ratelimit-remaining").unwrap().parse().unwrap()
}

#[test]
fn a_days_quota_is_one_quota_across_replicas_restarts_and_reloads() {
    on_one_day(|| {
        let mut fleet = Fleet::of_quota(
            REPLICAS,
            "quota = \"120 per day\"\nwindow = \"calendar\"\nshared = \"strict\"\n",
            PATIENT,
        );
        let token = fleet.token();
        // Half of it: each request takes its token and leaves none behind.
        let mut admitted = 0;
        for number in 0..60 {
            let replica = &fleet.replicas[number % REPLICAS];
            admitted += usize::from(replica.ask(&token, "/anything").status == 200);
        }
        assert_eq!(admitted, 60);
        fleet.restart_all();
        assert_eq!(remaining(&fleet, &token), 59);

        // Under half the quota half of it is left, less the one that looked.
        fleet.reload("quota = \"60 per day\"\nwindow = \"calendar\"\nshared = \"strict\"\n");
        let outcome = load(&fleet, &token, 100, 3);
        assert_eq!(outcome.admitted(), 29, "all are busy, so nothing lies idle");
        fleet.restart_all();
        let outcome = load(&fleet, &token, 100, 1);
        assert_eq!(outcome.admitted(), 0);
        let refused = fleet.replicas[0].ask(&token, "/anything");
        assert_eq!((refused.status, refused.reason()), (429, "quota_exceeded".to_owned()));
        assert!(refused.field("ratelimit").unwrap().contains("r=0"), "{refused:?}");
    });
}

#[test]
fn a_busy_quota_is_leased_and_what_lies_idle_is_bounded() {
    on_one_day(|| {
        let fleet = Fleet::of_quota(REPLICAS, "quota = \"600 per day\"\nwindow = \"calendar\"\n", PATIENT);
        let token = fleet.token();
        let outcome = load(&fleet, &token, 150, 2);
        let first = outcome.admitted();
        // One alone goes on: the others keep a twelfth of the quota each at most.
        let alone = Targets::new(fleet.addresses()[..1].to_vec());
        let outcome = offer(&alone, &token, 200, 6, || thread::sleep(Duration::from_secs(5)));
        outcome.assert_no_errors();
        let all = first + outcome.admitted();
        assert!((600 - 2 * 50..=600).contains(&all), "{first} + {}", outcome.admitted());
        let asked: u64 = fleet
            .replicas
            .iter()
            .map(|replica| replica.metrics().count("tollgate_limit_path_total", &[("path", "lease")]))
            .sum();
        assert!(asked > 100, "{asked} were admitted by a lease");
    });
}

/// While Redis is away each replica admits its share of the steady rate, one at once, and it is charged afterwards.
#[test]
fn without_redis_a_day_has_its_shares_and_they_are_charged() {
    on_one_day(|| {
        let fleet = Fleet::of_quota(
            REPLICAS,
            "quota = \"40 per day\"\nwindow = \"calendar\"\nshared = \"strict\"\n",
            PATIENT,
        );
        let token = fleet.token();
        for number in 0..30 {
            assert_eq!(fleet.replicas[number % REPLICAS].ask(&token, "/anything").status, 200);
        }
        fleet.relays.iter().for_each(super::relay::Relay::cut);
        fleet.until_breakers(2);
        let outcome = load(&fleet, &token, 100, 2);
        assert_eq!(outcome.admitted(), REPLICAS, "one each");
        fleet.relays.iter().for_each(super::relay::Relay::mend);
        fleet.until_breakers(0);
        let outcome = load(&fleet, &token, 100, 2);
        let left = 40 - 30 - REPLICAS;
        // A question that the cut overtook may have taken a token that nobody got.
        assert!((left - REPLICAS..=left).contains(&outcome.admitted()), "{}", outcome.admitted());
    });
}

/// A day's quota that refills all the time outlives every replica as well.
#[test]
fn a_rolling_day_is_exact_across_restarts() {
    let mut fleet = Fleet::of_quota(REPLICAS, "quota = \"50 per day\"\n", PATIENT);
    let token = fleet.token();
    for number in 0..30 {
        assert_eq!(fleet.replicas[number % REPLICAS].ask(&token, "/anything").status, 200);
    }
    fleet.restart_all();
    let outcome = load(&fleet, &token, 100, 2);
    // A start counts as an outage of a moment, which takes a part of a token from whole ones.
    assert!((20 - REPLICAS..=20).contains(&outcome.admitted()), "{}", outcome.admitted());
    fleet.restart_all();
    assert_eq!(load(&fleet, &token, 100, 1).admitted(), 0);
}
