//! What was asked, owed or begun under a quota that is not in force any more.

use super::accuracy::policy;
use super::outages::dead;
use super::{Fleet, MILLI, SECOND};
use crate::limits::tests::world::ASK;

fn admitted(fleet: &mut Fleet, begin: u64, count: u64, apart: u64) -> usize {
    fleet.ended.clear();
    for at in 0..count {
        fleet.request(begin + at * apart, 0, &ASK);
    }
    fleet.run();
    fleet.admitted().count()
}

/// One asks, and another finds the new quota before that is answered.
fn reload_between(fleet: &mut Fleet, at: u64, toml: &str) {
    let toml = toml.to_owned();
    fleet.at(at + 50_000, move |fleet| fleet.reload(0, &toml));
    fleet.request(at, 0, &ASK);
    fleet.request(at + 100_000, 0, &ASK);
    fleet.run();
}

/// A refusal that was on its way when the quota changed is none of the new one.
#[test]
fn a_refusal_by_the_former_quota_locks_nobody_out() {
    let calendar = |quota: &str| policy(quota).replace(" }", r#", window = "calendar" }"#);
    for before in [policy("2 per day"), calendar("2 per day")] {
        let mut fleet = Fleet::new(1, 1, &before);
        assert_eq!(admitted(&mut fleet, SECOND, 2, 10 * MILLI), 2);
        reload_between(&mut fleet, 70 * SECOND, &policy("600 per minute"));
        let after = admitted(&mut fleet, 71 * SECOND, 100, 100 * MILLI);
        assert!((97..=101).contains(&after), "{before}: {after} of 100 in 10 s of 10 a second");
    }
}

/// Tokens that were on their way when the quota changed are none of the new one.
#[test]
fn tokens_of_the_former_quota_are_not_spent_under_the_new_one() {
    let mut fleet = Fleet::new(2, 1, &policy("6000 per minute"));
    reload_between(&mut fleet, SECOND, &policy("6 per hour"));
    // Eight were granted, which are more than all.
    assert_eq!(admitted(&mut fleet, SECOND + MILLI, 100, 2 * MILLI), 0);
    let later = admitted(&mut fleet, 3_700 * SECOND, 100, 10 * MILLI);
    assert!((5..=6).contains(&later), "{later} of 6, an hour later");
}

/// Another quota is refilled by from its first question on, even if all was used.
#[test]
fn a_bucket_that_was_used_up_refills_by_the_quota_in_force() {
    for before in ["2 per day", "700 per month"] {
        let mut fleet = Fleet::new(6, 2, &policy(before));
        let begin = admitted(&mut fleet, SECOND, 800, 6 * MILLI);
        assert!((2..=701).contains(&begin), "{begin}");
        (0..2).for_each(|replica| fleet.reload(replica, &policy("600 per minute")));
        let after = admitted(&mut fleet, 10 * SECOND, 100, 100 * MILLI);
        assert!((97..=101).contains(&after), "{before}: {after} of 100 in 10 s of 10 a second");
    }
}

/// What is leased of a large quota is all of a small one at most, and is not waited for when it has ended.
#[test]
fn a_busy_bucket_waits_no_longer_than_a_smaller_quota_needs_to_fill() {
    let mut fleet = Fleet::new(7, 8, &policy("6000 per minute"));
    fleet.poisson((SECOND, 20 * SECOND), 90.0, &[1; 8], &ASK);
    fleet.run();
    let change = fleet.now + MILLI;
    (0..8).for_each(|replica| fleet.reload(replica, &policy("60 per minute")));
    fleet.ended.clear();
    fleet.poisson((change, change + 60 * SECOND), 10.0, &[1; 8], &ASK);
    fleet.run();
    let longest = fleet.ended.iter().filter_map(|ended| ended.refused).max();
    assert!(longest < Some(61 * SECOND), "{longest:?}");
    let admitted = fleet.admitted().count();
    assert!((48..=121).contains(&admitted), "{admitted} in a minute of one a second");
}

/// The same part of a bucket is owed.
#[test]
fn a_debt_is_carried_over_by_its_part_of_the_burst() {
    let policy = |quota: &str, more: &str| {
        let text =
            format!(r#"name = "default", per = ["token"], quota = "{quota}", cost_from_header = "X-Cost""#);
        format!("policies = [{{ {text}{more} }}]")
    };
    let calendar = r#", window = "calendar""#;
    for (quota, more) in [("60 per hour", ""), ("60 per day", calendar)] {
        let mut fleet = Fleet::new(3, 1, &policy("6000 per hour", ""));
        fleet.request(SECOND, 0, &ASK);
        fleet.run();
        let now = fleet.clock_of(0);
        let limits = &fleet.replicas[0].limits;
        let attempt = fleet.world.attempt(limits, &ASK, now, None);
        let crate::limits::Attempt::Decided(Ok(mut admission)) = attempt else { panic!("it waits") };
        admission.charge_answer(|_| Some(b"3000".as_slice()), now);
        drop(admission);
        fleet.reload(0, &policy(quota, more));
        // Half a burst is owed, and half is left, but for the eight that were granted.
        let after = admitted(&mut fleet, 15 * SECOND, 60, 10 * MILLI);
        assert!((20..=31).contains(&after), "{quota}{more}: {after} of 60");
    }
}

/// A share is as used up after a change as it was before.
#[test]
fn a_change_in_an_outage_hands_out_nothing_and_locks_nobody_out() {
    for (before, after) in [("700 per month", "600 per minute"), ("600 per minute", "700 per month")] {
        let mut fleet = Fleet::new(4, 1, &policy(before));
        fleet.at(SECOND, |fleet| dead(fleet, true));
        fleet.at(60 * SECOND, |fleet| dead(fleet, false));
        fleet.poisson((2 * SECOND, 50 * SECOND), 50.0, &[1], &ASK);
        let toml = policy(after);
        fleet.at(10 * SECOND, move |fleet| fleet.reload(0, &toml));
        fleet.run();
        let later = fleet.admitted().filter(|ended| (10 * SECOND..50 * SECOND).contains(&ended.at)).count();
        let right = if after == "700 per month" { 0..=7 } else { 380..=402 };
        assert!(right.contains(&later), "{before}, then {after}: {later}");
    }
}
