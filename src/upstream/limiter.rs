//! How many requests one upstream serves at a time: additive increase, multiplicative decrease (Chiu and Jain,
//! 1989), in the form of Netflix's concurrency-limits (`AIMDLimit`): a success at a limit that is half used
//! raises it by one, a sign of overload lowers it by a tenth, at most once a second.
//!
//! Latency is no sign: the requests of one API differ by more than its load changes them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::rules::InFlightRules;
use crate::clock::Now;

const PAUSE_NANOS: u64 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Limiter {
    limit: AtomicU32,
    lowered_nanos: AtomicU64,
}

impl Limiter {
    pub(super) const fn new(rules: &InFlightRules) -> Self {
        Self { limit: AtomicU32::new(rules.most), lowered_nanos: AtomicU64::new(0) }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// An answer came while so many requests were in flight, itself included.
    pub(super) fn succeeded(&self, in_flight: u32, rules: &InFlightRules) {
        let limit = self.limit();
        if limit < rules.most && in_flight.saturating_mul(2) >= limit {
            // Another core that was first has raised it as well.
            let _ = self.limit.compare_exchange(limit, limit + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The upstream did not answer in time, or said that it has too much to do.
    pub(super) fn overloaded(&self, now: Now, rules: &InFlightRules) {
        let lowered = self.lowered_nanos.load(Ordering::Relaxed);
        let is_due = now.monotonic_nanos >= lowered + PAUSE_NANOS;
        let now = now.monotonic_nanos;
        if is_due
            && self.lowered_nanos.compare_exchange(lowered, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            let limit = self.limit();
            self.limit.store((limit - limit.div_ceil(10)).max(rules.least), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;

    const RULES: InFlightRules = InFlightRules { most: 100, least: 10, share_percent: 100 };

    #[test]
    fn overload_lowers_it_once_a_second_and_success_raises_it_where_it_is_used() {
        let clock = Clock::manual(0);
        let limiter = Limiter::new(&RULES);
        for _ in 0..50 {
            limiter.overloaded(clock.now(), &RULES);
        }
        assert_eq!(limiter.limit(), 90);
        limiter.succeeded(44, &RULES);
        assert_eq!(limiter.limit(), 90, "an idle upstream proves nothing");
        limiter.succeeded(45, &RULES);
        assert_eq!(limiter.limit(), 91);
        clock.advance(Duration::from_secs(1));
        limiter.overloaded(clock.now(), &RULES);
        assert_eq!(limiter.limit(), 81);
    }

    proptest! {
        #[test]
        fn it_stays_between_its_bounds(events in prop::collection::vec((any::<bool>(), 0..200_u32), 0..400)) {
            let clock = Clock::manual(0);
            let limiter = Limiter::new(&RULES);
            for (overload, in_flight) in events {
                clock.advance(Duration::from_millis(700));
                if overload {
                    limiter.overloaded(clock.now(), &RULES);
                } else {
                    limiter.succeeded(in_flight, &RULES);
                }
                prop_assert!((RULES.least..=RULES.most).contains(&limiter.limit()));
            }
        }
    }
}
