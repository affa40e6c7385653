//! Several policies of one request: whichever stands first, one that refuses keeps the others from being asked of, and
//! what is asked of the store is asked together.

use super::{Fleet, MILLI, SECOND};
use crate::limits::tests::world::ASK;

fn ask(fleet: &mut Fleet, from: u64, count: u64) -> usize {
    fleet.ended.clear();
    for at in 0..count {
        fleet.request(from + at * 20 * MILLI, 0, &ASK);
    }
    fleet.run();
    fleet.admitted().count()
}

fn fleet(seed: u64, first: &str, second: &str) -> Fleet {
    Fleet::new(
        seed,
        1,
        &format!("policies = [{{ name = \"first\", {first} }}, {{ name = \"second\", {second} }}]"),
    )
}

#[test]
fn a_refusal_here_asks_nobody_wherever_it_stands() {
    let shared = r#"per = ["token"], quota = "60 per hour""#;
    let here = r#"per = ["workspace"], quota = "2 per hour", shared = "off""#;
    for (first, second) in [(shared, here), (here, shared)] {
        let mut fleet = fleet(1, first, second);
        assert_eq!(ask(&mut fleet, SECOND, 20), 2);
        assert_eq!(fleet.asked, 2, "{first}");
    }
}

#[test]
fn a_refusal_that_the_store_told_asks_nobody_wherever_it_stands() {
    let wide = r#"per = ["token"], quota = "60 per hour""#;
    let narrow = r#"per = ["workspace"], quota = "2 per hour""#;
    for (first, second) in [(wide, narrow), (narrow, wide)] {
        let mut fleet = fleet(2, first, second);
        assert_eq!(ask(&mut fleet, SECOND, 20), 2);
        assert!(fleet.asked <= 3, "{first}: {} questions", fleet.asked);
    }
}

#[test]
fn buckets_of_a_workspace_are_asked_of_in_one_question() {
    let mut fleet = fleet(
        3,
        r#"per = ["token"], quota = "60 per hour""#,
        r#"per = ["workspace"], quota = "50 per hour""#,
    );
    assert_eq!(ask(&mut fleet, SECOND, 20), 20);
    assert_eq!(fleet.asked, 20);
    assert!(fleet.longest_wait_millis() < 3.0, "{} ms", fleet.longest_wait_millis());
}
