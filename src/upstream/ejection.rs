//! Outlier ejection of one upstream, as Envoy has it: failures and 5xx answers in a row leave it out for a time
//! that grows with every ejection and shrinks again while it behaves.
//!
//! How many may be ejected at once is the group's to decide.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::rules::EjectionRules;
use crate::clock::Now;

#[derive(Debug, Default)]
pub(super) struct Outlier {
    failures: AtomicU32,
    until_nanos: AtomicU64,
    times: AtomicU32,
    total: AtomicU64,
}

impl Outlier {
    pub(super) fn is_ejected(&self, now: Now) -> bool {
        now.monotonic_nanos < self.until_nanos.load(Ordering::Relaxed)
    }

    /// How often it was ejected since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// True if it has failed often enough to be ejected.
    pub(super) fn failed(&self, rules: &EjectionRules) -> bool {
        rules.after_failures > 0 && self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= rules.after_failures
    }

    /// Leaves it out from now on.
    pub(super) fn eject(&self, now: Now, rules: &EjectionRules) {
        let times = self.times.fetch_add(1, Ordering::Relaxed) + 1;
        let nanos = rules.nanos.saturating_mul(u64::from(times)).min(rules.longest_nanos);
        self.until_nanos.store(now.monotonic_nanos + nanos, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets one ejection for each time of a first ejection that has passed without another.
    pub(super) fn settle(&self, now: Now, rules: &EjectionRules) {
        let until = self.until_nanos.load(Ordering::Relaxed);
        if self.times.load(Ordering::Relaxed) > 0 && now.monotonic_nanos >= until + rules.nanos {
            self.times.fetch_sub(1, Ordering::Relaxed);
            self.until_nanos.store(until + rules.nanos, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    const SECOND: u64 = 1_000_000_000;
    const RULES: EjectionRules =
        EjectionRules { after_failures: 2, nanos: 10 * SECOND, longest_nanos: 25 * SECOND };

    #[test]
    fn failures_in_a_row_are_needed() {
        let outlier = Outlier::default();
        assert!(!outlier.failed(&RULES));
        outlier.succeeded();
        assert!(!outlier.failed(&RULES) && outlier.failed(&RULES));
        assert!(!outlier.failed(&EjectionRules { after_failures: 0, ..RULES }), "0 is never");
    }

    #[test]
    fn each_ejection_is_longer_and_good_time_is_forgiven() {
        let clock = Clock::manual(0);
        let outlier = Outlier::default();
        for seconds in [10, 20, 25] {
            outlier.eject(clock.now(), &RULES);
            clock.advance(Duration::from_millis(seconds * 1_000 - 1));
            assert!(outlier.is_ejected(clock.now()));
            clock.advance(Duration::from_millis(1));
            assert!(!outlier.is_ejected(clock.now()));
        }
        for _ in 0..3 {
            clock.advance(Duration::from_secs(10));
            outlier.settle(clock.now(), &RULES);
            outlier.settle(clock.now(), &RULES);
        }
        outlier.eject(clock.now(), &RULES);
        clock.advance(Duration::from_secs(10));
        assert!(!outlier.is_ejected(clock.now()), "as the first time");
        assert_eq!(outlier.total(), 4);
    }
}
