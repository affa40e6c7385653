//! L8: a reload hands out no fresh bucket and locks nobody out.

use std::time::Duration;

use super::world::{ASK, Ask, World, quota};

fn policy(quota: &str) -> String {
    format!(r#"policies = [{{ name = "default", per = ["token"], quota = "{quota}" }}]"#)
}

#[test]
fn the_same_rules_again_change_nothing() {
    let mut world = World::new(&policy("10 per hour"));
    assert_eq!(world.admitted(&ASK), 10);
    for _ in 0..50 {
        world.reload(&policy("10 per hour"));
        assert!(world.ask(&ASK).is_err());
    }
}

#[test]
fn a_wider_quota_keeps_what_was_used() {
    let mut world = World::new(&policy("10 per hour"));
    assert_eq!(world.admitted(&ASK), 10);
    world.reload(&policy("100 per hour"));
    assert_eq!(world.admitted(&ASK), 90);
    assert_eq!(world.admitted(&Ask::by(2)), 100);
}

#[test]
fn a_narrower_quota_locks_nobody_out_for_longer_than_its_own_fill() {
    let mut world = World::new(&policy("100 per day"));
    let half = Ask::by(2);
    (0..50).for_each(|_| drop(world.ask(&half).unwrap()));
    assert_eq!(world.admitted(&ASK), 100);
    world.reload(&policy("10 per minute"));
    assert_eq!(world.refused(&ASK).wait, Duration::from_secs(6));
    assert_eq!(world.refused(&half).wait, Duration::from_secs(6), "50 used of 10");
    world.wait(Duration::from_mins(1));
    assert_eq!(world.admitted(&ASK), 10);
}

#[test]
fn there_and_back_hands_out_nothing() {
    let mut world = World::new(&policy("10 per hour"));
    assert_eq!(world.admitted(&ASK), 10);
    for quota in ["100 per hour", "20 per hour", "10 per hour"] {
        world.reload(&policy(quota));
        let _ = world.ask(&ASK);
    }
    assert!(world.ask(&ASK).is_err());
}

#[test]
fn a_policy_that_was_away_still_knows_its_debts() {
    let mut world = World::new(&policy("10 per hour"));
    assert_eq!(world.admitted(&ASK), 10);
    world.reload("policies = []");
    assert!(world.ask(&ASK).is_ok());
    world.sweep_all();
    world.reload(&policy("10 per hour"));
    assert!(world.ask(&ASK).is_err());
}

#[test]
fn endpoints_may_move_in_the_table() {
    let mut world =
        World::new(r#"policies = [{ name = "each", per = ["token", "endpoint"], quota = "3 per hour" }]"#);
    assert_eq!(world.admitted(&ASK), 3);
    assert_eq!(world.admitted(&Ask::of("getWarehouseSyncs")), 2);
    world.endpoints.reverse();
    for (index, row) in (0..).zip(&mut world.endpoints) {
        row.index = index;
    }
    world.reload(r#"policies = [{ name = "each", per = ["token", "endpoint"], quota = "3 per hour" }]"#);
    assert!(world.ask(&ASK).is_err());
    assert_eq!(&*world.refused(&Ask::of("getWarehouseSyncs")).name, "getWarehouseSyncs");
    assert_eq!(world.admitted(&Ask::of("echo")), 3);
}

#[test]
fn a_request_that_still_holds_the_older_rules_cannot_undo_the_reload() {
    let world = World::new(&policy("1000 per hour"));
    let newer = world.reloaded(&policy("10 per hour"));
    (0..500).for_each(|_| drop(world.ask(&ASK).unwrap()));
    assert!(world.ask_by(&newer, &ASK).is_err());
    for _ in 0..100 {
        assert!(world.ask(&ASK).is_err(), "decided by the newer rules");
    }
    let fresh = Ask::by(2);
    assert_eq!((0..100).filter(|_| world.ask_by(&newer, &fresh).is_ok()).count(), 10);
    assert!(world.ask(&fresh).is_err());
}

#[test]
fn many_busy_tokens_through_many_reloads() {
    let mut world = World::new(&policy("10 per minute"));
    let mut admitted = vec![0_usize; 2_000];
    for round in 0..12 {
        for (token, admitted) in (0..).zip(&mut admitted) {
            *admitted += (0..12).filter(|_| world.ask(&Ask::by(token)).is_ok()).count();
        }
        world.reload(&policy(if round % 2 == 0 { "100 per hour" } else { "10 per minute" }));
        world.wait(Duration::from_secs(1));
    }
    // One full burst of 10, the widest burst's further 90 once, and what 12 s at 10 a minute bring.
    assert!(admitted.iter().all(|admitted| (10..=102).contains(admitted)), "{:?}", admitted.iter().max());
}

#[test]
fn a_limit_of_ones_own_comes_and_goes_without_a_fresh_bucket() {
    let world = World::new(&policy("10 per hour"));
    let own = |text: &str| Ask { own_limit: Some(quota(text)), ..ASK };
    assert_eq!(world.admitted(&ASK), 10);
    assert_eq!(world.admitted(&own("5 per minute")), 0);
    assert_eq!(world.refused(&own("5 per minute")).wait, Duration::from_secs(12));
    assert_eq!(world.admitted(&own("25 per hour")), 20, "5 of 5 a minute are 5 of 25 an hour");
    assert!(world.ask(&ASK).is_err());
}
