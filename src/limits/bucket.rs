//! One bucket: governor decides, on a cell that is ours.
//!
//! governor keeps one quota per limiter and counts time from the limiter's birth. Here a limiter is built for
//! each decision: it borrows one cell, and its clock reads zero first (the birth) and the request's `now`
//! after, so every theoretical arrival time (TAT) is absolute and outlives the limiter.

use std::cell::Cell as Remembered;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::RateLimiter;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};

use super::calendar::Counted;
use crate::domain::Quota;

/// The longest time that a bucket may take to fill: ten years. Keeps every sum of times within 64 bits.
pub(super) const LONGEST_FILL_NANOS: u64 = 10 * 365 * 86_400 * 1_000_000_000;

/// A quota as GCRA counts it: the emission interval and the burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    /// Time that one request costs at the steady rate, rounded up so that the rate is never exceeded.
    pub(super) interval_nanos: u64,
    /// Requests that a full bucket holds.
    pub(super) burst: NonZeroU32,
}

impl Scale {
    /// The scale of a quota; a burst that would take longer than [`LONGEST_FILL_NANOS`] to refill is cut.
    pub(super) fn of(quota: &Quota) -> Self {
        let interval_nanos = quota.emission_interval_nanos().clamp(1, LONGEST_FILL_NANOS);
        let most = u32::try_from(LONGEST_FILL_NANOS / interval_nanos).unwrap_or(u32::MAX);
        let burst = quota.burst.min(NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN));
        Self { interval_nanos, burst }
    }

    /// Time from empty to full.
    pub(super) const fn fill_nanos(self) -> u64 {
        self.interval_nanos * self.burst.get() as u64
    }

    /// A number of its own for each scale that anybody is likely to have, for names.
    pub(super) const fn number(self) -> u64 {
        self.interval_nanos ^ (self.burst.get() as u64).rotate_right(32)
    }

    /// Whole requests left while `debt_nanos` remain until the bucket is full.
    pub(super) const fn remaining(self, debt_nanos: u64) -> u32 {
        (self.fill_nanos().saturating_sub(debt_nanos) / self.interval_nanos) as u32
    }

    fn of_governor(self) -> governor::Quota {
        governor::Quota::with_period(Duration::from_nanos(self.interval_nanos))
            .map_or(governor::Quota::per_hour(NonZeroU32::MIN), |quota| quota.allow_burst(self.burst))
    }
}

/// What governor said of one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// The TAT after the decision, in nanoseconds of the monotonic clock; of a count by the calendar the end of
    /// its period.
    pub(super) tat: u64,
    /// How long until the same request would be admitted; [`None`] if it was.
    pub(super) wait_nanos: Option<u64>,
    /// The scale it was decided by.
    pub(super) scale: Scale,
    /// What the period has left, of a count by the calendar.
    pub(super) counted: Option<Counted>,
}

/// Takes `cost` requests at `now`, or nothing.
pub(super) fn take(tat: &AtomicU64, scale: Scale, cost: NonZeroU32, now: u64) -> Verdict {
    let view = Taking { tat, left: Remembered::new(0) };
    decide(&view, scale, cost, now)
}

/// Says what [`take`] would, and writes nothing.
pub(super) fn peek(tat: u64, scale: Scale, cost: NonZeroU32, now: u64) -> Verdict {
    decide(&Peeking(tat), scale, cost, now)
}

/// Takes `cost` requests whether they are there or not. What is missing is owed, at most a whole bucket.
pub(super) fn owe(tat: &AtomicU64, scale: Scale, cost: NonZeroU32, now: u64) -> Verdict {
    let more = scale.interval_nanos * u64::from(cost.min(scale.burst).get());
    let most = now.saturating_add(scale.fill_nanos().saturating_mul(2));
    let owed = |seen: u64| seen.max(now).saturating_add(more).min(most.max(seen));
    let before = tat.fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| Some(owed(seen)));
    Verdict { tat: before.map_or(now, owed), wait_nanos: None, scale, counted: None }
}

/// Undoes a [`take`] that left the TAT at `written`.
///
/// The debt is returned only if every later take queued up behind ours, which shows in the TAT having moved by
/// whole intervals. A take that found the bucket full starts anew from its own clock reading: what we took has
/// run out by then, and returning it would hand out more than the quota.
pub(super) fn give_back(tat: &AtomicU64, written: u64, scale: Scale, cost: NonZeroU32) {
    let debt = scale.interval_nanos * u64::from(cost.min(scale.burst).get());
    let _ = tat.fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| {
        let behind_ours = seen.checked_sub(written)?.is_multiple_of(scale.interval_nanos);
        behind_ours.then(|| seen.saturating_sub(debt))
    });
}

/// A state store that remembers which TAT its decision ended at.
trait View: StateStore<Key = NotKeyed> {
    fn left(&self) -> u64;
}

fn decide<V: View>(view: &V, scale: Scale, cost: NonZeroU32, now: u64) -> Verdict {
    let clock = Arrival { now: Nanos::new(now), born: Remembered::new(false) };
    let limiter =
        RateLimiter::<_, _, _, NoOpMiddleware<Nanos>>::new(scale.of_governor(), Borrowed(view), clock);
    let cost = cost.min(scale.burst);
    let decision = if cost == NonZeroU32::MIN { Ok(limiter.check()) } else { limiter.check_n(cost) };
    let wait_nanos = match decision {
        Ok(Ok(())) => None,
        Ok(Err(until)) => Some(until.wait_time_from(Nanos::new(now)).as_nanos() as u64),
        Err(_more_than_the_burst) => Some(scale.fill_nanos()),
    };
    Verdict { tat: view.left(), wait_nanos, scale, counted: None }
}

/// Reads zero when the limiter is born and the request's arrival after.
struct Arrival {
    now: Nanos,
    born: Remembered<bool>,
}

impl Clock for Arrival {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        if self.born.replace(true) { self.now } else { Nanos::new(0) }
    }
}

struct Borrowed<'v, V>(&'v V);

impl<V: View> StateStore for Borrowed<'_, V> {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, decide)
    }
}

struct Taking<'c> {
    tat: &'c AtomicU64,
    left: Remembered<u64>,
}

impl View for Taking<'_> {
    fn left(&self) -> u64 {
        self.left.get()
    }
}

impl StateStore for Taking<'_> {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut seen = self.tat.load(Ordering::Acquire);
        loop {
            self.left.set(seen);
            let (outcome, next) = decide(Some(Nanos::new(seen)))?;
            match self.tat.compare_exchange_weak(seen, next.as_u64(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.left.set(next.as_u64());
                    return Ok(outcome);
                }
                Err(other) => seen = other,
            }
        }
    }
}

struct Peeking(u64);

impl View for Peeking {
    fn left(&self) -> u64 {
        self.0
    }
}

impl StateStore for Peeking {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        decide(Some(Nanos::new(self.0))).map(|(outcome, _)| outcome)
    }
}
