//! Past the cap: newcomers share one bucket a policy, which the fleet shares too; strangers have an eighth of the room and
//! take nobody's place.

use super::{Fleet, MILLI, SECOND};
use crate::limits::tests::world::Ask;

const REPLICAS: usize = 2;
/// In cells that are not shared; shared ones take more room, so that there is room for some tens of them.
const SMALL: &str = r#"
max_cells = 1920
policies = [{ name = "default", per = ["token"], quota = "3 per day" }]
"#;

/// How many of each caller's requests are admitted, asked of each replica in turn.
fn admitted(fleet: &mut Fleet, callers: &[Ask], each: usize) -> Vec<usize> {
    callers
        .iter()
        .map(|caller| {
            fleet.ended.clear();
            let begin = fleet.now + SECOND;
            for at in 0..each {
                fleet.request(begin + at as u64 * 20 * MILLI, at % REPLICAS, caller);
            }
            fleet.run();
            fleet.admitted().count()
        })
        .collect()
}

fn tokens(numbers: std::ops::Range<u64>) -> Vec<Ask> {
    numbers.map(Ask::by).collect()
}

fn strangers(numbers: std::ops::Range<u64>) -> Vec<Ask> {
    let stranger = |number: u64| {
        let address = format!("198.18.{}.{}", number / 256, number % 256);
        Ask { token: None, address: address.leak(), ..Ask::of("echo") }
    };
    numbers.map(stranger).collect()
}

/// How many of those who came twice had a bucket of their own, by what was admitted: two of each, and of all the others the
/// three of the bucket that they share on both replicas.
fn with_room(admitted: &[usize]) -> usize {
    let own = (admitted.iter().sum::<usize>() - 3) / 2;
    assert!(admitted[..own].iter().all(|admitted| *admitted == 2), "{admitted:?}");
    assert_eq!(admitted[own..].iter().sum::<usize>(), 3, "one bucket for both replicas: {admitted:?}");
    own
}

fn overflowed(fleet: &Fleet) -> u64 {
    fleet.replicas.iter().map(|replica| replica.limits.counters().overflowed()).sum()
}

#[test]
fn newcomers_share_one_bucket_across_the_fleet_and_nobody_known_is_counted_anew() {
    let mut fleet = Fleet::new(1, REPLICAS, SMALL);
    let known = tokens(1..30);
    assert!(admitted(&mut fleet, &known, 2).iter().all(|admitted| *admitted == 2));
    assert_eq!(overflowed(&fleet), 0);
    let newcomers = admitted(&mut fleet, &tokens(1_000..1_400), 2);
    assert!(overflowed(&fleet) > 0);
    let own = with_room(&newcomers);
    assert!((10..200).contains(&own), "{own} had room");
    assert!(admitted(&mut fleet, &known, 4).iter().all(|admitted| *admitted == 1), "each has one left");
    assert_eq!(admitted(&mut fleet, &tokens(2_000..2_050), 2).iter().sum::<usize>(), 0, "it is used up");
}

#[test]
fn strangers_have_an_eighth_and_take_no_place_of_a_caller() {
    let mut fleet = Fleet::new(2, REPLICAS, SMALL);
    let crowd = admitted(&mut fleet, &strangers(0..600), 2);
    let own = with_room(&crowd);
    assert!((1..=30).contains(&own), "{own} strangers had room");
    let before = overflowed(&fleet);
    assert!(before > 0);
    let callers = admitted(&mut fleet, &tokens(1..40), 4);
    assert!(callers.iter().all(|admitted| *admitted == 3), "each has a bucket of its own: {callers:?}");
    assert_eq!(overflowed(&fleet), before);
    // Callers who fill their own room take none of the strangers'.
    let _ = admitted(&mut fleet, &tokens(100..300), 1);
    let again = admitted(&mut fleet, &strangers(0..600), 2);
    assert_eq!(again.iter().sum::<usize>(), own, "one was left to each that was known, and to nobody else");
}
