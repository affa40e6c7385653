//! How many requests one core may send again: a share of those that it sends, and a floor.
//!
//! A token bucket as Finagle's `RetryBudget`: every request puts in a part of a retry, time puts in the floor, a
//! retry takes one out. In an outage retries so add a fixed part to the load and never multiply it.

use std::cell::Cell;

use super::rules::RetryRules;
use crate::clock::Now;

/// One retry, in the bucket's unit.
const RETRY: u64 = 100;
/// The most that is saved up, in retries.
const MOST_SAVED: u64 = 1_000;
const NANOS: u64 = 1_000_000_000;

/// One core's budget for one region.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    balance: Cell<u64>,
    filled_nanos: Cell<u64>,
}

impl RetryBudget {
    /// A request is sent for the first time.
    pub(super) fn request(&self, rules: &RetryRules) {
        self.put(u64::from(rules.percent));
    }

    /// Takes one retry out, if there is one.
    pub(super) fn withdraw(&self, now: Now, rules: &RetryRules) -> bool {
        let passed = now.monotonic_nanos.saturating_sub(self.filled_nanos.replace(now.monotonic_nanos));
        let floor = u64::from(rules.floor_per_second);
        self.put(passed.min(NANOS) * floor * RETRY / NANOS);
        let left = self.balance.get().checked_sub(RETRY);
        if let Some(left) = left {
            self.balance.set(left);
        }
        left.is_some()
    }

    fn put(&self, amount: u64) {
        self.balance.set((self.balance.get() + amount).min(MOST_SAVED * RETRY));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;

    const RULES: RetryRules = RetryRules { most: 2, percent: 20, floor_per_second: 10 };

    fn withdraw_all(budget: &RetryBudget, now: Now, rules: &RetryRules) -> usize {
        (0..10_000).take_while(|_| budget.withdraw(now, rules)).count()
    }

    #[test]
    fn a_fifth_of_the_requests_and_the_floor() {
        let clock = Clock::manual(0);
        let budget = RetryBudget::default();
        assert_eq!(withdraw_all(&budget, clock.now(), &RULES), 10, "a second's floor to begin with");
        for _ in 0..100 {
            budget.request(&RULES);
        }
        assert_eq!(withdraw_all(&budget, clock.now(), &RULES), 20);
        clock.advance(Duration::from_millis(500));
        assert_eq!(withdraw_all(&budget, clock.now(), &RULES), 5);
        clock.advance(Duration::from_hours(1));
        assert_eq!(withdraw_all(&budget, clock.now(), &RULES), 10, "idle time is not saved up");
        let none = RetryRules { percent: 0, floor_per_second: 0, ..RULES };
        clock.advance(Duration::from_hours(1));
        assert_eq!(withdraw_all(&budget, clock.now(), &none), 0);
    }

    proptest! {
        #[test]
        fn retries_never_exceed_the_share_and_the_floor(steps in prop::collection::vec((0..50_u32, 0..500_u64), 1..100)) {
            let clock = Clock::manual(0);
            let budget = RetryBudget::default();
            let (mut requests, mut retries, mut millis) = (0_u64, 0_u64, 1_000_u64);
            for (sent, passed) in steps {
                clock.advance(Duration::from_millis(passed));
                millis += passed;
                for _ in 0..sent {
                    budget.request(&RULES);
                }
                requests += u64::from(sent);
                retries += withdraw_all(&budget, clock.now(), &RULES) as u64;
                prop_assert!(retries * 1_000 <= requests * 200 + millis * 10 + 1_000);
            }
        }
    }
}
