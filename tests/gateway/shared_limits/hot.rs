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
    timed_out: u64,
}

impl Counted {
    fn by(fleet: &Fleet) -> Self {
        let metrics = fleet.replicas[0].metrics();
        let path = |path| metrics.count("tollgate_limit_path_total", &[("path", path)]);
        let timed_out = metrics.count("tollgate_redis_calls_total", &[("result", "timed_out")]);
        Self { lease: path("lease"), store: path("store"), share: path("share"), timed_out }
    }

    const fn since(self, before: Self) -> Self {
        Self {
            lease: self.lease - before.lease,
            store: self.store - before.store,
            share: self.share - before.share,
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
