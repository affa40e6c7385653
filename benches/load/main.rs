//! The whole path under load, in one command and without anything else to install: a gateway as a process of its
//! own, two upstreams, and clients.
//!
//! ```text
//! cargo bench --bench load               about a minute and a half
//! cargo bench --bench load -- --quick    a second: does it run, and are the answers right?
//! ```
//!
//! For each kind of request it prints what one core of the gateway answers in a second and the processor time that
//! one request costs it, user and system, with 64 connections that are always busy; and the latency at a fixed rate,
//! counted from the time at which a request was due, so that a pause is charged to all that it delayed. Where there
//! are two cores the gateway has the first to itself. Last it shows what one workspace whose requests hang upstream
//! does to the latency of another. The figures are those of this machine; comparisons with other gateways are in the
//! README.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a bench may panic")]
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod gateway;
mod traffic;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use self::gateway::Gateway;
use self::support::Site;
use self::traffic::{Clients, Pace, Upstreams};

const CONNECTIONS: usize = 64;
const RATE_PER_SECOND: u32 = 2_000;
/// Requests of one workspace that its upstream leaves without an answer; more than its fair share.
const HANGING: usize = 256;

/// One kind of request and the answer that it must get.
struct Level {
    name: &'static str,
    requests: Vec<Vec<u8>>,
    status: u16,
}

/// How long each part of a level takes.
struct Times {
    warm: Duration,
    busy: Duration,
    paced: Duration,
}

fn main() {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let [warm, busy, paced] = if is_quick { [20, 50, 50] } else { [500, 2_000, 2_000] };
    let times = Times {
        warm: Duration::from_millis(warm),
        busy: Duration::from_millis(busy),
        paced: Duration::from_millis(paced),
    };
    let cores = Cores::available();
    let mut upstreams = Upstreams::open();
    let [us, eu] = upstreams.addresses();
    let site = Site::create(us, eu);
    cores.take_first();
    let gateway = Gateway::start(&site);
    cores.take_second();
    println!(
        "| request | answer | requests/s | gateway CPU µs/request | p50 / p99 ms at {RATE_PER_SECOND}/s |"
    );
    println!("|---|---|---|---|---|");
    for level in levels(&site) {
        measure(&level, &times, &gateway, &mut upstreams);
    }
    let rounds = if is_quick { 1 } else { 41 };
    beside_one_that_hangs(rounds, times.paced / 4, &gateway, &mut upstreams);
}

/// The latency of one workspace, by turns alone and while another's requests hold every place that it can have at
/// the same upstream.
fn beside_one_that_hangs(rounds: usize, time: Duration, gateway: &Gateway, upstreams: &mut Upstreams) {
    let request = |path, index| vec![support::request_with(path, &support::opaque_token(index))];
    // Both live in the same region.
    let (calm, greedy) = (request("/v1/data", 2), request(traffic::HANGS, 0));
    let mut clients = Clients::connect(gateway.address, CONNECTIONS, &calm);
    let mut millis = [Vec::new(), Vec::new()];
    for round in 0..2 * rounds {
        let mut hanging = Clients::connect(gateway.address, HANGING, &greedy);
        if round % 2 == 1 {
            hanging.send_all();
        }
        // What the burst itself costs is not what holding the places costs.
        clients.run(upstreams, Pace::PerSecond(RATE_PER_SECOND), time / 2);
        let run = clients.run(upstreams, Pace::PerSecond(RATE_PER_SECOND), time);
        assert_eq!(run.by_status.keys().copied().collect::<Vec<_>>(), [200], "{:?}", run.by_status);
        millis[round % 2].push(run.within(990).as_secs_f64() * 1e3);
        drop(hanging);
        upstreams.close_hanging();
    }
    let [alone, beside] = millis.map(|mut all| {
        all.sort_unstable_by(f64::total_cmp);
        all[all.len() / 2]
    });
    println!(
        "\np99 at {RATE_PER_SECOND}/s: alone {alone:.3} ms, beside {HANGING} hanging requests of another workspace \
         {beside:.3} ms ({:.2} times; medians of {rounds})",
        beside / alone
    );
}

fn levels(site: &Site) -> Vec<Level> {
    let opaque = |index| support::request_with("/v1/data", &support::opaque_token(index));
    let jwt = |index| support::request_with("/v1/data", &site.jwt(index));
    let level = |name, requests, status| Level { name, requests, status };
    let scarce = support::request_with("/v1/scarce", &support::opaque_token(0));
    let unknown = support::request_with("/v1/data", "tk_0000000000000000000000000000000000000000");
    vec![
        level("opaque token", (0..support::OPAQUE_TOKENS).map(opaque).collect(), 200),
        level("JWT, verified before", (0..support::JWTS).map(jwt).collect(), 200),
        level("unknown token", vec![unknown], 401),
        level("limit used up", vec![scarce], 429),
        level("preflight", vec![support::preflight()], 403),
    ]
}

fn measure(level: &Level, times: &Times, gateway: &Gateway, upstreams: &mut Upstreams) {
    let mut clients = Clients::connect(gateway.address, CONNECTIONS, &level.requests);
    clients.run(upstreams, Pace::AtOnce, times.warm);
    let before = gateway.processor_time();
    let busy = clients.run(upstreams, Pace::AtOnce, times.busy);
    let used = gateway.processor_time().zip(before).and_then(|(after, before)| after.checked_sub(before));
    let paced = clients.run(upstreams, Pace::PerSecond(RATE_PER_SECOND), times.paced);
    for run in [&busy, &paced] {
        let statuses: Vec<u16> = run.by_status.keys().copied().collect();
        assert_eq!(statuses, [level.status], "{}: {:?}", level.name, run.by_status);
    }
    let answered = busy.answered();
    let per_second = f64::from(u32::try_from(answered).unwrap()) / busy.elapsed.as_secs_f64();
    let cost = used.map_or("not known here".to_owned(), |used| {
        format!("{:.1}", used.as_secs_f64() * 1e6 / f64::from(u32::try_from(answered).unwrap()))
    });
    let millis = |per_mille| paced.within(per_mille).as_secs_f64() * 1e3;
    println!(
        "| {} | {} | {per_second:.0} | {cost} | {:.2} / {:.2} |",
        level.name,
        level.status,
        millis(500),
        millis(990)
    );
}

/// The two cores that are used, if there are two and threads can be kept on one.
struct Cores([Option<CpuSet>; 2]);

impl Cores {
    fn available() -> Self {
        let Ok(all) = sched_getaffinity(None) else { return Self([None, None]) };
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).map(|core| {
            let mut one = CpuSet::new();
            one.set(core);
            one
        });
        match (cores.next(), cores.next()) {
            (Some(first), Some(second)) => Self([Some(first), Some(second)]),
            _ => Self([None, None]),
        }
    }

    /// What is started from now on runs on the first core.
    fn take_first(&self) {
        Self::keep_on(self.0[0].as_ref());
    }

    /// This thread goes on on the second.
    fn take_second(&self) {
        Self::keep_on(self.0[1].as_ref());
    }

    fn keep_on(core: Option<&CpuSet>) {
        if let Some(core) = core {
            // Without it the figures are less steady, that is all.
            let _ = sched_setaffinity(None, core);
        }
    }
}
