//! A load at a fixed rate, what became of each request, and the bound that what was admitted is held to.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Answer, Client, request};

/// A limit: so many a second, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) rate: u32,
    pub(super) burst: u32,
}

/// One request, by times since the load's begin.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) sent: Duration,
    pub(super) received: Duration,
    /// Status and outcome; the error if there was no answer.
    pub(super) said: Result<(u16, String), String>,
}

impl Seen {
    fn is_admitted(&self) -> bool {
        self.said.as_ref().is_ok_and(|(status, _)| *status == 200)
    }
}

/// What became of a load.
pub(super) struct Outcome {
    pub(super) seen: Vec<Seen>,
    pub(super) took: Duration,
}

/// Who is asked. It may change while a load runs.
pub(super) struct Targets(Mutex<Vec<SocketAddr>>);

impl Targets {
    pub(super) fn new(addresses: Vec<SocketAddr>) -> Self {
        Self(Mutex::new(addresses))
    }

    pub(super) fn set(&self, addresses: Vec<SocketAddr>) {
        *self.0.lock().unwrap() = addresses;
    }

    fn of(&self, client: usize) -> SocketAddr {
        let addresses = self.0.lock().unwrap();
        addresses[client % addresses.len()]
    }
}

/// Offers so many requests a second with one token, by so many clients, while `meanwhile` runs.
pub(super) fn offer(
    targets: &Targets,
    token: &str,
    per_second: u32,
    clients: u32,
    meanwhile: impl FnOnce(),
) -> Outcome {
    let (begin, is_over) = (Instant::now(), AtomicBool::new(false));
    let bytes = request("GET", "/anything", token, "");
    let client = |number: u32| {
        let mut seen = Vec::new();
        let mut connection: Option<(SocketAddr, Client)> = None;
        let step = Duration::from_secs(1) * clients / per_second;
        let mut next = begin + step * number / clients;
        while !is_over.load(Ordering::SeqCst) {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            // What was missed while the machine was busy is not made up for at once.
            next = (next + step).max(Instant::now());
            let address = targets.of(number as usize);
            let mut client = match connection.take() {
                Some((connected, client)) if connected == address => client,
                _ => match Client::try_connect(address) {
                    Ok(client) => client,
                    Err(error) => {
                        let now = begin.elapsed();
                        seen.push(Seen { sent: now, received: now, said: Err(error.to_string()) });
                        continue;
                    }
                },
            };
            let sent = begin.elapsed();
            let answer = client.try_write(&bytes).and_then(|()| client.try_read(false));
            let closes = |answer: &Answer| answer.field("connection") == Some("close");
            if answer.as_ref().is_ok_and(|answer| !closes(answer)) {
                connection = Some((address, client));
            }
            let said = answer.map(|answer| answer.said()).map_err(|error| error.to_string());
            seen.push(Seen { sent, received: begin.elapsed(), said });
        }
        seen
    };
    let seen = thread::scope(|scope| {
        let client = &client;
        let all: Vec<_> = (0..clients).map(|number| scope.spawn(move || client(number))).collect();
        meanwhile();
        is_over.store(true, Ordering::SeqCst);
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    Outcome { seen, took: begin.elapsed() }
}

/// Prints a figure, for whoever runs a test with `--no-capture`.
#[expect(clippy::print_stdout, reason = "it is asked for")]
pub(super) fn say(what: &str) {
    println!("{what}");
}

impl Outcome {
    /// How many were admitted.
    pub(super) fn admitted(&self) -> usize {
        self.seen.iter().filter(|seen| seen.is_admitted()).count()
    }

    /// Nobody got anything but an answer of the upstream or of a limit.
    pub(super) fn assert_no_errors(&self) {
        let wrong: Vec<_> =
            self.seen.iter().filter(|seen| !matches!(seen.said, Ok((200 | 429, _)))).take(5).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    /// In every window W at most `burst + rate × W + more` were admitted. A request counts in a window that it was
    /// surely decided in: one that holds it from its sending to its answer.
    pub(super) fn assert_within(&self, limit: Limit, more: f64) {
        let (excess, window) = self.worst_excess(limit);
        assert!(excess <= more, "{excess:.1} more than the limit in a window of {window:?}, of {more:.1}");
    }

    /// Prints what was measured, for whoever runs a test with `--no-capture`.
    pub(super) fn print(&self, what: &str, limit: Limit) {
        let ((excess, window), admitted) = (self.worst_excess(limit), self.admitted());
        let (requests, used) = (self.seen.len(), self.used(limit) * 100.0);
        let (slow, slowest) = self.slowest();
        say(&format!(
            "{what}: {limit:?}, {:.1} s, {requests} requests, {admitted} admitted, {used:.2} % of the limit, worst window \
             {window:.1?} with {excess:+.2} beyond it, 99 of 100 answers within {slow:.1?}, all within {slowest:.1?}",
            self.took.as_secs_f64()
        ));
    }

    /// How long the 99th of 100 answers took, and the last.
    fn slowest(&self) -> (Duration, Duration) {
        let took = |seen: &Seen| seen.received.saturating_sub(seen.sent);
        let mut times: Vec<Duration> = self.seen.iter().map(took).collect();
        times.sort_unstable();
        let at = |place: usize| times.get(place).copied().unwrap_or_default();
        (at(times.len() * 99 / 100), at(times.len().saturating_sub(1)))
    }

    /// What was admitted, of what the limit has for the whole load.
    fn used(&self, limit: Limit) -> f64 {
        let most = f64::from(limit.burst) + f64::from(limit.rate) * self.took.as_secs_f64();
        u32::try_from(self.admitted()).map(f64::from).unwrap() / most
    }

    /// The most that was admitted beyond `burst + rate × W` in any window W, and which; negative if never.
    pub(super) fn worst_excess(&self, limit: Limit) -> (f64, Duration) {
        self.worst_excess_of(limit.rate.into(), limit.burst.into())
    }

    /// As [`Outcome::worst_excess`], of a rate and a burst.
    pub(super) fn worst_excess_of(&self, rate: f64, burst: f64) -> (f64, Duration) {
        let mut admitted: Vec<&Seen> = self.seen.iter().filter(|seen| seen.is_admitted()).collect();
        admitted.sort_by_key(|seen| seen.received);
        let mut worst = (f64::NEG_INFINITY, Duration::ZERO);
        for first in &admitted {
            let mut count = 0.0;
            for last in admitted.iter().filter(|seen| seen.sent >= first.sent) {
                count += 1.0;
                let window = last.received.saturating_sub(first.sent);
                let excess = count - burst - rate * window.as_secs_f64();
                if excess > worst.0 {
                    worst = (excess, window);
                }
            }
        }
        worst
    }

    /// At least this fraction of what the limit has for the whole load was admitted.
    pub(super) fn assert_uses(&self, limit: Limit, fraction: f64) {
        let most = f64::from(limit.burst) + f64::from(limit.rate) * self.took.as_secs_f64();
        let admitted = u32::try_from(self.admitted()).map(f64::from).unwrap();
        assert!(admitted >= most * fraction - 1.0, "{admitted} of {most:.1}, {:.4}", admitted / most);
    }
}
