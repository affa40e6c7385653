//! The way of a request: all or nothing over local and shared policies, costs, shadow, what is told. Refusals first.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::{Fleet, MILLI, SECOND};
use crate::domain::{LimitPath, RegionId};
use crate::limits::tests::world::{ASK, Ask};
use crate::limits::{Attempt, Decision, SharedMode};

fn asks(fleet: &mut Fleet, from: u64, count: u64, ask: &Ask) -> usize {
    fleet.ended.clear();
    for at in 0..count {
        fleet.request(from + at * 20 * MILLI, (at % 2) as usize, ask);
    }
    fleet.run();
    fleet.admitted().count()
}

#[test]
fn a_refusal_here_asks_nobody() {
    let mut fleet = Fleet::new(
        1,
        2,
        r#"policies = [
            { name = "shared", per = ["token"], quota = "60 per minute" },
            { name = "here", per = ["workspace"], quota = "2 per hour", shared = "off" },
        ]"#,
    );
    assert_eq!(asks(&mut fleet, SECOND, 20, &ASK), 4, "two on each replica");
    let asked = fleet.asked;
    assert_eq!(asks(&mut fleet, 3 * SECOND, 20, &ASK), 0);
    assert_eq!(fleet.asked, asked);
}

#[test]
fn a_refusal_at_the_store_takes_nothing_of_the_other_bucket() {
    let mut fleet = Fleet::new(
        2,
        2,
        r#"policies = [
            { name = "all", per = ["workspace"], quota = "5 per hour" },
            { name = "each", per = ["token"], quota = "2 per hour" },
            { name = "here", per = ["workspace"], quota = "100 per hour", shared = "off" },
        ]"#,
    );
    assert_eq!(asks(&mut fleet, SECOND, 10, &Ask::by(1)), 2);
    assert_eq!(asks(&mut fleet, 2 * SECOND, 10, &Ask::by(2)), 2);
    assert_eq!(asks(&mut fleet, 3 * SECOND, 10, &Ask::by(3)), 1, "5 in all: no refusal was charged");
    assert_eq!(asks(&mut fleet, 4 * SECOND, 10, &Ask::by(4)), 0);
}

#[test]
fn a_request_counts_as_many_as_it_costs() {
    let toml = r#"policies = [{ name = "default", per = ["token"], quota = "10 per hour", cost = 4 }]"#;
    let mut fleet = Fleet::new(3, 2, toml);
    assert_eq!(asks(&mut fleet, SECOND, 8, &ASK), 2);
    let toml = r#"policies = [{ name = "default", per = ["token"], quota = "6000 per minute", cost = 100 }]"#;
    let mut fleet = Fleet::new(3, 2, toml);
    let admitted = asks(&mut fleet, SECOND, 200, &ASK);
    assert!((62..=64).contains(&admitted), "{admitted}: 6,000, and four seconds at 100 a second");
}

#[test]
fn a_shadow_policy_never_refuses_never_waits_and_says_what_it_would() {
    let toml = r#"policies = [{ name = "default", per = ["token"], quota = "2 per hour", mode = "shadow" }]"#;
    let mut fleet = Fleet::new(4, 1, toml);
    for at in 0..10 {
        fleet.request(SECOND + at * 100 * MILLI, 0, &ASK);
    }
    fleet.run();
    assert!(fleet.ended.iter().all(|ended| ended.refused.is_none() && ended.at == ended.arrived));
    let now = fleet.clock_of(0);
    let limits = &fleet.replicas[0].limits;
    let Attempt::Decided(Ok(admission)) = fleet.world.attempt(limits, &ASK, now, None) else {
        panic!("it waits")
    };
    let decisions: Vec<_> = admission.decisions().map(|(_, decision)| decision).collect();
    assert_eq!(decisions, [Decision::WouldRefuse]);
}

#[test]
fn what_remains_is_told_and_never_more_than_the_quota() {
    let mut fleet = Fleet::new(5, 2, &super::accuracy::policy("60 per minute"));
    assert_eq!(asks(&mut fleet, SECOND, 40, &ASK), 40);
    let now = fleet.clock_of(0);
    let limits = &fleet.replicas[0].limits;
    let caller = ASK.caller().unwrap();
    let told = limits.standing(&caller, ASK.address(), now, crate::limits::Audience::Caller);
    let remaining = told.iter().find(|row| &*row.name == "default").unwrap().headroom.unwrap().remaining();
    assert!((19..=23).contains(&remaining), "{remaining}");
    let fresh = Ask::by(2).caller().unwrap();
    let told = limits.standing(&fresh, ASK.address(), now, crate::limits::Audience::Caller);
    assert_eq!(told.iter().find(|row| &*row.name == "default").unwrap().headroom.unwrap().remaining(), 60);
}

#[test]
fn a_limit_of_ones_own_is_counted_in_the_same_bucket_everywhere() {
    let mut fleet = Fleet::new(6, 2, &super::accuracy::policy("10 per hour"));
    let own = Ask { own_limit: Some(super::super::world::quota("10 per hour")), ..ASK };
    fleet.request(SECOND, 0, &ASK);
    fleet.request(SECOND, 1, &own);
    for at in 0..20 {
        let ask = if at % 2 == 0 { ASK } else { own.clone() };
        fleet.request(2 * SECOND + at * 20 * MILLI, (at % 2) as usize, &ask);
    }
    fleet.run();
    assert_eq!(fleet.admitted().count(), 10);
}

/// Admitted and refused requests by how they were decided.
fn paths(fleet: &Fleet) -> BTreeMap<LimitPath, (usize, usize)> {
    let mut paths: BTreeMap<_, (usize, usize)> = BTreeMap::new();
    for ended in &fleet.ended {
        let (admitted, refused) = paths.entry(ended.path.expect("shared")).or_default();
        *(if ended.refused.is_some() { refused } else { admitted }) += 1;
    }
    paths
}

#[test]
fn how_a_request_was_decided_is_told() {
    let mut calm = Fleet::new(7, 2, &super::accuracy::policy("6000 per minute"));
    calm.poisson((SECOND, 20 * SECOND), 80.0, &[1, 1], &ASK);
    calm.run();
    let of = paths(&calm);
    assert_eq!(of.keys().copied().collect::<Vec<_>>(), [LimitPath::Lease, LimitPath::Store], "{of:?}");
    assert!(of[&LimitPath::Lease].0 > 20 * of[&LimitPath::Store].0, "{of:?}");

    let mut over = Fleet::new(8, 2, &super::accuracy::policy("60 per minute"));
    over.poisson((SECOND, 20 * SECOND), 100.0, &[1, 1], &ASK);
    over.run();
    let of = paths(&over);
    assert!(of[&LimitPath::Denied].1 > 1_000 && of[&LimitPath::Denied].0 == 0, "{of:?}");

    for (word, path) in
        [("share", LimitPath::Share), ("open", LimitPath::Open), ("closed", LimitPath::Closed)]
    {
        let policy = r#"name = "default", per = ["token"], quota = "60 per minute""#;
        let toml = format!("policies = [{{ {policy}, on_store_failure = \"{word}\" }}]");
        let mut away = Fleet::new(9, 2, &toml);
        let modes = |fleet: &Fleet| fleet.replicas[0].limits.shared_modes(RegionId(0));
        let strict = SharedMode::Strict as usize;
        assert!(modes(&away)[strict] > 0);
        away.weather.is_dead = true;
        away.at(2 * SECOND, |fleet| fleet.weather.is_dead = false);
        away.request(SECOND, 0, &ASK);
        away.request(SECOND + MILLI, 0, &ASK);
        away.request(SECOND + 2 * MILLI, 0, &ASK);
        away.run();
        let of = paths(&away);
        assert_eq!(of.keys().copied().collect::<Vec<_>>(), [path], "{of:?}");
        away.replicas[0].client.is_up.store(false, Ordering::SeqCst);
        let now = modes(&away);
        assert_eq!(now[strict], 0, "{now:?}");
        let mode = SharedMode::ALL.into_iter().position(|mode| mode.name() == word).unwrap();
        assert!(now[mode] > 0, "{now:?}");
    }
}

#[test]
fn what_is_not_shared_has_no_path() {
    let toml = r#"policies = [{ name = "here", per = ["token"], quota = "60 per minute", shared = "off" }]"#;
    let mut fleet = Fleet::new(10, 2, toml);
    fleet.poisson((SECOND, 20 * SECOND), 100.0, &[1, 1], &ASK);
    fleet.run();
    assert!(fleet.ended.iter().all(|ended| ended.path.is_none()));
}
