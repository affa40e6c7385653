//! Many keys at the same time, each at nine tenths of its limit: nobody is refused whom one limiter would have admitted.

use std::thread;
use std::time::Duration;

use super::load::{Limit, Targets, offer};
use super::{Fleet, is_long};

const LIMIT: Limit = Limit { rate: 10, burst: 60 };
/// Nine tenths, to eight gateways.
const OFFERED: u32 = 9;
const CLIENTS: u32 = 8;

#[test]
fn of_many_keys_below_their_limits_none_is_refused() {
    let fleet = Fleet::start(8, LIMIT);
    let (keys, time) = if is_long() { (40, 60) } else { (12, 8) };
    let tokens: Vec<String> = (0..keys).map(|_| fleet.token()).collect();
    let targets = Targets::new(fleet.addresses());
    let outcomes: Vec<_> = thread::scope(|scope| {
        let targets = &targets;
        let pause = || thread::sleep(Duration::from_secs(time));
        let offer = |token| scope.spawn(move || offer(targets, token, OFFERED, CLIENTS, pause));
        let all: Vec<_> = tokens.iter().map(String::as_str).map(offer).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let (mut requests, mut admitted) = (0, 0);
    for outcome in &outcomes {
        outcome.assert_no_errors();
        outcome.assert_within(LIMIT, 0.0);
        requests += outcome.seen.len();
        admitted += outcome.admitted();
    }
    // The load is even, so that one limiter would have admitted all.
    let said = format!("{keys} keys: of {requests} requests {} were refused", requests - admitted);
    outcomes[0].print(&said, LIMIT);
    assert!(10_000 * (requests - admitted) <= requests, "{said}");
    if is_long() {
        assert!(requests >= 20_000, "too few to tell: {said}");
    }
}
