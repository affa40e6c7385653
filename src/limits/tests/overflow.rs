//! Through the overflow bucket and back: no key is admitted more than its limit.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::world::{Ask, World, quota};
use crate::limits::bucket::Scale;

fn rules(max_cells: u32, quota: &str) -> String {
    format!(
        "max_cells = {max_cells}\npolicies = [{{ name = \"default\", per = [\"token\"], quota = \"{quota}\" }}]"
    )
}

/// What happens to a world, some of it in each step.
#[derive(Clone, Debug)]
enum Step {
    /// So many requests of a token.
    Ask(u64, usize),
    /// Time passes.
    Wait(Duration),
    /// Full buckets leave.
    Sweep,
    /// There is room for so many.
    Room(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0_u64..12, 1_usize..8).prop_map(|(token, times)| Step::Ask(token, times)),
        4 => (0_u64..900).prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
        1 => Just(Step::Wait(Duration::from_hours(2))),
        2 => Just(Step::Sweep),
        2 => prop::sample::select(vec![0_u32, 2, 4, 8, 16, 32]).prop_map(Step::Room),
    ];
    prop::collection::vec(step, 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// What each key was admitted, in a bucket of its own or in the shared one, a plain GCRA of its own would have admitted
    /// too: in any window W at most `burst + rate × W`.
    #[test]
    fn no_key_is_admitted_more_than_its_limit_wherever_it_is_counted(steps in steps()) {
        const QUOTA: &str = "6 per hour";
        let scale = Scale::of(&quota(QUOTA));
        let mut world = World::new(&rules(4, QUOTA));
        let mut tats = HashMap::new();
        for step in &steps {
            match *step {
                Step::Wait(time) => world.wait(time),
                Step::Sweep => drop(world.sweep_all()),
                Step::Room(max_cells) => world.reload(&rules(max_cells, QUOTA)),
                Step::Ask(token, times) => {
                    let now = world.now().monotonic_nanos;
                    for _ in (0..times).take_while(|_| world.ask(&Ask::by(token)).is_ok()) {
                        let tat: &mut u64 = tats.entry(token).or_insert(0);
                        *tat = now.max(*tat) + scale.interval_nanos;
                        prop_assert!(*tat <= now + scale.fill_nanos(), "{token} in {steps:?}");
                    }
                }
            }
        }
    }
}

/// Whoever was never counted there waits no longer than the shared bucket takes to fill, and is served meanwhile as fast as
/// it fills.
#[test]
fn a_newcomer_after_the_crowd_is_served_at_the_quotas_rate_for_one_fill() {
    let mut world = World::new(&rules(16, "6 per hour"));
    (0..14).for_each(|token| drop(world.ask(&Ask::by(token)).unwrap()));
    assert_eq!((100..200).filter(|token| world.ask(&Ask::by(*token)).is_ok()).count(), 6);
    world.reload(&rules(64, "6 per hour"));
    let never_there = Ask::by(7_000);
    let wait = world.refused(&never_there).wait;
    assert_eq!(wait, Duration::from_mins(10));
    for _ in 0..6 {
        assert!(world.ask(&never_there).is_err());
        world.wait(wait);
        assert!(world.ask(&never_there).is_ok());
    }
    world.wait(Duration::from_hours(1));
    assert_eq!(world.admitted(&Ask::by(7_001)), 6, "after one fill there is nothing left of it");
    assert_eq!(world.admitted(&never_there), 6);
}

#[test]
fn the_shared_debt_is_carried_over_a_change_of_the_quota() {
    let mut world = World::new(&rules(16, "60 per minute"));
    (0..14).for_each(|token| drop(world.ask(&Ask::by(token)).unwrap()));
    let newcomer = Ask::by(100);
    assert_eq!(world.admitted(&newcomer), 60);
    world.wait(Duration::from_secs(30));
    world.reload(&rules(64, "60 per hour"));
    world.wait(Duration::from_mins(2));
    assert_eq!(world.admitted(&newcomer), 32, "half of the minute, and two of the hour");
}

#[test]
fn what_is_owed_in_the_shared_bucket_is_charged_as_well() {
    let rules = |max_cells: u32| {
        format!(
            "max_cells = {max_cells}\npolicies = [{{ name = \"default\", per = [\"token\"], quota = \"6 per hour\", \
             cost_from_header = \"X-Cost\" }}]"
        )
    };
    let mut world = World::new(&rules(16));
    (0..14).for_each(|token| drop(world.ask(&Ask::by(token)).unwrap()));
    let newcomer = Ask::by(100);
    let mut admission = world.ask(&newcomer).unwrap();
    admission.charge_answer(|_| Some(b"7"), world.now());
    drop(admission);
    world.reload(&rules(64));
    assert_eq!(world.refused(&newcomer).wait, Duration::from_mins(20), "seven are owed, of six");
}
