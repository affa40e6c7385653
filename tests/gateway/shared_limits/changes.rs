//! A shared policy changes while gateways run: another quota, another window, another name. What was used stays used, on
//! every gateway, and while some have taken the change over and others have not.

use super::is_long;
use super::{Fleet, PATIENT};

fn replicas() -> usize {
    if is_long() { 8 } else { 2 }
}

/// How many of so many requests are admitted, at each gateway in turn.
fn admitted(fleet: &Fleet, token: &str, requests: usize) -> usize {
    let is_admitted = |number: &usize| {
        let answer = fleet.replicas[number % fleet.replicas.len()].ask(token, "/anything");
        assert!(matches!(answer.status, 200 | 429), "{answer:?}");
        answer.status == 200
    };
    (0..requests).filter(is_admitted).count()
}

fn daily(requests: u32, window: &str) -> String {
    format!("quota = \"{requests} per day\"\nshared = \"strict\"\nwindow = \"{window}\"\n")
}

#[test]
fn another_quota_and_another_window_keep_what_was_used() {
    let mut fleet = Fleet::of_quota(replicas(), &daily(100, "rolling"), PATIENT);
    let token = fleet.token();
    assert_eq!(admitted(&fleet, &token, 60), 60);
    fleet.reload(&daily(50, "rolling"));
    assert_eq!(admitted(&fleet, &token, 10), 10, "20 of 50 were left");
    fleet.reload(&daily(50, "calendar"));
    assert_eq!(admitted(&fleet, &token, 5), 5, "10 were left");
    fleet.reload(&daily(200, "calendar"));
    assert_eq!(admitted(&fleet, &token, 10), 10, "20 of 200 are what 5 of 50 were");
    fleet.reload(&daily(200, "rolling"));
    assert_eq!(admitted(&fleet, &token, 30), 10);
    for window in ["calendar", "rolling", "calendar"] {
        fleet.reload(&daily(200, window));
        assert_eq!(admitted(&fleet, &token, 10), 0, "{window}: all of one is all of the other");
    }
}

/// Gateways change over one by one, and both windows count in one bucket meanwhile.
#[test]
fn gateways_that_disagree_about_the_window_share_one_bucket() {
    let fleet = Fleet::of_quota(replicas(), &daily(100, "rolling"), PATIENT);
    let token = fleet.token();
    let mut all = admitted(&fleet, &token, 40);
    for round in 0..2 {
        for replica in 0..fleet.replicas.len() {
            fleet.reload_one(replica, &daily(100, if round == 0 { "calendar" } else { "rolling" }));
            all += admitted(&fleet, &token, 40 / fleet.replicas.len());
        }
    }
    all += admitted(&fleet, &token, 40);
    assert!((99..=100).contains(&all), "{all}");
}

#[test]
fn another_name_keeps_the_bucket_with_formerly_and_has_a_new_one_without() {
    // The policy that every such fleet has comes first, and limits nothing.
    let named = |name: &str, formerly: &str| {
        format!(
            "quota = \"6000 per second\"\nshared = \"off\"\n[[limits.policies]]\nname = \"{name}\"\n{formerly}\
             per = [\"token\"]\n{}",
            daily(60, "rolling")
        )
    };
    let mut fleet = Fleet::of_quota(replicas(), &named("first", ""), PATIENT);
    let token = fleet.token();
    assert_eq!(admitted(&fleet, &token, 20), 20);
    let second = named("second", "formerly = \"first\"\n");
    fleet.reload_one(0, &second);
    assert_eq!(admitted(&fleet, &token, 20), 20, "one gateway has the new name");
    fleet.reload(&second);
    assert_eq!(admitted(&fleet, &token, 10), 10);
    fleet.restart_all();
    // Another name again: the bucket is known by the name that it had first.
    fleet.reload(&named("third", "formerly = \"first\"\n"));
    assert_eq!(admitted(&fleet, &token, 20), 10);
    fleet.reload(&named("fourth", ""));
    assert_eq!(admitted(&fleet, &token, 80), 60, "a new policy");
}
