//! L10: a refused request counts nowhere; racing requests get exactly what there is.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::world::{ASK, Ask, World};
use crate::domain::Outcome;
use crate::limits::bucket::{self, Scale};
use crate::limits::{Decision, ExceededKind, Mode};

const THREE: &str = r#"
policies = [
  { name = "default", per = ["token"], quota = "100 per minute" },
  { name = "workspace", per = ["workspace"], quota = "300 per minute" },
  { name = "hourly", per = ["token", "endpoint"], quota = "3 per hour" },
]"#;

#[test]
fn an_exhausted_limit_leaves_the_others_as_they_were() {
    let world = World::new(THREE);
    assert_eq!(world.admitted(&ASK), 3);
    let before = world.limits.counters.cells.tats();
    for _ in 0..1_000 {
        assert_eq!(&*world.refused(&ASK).name, "hourly");
    }
    assert_eq!(world.limits.counters.cells.tats(), before);
    assert_eq!(world.admitted(&Ask::of("echo")), 3, "the other limits still admit");
}

/// Whichever of five refuses, and however many threads ask at once, none of them has counted a refused request.
#[test]
fn a_refusal_by_any_of_five_changes_none() {
    for refuses in 0..5 {
        let per = ["token", "workspace", "token\", \"endpoint", "address", "workspace\", \"version"];
        let policy = |at: usize, per: &str| {
            let quota = if at == refuses { 7 } else { 1_000 + at };
            format!("{{ name = \"p{at}\", per = [\"{per}\"], quota = \"{quota} per hour\" }}")
        };
        let written: Vec<String> = per.iter().enumerate().map(|(at, per)| policy(at, per)).collect();
        let world = World::new(&format!("policies = [{}]", written.join(",")));
        let ask = Ask { version: Some("v1"), ..ASK };
        assert_eq!(world.admitted(&ask), 7);
        let before = world.limits.counters.cells.tats();
        assert_eq!(before.len(), 5);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..250 {
                        assert_eq!(*world.refused(&ask).name, *format!("p{refuses}"));
                    }
                });
            }
        });
        assert_eq!(world.limits.counters.cells.tats(), before, "p{refuses}");
    }
}

#[test]
fn of_several_that_refuse_the_longest_wait_speaks() {
    let world = World::new(
        r#"policies = [
          { name = "minutely", per = ["token"], quota = "3 per minute" },
          { name = "hourly", per = ["token"], quota = "3 per hour" },
          { name = "secondly", per = ["token"], quota = "3 per second" },
        ]"#,
    );
    assert_eq!(world.admitted(&ASK), 3);
    let exceeded = world.refused(&ASK);
    assert_eq!((&*exceeded.name, exceeded.wait), ("hourly", Duration::from_mins(20)));
    assert_eq!(exceeded.decisions().count(), 3);
    world.wait(exceeded.wait);
    assert!(world.ask(&ASK).is_ok(), "a client that waits is admitted by all");
}

#[test]
fn whoever_waits_is_admitted() {
    for operation in ["getWarehouseSyncs", "createLabel", "createDownload", "createAudiencePreview"] {
        let world = World::new("");
        let ask = Ask::of(operation);
        while world.ask(&ask).is_ok() {}
        for _ in 0..50 {
            let exceeded = world.refused(&ask);
            world.wait(exceeded.wait.saturating_sub(Duration::from_nanos(1)));
            assert!(world.ask(&ask).is_err(), "{operation}: a nanosecond too early");
            world.wait(Duration::from_nanos(1));
            assert!(world.ask(&ask).is_ok(), "{operation}");
            let seconds = world.refused(&ask).retry_after_seconds();
            if let Some(seconds) = seconds {
                world.wait(Duration::from_secs(seconds));
                assert!(world.ask(&ask).is_ok(), "{operation}: after Retry-After");
                while world.ask(&ask).is_ok() {}
            }
        }
    }
}

#[test]
fn shadow_policies_decide_and_never_refuse() {
    let world = World::new(
        r#"policies = [
          { name = "tried", per = ["token"], quota = "2 per hour", mode = "shadow" },
          { name = "default", per = ["token"], quota = "5 per hour" },
        ]"#,
    );
    let mut tried = Vec::new();
    while let Ok(admission) = world.ask(&ASK) {
        assert_eq!(admission.headrooms().count(), 2);
        for (policy, decision) in admission.decisions() {
            if admission.rules().mode(policy) == Mode::Shadow {
                assert_eq!(&**admission.rules().name(policy), "tried");
                tried.push(decision);
            }
        }
    }
    let (yes, no) = (Decision::Admitted, Decision::WouldRefuse);
    assert_eq!(tried, [yes, yes, no, no, no]);
    let before = world.limits.counters.cells.tats();
    assert_eq!(&*world.refused(&ASK).name, "default");
    assert_eq!(world.limits.counters.cells.tats(), before);
}

#[test]
fn a_cost_is_taken_whole_or_not_at_all() {
    let world =
        World::new(r#"policies = [{ name = "points", per = ["token"], quota = "10 per minute", cost = 3 }]"#);
    assert_eq!(world.admitted(&ASK), 3);
    let exceeded = world.refused(&ASK);
    assert_eq!((exceeded.remaining, exceeded.consumed), (1, 9));
    assert_eq!(exceeded.wait, Duration::from_secs(12));
    world.wait(exceeded.wait);
    assert!(world.ask(&ASK).is_ok());
}

#[test]
fn what_a_lost_race_took_is_given_back() {
    let scale = Scale::of(&super::world::quota("60 per minute"));
    let (one, now) = (NonZeroU32::MIN, 3_600_000_000_000);
    let tat = std::sync::atomic::AtomicU64::new(0);
    let ours = bucket::take(&tat, scale, one, now);
    let theirs = bucket::take(&tat, scale, one, now + 300);
    bucket::give_back(&tat, ours.tat, scale, one);
    assert_eq!(tat.load(Ordering::SeqCst), theirs.tat - scale.interval_nanos);

    let tat = std::sync::atomic::AtomicU64::new(0);
    let ours = bucket::take(&tat, scale, one, now);
    let later = now + scale.interval_nanos + 12_345;
    let theirs = bucket::take(&tat, scale, one, later);
    bucket::give_back(&tat, ours.tat, scale, one);
    assert_eq!(tat.load(Ordering::SeqCst), theirs.tat, "ours had run out before theirs was taken");
}

#[test]
fn racing_threads_are_admitted_exactly_what_there_is() {
    for toml in [
        r#"policies = [{ name = "default", per = ["token"], quota = "1000 per hour" }]"#,
        r#"policies = [
            { name = "default", per = ["token"], quota = "1100 per hour" },
            { name = "workspace", per = ["workspace"], quota = "1000 per hour" },
            { name = "each", per = ["address", "workspace"], quota = "2000 per hour" },
        ]"#,
    ] {
        let world = World::new(toml);
        let admitted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..400 {
                        admitted.fetch_add(usize::from(world.ask(&ASK).is_ok()), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(admitted.load(Ordering::SeqCst), 1_000);
        let debts: Vec<u64> = world.limits.counters.cells.tats().into_values().collect();
        let taken = debts.iter().map(|tat| tat - world.now().monotonic_nanos);
        let expected = world
            .limits
            .rules
            .policies
            .iter()
            .filter(|policy| !policy.of_endpoint)
            .map(|policy| 1_000 * policy.scale.interval_nanos);
        let sorted = |mut list: Vec<u64>| {
            list.sort_unstable();
            list
        };
        assert_eq!(sorted(taken.collect()), sorted(expected.collect()), "nothing was lost or kept");
    }
}

#[test]
fn requests_in_flight_are_capped_and_uncounted_on_drop() {
    let world = World::new("in_flight = { per_token = 2, per_workspace = 3 }");
    let mut first = world.ask(&ASK).unwrap();
    let second = world.ask(&ASK).unwrap();
    let before = world.limits.counters.cells.tats();
    let exceeded = world.refused(&ASK);
    assert_eq!(exceeded.kind, ExceededKind::TooManyInFlight);
    assert_eq!(exceeded.kind.outcome(), Outcome::TooManyInFlight);
    assert_eq!((&*exceeded.name, exceeded.burst, exceeded.remaining), ("in_flight_token", 2, 0));
    assert_eq!(exceeded.decisions().count(), 1);
    let other = world.ask(&Ask::by(2)).unwrap();
    assert_eq!(&*world.refused(&Ask::by(3)).name, "in_flight_workspace");
    drop(other);
    let after = world.limits.counters.cells.tats();
    assert!(before.iter().all(|(key, tat)| after[key] == *tat), "refusals charged no rate");
    let guard = first.take_in_flight();
    drop(first);
    assert!(world.ask(&ASK).is_err(), "the guard outlives its admission");
    drop(guard);
    let third = world.ask(&ASK).unwrap();
    drop((second, third));
}

#[test]
fn a_refused_rate_leaves_nothing_in_flight() {
    let world = World::new(
        r#"
        policies = [{ name = "default", per = ["token"], quota = "1 per hour" }]
        in_flight = { per_token = 1 }"#,
    );
    drop(world.ask(&ASK).unwrap());
    for _ in 0..5 {
        assert_eq!(world.refused(&ASK).kind, ExceededKind::RateLimited);
    }
    world.wait(Duration::from_hours(1));
    assert!(world.ask(&ASK).is_ok());
}

#[test]
fn tickets_may_cross_threads_and_tell_no_secret() {
    fn crosses<T: Send + Sync>(_: &T) {}
    fn outlives<T: Send + 'static>(_: &T) {}
    let world = World::new("");
    let mut admission = world.ask(&ASK).unwrap();
    crosses(&admission);
    outlives(&admission.take_in_flight());
    crosses(&world.limits);
    let secret = format!("{:?}", [7_u8; 32]);
    assert!(!format!("{admission:?}").contains(secret.trim_matches(['[', ']'])));
}
