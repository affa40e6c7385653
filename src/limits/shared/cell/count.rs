//! A count by the calendar as a replica sees it: so many tokens a period, taken from the store a few at a time.
//!
//! What is leased lives until the period ends, so that nothing of it is lost to a pause in demand. What shares admit while
//! the store is away is charged when it answers again. Invariant: nothing of one period is spent or charged in the next.
//!
//! Periods are by this replica's own wall clock. A decision brings both clocks; what comes without a request goes by what
//! one was ahead of the other when a request of this bucket saw them last.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Cell, Cold, Sent, StoreState};
use crate::limits::bucket::{Scale, Verdict};
use crate::limits::calendar::{self, At, Counted, DAY_SECONDS, Refill};
use crate::limits::cells::Debit;
use crate::limits::shared::plan::{LEAST_GAP_NANOS, Plan, Sharing};
use crate::limits::shared::store::{Asked, Bucket, Grant};

/// A used-up period is asked about again after so long: it may have got another quota, or a clock was set.
const ASKED_AGAIN_NANOS: u64 = 60_000_000_000;
/// Clocks are read in milliseconds; what is less is no step.
const STEP_NANOS: u64 = 2_000_000;

/// What is known of a count; of a bucket that refills all the time, nothing.
#[derive(Debug)]
pub(super) struct Count {
    refill: Refill,
    /// The period and what was used of it, as the store said; with all that is leased here.
    word: AtomicU64,
    /// What the wall clock is ahead of the monotonic one, in nanoseconds.
    ahead_nanos: AtomicU64,
}

/// The period that counts now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    pub(super) number: u32,
    began_unix_seconds: u64,
    pub(super) ends_in_nanos: u64,
}

impl Period {
    /// What to ask of.
    pub(super) const fn bucket(&self, scale: Scale) -> Bucket {
        Bucket::Calendar {
            requests: scale.burst.get(),
            began_unix_seconds: self.began_unix_seconds,
            ends_in_nanos: self.ends_in_nanos,
        }
    }
}

impl Count {
    pub(super) const fn new(refill: Refill) -> Self {
        Self { refill, word: AtomicU64::new(0), ahead_nanos: AtomicU64::new(0) }
    }

    const fn is_none(&self) -> bool {
        matches!(self.refill, Refill::Gradual)
    }

    fn at(&self, now: u64) -> At {
        let unix_millis = self.ahead_nanos.load(Ordering::Relaxed).saturating_add(now) / 1_000_000;
        At { refill: self.refill, now, unix_millis }
    }

    /// The period at `now`; [`None`] where there are none.
    pub(super) fn period(&self, now: u64) -> Option<Period> {
        if self.is_none() {
            return None;
        }
        let at = self.at(now);
        let (number, _) = at.read(self.word.load(Ordering::Acquire));
        let began_unix_seconds = self.refill.begins(number) * DAY_SECONDS;
        Some(Period { number, began_unix_seconds, ends_in_nanos: at.until_end_of(number) })
    }

    /// What the period has left at the store as it was told, and here.
    pub(super) fn told(&self, unspent: u32, scale: Scale, now: u64) -> Option<Verdict> {
        if self.is_none() {
            return None;
        }
        let at = self.at(now);
        let (number, used) = at.read(self.word.load(Ordering::Acquire));
        let left = scale.burst.get().saturating_sub(used.saturating_sub(unspent));
        let counted = Some(Counted { refill: self.refill, number, left });
        Some(Verdict { tat: now + at.until_end_of(number), wait_nanos: None, scale, counted })
    }

    /// Whether a question was of another period than the one that was entered last.
    fn is_past(&self, asked: &Asked, cold: &Cold) -> bool {
        let Bucket::Calendar { began_unix_seconds, .. } = asked.bucket else { return true };
        self.refill.number_at(began_unix_seconds.saturating_mul(1_000)) != cold.number
    }

    fn learn(&self, number: u32, used: u32) {
        self.word.store(At::write(number, used), Ordering::Release);
    }

    /// Another quota: the same fraction of it is used.
    pub(super) fn rescale(&mut self, old: Scale, new: Scale, refill: Refill) {
        if refill != self.refill {
            (self.refill, *self.word.get_mut()) = (refill, 0);
        }
        let word = self.word.get_mut();
        let used = (*word & u64::from(u32::MAX)) * u64::from(new.burst.get());
        let used = used.div_ceil(u64::from(old.burst.get()));
        *word = *word >> 32 << 32 | used.min(new.burst.get().into());
    }
}

impl Cell {
    /// Whether it counts as a debit says.
    pub(in crate::limits::shared) fn is_counted_as(&self, debit: &Debit) -> bool {
        self.scale == debit.scale && self.count.refill == debit.refill
    }

    /// Reads both clocks of a request.
    pub(in crate::limits::shared) fn sees(&self, now: u64, unix_millis: u64) {
        if self.count.is_none() {
            return;
        }
        let ahead = unix_millis.saturating_mul(1_000_000).saturating_sub(now);
        if self.count.ahead_nanos.load(Ordering::Relaxed).abs_diff(ahead) >= STEP_NANOS {
            self.count.ahead_nanos.store(ahead, Ordering::Relaxed);
        }
    }

    pub(super) fn plan(&self, sharing: Sharing, replicas: u32) -> Plan {
        let of = if self.count.is_none() { Plan::of } else { Plan::of_count };
        of(self.scale, sharing, replicas)
    }

    /// The period at `now`. Of the one before it nothing is left.
    pub(super) fn enter_period(&self, cold: &mut Cold, now: u64) -> Option<Period> {
        let period = self.count.period(now)?;
        if cold.enter(period.number) {
            self.lease.clear();
            self.denied_until.store(0, Ordering::Release);
        }
        Some(period)
    }

    /// Ends a question that was `sent` then, with tokens.
    pub(super) fn granted_of_period(&self, asked: &Asked, grant: &Grant, sent: Sent, now: u64) {
        let Bucket::Calendar { requests, ends_in_nanos, .. } = asked.bucket else { return };
        let mut cold = self.cold();
        cold.pending = None;
        if self.count.is_past(asked, &cold) {
            return;
        }
        cold.left = Some(grant.left);
        let before = self.lease.unspent(now);
        let unspent = self.lease.renew(grant.tokens, sent.at.saturating_add(ends_in_nanos), now);
        cold.recent += f64::from(cold.counted.saturating_sub(before));
        cold.counted = unspent;
        self.pay(&mut cold, grant.tokens, sent);
        self.count.learn(cold.number, requests.saturating_sub(grant.left));
        cold.next_question_at = sent.at + LEAST_GAP_NANOS;
        if grant.left > 0 {
            self.denied_until.store(0, Ordering::Release);
        } else {
            self.refuse_for_now(&mut cold, 1, (sent, ends_in_nanos), now);
        }
    }

    /// Ends a question that was `sent` then, and for which the period had too little.
    pub(super) fn denied_of_period(&self, asked: &Asked, sent: Sent, now: u64) {
        let Bucket::Calendar { ends_in_nanos, .. } = asked.bucket else { return };
        let mut cold = self.cold();
        cold.pending = None;
        if self.count.is_past(asked, &cold) {
            return;
        }
        let left = asked.need - 1;
        let left = cold.left.map_or(left, |before| before.min(left));
        cold.left = Some(left);
        self.count.learn(cold.number, self.scale.burst.get().saturating_sub(left));
        // Whatever is owed is to be paid first, so that whoever costs as much is refused as well.
        let cost = asked.need.saturating_sub(cold.owed).max(1);
        self.refuse_for_now(&mut cold, cost, (sent, ends_in_nanos), now);
    }

    /// Refuses requests of a cost without asking, at most until the period ends; cheaper ones may ask.
    fn refuse_for_now(&self, cold: &mut Cold, cost: u32, (sent, ends_in_nanos): (Sent, u64), now: u64) {
        let plan = self.plan(sent.sharing, sent.replicas);
        cold.next_question_at = now + plan.pause_nanos(cold.roll());
        self.denied_cost.store(cost, Ordering::Release);
        let until = sent.at.saturating_add(ends_in_nanos).min(now + ASKED_AGAIN_NANOS);
        self.denied_until.store(until, Ordering::Release);
    }

    /// This replica's share of a period that the store does not answer for: an Nth of the quota's steady rate, and nothing
    /// beyond what was left when it last answered. [`None`] where there are no periods.
    pub(super) fn share_of_period(
        &self,
        cold: &mut Cold,
        plan: &Plan,
        cost: u32,
        (store, take): (StoreState, bool),
        now: u64,
    ) -> Option<Verdict> {
        let period = self.enter_period(cold, now)?;
        let told = self.count.told(self.lease.unspent(now), self.scale, now)?;
        let counted = told.counted?;
        let left = counted.left.saturating_sub(cold.owed).saturating_sub(cold.credit);
        let told = Verdict { counted: Some(Counted { left, ..counted }), ..told };
        if left < cost {
            return Some(Verdict { wait_nanos: Some(period.ends_in_nanos), ..told });
        }
        let wait_nanos = cold.share.decide(plan, cost, store.down_since, now, take).wait_nanos;
        match (take && wait_nanos.is_none(), store.down_since) {
            (false, _) => {}
            (true, None) => self.borrow(cold, cost, now),
            (true, Some(_)) => {
                cold.owed = cold.owed.saturating_add(cost).min(self.scale.burst.get());
                cold.debt_ends = now.saturating_add(self.scale.fill_nanos());
            }
        }
        Some(Verdict { wait_nanos, ..told })
    }
}

impl Cold {
    /// Begins another period; false if it is the same.
    pub(super) fn enter(&mut self, number: u32) -> bool {
        if self.number == number {
            return false;
        }
        (self.number, self.counted, self.left, self.next_question_at) = (number, 0, None, 0);
        (self.owed, self.credit) = (0, 0);
        true
    }
}

/// What is said of a count that nobody asked of yet.
pub(in crate::limits) fn untouched(debit: &Debit, now: u64) -> Option<Verdict> {
    let at = At { refill: debit.refill, now, unix_millis: debit.unix_millis };
    (debit.refill != Refill::Gradual).then(|| calendar::peek(0, &at, debit.scale, NonZeroU32::MIN))
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::super::{BucketName, Fate};
    use super::*;
    use crate::limits::shared::plan::Shared;

    const SECOND: u64 = 1_000_000_000;

    /// What is owed of a day that has just begun stays owed, whatever the clock readings are that come from the day before.
    #[test]
    fn a_sweep_does_not_go_back_to_the_day_before() {
        let quota = "10 per day".parse().unwrap();
        let debit = Debit {
            scale: Scale::of(&quota),
            refill: Refill::Daily,
            cost: NonZeroU32::MIN,
            revision: 1,
            own: false,
            unix_millis: 20_000 * DAY_SECONDS * 1_000 + 3_000,
        };
        let now = 3_600 * SECOND;
        let name = BucketName { group: "w1".into(), name: "default:t1".into() };
        let mut cell = Cell::new(&debit, name, 7);
        cell.sees(now, debit.unix_millis);
        let (_done, pending) = watch::channel(Fate::Pending);
        let store = StoreState {
            replicas: 2,
            deadline_nanos: 50_000_000,
            longest_wait_nanos: 8_000_000,
            down_since: None,
        };
        let begin = |cell: &Cell, now| cell.begin(1, &pending, Shared::default(), store, now).unwrap();
        begin(&cell, now);
        cell.abandoned();
        cell.owe(5, now);
        assert!(!cell.is_idle(now - 10 * SECOND), "five are owed");
        let asked = begin(&cell, now + SECOND);
        assert_eq!(asked.need, 6);
        cell.abandoned();
        // The next day they are forgotten.
        let tomorrow = now + 25 * 3_600 * SECOND;
        cell.sees(tomorrow, debit.unix_millis + 25 * 3_600_000);
        assert!(cell.is_idle(tomorrow - 10 * SECOND));
    }
}
