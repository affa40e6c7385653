//! A gateway is killed under load: what it held is lost, and nothing is admitted twice.

use std::thread;
use std::time::Duration;

use super::load::{Limit, Targets, offer};
use super::{Fleet, is_long};
use crate::support::Gateway;

const LIMIT: Limit = Limit { rate: 30, burst: 60 };
const OFFERED: u32 = 300;
const CLIENTS: u32 = 16;

#[test]
fn killed_gateways_add_nothing_to_the_limit() {
    let (replicas, kills, pause) = if is_long() { (8, 12, 5) } else { (4, 3, 2) };
    let mut fleet = Fleet::start(replicas, LIMIT);
    let token = fleet.token();
    let targets = Targets::new(fleet.addresses());
    let outcome = offer(&targets, &token, OFFERED, CLIENTS, || {
        for _ in 0..kills {
            thread::sleep(Duration::from_secs(pause));
            let mut killed = fleet.replicas.remove(0);
            killed.process.signal("KILL");
            targets.set(fleet.addresses());
            killed.process.wait();
            // Another takes its place, on its folder and its own network.
            fleet.replicas.push(Gateway::serve_in(killed.into_folder()));
            targets.set(fleet.addresses());
        }
        thread::sleep(Duration::from_secs(pause));
    });
    outcome.print(&format!("{kills} of {replicas} gateways killed, one after the other"), LIMIT);
    // Those on their way to it got no answer, and who had just connected.
    let unserved = outcome.seen.iter().filter(|seen| seen.said.is_err()).count();
    let most = 4 * kills * (CLIENTS as usize / replicas + 1);
    assert!(unserved <= most, "{unserved} requests without an answer, of {most}");
    let wrong: Vec<_> = outcome
        .seen
        .iter()
        .filter(|seen| !matches!(seen.said, Ok((200 | 429, _)) | Err(_)))
        .take(5)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    outcome.assert_within(LIMIT, 0.0);
    outcome.assert_uses(LIMIT, 0.9);
}
