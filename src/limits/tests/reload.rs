//! L8: a reload hands out no fresh bucket and locks nobody out.

use std::time::Duration;

use super::world::{ASK, Ask, Dice, World, quota};

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
fn the_same_share_stays_used_under_a_wider_quota() {
    let mut world = World::new(&policy("10 per hour"));
    let half = Ask::by(2);
    assert_eq!(world.admitted(&ASK), 10);
    (0..5).for_each(|_| drop(world.ask(&half).unwrap()));
    world.reload(&policy("100 per hour"));
    assert_eq!(world.admitted(&half), 50);
    assert_eq!(world.refused(&ASK).wait, Duration::from_secs(36), "all of it was used, one comes back");
    assert_eq!(world.admitted(&Ask::by(3)), 100);
}

#[test]
fn a_narrower_quota_locks_nobody_out_for_longer_than_its_own_fill() {
    let mut world = World::new(&policy("100 per day"));
    let half = Ask::by(2);
    (0..50).for_each(|_| drop(world.ask(&half).unwrap()));
    assert_eq!(world.admitted(&ASK), 100);
    world.reload(&policy("10 per minute"));
    assert_eq!(world.refused(&ASK).wait, Duration::from_secs(6));
    assert_eq!(world.admitted(&half), 5, "half of it");
    world.wait(Duration::from_mins(1));
    assert_eq!(world.admitted(&ASK), 10);
}

#[test]
fn what_comes_back_before_the_first_request_after_a_change_comes_back_by_the_new_quota() {
    let mut world = World::new(&policy("60 per minute"));
    assert_eq!(world.admitted(&ASK), 60);
    world.wait(Duration::from_secs(30));
    world.reload(&policy("60 per hour"));
    world.wait(Duration::from_mins(2));
    assert_eq!(world.admitted(&ASK), 32, "half of the minute, and two of the hour");
}

/// Though nobody asks for a bucket, the former quota does not fill it after the change, and it does not leave.
#[test]
fn who_stays_away_finds_no_fresh_bucket_under_a_slower_quota() {
    let mut world = World::new(&policy("60 per minute"));
    assert_eq!(world.admitted(&ASK), 60);
    world.reload(&policy("60 per hour"));
    for _ in 0..3 {
        world.wait(Duration::from_secs(30));
        world.sweep_all();
    }
    world.reload(&policy("60 per hour"));
    world.wait(Duration::from_secs(30));
    world.sweep_all();
    assert_eq!(world.admitted(&ASK), 2, "two minutes' worth");
    world.wait(Duration::from_mins(61));
    assert_eq!(world.sweep_all(), 1, "it leaves when the new quota has filled it");
}

#[test]
fn who_stays_away_keeps_the_share_over_several_changes_and_a_policy_that_comes_back() {
    let mut world = World::new(&policy("10 per minute"));
    assert_eq!(world.admitted(&ASK), 10);
    for quota in ["10 per hour", "10 per minute", "40 per day"] {
        world.reload(&policy(quota));
    }
    world.sweep_all();
    world.reload("policies = []");
    world.reload(&policy("100 per day"));
    world.wait(Duration::from_hours(12));
    world.sweep_all();
    assert_eq!(world.admitted(&ASK), 50);
    // Later changes find nothing left to carry over, and what was told is forgotten.
    for _ in 0..3 {
        world.sweep_all();
    }
    assert!(world.limits.counters().cells.changes.unseen().is_empty());
}

#[test]
fn a_faster_quota_frees_who_stays_away_and_a_limit_of_ones_own_is_left_alone() {
    let mut world = World::new(&policy("10 per day"));
    let own = Ask { own_limit: Some(quota("10 per hour")), ..Ask::by(2) };
    assert_eq!((world.admitted(&ASK), world.admitted(&own)), (10, 10));
    world.reload(&policy("10 per minute"));
    world.wait(Duration::from_secs(75));
    assert_eq!(world.sweep_all(), 1, "the other's is no policy's");
    assert_eq!((world.admitted(&ASK), world.admitted(&own)), (10, 0));
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
    (0..1_000).for_each(|_| drop(world.ask(&ASK).unwrap()));
    assert!(world.ask_by(&newer, &ASK).is_err());
    for _ in 0..100 {
        assert!(world.ask(&ASK).is_err(), "decided by the newer rules");
    }
    let fresh = Ask::by(2);
    assert_eq!((0..100).filter(|_| world.ask_by(&newer, &fresh).is_ok()).count(), 10);
    assert!(world.ask(&fresh).is_err());
}

/// Whatever the quotas are between which reloads go to and fro, the shares that requests take (each the burst's part
/// of the quota in force) are at most one bucket and what comes back at the rates in force. Where the periods are
/// the same that is the widest quota's own bound.
#[test]
fn many_busy_tokens_through_reloads_at_10_hz() {
    for quotas in [
        ["10 per minute", "100 per minute"],
        ["10 per minute", "100 per hour"],
        ["7 per second", "50 per day"],
    ] {
        let [first, second] = quotas.map(|text| (text, quota(text)));
        let mut world = World::new(&policy(first.0));
        let mut shares = vec![0.0_f64; 200];
        let mut back = 1.0_f64;
        for round in 0..600 {
            let (_, quota) = if round % 2 == 0 { first } else { second };
            for (token, share) in (0..).zip(&mut shares) {
                let admitted = u32::try_from(world.admitted(&Ask::by(token))).unwrap();
                *share += f64::from(admitted) / f64::from(quota.burst.get());
            }
            world.wait(Duration::from_millis(100));
            back += 0.1 / f64::from(quota.period_seconds);
            world.reload(&policy(if round % 2 == 0 { second.0 } else { first.0 }));
        }
        for share in &shares {
            assert!(*share <= back + 1e-6, "{quotas:?}: {share} of {back}");
            let least = 1.0 / f64::from(first.1.burst.min(second.1.burst).get());
            assert!(*share >= back - least, "{quotas:?}: {share} of {back}");
        }
    }
}

/// However quotas change, nobody waits longer than the quota in force needs to fill, and who waits is admitted.
#[test]
fn nobody_is_locked_out_by_any_chain_of_changes() {
    let mut dice = Dice(11);
    let mut world = World::new(&policy("10 per hour"));
    for _ in 0..300 {
        let period = ["second", "minute", "hour", "day"][dice.below(4) as usize];
        let text = format!("{} per {period}", 1 + dice.below(500));
        world.reload(&policy(&text));
        let quota = quota(&text);
        for token in 0..20 {
            let ask = Ask::by(token);
            (0..dice.below(40)).for_each(|_| drop(world.ask(&ask)));
            if let Err(exceeded) = world.ask(&ask) {
                assert!(exceeded.wait <= Duration::from_nanos(quota.emission_interval_nanos()), "{text}");
            }
        }
        world.wait(Duration::from_millis(dice.below(5_000)));
        let ask = Ask::by(dice.below(20));
        if let Err(exceeded) = world.ask(&ask) {
            world.wait(exceeded.wait);
            assert!(world.ask(&ask).is_ok(), "{text}");
        }
    }
}

#[test]
fn a_limit_of_ones_own_comes_and_goes_without_a_fresh_bucket() {
    let world = World::new(&policy("10 per hour"));
    let own = |text: &str| Ask { own_limit: Some(quota(text)), ..ASK };
    assert_eq!(world.admitted(&ASK), 10);
    assert_eq!(world.admitted(&own("5 per minute")), 0);
    assert_eq!(world.refused(&own("5 per minute")).wait, Duration::from_secs(12));
    assert_eq!(world.admitted(&own("25 per hour")), 0, "all of one is all of the other");
    world.wait(Duration::from_mins(30));
    assert_eq!(world.admitted(&own("25 per hour")), 12);
    assert!(world.ask(&ASK).is_err());
}
