//! Loads at random times, and what they came to.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::Limit;
use crate::load::{Outcome, Seen};
use crate::support::{Client, request};

/// What one connection sends in a second at most, since it waits for each answer.
const MOST_PER_SECOND: f64 = 50.0;

/// Requests of one token for one path, so many a second at random times (Poisson).
pub(crate) struct Load {
    pub(crate) path: String,
    pub(crate) token: String,
    pub(crate) per_second: f64,
}

/// What became of a load.
pub(crate) struct Offered {
    outcome: Outcome,
    /// Questions that Redis was asked about its bucket.
    pub(crate) asked: usize,
}

/// Offers all loads at the same time, each evenly to all gateways, while `meanwhile` runs, which takes less than `time`.
pub(crate) fn offer(
    gateways: &[SocketAddr],
    loads: &[Load],
    time: Duration,
    meanwhile: impl FnOnce(),
) -> Vec<Offered> {
    let begin = Instant::now();
    thread::scope(|scope| {
        let mut running = Vec::new();
        let mut number = 0;
        for load in loads {
            let each = load.per_second / gateways.len() as f64;
            let connections = (each / MOST_PER_SECOND).ceil().max(1.0);
            let mut threads = Vec::new();
            for &gateway in gateways {
                let mut left = connections;
                while left > 0.0 {
                    left -= 1.0;
                    number += 1;
                    let (due, bytes) = (
                        arrivals(number, each / connections, time),
                        request("GET", &load.path, &load.token, ""),
                    );
                    threads.push(scope.spawn(move || send_all(gateway, &bytes, &due, begin)));
                }
            }
            running.push(threads);
        }
        meanwhile();
        let offered = |threads: Vec<thread::ScopedJoinHandle<'_, Vec<Seen>>>| {
            let seen = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            Offered { outcome: Outcome { seen, took: time }, asked: 0 }
        };
        running.into_iter().map(offered).collect()
    })
}

fn send_all(gateway: SocketAddr, bytes: &[u8], due: &[Duration], begin: Instant) -> Vec<Seen> {
    let mut connection = None;
    let mut all = Vec::with_capacity(due.len());
    for &at in due {
        thread::sleep((begin + at).saturating_duration_since(Instant::now()));
        let client: &mut Client = connection.get_or_insert_with(|| Client::connect(gateway));
        let sent = begin.elapsed();
        client.write(bytes);
        let answer = client.read(false);
        let closes = answer.field("connection") == Some("close");
        all.push(Seen { sent, received: begin.elapsed(), said: Ok(answer.said()) });
        if closes {
            connection = None;
        }
    }
    all
}

/// Times at random (Poisson), so many a second.
fn arrivals(seed: u64, per_second: f64, time: Duration) -> Vec<Duration> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut at = 0.0;
    let next = move || {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        at -= (1.0 - unit).ln() / per_second;
        (at < time.as_secs_f64()).then(|| Duration::from_secs_f64(at))
    };
    std::iter::from_fn(next).collect()
}

impl Offered {
    pub(crate) fn requests(&self) -> usize {
        self.outcome.seen.len()
    }

    /// Questions for each request.
    pub(crate) fn asked_share(&self) -> f64 {
        self.asked as f64 / self.requests().max(1) as f64
    }

    /// Refusals that one limiter on one node would not have made.
    pub(crate) fn false_refusals(&self, limit: Limit) -> usize {
        self.outcome.assert_no_errors();
        let mut sent: Vec<f64> = self.outcome.seen.iter().map(|seen| seen.sent.as_secs_f64()).collect();
        sent.sort_by(f64::total_cmp);
        let mut tat = 0.0_f64;
        let admits = |at: &f64| {
            let next = tat.max(*at) + 1.0 / limit.rate;
            let admitted = next <= at + limit.burst / limit.rate + 1e-9;
            if admitted {
                tat = next;
            }
            admitted
        };
        let central = sent.iter().map(admits).filter(|admitted| *admitted).count();
        central.saturating_sub(self.outcome.admitted())
    }

    /// What the limit has for the whole time, in requests.
    pub(crate) fn most(&self, limit: Limit) -> f64 {
        (limit.burst + limit.rate * self.outcome.took.as_secs_f64()).floor()
    }

    /// What was admitted of that.
    pub(crate) fn used(&self, limit: Limit) -> f64 {
        self.outcome.admitted() as f64 / self.most(limit)
    }

    /// Tokens beyond the burst and the rate in the worst window: what is not above 0 is never too many.
    pub(crate) fn beyond(&self, limit: Limit) -> f64 {
        self.outcome.assert_no_errors();
        self.outcome.worst_excess_of(limit.rate, limit.burst).0
    }
}
