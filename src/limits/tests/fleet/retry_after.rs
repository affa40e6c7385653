//! A client that obeys `Retry-After` is always admitted, whichever replica it comes to, and one that comes a second earlier
//! is not.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::{Fleet, MILLI, SECOND};
use crate::limits::tests::world::ASK;

/// Callers are told when there is a token for certain, which is this much later than at the earliest: a round trip, and
/// another for the question that finds it; and the time for which what was granted to be spent at once is held.
const ROUND_TRIP: u64 = 8 * MILLI;

/// The last request's wait, if it was refused.
fn ask(fleet: &mut Fleet, at: u64, replica: usize) -> Option<u64> {
    fleet.request(at, replica, &ASK);
    fleet.run();
    fleet.ended.last().unwrap().refused
}

/// `Retry-After` of a wait, in nanoseconds: whole seconds.
const fn retry_after(wait: u64) -> u64 {
    wait.div_ceil(SECOND) * SECOND
}

/// A client alone asks until it is refused, comes a second too early, and then in time; so many times. It comes to
/// replicas as `moves` say, and is impatient by `gaps` in milliseconds.
fn obeys(toml: &str, replicas: usize, moves: &[usize], gaps: &[u64]) {
    let mut fleet = Fleet::new(1, replicas, toml);
    let mut moves = moves.iter().cycle().map(|to| to % replicas);
    let mut gaps = gaps.iter().cycle().map(|gap| gap * MILLI);
    let mut at = SECOND;
    for round in 0..8 {
        let refused = (0..500).find_map(|_| {
            at = at.max(fleet.now) + gaps.next().unwrap();
            ask(&mut fleet, at, moves.next().unwrap())
        });
        // It may be too slow to meet the limit.
        let Some(wait) = refused else { return };
        let refused = fleet.ended.last().unwrap().at;
        let told = refused + retry_after(wait);
        let early = told - SECOND - ROUND_TRIP;
        if early > fleet.now {
            let again = ask(&mut fleet, early, moves.next().unwrap());
            assert!(
                again.is_some(),
                "{toml}, round {round}: admitted a second before the {wait} ns that it was told"
            );
        }
        at = told.max(fleet.now + 1);
        assert_eq!(
            ask(&mut fleet, at, moves.next().unwrap()),
            None,
            "{toml}, round {round}: refused after {wait} ns"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn who_obeys_is_admitted_and_who_comes_a_second_earlier_is_not(
        (requests, period, burst, cost) in (1_u32..200, 0_usize..3, 1_u32..40, 1_u32..4),
        replicas in 1_usize..9,
        moves in prop::collection::vec(0_usize..8, 1..20),
        gaps in prop::collection::vec(0_u64..400, 1..20),
    ) {
        let period = ["minute", "hour", "day"][period];
        let burst = burst.max(cost);
        let policy = format!(r#"name = "default", per = ["token"], cost = {cost}, quota = "{requests} per {period}""#);
        obeys(&format!("policies = [{{ {policy}, burst = {burst} }}]"), replicas, &moves, &gaps);
    }

    #[test]
    fn the_same_of_two_shared_limits_together(
        (each, all) in (1_u32..60, 1_u32..60),
        replicas in 1_usize..9,
        moves in prop::collection::vec(0_usize..8, 1..20),
        gaps in prop::collection::vec(0_u64..400, 1..20),
    ) {
        let policies = format!(
            r#"policies = [
                {{ name = "each", per = ["token"], quota = "{each} per minute", burst = 3 }},
                {{ name = "all", per = ["workspace"], quota = "{all} per minute", burst = 5 }},
            ]"#
        );
        obeys(&policies, replicas, &moves, &gaps);
    }
}

fn cases() -> u32 {
    if std::env::var("TOLLGATE_LONG").is_ok_and(|value| value == "1") { 3_000 } else { 300 }
}
