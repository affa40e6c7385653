//! Below the limit: nobody is refused, and Redis is hardly asked.

use std::thread;
use std::time::Duration;

use super::load::{Limit, Targets, offer};
use super::{Fleet, is_long};

const CLIENTS: u32 = 16;

/// At nine tenths of the limit at most one request of 10,000 is refused, and no more questions are asked than `most` for
/// each request.
fn holds_at_nine_tenths(limit: Limit, per_second: u32, most: f64) {
    let fleet = Fleet::start(8, limit);
    let token = fleet.token();
    let targets = Targets::new(fleet.replicas.iter().map(|replica| replica.address).collect());
    let time = Duration::from_secs(if is_long() { 60 } else { 12 });
    let before = fleet.questions();
    let outcome = offer(&targets, &token, per_second, CLIENTS, || thread::sleep(time));
    let asked = u32::try_from(fleet.questions() - before).map(f64::from).unwrap();
    outcome.assert_no_errors();
    outcome.assert_within(limit, 0.0);
    let count = |count: usize| u32::try_from(count).map(f64::from).unwrap();
    let requests = count(outcome.seen.len());
    let refused = requests - count(outcome.admitted());
    let said = format!("of {requests} requests {refused} were refused, and {asked} questions were asked");
    outcome.print(&said, limit);
    assert!(refused <= requests * 0.0001, "{said}");
    assert!(asked <= requests * most, "{said}");
}

#[test]
fn a_hundred_a_second_asks_for_a_tenth_of_its_requests() {
    holds_at_nine_tenths(Limit { rate: 100, burst: 600 }, 90, 0.10);
}

#[test]
fn six_hundred_a_minute_ask_for_four_tenths_of_their_requests() {
    holds_at_nine_tenths(Limit { rate: 10, burst: 600 }, 9, 0.40);
}
