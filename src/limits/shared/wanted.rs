//! A request that waits for tokens: for its turn to ask, and then for the answer.
//!
//! Its turn comes 5 ms after the question before it, or when that is answered. Whoever comes while a question is on its
//! way, which cannot bring a token for it, waits for that answer and for one more; nobody waits for three. Nor does anybody
//! wait for longer than 5 ms and the longest answer of lately, unless a policy is `closed`: then it waits until the question
//! has ended, with an answer or without.

use std::sync::Arc;
use std::time::Duration;

use super::call::Call;
use super::cell::{Fate, Pending};
use super::cells::SharedCells;
use super::plan::{LATE_NANOS, TURN_NANOS};
use crate::clock::Clock;
use crate::limits::key::Key;

/// What a request waits for: await [`Wanted::settled`], then call [`Limits::admit_after`](crate::limits::Limits::admit_after).
#[derive(Debug)]
#[must_use = "the questions in it end as unanswered when it is dropped"]
pub struct Wanted {
    pub(in crate::limits) calls: Vec<Call>,
    pub(in crate::limits) pending: Vec<Pending>,
    /// When it may ask.
    pub(in crate::limits) due: Option<u64>,
    pub(in crate::limits) waiting: Waiting,
    waits: Waits,
    /// Whether a question that is on its way can know of it: it is its own, or the request waited already.
    is_known: bool,
    until: Until,
}

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub(in crate::limits) enum Until {
    /// Until the request has waited as long as it may.
    Patience(u64),
    /// Until the question has ended, which it does by itself unless its thread hangs.
    Deadline(u64),
}

/// What a request has waited for. Proof that it has waited at all.
#[derive(Debug)]
pub struct Waited {
    pub(in crate::limits) waits: Waits,
    _waiting: Waiting,
}

/// How long a request has waited, and for what.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::limits) struct Waits {
    /// Since when; [`None`] if it has not.
    since: Option<u64>,
    /// Whether its turn to ask has come.
    had_turn: bool,
    /// Whether a question was answered that was asked for it, too.
    was_asked: bool,
    /// Whether a question failed.
    pub(in crate::limits) in_vain: bool,
}

impl Waits {
    /// Whether it has waited at all.
    pub(in crate::limits) const fn has_waited(self) -> bool {
        self.since.is_some()
    }

    /// When it began to wait: `now`, if it has not.
    pub(in crate::limits) fn since(self, now: u64) -> u64 {
        self.since.unwrap_or(now)
    }

    /// Whether it may wait for its turn to ask until `due`: once, and again within 5 ms of its begin.
    pub(in crate::limits) fn may_wait_until(self, due: u64) -> bool {
        !(self.had_turn || self.was_asked) || self.since.is_none_or(|since| due <= since + TURN_NANOS)
    }

    /// Whether it may wait for an answer: until one was asked for it, and again within 5 ms of its begin, give or take
    /// what timers are late.
    pub(in crate::limits) fn may_ask(self, now: u64) -> bool {
        !self.was_asked || self.since.is_none_or(|since| now <= since + TURN_NANOS + LATE_NANOS)
    }
}

impl Waited {
    /// It has not.
    pub(in crate::limits) fn not() -> Self {
        Self { waits: Waits::default(), _waiting: Waiting::default() }
    }
}

impl Wanted {
    /// Nothing yet, for a request that has waited so at `now`, and waits at most until then.
    pub(in crate::limits) fn new(waits: Waits, until: Until, now: u64) -> Self {
        Self {
            calls: Vec::new(),
            pending: Vec::new(),
            due: None,
            waiting: Waiting::default(),
            is_known: waits.since.is_some(),
            waits: Waits { since: waits.since.or(Some(now)), ..waits },
            until,
        }
    }

    /// Sends what is to be asked and waits for the answer, as long as the request may; or for its turn to ask, at most
    /// 5 ms.
    pub async fn settled(mut self, clock: &Clock) -> Waited {
        self.is_known |= !self.calls.is_empty();
        for call in std::mem::take(&mut self.calls) {
            tokio::spawn(call.run(clock.clone()));
        }
        if let Some(due) = self.due {
            let wait = due.saturating_sub(clock.now().monotonic_nanos).min(TURN_NANOS);
            tokio::time::sleep(Duration::from_nanos(wait)).await;
            return self.over();
        }
        let ended = async {
            for pending in &mut self.pending {
                // One that was dropped is not waited for; the request looks again.
                let _ = pending.wait_for(|fate| *fate != Fate::Pending).await;
            }
        };
        let (Until::Patience(until) | Until::Deadline(until)) = self.until;
        let wait = Duration::from_nanos(until.saturating_sub(clock.now().monotonic_nanos));
        if tokio::time::timeout(wait, ended).await.is_err() {
            // While this thread was held up its answer may have arrived, too.
            tokio::task::yield_now().await;
        }
        self.over()
    }

    /// The wait, over.
    pub(in crate::limits) fn over(self) -> Waited {
        let mut waits = self.waits;
        if self.due.is_some() {
            waits.had_turn = true;
        } else {
            let fates = || self.pending.iter().map(|pending| *pending.borrow());
            waits.was_asked |= self.is_known && fates().all(|fate| fate == Fate::Answered);
            // One that was never sent has nobody left to end it, and is asked anew.
            let hangs =
                |pending: &Pending| *pending.borrow() == Fate::Pending && pending.has_changed().is_ok();
            let is_awaited_to_its_end = matches!(self.until, Until::Deadline(_));
            waits.in_vain = fates().any(|fate| fate == Fate::Failed)
                || is_awaited_to_its_end && self.pending.iter().any(hangs);
        }
        Waited { waits, _waiting: self.waiting }
    }

    /// Questions to be sent, for those who drive them themselves.
    #[cfg(test)]
    pub(in crate::limits) fn take_calls(&mut self) -> Vec<Call> {
        self.is_known |= !self.calls.is_empty();
        std::mem::take(&mut self.calls)
    }

    /// Whether [`Wanted::settled`] would be over at `now`.
    #[cfg(test)]
    pub(in crate::limits) fn is_over(&self, now: u64) -> bool {
        match self.due {
            Some(due) => now >= due,
            None => {
                self.patience_ends().is_some_and(|ends| now >= ends)
                    || self.pending.iter().all(|pending| *pending.borrow() != Fate::Pending)
            }
        }
    }

    /// When the request has waited as long as it may; [`None`] if it waits for the question's end.
    #[cfg(test)]
    pub(in crate::limits) const fn patience_ends(&self) -> Option<u64> {
        match self.until {
            Until::Patience(ends) => Some(ends),
            Until::Deadline(_) => None,
        }
    }
}

/// Counts a request as waiting at its buckets, until it is dropped.
#[derive(Debug, Default)]
pub(in crate::limits) struct Waiting(Option<Waiters>);

/// Buckets and the cost at each.
type Waiters = (Arc<SharedCells>, Vec<(Key, u32)>);

impl Waiting {
    pub(in crate::limits) fn at(cells: &Arc<SharedCells>, keys: Vec<(Key, u32)>) -> Self {
        for (key, cost) in &keys {
            cells.with_known(*key, |cell| cell.wait(*cost));
        }
        Self(Some((Arc::clone(cells), keys)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((cells, keys)) = self.0.take() {
            for (key, cost) in keys {
                cells.with_known(key, |cell| cell.wait_no_more(cost));
            }
        }
    }
}
