//! Redis hangs, dies, forgets, fails over, jumps in time, or is cut off from some: each within its bound, and no caller
//! gets an error.

use std::thread;
use std::time::{Duration, Instant};

use super::load::{Limit, Outcome, Targets, offer};
use super::relay::Relay;
use super::server::Server as Redis;
use super::{Fleet, is_long};
use crate::support::ask_admin;

const LIMIT: Limit = Limit { rate: 30, burst: 60 };
const OFFERED: u32 = 300;
const CLIENTS: u32 = 12;
/// Three replicas, and in the long form eight.
fn how_many() -> usize {
    if is_long() { 8 } else { 3 }
}

/// How long the load goes on before and after a fault; the whole of a long form takes a minute.
fn calm() -> Duration {
    Duration::from_secs(if is_long() { 15 } else { 2 })
}

/// How long a fault lasts: so many seconds, or half a minute.
fn lasts(seconds: u64) {
    thread::sleep(Duration::from_secs(if is_long() { 30 } else { seconds }));
}

/// Offers ten times the limit, before, while and after something happens; how long it took to happen, too.
fn under_load(fleet: &Fleet, what: &str, happens: impl FnOnce()) -> (Outcome, Duration) {
    let token = fleet.token();
    let targets = Targets::new(fleet.replicas.iter().map(|replica| replica.address).collect());
    let mut took = Duration::ZERO;
    let outcome = offer(&targets, &token, OFFERED, CLIENTS, || {
        thread::sleep(calm());
        let begin = Instant::now();
        happens();
        took = begin.elapsed();
        thread::sleep(calm());
    });
    outcome.print(what, LIMIT);
    outcome.assert_no_errors();
    (outcome, took)
}

fn burst() -> f64 {
    f64::from(LIMIT.burst)
}

fn replicas() -> f64 {
    u32::try_from(how_many()).map(f64::from).unwrap()
}

/// Every breaker opens, the replicas stay ready, and all find it again.
fn away(fleet: &Fleet, goes: impl FnOnce(), comes: impl FnOnce()) {
    goes();
    fleet.until_breakers(2);
    for replica in &fleet.replicas {
        let ready = ask_admin(replica.admin, "/readyz");
        assert_eq!(ready.status, 200, "limits never cost availability");
    }
    lasts(1);
    comes();
    fleet.until_breakers(0);
}

#[test]
fn redis_hangs() {
    let fleet = Fleet::with(how_many(), LIMIT, "timeout_milliseconds = 100\n");
    let (outcome, _) = under_load(&fleet, "Redis hangs", || {
        away(&fleet, || fleet.redis.signal("STOP"), || fleet.redis.signal("CONT"));
    });
    outcome.assert_within(LIMIT, replicas());
    outcome.assert_uses(LIMIT, 0.8);
}

/// Losing everything costs one burst.
#[test]
fn redis_is_killed_and_restarted() {
    let fleet = Fleet::start(how_many(), LIMIT);
    let (outcome, _) = under_load(&fleet, "Redis is killed and restarted", || {
        away(&fleet, || fleet.redis.kill(), || fleet.redis.go());
    });
    outcome.assert_within(LIMIT, replicas() + burst());
}

#[test]
fn redis_is_flushed() {
    let fleet = Fleet::start(how_many(), LIMIT);
    let (outcome, _) = under_load(&fleet, "Redis is flushed", || {
        fleet.redis.ask("FLUSHALL");
        lasts(0);
    });
    outcome.assert_within(LIMIT, burst());
    outcome.assert_uses(LIMIT, 0.95);
}

#[test]
fn redis_forgets_its_scripts() {
    let fleet = Fleet::start(how_many(), LIMIT);
    let (outcome, _) = under_load(&fleet, "Redis forgets its scripts", || {
        for _ in 0..if is_long() { 300 } else { 10 } {
            fleet.redis.ask("SCRIPT FLUSH");
            thread::sleep(Duration::from_millis(100));
        }
    });
    outcome.assert_within(LIMIT, 0.0);
    outcome.assert_uses(LIMIT, 0.95);
}

/// What the replica had not got yet is granted once more.
#[test]
fn redis_fails_over_to_its_replica() {
    let fleet = Fleet::start(how_many(), LIMIT);
    let standby = Redis::start();
    standby.ask(&format!("REPLICAOF 127.0.0.1 {}", fleet.redis.port()));
    crate::support::until("the standby to follow", || {
        standby.ask("INFO replication").contains("master_link_status:up").then_some(())
    });
    let (outcome, _) = under_load(&fleet, "Redis fails over", || {
        away(
            &fleet,
            || {
                fleet.redis.kill();
                fleet.relays.iter().for_each(|relay| relay.lead_to(standby.port()));
            },
            || {
                standby.ask("REPLICAOF NO ONE");
            },
        );
    });
    outcome.assert_within(LIMIT, replicas() + burst());
}

/// The script finds the server's clock ahead or behind, as after a failover to a server that is.
#[test]
fn the_clock_jumps() {
    for (ahead_seconds, most) in [(5, 5 * LIMIT.rate), (-5, 0)] {
        let fleet = Fleet::start(how_many(), LIMIT);
        let (outcome, _) = under_load(&fleet, &format!("the clock jumps by {ahead_seconds} s"), || {
            fleet.relays.iter().for_each(|relay| relay.shift_clock(ahead_seconds));
            lasts(3);
        });
        // Each replica's connection broke for a moment.
        outcome.assert_within(LIMIT, f64::from(most) + replicas());
        let late = outcome.seen.iter().filter(|seen| seen.received + calm() / 2 > outcome.took);
        let is_served = late.into_iter().any(|seen| matches!(seen.said, Ok((200, _))));
        assert!(is_served, "nobody is locked out: {ahead_seconds}");
    }
}

/// Three of eight replicas are cut off: their shares come on top of what the others are granted.
#[test]
fn some_replicas_are_cut_off() {
    let fleet = Fleet::start(8, LIMIT);
    let cut: Vec<&Relay> = fleet.relays.iter().take(3).collect();
    let (outcome, took) = under_load(&fleet, "three of eight are cut off", || {
        for relay in &cut {
            relay.cut();
        }
        lasts(3);
        for relay in &cut {
            relay.mend();
        }
        fleet.until_breakers(0);
    });
    let shares = 3.0 / 8.0 * f64::from(LIMIT.rate) * took.as_secs_f64();
    outcome.assert_within(LIMIT, 3.0 + shares);
    outcome.assert_uses(LIMIT, 0.9);
}
