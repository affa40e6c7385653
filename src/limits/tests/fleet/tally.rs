//! What a run came to: windows, refusals, and what one central limiter would have said.

use super::{Ended, Fleet, SECOND};
use crate::limits::shared::call::state_of;

/// Requests a second and a burst.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) rate: f64,
    pub(super) burst: f64,
}

/// The most that any window holds beyond `rate × W`: at most the burst, if the limit holds.
pub(super) fn worst_window(admitted: impl Iterator<Item = u64>, rate: f64) -> f64 {
    let mut times: Vec<u64> = admitted.collect();
    times.sort_unstable();
    let (mut worst, mut base) = (0.0_f64, f64::INFINITY);
    for (before, at) in times.into_iter().enumerate() {
        let refilled = rate * at as f64 / 1e9;
        base = base.min(before as f64 - refilled);
        worst = worst.max(before as f64 + 1.0 - refilled - base);
    }
    worst
}

/// How many of these requests one limiter on one node admits.
pub(super) fn central(arrivals: impl Iterator<Item = u64>, limit: Limit) -> usize {
    let interval = 1e9 / limit.rate;
    let mut tat = 0.0_f64;
    let mut arrivals: Vec<u64> = arrivals.collect();
    arrivals.sort_unstable();
    let admits = |at: &u64| {
        let at = *at as f64;
        let next = tat.max(at) + interval;
        let admitted = next <= at + interval * limit.burst + 1.0;
        if admitted {
            tat = next;
        }
        admitted
    };
    arrivals.iter().map(admits).filter(|admitted| *admitted).count()
}

impl Fleet {
    pub(super) fn admitted(&self) -> impl Iterator<Item = &Ended> {
        self.ended.iter().filter(|ended| ended.refused.is_none())
    }

    pub(super) fn worst_window(&self, limit: Limit) -> f64 {
        worst_window(self.admitted().map(|ended| ended.at), limit.rate)
    }

    /// Refusals that one central limiter would not have made, as a part of all requests.
    pub(super) fn false_refusals(&self, limit: Limit) -> f64 {
        let central = central(self.ended.iter().map(|ended| ended.arrived), limit);
        let ours = self.admitted().count();
        central.saturating_sub(ours) as f64 / self.ended.len() as f64
    }

    /// What was admitted, of what `seconds` may bring at most.
    pub(super) fn use_of(&self, limit: Limit, seconds: f64) -> f64 {
        self.admitted().count() as f64 / (limit.burst + limit.rate * seconds)
    }

    /// Questions for each request.
    pub(super) fn questions(&self) -> f64 {
        self.asked as f64 / self.ended.len() as f64
    }

    /// How long a request waits at most that refuses no answer, by the slowest that any replica knows.
    pub(super) fn patience_millis(&self) -> f64 {
        let known = self.replicas.iter().map(|replica| state_of(&*replica.client).longest_wait_nanos);
        known.max().unwrap_or(0) as f64 / 1e6
    }

    /// The longest that a request waited, in milliseconds.
    pub(super) fn longest_wait_millis(&self) -> f64 {
        let longest = self.ended.iter().map(|ended| ended.at - ended.arrived).max();
        longest.unwrap_or(0) as f64 / 1e6
    }

    /// The part of requests that waited at all.
    pub(super) fn waited(&self) -> f64 {
        let waited = self.ended.iter().filter(|ended| ended.at > ended.arrived).count();
        waited as f64 / self.ended.len() as f64
    }
}

#[test]
fn windows_are_counted_as_they_are() {
    assert!((worst_window([0, 0, 0].into_iter(), 1.0) - 3.0).abs() < 1e-9);
    assert!((worst_window([0, SECOND, 2 * SECOND].into_iter(), 1.0) - 1.0).abs() < 1e-9);
    assert!((worst_window([0, 5 * SECOND, 5 * SECOND].into_iter(), 1.0) - 2.0).abs() < 1e-9);
    assert_eq!(central([0, 0, 0].into_iter(), Limit { rate: 1.0, burst: 2.0 }), 2);
}
