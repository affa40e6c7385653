//! What becomes of shared buckets when a policy changes on a reload: another window, another name. Nobody gets a fresh
//! bucket, however the replicas take over the change one after the other.

use super::{Fleet, MILLI, SECOND};
use crate::limits::tests::world::ASK;

fn named(name: &str, more: &str) -> String {
    format!(r#"policies = [{{ name = "{name}", per = ["token"], shared = "strict", {more} }}]"#)
}

fn daily(window: &str) -> String {
    named("default", &format!(r#"quota = "100 per day", window = "{window}""#))
}

/// How many of so many requests are admitted, one in 20 ms at each replica in turn.
fn admitted(fleet: &mut Fleet, count: u64) -> usize {
    fleet.ended.clear();
    let (begin, replicas) = (fleet.now + SECOND, fleet.replicas.len());
    for at in 0..count {
        fleet.request(begin + at * 20 * MILLI, at as usize % replicas, &ASK);
    }
    fleet.run();
    fleet.admitted().count()
}

fn reload_all(fleet: &mut Fleet, toml: &str) {
    for replica in 0..fleet.replicas.len() {
        fleet.reload(replica, toml);
    }
}

#[test]
fn another_window_keeps_what_was_used_there_and_back() {
    for (first, second) in [("rolling", "calendar"), ("calendar", "rolling")] {
        let mut fleet = Fleet::new(1, 4, &daily(first));
        assert_eq!(admitted(&mut fleet, 60), 60);
        reload_all(&mut fleet, &daily(second));
        assert_eq!(admitted(&mut fleet, 20), 20, "{second}");
        reload_all(&mut fleet, &daily(first));
        assert_eq!(admitted(&mut fleet, 10), 10, "{first}");
        reload_all(&mut fleet, &daily(second));
        assert_eq!(admitted(&mut fleet, 100), 10, "{second}: 90 were used");
        for window in [first, second, first] {
            reload_all(&mut fleet, &daily(window));
            assert_eq!(admitted(&mut fleet, 100), 0, "{window}: all of one is all of the other");
        }
    }
}

#[test]
fn half_a_month_is_half_a_day_and_who_waits_is_admitted() {
    let month = named("default", r#"quota = "40 per month", window = "calendar""#);
    let mut fleet = Fleet::new(2, 2, &month);
    assert_eq!(admitted(&mut fleet, 20), 20);
    let minute = named("default", r#"quota = "10 per minute""#);
    reload_all(&mut fleet, &minute);
    assert_eq!(admitted(&mut fleet, 30), 5, "half of it");
    let wait = fleet.ended.last().unwrap().refused.unwrap();
    assert!(wait <= 6 * SECOND, "what is left of the period is not waited for: {wait}");
    fleet.now += 60 * SECOND;
    assert_eq!(admitted(&mut fleet, 30), 10, "it refills, although nothing but refusals was said since");
}

/// Replicas change over one after the other, and back, under load: both windows count in the same bucket.
#[test]
fn replicas_that_disagree_about_the_window_share_one_bucket() {
    let mut fleet = Fleet::new(3, 8, &daily("rolling"));
    for round in 0..6_u64 {
        for replica in 0..8_u64 {
            let toml = daily(if round % 2 == 0 { "calendar" } else { "rolling" });
            let at = (2 + round * 8 + replica) * SECOND;
            fleet.at(at, move |fleet| fleet.reload(replica as usize, &toml));
        }
    }
    fleet.poisson((SECOND, 60 * SECOND), 20.0, &[1; 8], &ASK);
    fleet.run();
    let admitted = fleet.admitted().count();
    assert!((99..=100).contains(&admitted), "{admitted}");
}

#[test]
fn a_new_name_keeps_the_bucket_while_replicas_change_over_and_after_a_second_one() {
    let quota = r#"quota = "100 per day""#;
    let mut fleet = Fleet::new(4, 2, &named("first", quota));
    assert_eq!(admitted(&mut fleet, 40), 40);
    fleet.reload(0, &named("second", &format!(r#"formerly = "first", {quota}"#)));
    assert_eq!(admitted(&mut fleet, 40), 40, "one has the new name");
    reload_all(&mut fleet, &named("second", &format!(r#"formerly = "first", {quota}"#)));
    assert_eq!(admitted(&mut fleet, 10), 10);
    // The server knows the bucket by the name that it had first.
    reload_all(&mut fleet, &named("third", &format!(r#"formerly = "first", {quota}"#)));
    assert_eq!(admitted(&mut fleet, 40), 10);
    assert!(fleet.asked_of.iter().all(|(.., name)| name.starts_with("first:")));
}

#[test]
fn a_policy_that_was_away_still_knows_its_debts() {
    let mut fleet = Fleet::new(5, 2, &daily("rolling"));
    assert_eq!(admitted(&mut fleet, 120), 100);
    reload_all(&mut fleet, "policies = []");
    assert_eq!(admitted(&mut fleet, 10), 10);
    reload_all(&mut fleet, &daily("rolling"));
    assert_eq!(admitted(&mut fleet, 10), 0);
}
