//! Requests that cost more than one: in an outage, beside cheaper ones, and where nobody waits for their tokens.

use super::outages::dead;
use super::{Fleet, MILLI, SECOND};
use crate::limits::tests::world::{ASK, Ask};
use crate::limits::{Attempt, Decision};

const REPLICAS: usize = 8;

/// So many tokens of `body_kilobytes_per_cost = 1`.
fn costing(tokens: u64) -> Ask {
    Ask { body_bytes: (tokens - 1) * 1_024, ..ASK }
}

fn bodies(quota: &str, more: &str) -> String {
    let policy =
        format!(r#"name = "default", per = ["token"], quota = "{quota}", body_kilobytes_per_cost = 1"#);
    format!("policies = [{{ {policy}{more} }}]")
}

/// A share has room for a request of any cost, at the share's rate in tokens.
#[test]
fn an_outage_does_not_shut_out_whoever_costs_more_than_one() {
    for (quota, cost) in [("600 per minute", 4), ("60 per minute", 2), ("600 per minute", 300)] {
        let limit = super::accuracy::limit_of(quota);
        let mut fleet = Fleet::new(1, REPLICAS, &bodies(quota, ""));
        let (down, up) = (15 * SECOND, (15 + 20 * cost) * SECOND);
        fleet.at(down, |fleet| dead(fleet, true));
        fleet.at(up, |fleet| dead(fleet, false));
        fleet.poisson((SECOND, up), limit.rate * 3.0 / cost as f64, &[1; REPLICAS], &costing(cost));
        fleet.run();
        let seconds = (up - down) as f64 / 1e9;
        let during = fleet.admitted().filter(|ended| (down..up).contains(&ended.at)).count() as f64;
        let tokens = during * cost as f64;
        let begins = (REPLICAS as u64 * cost) as f64;
        assert!(tokens <= limit.rate * seconds + begins, "{quota}: {tokens} in {seconds} s at {cost} each");
        assert!(tokens >= limit.rate * seconds * 0.6, "{quota}: {tokens} in {seconds} s at {cost} each");
    }
}

/// One that costs too much for what is left keeps nobody out who costs less.
#[test]
fn a_refusal_of_much_is_none_of_little() {
    let calendar = r#", window = "calendar", shared = "strict""#;
    for (quota, more) in [("60 per hour", ""), ("60 per day", calendar)] {
        let mut fleet = Fleet::new(2, 1, &bodies(quota, more));
        for (at, cost) in (0..).zip([50, 20, 1, 20, 1, 8, 20, 1]) {
            fleet.request(SECOND + at * 10 * MILLI, 0, &costing(cost));
        }
        fleet.run();
        let admitted: Vec<bool> = fleet.ended.iter().map(|ended| ended.refused.is_none()).collect();
        assert_eq!(admitted, [true, false, true, false, true, true, false, false], "{quota}");
    }
}

/// What nobody waits for piles up between two answers; a limit that is used up says so all the same.
#[test]
fn a_shadow_policy_that_is_used_up_would_refuse_however_many_come_at_once() {
    let shadow =
        r#"policies = [{ name = "default", per = ["token"], quota = "60 per hour", mode = "shadow" }]"#;
    let mut fleet = Fleet::new(3, 1, shadow);
    fleet.poisson((SECOND, 3 * SECOND), 2_000.0, &[1], &ASK);
    fleet.run();
    let mut would_admit = 0;
    for _ in 0..100 {
        let limits = &fleet.replicas[0].limits;
        let attempt = fleet.world.attempt(limits, &ASK, fleet.clock_of(0), None);
        let Attempt::Decided(Ok(admission)) = attempt else { panic!("it waits, or refuses") };
        would_admit += admission.decisions().filter(|(_, decision)| *decision == Decision::Admitted).count();
    }
    assert_eq!(would_admit, 0);
}
