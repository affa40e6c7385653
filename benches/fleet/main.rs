//! How long a leaked token goes on working: three gateways on one PostgreSQL, under load, with warm connections; from the
//! moment at which GitHub's alert is sent to one of them to the last answer that the token got through at any.
//!
//! ```text
//! cargo bench --bench fleet               120 leaks, about a minute
//! cargo bench --bench fleet -- --quick    5 leaks: does it run?
//! ```
//!
//! Each gateway gets a steady load on six connections, and two more use each leaked token all the time, with a pause of a
//! millisecond. PostgreSQL is Debian's package, with durable commits. It ends with an error where a leak took longer
//! than the second that is promised, and says whether the 99th percentile is within 100 ms.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench may panic")]
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "../../tests/postgres/server.rs"]
#[expect(dead_code, reason = "tests stop and crash it, too")]
mod server;

mod gateways;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gateways::{Connection, Fleet, request};

const GATEWAYS: usize = 3;
const LEAKS: usize = 120;
const QUICK_LEAKS: usize = 5;
/// Connections of the steady load at each gateway, and the pause of each between two requests.
const STEADY: usize = 6;
const STEADY_PAUSE: Duration = Duration::from_millis(10);
/// Connections at each gateway that use the leaked token.
const THIEVES: usize = 2;
const THIEVES_PAUSE: Duration = Duration::from_millis(1);
/// Answers that the leaked token has got on each connection before it is found.
const WARM: u64 = 50;
const PROMISE: Duration = Duration::from_secs(1);
const GOAL: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let is_quick = std::env::args().any(|word| word == "--quick" || word == "--test");
    let leaks = if is_quick { QUICK_LEAKS } else { LEAKS };
    let fleet = Fleet::start(GATEWAYS, leaks);
    let (ends, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    let both: Vec<(Duration, Duration)> = std::thread::scope(|scope| {
        for address in fleet.addresses().flat_map(|address| [address; STEADY]) {
            let (ends, served, bytes) = (&ends, &served, request(&fleet.steady));
            scope.spawn(move || {
                let mut connection = Connection::open(address);
                while !ends.load(Ordering::Relaxed) {
                    assert_eq!(connection.send(&bytes), 200);
                    served.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(STEADY_PAUSE);
                }
            });
        }
        let both = (0..leaks).map(|number| leak(&fleet, number)).collect();
        ends.store(true, Ordering::Relaxed);
        both
    });
    let rate = u128::from(served.load(Ordering::Relaxed)) * 1_000 / begun.elapsed().as_millis().max(1);
    println!("{leaks} leaks, {GATEWAYS} gateways, {rate} other requests/s");
    told("alert to its answer", both.iter().map(|(answered, _)| *answered).collect());
    let [most_of_all, longest] = told("alert to the last use", both.iter().map(|(_, last)| *last).collect());
    println!("p99 within {GOAL:?}: {}", if most_of_all <= GOAL { "yes" } else { "no" });
    if longest <= PROMISE { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints percentiles; the 99th and the longest.
fn told(what: &str, mut took: Vec<Duration>) -> [Duration; 2] {
    took.sort_unstable();
    let [median, ninety, most_of_all, longest] =
        [50, 90, 99, 100].map(|percent| took[(took.len() * percent).div_ceil(100).max(1) - 1]);
    println!("{what}: median {median:.1?}, p90 {ninety:.1?}, p99 {most_of_all:.1?}, longest {longest:.1?}");
    [most_of_all, longest]
}

/// Leaks a token that is in use everywhere; from the alert to its own answer, before which the revocation is committed, and
/// to the last answer that the token got.
fn leak(fleet: &Fleet, number: usize) -> (Duration, Duration) {
    let bytes = request(&fleet.victims[number]);
    let warm = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let thieves: Vec<_> = fleet
            .addresses()
            .flat_map(|address| [address; THIEVES])
            .map(|address| {
                let (bytes, warm) = (&bytes, &warm);
                scope.spawn(move || {
                    let mut connection = Connection::open(address);
                    let mut last = Instant::now();
                    for count in 1.. {
                        match connection.send(bytes) {
                            200 => last = Instant::now(),
                            401 => break,
                            other => panic!("{other}"),
                        }
                        if count == WARM {
                            warm.fetch_add(1, Ordering::Relaxed);
                        }
                        std::thread::sleep(THIEVES_PAUSE);
                    }
                    last
                })
            })
            .collect();
        while warm.load(Ordering::Relaxed) < (GATEWAYS * THIEVES) as u64 {
            std::thread::sleep(THIEVES_PAUSE);
        }
        let alert = fleet.alert(&fleet.victims[number]);
        let mut connection = Connection::open(fleet.addresses().nth(number % GATEWAYS).unwrap());
        let posted = Instant::now();
        assert_eq!(connection.send(&alert), 200);
        let answered = posted.elapsed();
        let last = thieves.into_iter().map(|thief| thief.join().unwrap()).max().unwrap();
        (answered, last.saturating_duration_since(posted))
    })
}
