//! How exact limits are that gateways share: eight gateways, processes of their own, on one real Redis.
//!
//! ```text
//! cargo bench --bench accuracy                    a minute for each of four parts
//! cargo bench --bench accuracy -- --seconds 300   five
//! cargo bench --bench accuracy -- --quick         does it run?
//! ```
//!
//! It needs Debian's `redis-server`. Every distinct limit of Segment's endpoint table, and one of 6,000 a minute, has a
//! policy, a token and a load of its own, all at the same time: in the calm at nine tenths of the limit, at ten times the
//! limit, at ten times the limit with Redis away for the middle half of the time, and the same with three of the eight cut
//! off from it. It prints the table that stands in the documentation of `tollgate::limits::shared`, and fails where a row is
//! not within its bounds. A request counts in a window that it was surely decided in, from its sending to its answer.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench may panic")]
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "counts are small")]

mod asked;
mod bounds;
#[path = "../../tests/gateway/shared_limits/failures.rs"]
mod failures;
mod fleet;
#[path = "../../tests/gateway/shared_limits/load.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod load;
mod offered;
mod quotas;
#[path = "../../tests/redis/relay.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod relay;
#[path = "../../tests/redis/server.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod server;
#[path = "../../tests/gateway/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use the rest")]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use self::bounds::{Part, Row};
use self::fleet::{Fleet, REPLICAS};
use self::offered::Offered;
use self::quotas::QUOTAS;
use tollgate::domain::Quota;

/// Gateways that are cut off in the last part.
const CUT_OFF: usize = 3;

/// A limit by its rate a second and its burst.
#[derive(Clone, Copy, Debug)]
struct Limit {
    rate: f64,
    burst: f64,
}

impl Limit {
    fn of(quota: &str) -> Self {
        let quota: Quota = quota.parse().unwrap();
        let rate = f64::from(quota.requests.get()) / f64::from(quota.period_seconds);
        Self { rate, burst: f64::from(quota.burst.get()) }
    }

    /// Ten times the rate; of a limit that would take longer than the run to fill, twice what it can admit in it.
    fn overload(self, time: Duration) -> f64 {
        (self.rate * 10.0).max(2.0 * self.burst / time.as_secs_f64())
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut seconds = 60;
    let mut quotas = &QUOTAS[..];
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--seconds" => seconds = arguments.next().unwrap().parse().unwrap(),
            "--quick" => (seconds, quotas) = (2, &QUOTAS[6..8]),
            // cargo says that it is a bench.
            _ => {}
        }
    }
    let time = Duration::from_secs(seconds);
    let fleet = Fleet::start(quotas);
    let before = fleet.failures();
    let calm = fleet.offer(0, time, |limit| limit.rate * 0.9, |_| {});
    let calm_apart = fleet.apart_since(&before, "0.9 ×");
    let before = fleet.failures();
    let over = fleet.offer(1, time, |limit| limit.overload(time), |_| {});
    let over_apart = fleet.apart_since(&before, "10 ×");
    let before = fleet.failures();
    let away = fleet.offer(2, time, |limit| limit.overload(time), |is| fleet.cut(REPLICAS, is));
    let away_apart = fleet.apart_since(&before, "away");
    let before = fleet.failures();
    let part = fleet.offer(3, time, |limit| limit.overload(time), |is| fleet.cut(CUT_OFF, is));
    let apart = fleet.apart_since(&before, "cut off");
    println!(
        "| limit | 0.9 ×: false refusals | asked | 10 ×: used | worst window | asked | Redis away | 3 of 8 cut off |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut broken = Vec::new();
    for (place, quota) in quotas.iter().enumerate() {
        let limit = Limit::of(quota);
        let (calm, over) = (&calm[place], &over[place]);
        let worst = |offered: &Offered| offered.beyond(limit);
        let bound = apart.most(limit);
        let (away, cut) = (Part(&away[place], away_apart), Part(&part[place], apart));
        let row = Row { quota, calm: Part(calm, calm_apart), over: Part(over, over_apart), away, cut };
        broken.extend(row.broken());
        println!(
            "| {quota} | {} of {} | {:.1} % | {:.1} % | {:+.1} | {:.1} % | {:+.1} | {:+.1} (≤ {bound:.1}) |",
            calm.false_refusals(limit),
            calm.requests(),
            calm.asked_share() * 100.0,
            over.used(limit) * 100.0,
            worst(over),
            over.asked_share() * 100.0,
            worst(row.away.0),
            worst(row.cut.0),
        );
    }
    for bound in &broken {
        println!("not within its bound: {bound}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
