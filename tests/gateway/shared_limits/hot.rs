//! A hot key while Redis hangs: its lease outlasts the calls that Redis is given up after, and its share takes over.

use std::time::Duration;

use super::load::{Limit, Targets, offer};
use super::{Fleet, is_long};

/// The share of one gateway brings a token in less time than one request takes.
const LIMIT: Limit = Limit { rate: 400, burst: 2400 };
const OFFERED: u32 = 60;
/// Calls without an answer after which Redis is given up.
const CALLS_IN_VAIN: u64 = 3;

/// What the gateway counted: requests by how they were decided, and calls of Redis without an answer.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    lease: u64,
    store: u64,
    share: u64,
    answered: u64,
    timed_out: u64,
}

impl Counted {
    /// By all gateways together.
    fn by(fleet: &Fleet) -> Self {
        let metrics: Vec<_> = fleet.replicas.iter().map(crate::support::Gateway::metrics).collect();
        let count = |name, label, value| metrics.iter().map(|one| one.count(name, &[(label, value)])).sum();
        let path = |path| count("tollgate_limit_path_total", "path", path);
        let call = |result| count("tollgate_redis_calls_total", "result", result);
        let (answered, timed_out) = (call("answered"), call("timed_out"));
        Self { lease: path("lease"), store: path("store"), share: path("share"), answered, timed_out }
    }

    const fn since(self, before: Self) -> Self {
        Self {
            lease: self.lease - before.lease,
            store: self.store - before.store,
            share: self.share - before.share,
            answered: self.answered - before.answered,
            timed_out: self.timed_out - before.timed_out,
        }
    }
}

#[test]
fn a_hot_key_goes_on_while_redis_hangs() {
    let fleet = Fleet::with(1, LIMIT, "");
    let token = fleet.token();
    let targets = Targets::new(vec![fleet.replicas[0].address]);
    let load = |meanwhile: &mut dyn FnMut()| offer(&targets, &token, OFFERED, 1, meanwhile);
    let pause = |seconds| std::thread::sleep(Duration::from_secs(seconds));
    let learnt = load(&mut || pause(6));
    assert_eq!(learnt.admitted(), learnt.seen.len());
    let (mut given_up, mut during) = (Counted::default(), Counted::default());
    let outcome = load(&mut || {
        pause(1);
        let before = Counted::by(&fleet);
        fleet.redis.signal("STOP");
        fleet.until_breakers(2);
        given_up = Counted::by(&fleet).since(before);
        pause(if is_long() { 60 } else { 2 });
        during = Counted::by(&fleet).since(before);
        fleet.redis.signal("CONT");
        fleet.until_breakers(0);
    });
    let longest = outcome.seen.iter().map(|seen| seen.received.saturating_sub(seen.sent)).max();
    let said = format!("{during:?}, until it was given up {given_up:?}, the longest answer took {longest:?}");
    outcome.print(&said, LIMIT);
    outcome.assert_no_errors();
    assert_eq!(outcome.admitted(), outcome.seen.len(), "{said}");
    assert!(during.lease > 0 && during.share > 0, "{said}");
    // Nobody waits for an answer that does not come longer than Redis is tried for.
    assert!(during.store + during.timed_out <= 2 * CALLS_IN_VAIN, "{said}");
}

/// Hot keys at all gateways: as many requests wait for Redis while it hangs as while it answered, which is none; and once it
/// is given up nobody asks it any more.
#[test]
fn no_request_that_has_a_lease_waits_for_redis() {
    let (replicas, time) = if is_long() { (8, 30) } else { (2, 3) };
    let fleet = Fleet::with(replicas, LIMIT, "");
    let tokens = [fleet.token(), fleet.token()];
    let targets = Targets::new(fleet.addresses());
    // Twenty a second for each gateway, and so many clients that each asks one gateway.
    let (clients, per_second) = (u32::try_from(replicas).unwrap(), 20 * u32::try_from(replicas).unwrap());
    let load = |token, meanwhile: &mut dyn FnMut()| offer(&targets, token, per_second, clients, meanwhile);
    let pause = |seconds| std::thread::sleep(Duration::from_secs(seconds));
    let (mut calm, mut during, mut given_up) = (Counted::default(), Counted::default(), Counted::default());
    let mut happens = || {
        pause(6);
        let before = Counted::by(&fleet);
        pause(time);
        calm = Counted::by(&fleet).since(before);
        let before = Counted::by(&fleet);
        fleet.redis.signal("STOP");
        fleet.until_breakers(2);
        let after = Counted::by(&fleet);
        pause(time);
        (during, given_up) = (Counted::by(&fleet).since(before), Counted::by(&fleet).since(after));
        fleet.redis.signal("CONT");
        fleet.until_breakers(0);
    };
    let [one, other] = std::thread::scope(|scope| {
        let other = scope.spawn(|| load(&tokens[1], &mut || pause(8 + 2 * time)));
        let one = load(&tokens[0], &mut happens);
        [one, other.join().unwrap()]
    });
    let said = format!("calm {calm:?}, while it hung {during:?}, of that given up {given_up:?}");
    one.print(&said, LIMIT);
    for outcome in [one, other] {
        outcome.assert_no_errors();
        assert_eq!(outcome.admitted(), outcome.seen.len(), "{said}");
    }
    assert!(during.store <= calm.store, "{said}");
    assert!(calm.lease > 0 && given_up.share > 0, "{said}");
    assert_eq!((given_up.store, given_up.answered), (0, 0), "{said}");
    // But for calls that were on their way when it was given up: of each key one.
    assert!(given_up.timed_out <= 2 * u64::from(clients), "{said}");
}
