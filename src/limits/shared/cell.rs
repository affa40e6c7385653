//! One bucket as a replica sees it: what it holds of it, what it was told, and when it may ask again.
//!
//! A pure state machine: time comes with each call, and what is to be asked goes out as an [`Asked`].

mod answered;
pub(in crate::limits) mod count;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use self::count::Count;
use super::lease::{Lease, MOST_TOKENS, Mark, UNIT_NANOS};
use super::plan::{LEAST_GAP_NANOS, OnStoreFailure, Plan, Shared, Sharing, TURN_NANOS, seconds, whole};
use super::share::Share;
use super::store::{Asked, Bucket, Held};
use crate::limits::bucket::{Scale, Verdict};
use crate::limits::calendar::Refill;
use crate::limits::cells::Debit;
use crate::telemetry::split_mix;

/// What was granted to be spent at once is held by the store for so long.
const HELD_NANOS: u64 = 2 * UNIT_NANOS;
/// A count that has faded to less is begun anew.
const FORGOTTEN: f64 = 0.05;

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) enum Fate {
    /// It has not ended.
    Pending,
    /// The store answered.
    Answered,
    /// It did not.
    Failed,
}

/// Ends when a question does.
pub(in crate::limits) type Pending = watch::Receiver<Fate>;

/// The names of a bucket at the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::limits) struct BucketName {
    pub(in crate::limits) group: Arc<str>,
    pub(in crate::limits) name: Arc<str>,
}

/// A bucket's state on this replica. Requests touch the first three words; the rest is for those that find no token.
#[derive(Debug)]
pub(in crate::limits) struct Cell {
    lease: Lease,
    /// A lease with fewer tokens is renewed in the background.
    renew_below: AtomicU32,
    /// A request of this cost or a higher one is refused until then.
    denied_cost: AtomicU32,
    denied_until: AtomicU64,
    /// When the bucket at the store was to be full, as far as was told.
    full_at: AtomicU64,
    /// What is known of a count by the calendar in its place.
    count: Count,
    pub(in crate::limits) scale: Scale,
    pub(in crate::limits) revision: u32,
    pub(in crate::limits) name: BucketName,
    cold: Mutex<Cold>,
}

/// What only planning needs.
#[derive(Debug, Default)]
struct Cold {
    pending: Option<Pending>,
    /// When the last question was begun.
    asked_at: u64,
    next_question_at: u64,
    /// What the store holds for this replica, and in which period; 0 where that is not known.
    account: u32,
    period: u64,
    /// Unspent tokens when they were counted last.
    counted: u32,
    /// Tokens spent, fading over [`Plan::memory_seconds`].
    recent: f64,
    recent_at: u64,
    /// Since when they are counted.
    recent_since: u64,
    /// The cost of requests that wait.
    waiting: u32,
    /// Charged without a token; paid from the next grants.
    owed: u32,
    /// Admitted because an answer was not there in time, while the store is not away; paid first.
    credit: u32,
    /// When what is owed is forgotten, if nobody comes by then to pay it: the bucket would be full without.
    debt_ends: u64,
    /// What was left at the last answer; [`None`] before it.
    left: Option<u32>,
    share: Share,
    /// The period that all this is of, by the calendar.
    number: u32,
    dice: u64,
}

/// Why a request finds no token, and what to do about it.
#[derive(Debug)]
pub(in crate::limits) enum Lacking {
    /// Nothing can be granted sooner.
    Denied(Verdict),
    /// A question is on its way.
    Pending(Pending),
    /// One may be asked then, which is soon.
    Due(u64),
    /// One may be asked now.
    Unasked,
}

/// A question's circumstances when it was sent.
#[derive(Clone, Copy, Debug)]
pub(in crate::limits) struct Sent {
    pub(in crate::limits) at: u64,
    pub(in crate::limits) sharing: Sharing,
    pub(in crate::limits) replicas: u32,
}

/// How the store stands, read once for a decision.
#[derive(Clone, Copy, Debug)]
pub(in crate::limits) struct StoreState {
    pub(in crate::limits) replicas: u32,
    /// What an answer takes at most.
    pub(in crate::limits) deadline_nanos: u64,
    /// How long a request waits for one.
    pub(in crate::limits) longest_wait_nanos: u64,
    /// When the outage began that lasts.
    pub(in crate::limits) down_since: Option<u64>,
}

impl Cell {
    pub(in crate::limits) fn new(debit: &Debit, name: BucketName, dice: u64) -> Self {
        Self {
            lease: Lease::default(),
            renew_below: AtomicU32::new(0),
            denied_cost: AtomicU32::new(0),
            denied_until: AtomicU64::new(0),
            full_at: AtomicU64::new(0),
            count: Count::new(debit.refill),
            scale: debit.scale,
            revision: debit.revision,
            name,
            cold: Mutex::new(Cold { dice, ..Cold::default() }),
        }
    }

    /// Takes `cost` tokens of the lease, for a request that waits `since` then. Answers with the mark, what to say of it,
    /// and whether to renew the lease.
    pub(in crate::limits) fn take(&self, cost: u32, since: u64, now: u64) -> Option<(Mark, Verdict, bool)> {
        let (mark, left) = self.lease.take(cost, since)?;
        let renew = left < self.renew_below.load(Ordering::Relaxed);
        Some((mark, self.verdict(left, None, now), renew))
    }

    /// Undoes a [`Cell::take`], while the lease is the same.
    pub(in crate::limits) fn give_back(&self, mark: Mark, cost: u32) {
        self.lease.give_back(mark, cost);
    }

    /// What is known at `now` for a request of `cost` that waits `since` then, changing nothing: whether it would find a
    /// token, or is refused already. [`None`] if it would have to ask.
    pub(in crate::limits) fn look(&self, cost: u32, since: u64, now: u64) -> Option<Verdict> {
        let unspent = self.lease.unspent(since);
        if unspent >= cost {
            return Some(self.verdict(unspent, None, now));
        }
        self.denied(cost, now)
    }

    /// What is said of the bucket to one who does not ask of it.
    pub(in crate::limits) fn told(&self, now: u64) -> Verdict {
        self.verdict(self.lease.unspent(now), None, now)
    }

    fn denied(&self, cost: u32, now: u64) -> Option<Verdict> {
        let until = self.denied_until.load(Ordering::Acquire);
        if until <= now || cost < self.denied_cost.load(Ordering::Acquire) {
            return None;
        }
        let wait = self.count.period(now).map_or_else(
            || {
                // Callers are told when its cost is there for certain, at the latest as far as was told.
                let burst = self.scale.burst.get();
                let missing = self.scale.interval_nanos.saturating_mul(burst.saturating_sub(cost).into());
                let there = self.full_at.load(Ordering::Acquire).saturating_sub(missing);
                until.max(there).saturating_sub(now).saturating_add(HELD_NANOS)
            },
            |period| period.ends_in_nanos,
        );
        Some(self.verdict(self.lease.unspent(now), Some(wait), now))
    }

    /// The store's bucket as it was told, and our lease beside it.
    fn verdict(&self, unspent: u32, wait_nanos: Option<u64>, now: u64) -> Verdict {
        if let Some(told) = self.count.told(unspent, self.scale, now) {
            return Verdict { wait_nanos, ..told };
        }
        let full_at = self.full_at.load(Ordering::Acquire).min(now + self.scale.fill_nanos());
        let tat = full_at.saturating_sub(self.scale.interval_nanos.saturating_mul(u64::from(unspent)));
        Verdict { tat, wait_nanos, scale: self.scale, counted: None }
    }

    /// Why there is no token for `cost`. A bucket with nothing left is not waited for longer than [`TURN_NANOS`].
    pub(in crate::limits) fn lacking(&self, cost: u32, now: u64) -> Lacking {
        if let Some(verdict) = self.denied(cost, now) {
            return Lacking::Denied(verdict);
        }
        let cold = self.cold();
        if let Some(pending) = &cold.pending {
            return Lacking::Pending(pending.clone());
        }
        let wait = cold.next_question_at.saturating_sub(now);
        if wait > TURN_NANOS {
            return Lacking::Denied(self.verdict(self.lease.unspent(now), Some(wait), now));
        }
        if wait > 0 { Lacking::Due(cold.next_question_at) } else { Lacking::Unasked }
    }

    /// Whether an answer is on its way for longer than is waited for it: by any request, or by one that waits `since` then.
    pub(in crate::limits) fn is_overdue(&self, since: u64, store: StoreState, now: u64) -> bool {
        let cold = self.cold();
        let begin = cold.asked_at.min(since);
        cold.pending.is_some() && now.saturating_sub(begin) >= store.longest_wait_nanos
    }

    /// The refusal of a request that has waited as long as it may.
    pub(in crate::limits) fn out_of_patience(&self, now: u64) -> Verdict {
        let wait = self.cold().next_question_at.saturating_sub(now).max(LEAST_GAP_NANOS);
        self.verdict(self.lease.unspent(now), Some(wait), now)
    }

    /// Begins a question for a request of `cost`, or for a lease ahead of requests if that is 0; [`None`] if one is on
    /// its way, or it is too soon for another. It ends with [`Cell::granted`], [`Cell::denied_at_store`],
    /// [`Cell::unanswered`] or [`Cell::abandoned`].
    pub(in crate::limits) fn begin(
        &self,
        cost: u32,
        pending: &Pending,
        shared: Shared,
        store: StoreState,
        now: u64,
    ) -> Option<Asked> {
        let mut cold = self.cold();
        if cold.pending.is_some() || cold.next_question_at > now {
            return None;
        }
        cold.pending = Some(pending.clone());
        cold.asked_at = now;
        let plan = self.plan(shared.sharing, store.replicas);
        let period = self.enter_period(&mut cold, now);
        let kept = self.lease.begin_round(now);
        let per_second = cold.count(kept, &plan, now);
        let burst = self.scale.burst.get().min(MOST_TOKENS);
        let need = cost.saturating_add(cold.owed).clamp(1, burst);
        let ahead = match cold.left {
            None => f64::from(plan.tokens_first()),
            Some(left) => plan.tokens_ahead(per_second, left).round() - f64::from(kept),
        };
        let want = need.saturating_add(cold.waiting).max(whole(ahead)).saturating_add(cold.credit).min(burst);
        let renew_below = plan.renew_below(per_second, cold.left.unwrap_or(0), store.deadline_nanos);
        self.renew_below.store(renew_below, Ordering::Relaxed);
        if let Some(period) = period {
            let bucket = period.bucket(self.scale);
            return Some(Asked {
                name: Arc::clone(&self.name.name),
                bucket,
                need,
                want,
                held: Held::default(),
            });
        }
        let bucket = Bucket::Gcra {
            interval_nanos: self.scale.interval_nanos,
            burst: self.scale.burst.get(),
            lease_nanos: plan.lease_nanos,
        };
        let spent = cold.account.saturating_sub(kept);
        let held = Held { period: cold.period, spent, kept };
        Some(Asked { name: Arc::clone(&self.name.name), bucket, need, want, held })
    }

    /// Ends a question that was not sent.
    pub(in crate::limits) fn abandoned(&self) {
        self.cold().pending = None;
    }

    /// Decides a request of `cost` that the store does not answer for. `take` counts it. While the store is not given up,
    /// what is admitted is paid for by the next grants, and nothing is admitted of a bucket that had nothing left.
    pub(in crate::limits) fn without_store(
        &self,
        cost: u32,
        shared: Shared,
        store: StoreState,
        now: u64,
        take: bool,
    ) -> Option<Verdict> {
        match shared.on_store_failure {
            OnStoreFailure::Open => Some(self.told(now)),
            OnStoreFailure::Closed => None,
            OnStoreFailure::Share => {
                let plan = self.plan(shared.sharing, store.replicas);
                let mut cold = self.cold();
                let is_empty = cold.left == Some(0) && self.full_at.load(Ordering::Acquire) > now;
                if store.down_since.is_none() && is_empty {
                    return Some(self.verdict(0, Some(plan.share_interval_nanos()), now));
                }
                if let Some(verdict) = self.share_of_period(&mut cold, &plan, cost, (store, take), now) {
                    return Some(verdict);
                }
                let verdict = cold.share.decide(&plan, cost, store.down_since, now, take);
                if take && verdict.wait_nanos.is_none() && store.down_since.is_none() {
                    self.borrow(&mut cold, cost, now);
                }
                Some(verdict)
            }
        }
    }

    /// Charges tokens that nobody waited for: from the lease as far as they are there, the rest from later grants.
    pub(in crate::limits) fn owe(&self, cost: u32, now: u64) -> Verdict {
        let spent = self.lease.spend_up_to(cost, now);
        if spent < cost {
            let mut cold = self.cold();
            cold.owed = cold.owed.saturating_add(cost - spent).min(self.scale.burst.get());
            cold.debt_ends = now.saturating_add(self.scale.fill_nanos());
        }
        self.told(now)
    }

    /// Notes what was admitted because an answer was not there in time.
    fn borrow(&self, cold: &mut Cold, cost: u32, now: u64) {
        cold.credit = cold.credit.saturating_add(cost).min(self.scale.burst.get());
        cold.debt_ends = now.saturating_add(self.scale.fill_nanos());
    }

    /// Counts a request as waiting, and not any more.
    pub(in crate::limits) fn wait(&self, cost: u32) {
        let mut cold = self.cold();
        cold.waiting = cold.waiting.saturating_add(cost);
    }

    pub(in crate::limits) fn wait_no_more(&self, cost: u32) {
        let mut cold = self.cold();
        cold.waiting = cold.waiting.saturating_sub(cost);
    }

    /// Another quota: what is used stays used by its part of the burst, what is leased is dropped, and a refusal of the
    /// old quota is forgotten.
    pub(in crate::limits) fn rescale(&mut self, scale: Scale, refill: Refill, now: u64) {
        self.lease.clear();
        let cold = self.cold.get_mut().unwrap_or_else(PoisonError::into_inner);
        cold.rescale(self.scale, scale, now);
        *self.denied_until.get_mut() = 0;
        let full_at = self.full_at.get_mut();
        *full_at = carried_over(*full_at, self.scale, scale, now).min(now + scale.fill_nanos());
        if self.count.rescale(self.scale, scale, refill) {
            cold.number = 0;
        }
        self.scale = scale;
    }

    /// Whether forgetting the cell changes no decision.
    pub(in crate::limits) fn is_idle(&mut self, now: u64) -> bool {
        let full = *self.full_at.get_mut() <= now && *self.denied_until.get_mut() <= now;
        let unspent = self.lease.unspent(now) > 0;
        let period = self.count.period(now);
        let cold = self.cold.get_mut().unwrap_or_else(PoisonError::into_inner);
        // `now` may be of the period before.
        if let Some(period) = period.filter(|period| period.number > cold.number) {
            cold.enter(period.number);
        }
        let owes = cold.owed.saturating_add(cold.credit) > 0 && cold.debt_ends > now;
        full && !unspent && !owes && cold.pending.is_none() && cold.waiting == 0 && !cold.share.counts(now)
    }

    fn cold(&self) -> MutexGuard<'_, Cold> {
        self.cold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a debt ends under another quota of which the same part is used.
pub(super) fn carried_over(ends: u64, old: Scale, new: Scale, now: u64) -> u64 {
    let debt = u128::from(ends.saturating_sub(now)) * u128::from(new.fill_nanos());
    let debt = debt.div_ceil(u128::from(old.fill_nanos().max(1)));
    now.saturating_add(u64::try_from(debt).unwrap_or(u64::MAX))
}

impl Cold {
    /// Another quota: the same part of it is owed, and of the share used.
    fn rescale(&mut self, old: Scale, new: Scale, now: u64) {
        let (before, after) = (u64::from(old.burst.get()), u64::from(new.burst.get()));
        let debt = |tokens: u32| (u64::from(tokens) * after).div_ceil(before).min(after) as u32;
        (self.owed, self.credit) = (debt(self.owed), debt(self.credit));
        self.debt_ends = now.saturating_add(new.fill_nanos());
        self.left = self.left.map(|left| (u64::from(left) * after / before) as u32);
        self.share.rescale(old, new, now);
        self.counted = 0;
        self.next_question_at = self.asked_at.saturating_add(LEAST_GAP_NANOS);
    }

    /// The least cost that a denial is for: whatever is owed was to be paid first.
    fn cost_of_denied(&self, asked: &Asked) -> u32 {
        asked.need.saturating_sub(self.owed).max(1)
    }

    /// Counts what was spent since the last time, and answers with tokens a second.
    fn count(&mut self, unspent: u32, plan: &Plan, now: u64) -> f64 {
        let memory = plan.memory_seconds();
        let faded = (-seconds(now.saturating_sub(self.recent_at)) / memory).exp();
        if faded < FORGOTTEN {
            self.recent_since = now;
        }
        self.recent = self.recent * faded + f64::from(self.counted.saturating_sub(unspent));
        (self.recent_at, self.counted) = (now, unspent);
        // At first it has not been counted for as long as it is remembered. A quarter of that is needed to tell a demand,
        // and a burst does not tell one beyond twice a fair share.
        let counted = (seconds(now.saturating_sub(self.recent_since)) / memory).max(0.25);
        let per_second = self.recent / memory;
        per_second.max((per_second / (1.0 - (-counted).exp())).min(plan.fair_per_second() * 2.0))
    }

    const fn roll(&mut self) -> u64 {
        split_mix(&mut self.dice)
    }
}
