//! Eight replicas, ten times the limit, replicas added and removed.

use std::thread;
use std::time::Duration;

use super::load::{Limit, Targets, offer};
use super::{Fleet, is_long};

const LIMIT: Limit = Limit { rate: 30, burst: 60 };
/// Ten times the limit.
const OFFERED: u32 = 300;
const CLIENTS: u32 = 16;

/// What is admitted together is what one limiter would have admitted.
#[test]
fn eight_replicas_admit_what_one_would() {
    let fleet = Fleet::start(8, LIMIT);
    let token = fleet.token();
    let time = Duration::from_secs(if is_long() { 60 } else { 8 });
    let outcome = offer(&Targets::new(fleet.addresses()), &token, OFFERED, CLIENTS, || thread::sleep(time));
    outcome.print("ten times the limit", LIMIT);
    outcome.assert_no_errors();
    outcome.assert_within(LIMIT, 0.0);
    outcome.assert_uses(LIMIT, 0.95);
}

/// Replicas come and go, and the limit stays what it is.
#[test]
fn replicas_come_and_go_under_load() {
    let mut fleet = Fleet::start(5, LIMIT);
    let token = fleet.token();
    let targets = Targets::new(fleet.addresses());
    let time = Duration::from_secs(if is_long() { 15 } else { 2 });
    let outcome = offer(&targets, &token, OFFERED, CLIENTS, || {
        thread::sleep(time);
        fleet.add(3);
        targets.set(fleet.addresses());
        thread::sleep(time);
        let rest = fleet.replicas.split_off(4);
        targets.set(fleet.addresses());
        thread::sleep(time / 4);
        for mut gone in rest {
            gone.process.signal("TERM");
            assert!(gone.process.wait().success());
        }
        thread::sleep(time);
    });
    outcome.print("replicas come and go", LIMIT);
    outcome.assert_no_errors();
    outcome.assert_within(LIMIT, 0.0);
    outcome.assert_uses(LIMIT, 0.95);
}
