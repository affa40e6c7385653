//! Gateways that share limits reload ten times a second, between two quotas, under load: no change hands out anything, and
//! nobody is locked out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Fleet, PATIENT, is_long};
use crate::support::{Client, request};

/// Requests a second; the burst is twice as many, so that both fill in two seconds.
const RATES: [u32; 2] = [30, 60];
const FILL_SECONDS: f64 = 2.0;
const OFFERED: u32 = 300;
const CLIENTS: u32 = 12;

fn quota(rate: u32) -> String {
    format!("quota = \"{rate} per second\"\nburst = {}\n", 2 * rate)
}

/// A request that was admitted: when it was sent and answered, and which part of the burst in force it took.
#[derive(Clone, Copy)]
struct Admitted {
    sent: f64,
    received: f64,
    part: f64,
}

/// Asks one gateway at a fixed pace until it is over.
fn ask(fleet: &Fleet, number: u32, token: &str, begin: Instant, is_over: &AtomicBool) -> Vec<Admitted> {
    let mut client = Client::connect(fleet.addresses()[number as usize % fleet.replicas.len()]);
    let (bytes, step) = (request("GET", "/anything", token, ""), Duration::from_secs(1) * CLIENTS / OFFERED);
    let (mut next, mut admitted) = (begin + step * number / CLIENTS, Vec::new());
    while !is_over.load(Ordering::SeqCst) {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next = (next + step).max(Instant::now());
        let sent = begin.elapsed().as_secs_f64();
        let answer = client.send(&bytes);
        let received = begin.elapsed().as_secs_f64();
        match answer.status {
            200 => {
                let policy = answer.field("ratelimit-policy").unwrap();
                let rate = policy.split(";q=").nth(1).unwrap().split(';').next().unwrap();
                admitted.push(Admitted { sent, received, part: 0.5 / rate.parse::<f64>().unwrap() });
            }
            status => assert_eq!(status, 429, "{answer:?}"),
        }
    }
    admitted
}

/// The most bursts that any window has beyond what came back in it. A request counts in a window that holds it from its
/// sending to its answer.
fn worst_bursts(admitted: &[Admitted]) -> f64 {
    let mut worst = 0.0_f64;
    for first in admitted {
        let mut parts = 0.0;
        for last in admitted.iter().filter(|one| one.sent >= first.sent) {
            parts += last.part;
            worst = worst.max(parts - (last.received - first.sent) / FILL_SECONDS);
        }
    }
    worst
}

#[test]
fn reloads_at_ten_a_second_hand_out_nothing_and_lock_nobody_out() {
    let (replicas, time) = if is_long() { (8, 60) } else { (3, 8) };
    let fleet = Fleet::of_quota(replicas, &quota(RATES[0]), PATIENT);
    let token = fleet.token();
    let generations =
        || fleet.replicas.iter().map(|one| one.metrics().count("tollgate_config_generation", &[])).sum();
    let (before, begin, is_over): (u64, _, _) = (generations(), Instant::now(), AtomicBool::new(false));
    let mut admitted: Vec<Admitted> = thread::scope(|scope| {
        let (fleet, token, is_over) = (&fleet, &token, &is_over);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || ask(fleet, number, token, begin, is_over)))
            .collect();
        for round in 1.. {
            for (replica, relay) in fleet.replicas.iter().zip(&fleet.relays) {
                let text = fleet.config_of(&quota(RATES[round % 2]), relay.port(), "");
                // As an editor does it: a file that is half written is none.
                let new = replica.file.with_extension("new");
                std::fs::write(&new, text).unwrap();
                std::fs::rename(&new, &replica.file).unwrap();
                replica.process.signal("HUP");
            }
            let next = begin + Duration::from_millis(100) * u32::try_from(round).unwrap();
            thread::sleep(next.saturating_duration_since(Instant::now()));
            if begin.elapsed() > Duration::from_secs(time) {
                break;
            }
        }
        is_over.store(true, Ordering::SeqCst);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let took = begin.elapsed().as_secs_f64();
    admitted.sort_by(|one, other| one.received.total_cmp(&other.received));
    let reloads = generations() - before;
    let used: f64 = admitted.iter().map(|one| one.part).sum::<f64>() / (1.0 + took / FILL_SECONDS);
    let (worst, count) = (worst_bursts(&admitted), admitted.len());
    let gaps = admitted.windows(2).map(|pair| pair[1].received - pair[0].received);
    let longest = gaps.fold(0.0_f64, f64::max);
    let said = format!(
        "{reloads} reloads of {replicas} gateways in {took:.1} s: {count} admitted, {:.1} % of what the quotas have, worst \
         window {worst:.3} bursts beyond what came back, longest pause {longest:.2} s",
        used * 100.0
    );
    super::load::say(&said);
    assert!(reloads > 20, "{said}");
    assert!(worst <= 1.0 + 1e-6, "{said}");
    assert!(used >= 0.5, "{said}");
    // Nobody waits longer than the narrower quota needs for one request, if the machine does not.
    assert!(longest <= FILL_SECONDS, "{said}");
}
