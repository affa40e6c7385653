//! Costs of more than one: by endpoint, by body, by an upstream's word. What is charged late delays and never
//! refuses what was admitted.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::world::{ASK, Ask, World, checked, endpoints};
use crate::domain::Problems;
use crate::limits::{Counters, Limits, Strictest};

const BODIES: &str = r#"policies = [{ name = "points", per = ["token"], quota = "10 per minute", body_kilobytes_per_cost = 64 }]"#;
const ANSWERS: &str = r#"policies = [{ name = "points", per = ["token"], quota = "10 per minute", cost_from_header = "X-Cost" }]"#;

fn with_body(bytes: u64) -> Ask {
    Ask { body_bytes: bytes, ..ASK }
}

/// A world in which an operation has a cost.
fn costly(toml: &str, operation: &str, cost: u32) -> World {
    let mut world = World::new(toml);
    let row = world.endpoints.iter_mut().find(|row| &*row.operation == operation).unwrap();
    row.cost = NonZeroU32::new(cost).unwrap();
    let rules = checked(toml, &world.endpoints).unwrap();
    world.limits = Limits::new(Arc::new(rules), Counters::new([7; 32]));
    world
}

fn answered(world: &World, value: &[u8]) -> u32 {
    let mut admission = world.ask(&ASK).unwrap();
    admission.charge_answer(|name| (name == b"x-cost").then_some(value), world.now());
    admission.tightest().unwrap().remaining()
}

#[test]
fn a_cost_that_no_burst_admits_is_refused_in_configuration() {
    let mut rows = endpoints();
    rows[0].cost = NonZeroU32::new(11).unwrap();
    let codes = |toml: &str| -> Vec<&str> {
        let Problems(problems) = checked(toml, &rows).unwrap_err();
        problems.iter().map(|problem| problem.code).collect()
    };
    assert_eq!(
        codes(r#"policies = [{ name = "p", per = ["token"], quota = "10 per minute" }]"#),
        ["limit_endpoint_cost"]
    );
    assert_eq!(codes(&BODIES.replace("64", "0").replace("10 per", "20 per")), ["limit_body_step_zero"]);
    assert_eq!(
        codes(&ANSWERS.replace("X-Cost", "X Cost").replace("10 per", "20 per")),
        ["limit_cost_header_invalid"]
    );
}

#[test]
fn an_endpoint_counts_as_its_cost_in_policies_and_as_one_in_its_own_limits() {
    let policies = r#"policies = [{ name = "points", per = ["token"], quota = "100 per hour", cost = 2 }]"#;
    let world = costly(policies, "createLabel", 10);
    assert_eq!(world.admitted(&Ask::of("createLabel")), 5);
    let world = costly(policies, "createLabel", 10);
    assert_eq!(world.admitted(&ASK), 50, "others count as before");
    let world = costly("policies = []", "createLabel", 10);
    assert_eq!(world.admitted(&Ask::of("createLabel")), 60, "its own limit counts requests");
}

#[test]
fn a_body_counts_by_started_steps_and_never_as_more_than_a_burst() {
    for (bytes, admitted) in [(0, 10), (1, 5), (65_536, 5), (65_537, 3), (655_360, 1), (u64::MAX, 1)] {
        let world = World::new(BODIES);
        assert_eq!(world.admitted(&with_body(bytes)), admitted, "{bytes}");
    }
    let world = World::new(BODIES);
    assert!(world.ask(&ASK).is_ok());
    let refused = world.refused(&with_body(u64::MAX));
    assert_eq!((refused.remaining, refused.wait), (9, Duration::from_secs(6)), "until the bucket is full");
    world.wait(refused.wait);
    assert!(world.ask(&with_body(u64::MAX)).is_ok());
}

#[test]
fn a_streamed_body_is_charged_as_it_passes_and_refuses_nothing_that_was_admitted() {
    let world = World::new(BODIES);
    let admission = world.ask(&ASK).unwrap();
    let mut debt = admission.body_debt().unwrap();
    assert_eq!(world.ask(&ASK).unwrap().tightest().unwrap().remaining(), 8);
    debt.add(1, world.now());
    debt.add(65_535, world.now());
    assert_eq!(world.ask(&ASK).unwrap().tightest().unwrap().remaining(), 6, "one step was begun");
    debt.add(1, world.now());
    assert_eq!(world.ask(&ASK).unwrap().tightest().unwrap().remaining(), 4);
    debt.add(65_536 * 6, world.now());
    assert_eq!(world.refused(&ASK).wait, Duration::from_secs(6 * 3), "10 of 10, 2 owed, and one to come");
    let plain = World::new("");
    assert!(plain.ask(&ASK).unwrap().body_debt().is_none());
}

#[test]
fn nothing_a_client_sends_owes_more_than_a_second_burst() {
    let world = World::new(BODIES);
    let admission = world.ask(&ASK).unwrap();
    for _ in 0..1_000 {
        let mut debt = admission.body_debt().unwrap();
        for bytes in [1 << 40, u64::MAX, u64::MAX, 1] {
            debt.add(bytes, world.now());
        }
    }
    assert_eq!(world.refused(&ASK).wait, Duration::from_secs(60 + 6));
}

#[test]
fn an_answers_cost_is_told_at_once_and_delays_what_comes() {
    for (value, remaining) in
        [("1", 9), ("4", 6), ("10", 0), ("0", 9), ("-4", 9), ("4.5", 9), ("many", 9), ("", 9)]
    {
        assert_eq!(answered(&World::new(ANSWERS), value.as_bytes()), remaining, "{value}");
    }
    let world = World::new(ANSWERS);
    assert_eq!(answered(&world, b"99999999999999999999999"), 0);
    assert_eq!(world.refused(&ASK).wait, Duration::from_secs(6 + 6), "at most a burst at once");
    let mut lines = Vec::new();
    let other = World::new(ANSWERS);
    let mut admission = other.ask(&ASK).unwrap();
    admission.charge_answer(|_| Some(b"5"), other.now());
    admission.write_headers(&mut lines, other.now(), Strictest::Ours);
    let lines = String::from_utf8(lines).unwrap();
    assert!(lines.contains("X-RateLimit-Consumed: 5\r\n") && lines.contains(";r=5;"), "{lines}");
}

#[test]
fn a_policy_without_a_header_is_not_charged_by_an_answer() {
    let world = World::new("");
    let mut admission = world.ask(&ASK).unwrap();
    admission.charge_answer(|_| panic!("nobody asked"), world.now());
}

#[test]
fn a_bucket_that_was_full_and_left_is_charged_all_the_same() {
    let world = World::new(ANSWERS);
    let mut admission = world.ask(&ASK).unwrap();
    world.wait(Duration::from_mins(5));
    world.sweep_all();
    assert_eq!(world.limits.counters().cells(), 0);
    admission.charge_answer(|_| Some(b"7"), world.now());
    assert_eq!(world.admitted(&ASK), 4);
}

#[test]
fn all_is_exact_in_any_window_with_debts() {
    let world = World::new(ANSWERS);
    let mut charged = 0;
    for second in 0..600_u64 {
        if let Ok(mut admission) = world.ask(&ASK) {
            let cost = 1 + second % 4;
            admission.charge_answer(|_| Some([b"1", b"2", b"3", b"4"][(second % 4) as usize]), world.now());
            charged += cost;
        }
        world.wait(Duration::from_secs(1));
    }
    // A burst, the rate over ten minutes, and what the last request may owe.
    assert!((100..=10 + 100 + 3).contains(&charged), "{charged}");
}
