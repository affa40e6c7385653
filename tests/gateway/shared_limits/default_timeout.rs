//! Eight gateways with Redis waited for as long as it is by default: 50 ms. On a machine that is busy that is not always
//! enough; then the bounds have what the documentation promises for each time that a gateway gives Redis up, and no more.

use std::thread;
use std::time::Duration;

use super::apart::Before;
use super::load::{Limit, Targets, offer};
use super::{Fleet, is_long};

/// The default of `redis.timeout_milliseconds`, and 5 ms for a request's turn to ask.
const LONGEST_WAIT: Duration = Duration::from_millis(50 + 5);

fn seconds(short: u64) -> Duration {
    Duration::from_secs(if is_long() { 60 } else { short })
}

#[test]
fn ten_times_the_limit_admits_the_limit() {
    let limit = Limit { rate: 30, burst: 60 };
    let fleet = Fleet::with(8, limit, "");
    let token = fleet.token();
    let before = Before::of(&fleet);
    let outcome = offer(&Targets::new(fleet.addresses()), &token, 300, 16, || thread::sleep(seconds(8)));
    let apart = before.until_now(&fleet);
    outcome.print(&format!("ten times the limit, {apart:?}, {:+.1} for it", apart.most(limit)), limit);
    outcome.assert_no_errors();
    outcome.assert_within(limit, apart.most(limit));
    // Tokens of an answer that nobody waits for any more are lost, at most a lease's each time.
    let lost = apart.most(limit) + 20.0 * apart.unanswered;
    let most = f64::from(limit.burst) + f64::from(limit.rate) * outcome.took.as_secs_f64();
    outcome.assert_uses(limit, (0.95 - lost / most).max(0.0));
}

#[test]
fn nine_tenths_of_the_limit_are_admitted() {
    let (limit, per_second) = (Limit { rate: 100, burst: 600 }, 90);
    let fleet = Fleet::with(8, limit, "");
    let token = fleet.token();
    let targets = Targets::new(fleet.addresses());
    // Replicas learn the demand first.
    let learnt = offer(&targets, &token, per_second, 16, || thread::sleep(Duration::from_secs(5)));
    learnt.assert_no_errors();
    let (before, asked) = (Before::of(&fleet), fleet.questions());
    let outcome = offer(&targets, &token, per_second, 16, || thread::sleep(seconds(10)));
    let asked = u32::try_from(fleet.questions() - asked).map(f64::from).unwrap();
    let apart = before.until_now(&fleet);
    let count = |count: usize| u32::try_from(count).map(f64::from).unwrap();
    let requests = count(outcome.seen.len());
    let refused = requests - count(outcome.admitted());
    let most = requests * 0.0001 + apart.met_by(per_second, LONGEST_WAIT);
    let said =
        format!("of {requests} requests {refused} were refused (≤ {most:.1}), {asked} questions, {apart:?}");
    outcome.print(&said, limit);
    outcome.assert_no_errors();
    outcome.assert_within(limit, apart.most(limit));
    assert!(refused <= most, "{said}");
    assert!(asked <= requests * 0.10 + apart.unanswered, "{said}");
}
