//! The breaker of one upstream (Nygard, "Release It!", 2007): after failures in a row it gets no requests for a
//! while, then one, and that one decides.
//!
//! Failures are connections that cannot be made. A slow or broken answer is none, because what one tenant asks
//! must not trip the breaker for all; it fails only the request that decides.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::rules::BreakerRules;
use crate::clock::Now;

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests pass; so many failed in a row.
    Passing {
        /// How many.
        failures: u32,
    },
    /// None passes before this monotonic time.
    Tripped {
        /// When one may.
        until_nanos: u64,
    },
    /// One was let pass and decides; if it is not heard of by this time, the next one does.
    Probing {
        /// When.
        until_nanos: u64,
    },
}

/// The longest that a probe is waited for.
const PROBE_NANOS: u64 = 5_000_000_000;

/// A breaker that every core reads and writes.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: AtomicU64,
    /// How often it tripped without a success in between.
    trips: AtomicU32,
}

const TAG_SHIFT: u32 = 62;
const VALUE: u64 = (1 << TAG_SHIFT) - 1;

impl BreakerState {
    const fn pack(self) -> u64 {
        match self {
            Self::Passing { failures } => failures as u64,
            Self::Tripped { until_nanos } => 1 << TAG_SHIFT | until_nanos & VALUE,
            Self::Probing { until_nanos } => 2 << TAG_SHIFT | until_nanos & VALUE,
        }
    }

    const fn unpack(packed: u64) -> Self {
        let until_nanos = packed & VALUE;
        match packed >> TAG_SHIFT {
            0 => Self::Passing { failures: packed as u32 },
            1 => Self::Tripped { until_nanos },
            _ => Self::Probing { until_nanos },
        }
    }
}

impl Breaker {
    pub(super) fn state(&self) -> BreakerState {
        BreakerState::unpack(self.state.load(Ordering::Relaxed))
    }

    /// Whether one request is deciding.
    pub(super) fn is_probing(&self) -> bool {
        matches!(self.state(), BreakerState::Probing { .. })
    }

    /// Whether a request may pass.
    pub(super) fn may_pass(&self, now: Now) -> bool {
        match self.state() {
            BreakerState::Passing { .. } => true,
            BreakerState::Tripped { until_nanos } | BreakerState::Probing { until_nanos } => {
                now.monotonic_nanos >= until_nanos
            }
        }
    }

    /// Lets a request pass, as the probe where one is due; false if another one is the probe.
    pub(super) fn enter(&self, now: Now) -> bool {
        let seen = self.state.load(Ordering::Relaxed);
        match BreakerState::unpack(seen) {
            BreakerState::Passing { .. } => true,
            BreakerState::Tripped { until_nanos } | BreakerState::Probing { until_nanos } => {
                let probing = BreakerState::Probing { until_nanos: now.monotonic_nanos + PROBE_NANOS };
                now.monotonic_nanos >= until_nanos && self.swap(seen, probing)
            }
        }
    }

    /// An answer came, whatever it says.
    pub(super) fn succeeded(&self) {
        if self.state.load(Ordering::Relaxed) != 0 {
            self.state.store(BreakerState::Passing { failures: 0 }.pack(), Ordering::Relaxed);
            self.trips.store(0, Ordering::Relaxed);
        }
    }

    /// No answer came. True if it tripped.
    pub(super) fn failed(&self, now: Now, rules: &BreakerRules) -> bool {
        if rules.after_failures == 0 {
            return false;
        }
        loop {
            let seen = self.state.load(Ordering::Relaxed);
            let next = match BreakerState::unpack(seen) {
                BreakerState::Tripped { .. } => return false,
                BreakerState::Passing { failures } if failures + 1 < rules.after_failures => {
                    BreakerState::Passing { failures: failures + 1 }
                }
                BreakerState::Passing { .. } | BreakerState::Probing { .. } => {
                    let doubled = rules.nanos << self.trips.load(Ordering::Relaxed).min(20);
                    let open = doubled.min(rules.longest_nanos);
                    BreakerState::Tripped { until_nanos: now.monotonic_nanos + open }
                }
            };
            if self.swap(seen, next) {
                let tripped = matches!(next, BreakerState::Tripped { .. });
                self.trips.fetch_add(u32::from(tripped), Ordering::Relaxed);
                return tripped;
            }
        }
    }

    /// How long no request passes.
    pub(super) fn wait(&self, now: Now) -> Duration {
        match self.state() {
            BreakerState::Passing { .. } => Duration::ZERO,
            BreakerState::Tripped { until_nanos } | BreakerState::Probing { until_nanos } => {
                Duration::from_nanos(until_nanos.saturating_sub(now.monotonic_nanos))
            }
        }
    }

    fn swap(&self, seen: u64, next: BreakerState) -> bool {
        self.state.compare_exchange(seen, next.pack(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const SECOND: u64 = 1_000_000_000;
    const RULES: BreakerRules = BreakerRules { after_failures: 3, nanos: SECOND, longest_nanos: 4 * SECOND };

    fn fail(breaker: &Breaker, times: u32, now: Now) {
        for _ in 0..times {
            breaker.failed(now, &RULES);
        }
    }

    #[test]
    fn it_trips_after_failures_in_a_row_and_one_probe_decides() {
        let clock = Clock::manual(0);
        let breaker = Breaker::default();
        fail(&breaker, 2, clock.now());
        breaker.succeeded();
        fail(&breaker, 2, clock.now());
        assert!(breaker.may_pass(clock.now()), "a success in between counts anew");
        assert!(breaker.failed(clock.now(), &RULES));
        assert!(!breaker.may_pass(clock.now()) && !breaker.enter(clock.now()));
        assert_eq!(breaker.wait(clock.now()), Duration::from_secs(1));
        clock.advance(Duration::from_secs(1));
        assert!(breaker.may_pass(clock.now()) && breaker.enter(clock.now()));
        assert!(!breaker.may_pass(clock.now()) && !breaker.enter(clock.now()), "one probe at a time");
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Passing { failures: 0 });
    }

    #[test]
    fn it_stays_tripped_longer_each_time_up_to_the_longest() {
        let clock = Clock::manual(0);
        let breaker = Breaker::default();
        fail(&breaker, 3, clock.now());
        for seconds in [1, 2, 4, 4] {
            assert_eq!(breaker.wait(clock.now()), Duration::from_secs(seconds));
            clock.advance(Duration::from_secs(seconds));
            assert!(breaker.enter(clock.now()));
            assert!(breaker.failed(clock.now(), &RULES));
        }
        breaker.succeeded();
        fail(&breaker, 3, clock.now());
        assert_eq!(breaker.wait(clock.now()), Duration::from_secs(1), "a success forgets");
    }

    #[test]
    fn a_probe_that_is_never_heard_of_is_followed_by_another() {
        let clock = Clock::manual(0);
        let breaker = Breaker::default();
        fail(&breaker, 3, clock.now());
        clock.advance(Duration::from_secs(1));
        assert!(breaker.enter(clock.now()));
        clock.advance(Duration::from_nanos(PROBE_NANOS));
        assert!(breaker.enter(clock.now()) && !breaker.enter(clock.now()));
    }

    #[test]
    fn without_a_threshold_it_never_trips() {
        let clock = Clock::manual(0);
        let breaker = Breaker::default();
        for _ in 0..100 {
            assert!(!breaker.failed(clock.now(), &BreakerRules { after_failures: 0, ..RULES }));
        }
        assert!(breaker.enter(clock.now()));
    }
}
