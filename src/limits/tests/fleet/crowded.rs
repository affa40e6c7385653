//! Past the bound on buckets: whoever finds no room shares a bucket, and is served from it.

use super::{Fleet, MILLI, SECOND};
use crate::domain::LimitPath;
use crate::limits::tests::world::Ask;

/// Room for seven shared buckets of tenants on each replica, which they take first.
fn crowded(seed: u64, policies: &str) -> Fleet {
    let mut fleet = Fleet::new(seed, 2, &format!("max_cells = 240\npolicies = [{policies}]"));
    for token in 0..14 {
        fleet.request(SECOND, (token % 2) as usize, &Ask::by(1_000 + token));
    }
    fleet.run();
    assert_eq!(fleet.admitted().count(), 14);
    fleet.ended.clear();
    fleet
}

fn ask(fleet: &mut Fleet, count: u64) -> usize {
    for at in 0..count {
        fleet.request(2 * SECOND + at * 20 * MILLI, (at % 2) as usize, &Ask::by(2_000 + at));
    }
    fleet.run();
    fleet.admitted().count()
}

#[test]
fn newcomers_have_one_bucket_together_and_all_of_it() {
    let mut fleet = crowded(1, r#"{ name = "default", per = ["token"], quota = "60 per hour" }"#);
    assert_eq!(ask(&mut fleet, 200), 60);
    let asked = fleet.asked;
    assert!(asked < 14 + 100, "{asked} questions: it refuses by itself once it is empty");
    let denied = fleet.ended.iter().filter(|ended| ended.path == Some(LimitPath::Denied)).count();
    assert!(denied > 100, "{denied}");
}

#[test]
fn newcomers_spend_what_is_leased() {
    let mut fleet = crowded(2, r#"{ name = "default", per = ["token"], quota = "6000 per minute" }"#);
    assert_eq!(ask(&mut fleet, 400), 400);
    let leased = fleet.ended.iter().filter(|ended| ended.path == Some(LimitPath::Lease)).count();
    assert!(leased > 250, "{leased}");
}

#[test]
fn several_policies_are_all_or_nothing_past_the_bound_too() {
    let mut fleet = crowded(
        3,
        r#"{ name = "default", per = ["token"], quota = "60 per hour" },
           { name = "other", per = ["token"], quota = "40 per hour" },
           { name = "here", per = ["token"], quota = "40 per hour", shared = "off" }"#,
    );
    // Each replica has room for both buckets of three callers, and for one of the fourth: the others had eight of these.
    assert_eq!(ask(&mut fleet, 200), 40 - 8);
}

#[test]
fn a_store_that_is_away_leaves_newcomers_one_share() {
    let mut fleet = crowded(4, r#"{ name = "default", per = ["token"], quota = "60 per hour" }"#);
    fleet.at(SECOND + 1, |fleet| fleet.weather.is_dead = true);
    fleet.at(7 * SECOND, |fleet| fleet.weather.is_dead = false);
    assert_eq!(ask(&mut fleet, 200), 2, "one on each replica");
}
