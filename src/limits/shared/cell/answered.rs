//! What a replica learns from the end of a question: what it holds then, what it was told, and when it may ask again.

use std::sync::atomic::Ordering;

use super::{Cell, Cold, Sent};
use crate::limits::shared::plan::LEAST_GAP_NANOS;
use crate::limits::shared::store::{Asked, Bucket, Grant};

impl Cell {
    /// Ends a question that was `sent` then, with tokens.
    pub(in crate::limits) fn granted(&self, asked: &Asked, grant: &Grant, sent: Sent, now: u64) {
        let Bucket::Gcra { interval_nanos, burst, lease_nanos } = asked.bucket else {
            return self.granted_of_period(asked, grant, sent, now);
        };
        let mut cold = self.cold();
        cold.pending = None;
        cold.account = asked.held.kept.saturating_add(grant.tokens);
        cold.period = grant.period;
        if self.is_outdated(asked) {
            cold.next_question_at = sent.at + LEAST_GAP_NANOS;
            return;
        }
        cold.left = Some(grant.left);
        let before = self.lease.unspent(now);
        let unspent = self.lease.renew(grant.tokens, sent.at.saturating_add(lease_nanos), now);
        cold.recent += f64::from(cold.counted.saturating_sub(before));
        cold.counted = unspent;
        self.pay(&mut cold, grant.tokens, sent);
        // Full at the earliest, so that nobody is refused whom the store would admit.
        let full_at = sent.at.saturating_add(grant.until_full_nanos);
        self.full_at.store(now.saturating_add(grant.until_full_nanos), Ordering::Release);
        if grant.left > 0 {
            self.denied_until.store(0, Ordering::Release);
            cold.next_question_at = sent.at + LEAST_GAP_NANOS;
            return;
        }
        let next = full_at.saturating_sub(interval_nanos.saturating_mul(u64::from(burst) - 1));
        self.pause(&mut cold, 1, next, sent, now);
    }

    /// Pays debts from tokens that were granted.
    pub(super) fn pay(&self, cold: &mut Cold, tokens: u32, sent: Sent) {
        let debt = cold.credit.saturating_add(cold.owed).min(tokens);
        let paid = self.lease.spend_up_to(debt, sent.at);
        let credit = paid.min(cold.credit);
        cold.credit -= credit;
        cold.owed -= paid - credit;
    }

    /// Ends a question that was `sent` then, with a wait.
    pub(in crate::limits) fn denied_at_store(&self, asked: &Asked, wait_nanos: u64, sent: Sent, now: u64) {
        let Bucket::Gcra { interval_nanos, burst, .. } = asked.bucket else {
            return self.denied_of_period(asked, sent, now);
        };
        let mut cold = self.cold();
        cold.pending = None;
        if self.is_outdated(asked) {
            cold.next_question_at = sent.at + LEAST_GAP_NANOS;
            return;
        }
        let short = u32::try_from(wait_nanos.div_ceil(interval_nanos)).unwrap_or(u32::MAX);
        cold.left = Some(asked.need.saturating_sub(short));
        let missing = interval_nanos.saturating_mul(u64::from(burst.saturating_sub(asked.need)));
        self.full_at.store(now.saturating_add(wait_nanos).saturating_add(missing), Ordering::Release);
        let cost = cold.cost_of_denied(asked);
        self.pause(&mut cold, cost, sent.at.saturating_add(wait_nanos), sent, now);
        if cost > 1 {
            // Whoever costs less may find it there.
            cold.next_question_at = sent.at + LEAST_GAP_NANOS;
        }
    }

    /// Ends a question of several buckets that another of them denied: nothing is learnt of this one.
    pub(in crate::limits) fn denied_elsewhere(&self, sent: u64) {
        let mut cold = self.cold();
        cold.pending = None;
        cold.next_question_at = sent + LEAST_GAP_NANOS;
    }

    /// Ends a question that has no answer. The store may have granted all the same, and may have heard what is spent.
    pub(in crate::limits) fn unanswered(&self, now: u64) {
        let mut cold = self.cold();
        cold.pending = None;
        (cold.account, cold.period) = (0, 0);
        cold.next_question_at = now + LEAST_GAP_NANOS;
    }

    fn pause(&self, cold: &mut Cold, cost: u32, until: u64, sent: Sent, now: u64) {
        let plan = self.plan(sent.sharing, sent.replicas);
        let next = until.max(now + plan.pause_nanos(cold.roll()));
        cold.next_question_at = next;
        self.denied_cost.store(cost, Ordering::Release);
        self.denied_until.store(next, Ordering::Release);
    }
}
