//! Counts by the calendar across a fleet: never more than the quota in a period, and nearly all of it used.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Fleet, SECOND};
use crate::domain::RegionId;
use crate::limits::shared::CentralStore;
use crate::limits::tests::world::ASK;
use crate::limits::{Audience, Counters, Limits};

const REPLICAS: usize = 8;
/// The simulation begins on 2023-11-14 at 22:13:20 UTC.
const MIDNIGHT: u64 = 6_400 * SECOND;

fn policy(quota: &str) -> String {
    let text = format!(r#"name = "default", per = ["token"], quota = "{quota}", window = "calendar""#);
    format!("policies = [{{ {text} }}]")
}

/// How many were admitted on each day of those that the simulation has.
fn by_day(fleet: &Fleet) -> BTreeMap<u64, usize> {
    let mut days = BTreeMap::new();
    for ended in fleet.admitted() {
        *days.entry((ended.at + 86_400 * SECOND - MIDNIGHT) / (86_400 * SECOND)).or_default() += 1;
    }
    days
}

/// A new process in a replica's place.
fn restart(fleet: &mut Fleet, replica: usize) {
    let known = &mut fleet.replicas[replica];
    let store: Arc<dyn CentralStore> = known.client.clone();
    known.limits = Limits::new(Arc::clone(known.limits.rules()), Counters::new([99; 32]))
        .shared_through(vec![Some(store)], RegionId(0));
}

/// Tens of times the quota, at all replicas, across midnight.
#[test]
fn a_day_has_its_quota_and_the_next_day_has_it_anew() {
    for (quota, most) in [("3 per day", 3), ("100 per day", 100), ("700 per day", 700)] {
        let mut fleet = Fleet::new(1, REPLICAS, &policy(quota));
        let time = (MIDNIGHT - 20 * SECOND, MIDNIGHT + 20 * SECOND);
        fleet.poisson(time, 200.0, &[1; REPLICAS], &ASK);
        fleet.run();
        assert_eq!(by_day(&fleet), BTreeMap::from([(0, most), (1, most)]), "{quota}");
    }
}

/// A month too, and a quota whose demand is leased.
#[test]
fn a_busy_quota_is_leased_and_used_up() {
    let mut fleet = Fleet::new(2, REPLICAS, &policy("20000 per month"));
    fleet.poisson((SECOND, 31 * SECOND), 2_000.0, &[1; REPLICAS], &ASK);
    fleet.run();
    assert_eq!(fleet.admitted().count(), 20_000);
    assert!(fleet.questions() < 0.1, "{}", fleet.questions());
}

/// Replicas that are not asked any more keep their leases, which are an Nth of a fourth of what was left at most.
#[test]
fn what_lies_idle_is_at_most_a_fourth() {
    let mut fleet = Fleet::new(3, REPLICAS, &policy("1000 per day"));
    fleet.poisson((SECOND, 2 * SECOND), 400.0, &[1; REPLICAS], &ASK);
    fleet.poisson((2 * SECOND, 20 * SECOND), 200.0, &[1, 0, 0, 0, 0, 0, 0, 0], &ASK);
    fleet.run();
    let admitted = fleet.admitted().count();
    assert!((750..=1_000).contains(&admitted), "{admitted}");
    // They are asked again, and it was only lying there.
    fleet.poisson((30 * SECOND, 60 * SECOND), 200.0, &[1; REPLICAS], &ASK);
    fleet.run();
    assert_eq!(fleet.admitted().count(), 1_000);
}

/// One that comes once in a while takes one token and leaves none behind, so that a restart costs nothing.
#[test]
fn restarts_hand_out_nothing_and_cost_what_was_leased() {
    let mut fleet = Fleet::new(4, REPLICAS, &policy("50 per day"));
    for at in 1..=100 {
        fleet.request(at * 30 * SECOND, at as usize % REPLICAS, &ASK);
        fleet.at(at * 30 * SECOND + SECOND, move |fleet| restart(fleet, at as usize % REPLICAS));
    }
    fleet.run();
    assert_eq!(fleet.admitted().count(), 50);

    let mut fleet = Fleet::new(5, REPLICAS, &policy("2000 per day"));
    for at in 1..=10 {
        fleet.at(at * SECOND, move |fleet| restart(fleet, at as usize % REPLICAS));
    }
    fleet.poisson((SECOND, 30 * SECOND), 500.0, &[1; REPLICAS], &ASK);
    fleet.run();
    let admitted = fleet.admitted().count();
    assert!((2_000 - 10 * 2_000 / 32..=2_000).contains(&admitted), "{admitted}");
}

/// A hundred requests a second around midnight, with one message of ten lost.
fn through_losses(seed: u64, on_store_failure: &str) -> Fleet {
    let toml = format!("on_store_failure = \"{on_store_failure}\"\n{}", policy("300 per day"));
    let mut fleet = Fleet::new(seed, REPLICAS, &toml);
    fleet.weather.lost_permille = 100;
    fleet.poisson((MIDNIGHT - 30 * SECOND, MIDNIGHT + 30 * SECOND), 100.0, &[1; REPLICAS], &ASK);
    fleet.run();
    fleet
}

/// What was asked for and not heard of is lost; nothing is granted twice, and a gateway that admits one request in doubt
/// admits no other before it has paid for it.
#[test]
fn lost_messages_add_one_for_each_replica() {
    for seed in 0..20 {
        for (day, admitted) in by_day(&through_losses(seed, "share")) {
            // What shares admitted is charged, unless the others have left nothing to pay it from.
            assert!(admitted <= 300 + REPLICAS, "{admitted} on day {day}, seed {seed}");
        }
    }
}

/// A policy that is closed admits nothing in doubt, so that no loss adds anything.
#[test]
fn lost_messages_never_add_to_a_quota_that_is_closed() {
    for seed in 0..20 {
        for (day, admitted) in by_day(&through_losses(seed, "closed")) {
            assert!((200..=300).contains(&admitted), "{admitted} on day {day}, seed {seed}");
        }
    }
}

/// The same fraction stays used, there and back again, while replicas disagree about the quota.
#[test]
fn another_quota_keeps_what_was_used() {
    let mut fleet = Fleet::new(6, REPLICAS, &policy("100 per day"));
    for at in 0..50 {
        fleet.request((1 + at) * SECOND, at as usize % REPLICAS, &ASK);
    }
    fleet.run();
    for replica in 0..REPLICAS {
        fleet.at((100 + replica as u64) * SECOND, move |fleet| fleet.reload(replica, &policy("70 per day")));
    }
    // Both quotas are in force at the same time, and each has half of it left.
    for at in 0..16 {
        fleet.request(100 * SECOND + at * SECOND / 2 + 1, at as usize % REPLICAS, &ASK);
    }
    fleet.poisson((200 * SECOND, 230 * SECOND), 50.0, &[1; REPLICAS], &ASK);
    fleet.run();
    let admitted = fleet.admitted().count();
    assert!((50 + 35..=50 + 35 + 16 * 3 / 10 + 1).contains(&admitted), "{admitted}");
}

/// Shares admit the steady rate and one request each; it is charged when the store is back, and the quota holds.
#[test]
fn an_outage_is_charged_afterwards() {
    let mut fleet = Fleet::new(7, REPLICAS, &policy("240 per day"));
    for at in 0..80 {
        fleet.request((1 + at) * SECOND, at as usize % REPLICAS, &ASK);
    }
    let (down, up) = (100 * SECOND, 100 * SECOND + 2 * 3_600 * SECOND / 2);
    fleet.at(down, |fleet| fleet.weather.is_dead = true);
    fleet.at(up, |fleet| fleet.weather.is_dead = false);
    fleet.poisson((down, up), 1.0, &[1; REPLICAS], &ASK);
    fleet.poisson((up + 5 * SECOND, up + 60 * SECOND), 100.0, &[1; REPLICAS], &ASK);
    fleet.run();
    let before = fleet.admitted().filter(|ended| ended.at < up).count() - 80;
    assert!((REPLICAS..=REPLICAS + 10 + 1).contains(&before), "{before} in an hour of 10");
    assert_eq!(fleet.admitted().count(), 240);
}

#[test]
fn what_is_told_is_what_is_left_of_the_day() {
    let mut fleet = Fleet::new(8, 2, &policy("10 per day"));
    let told = |fleet: &Fleet| {
        let caller = ASK.caller().unwrap();
        let rows =
            fleet.replicas[0].limits.standing(&caller, ASK.address(), fleet.clock_of(0), Audience::Caller);
        let headroom = rows.iter().find(|row| &*row.name == "default").unwrap().headroom.unwrap();
        (headroom.remaining(), headroom.until_next().as_secs())
    };
    fleet.now = 6_340 * SECOND;
    assert_eq!(told(&fleet), (10, 60), "nobody has asked");
    for at in 0..12 {
        fleet.request(6_341 * SECOND + at * SECOND, (at % 2) as usize, &ASK);
    }
    fleet.run();
    assert_eq!(told(&fleet), (0, 48));
    let refused: Vec<_> = fleet.ended.iter().filter_map(|ended| ended.refused).collect();
    assert_eq!(refused.len(), 2);
    assert!(
        refused.iter().all(|wait| (47 * SECOND..50 * SECOND).contains(wait)),
        "until midnight: {refused:?}"
    );
}
