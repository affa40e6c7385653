//! A request that waits for tokens: at most for its turn to ask, and then for the answer.

use std::sync::Arc;
use std::time::Duration;

use super::call::Call;
use super::cell::{Fate, Pending};
use super::cells::SharedCells;
use super::plan::PATIENCE_NANOS;
use crate::clock::Clock;
use crate::limits::key::Key;

/// Timers wake so much late.
const LATE_NANOS: u64 = 2_000_000;

/// What a request waits for: await [`Wanted::settled`], then call [`Limits::admit_after`](crate::limits::Limits::admit_after).
#[derive(Debug)]
#[must_use = "the questions in it end as unanswered when it is dropped"]
pub struct Wanted {
    pub(in crate::limits) calls: Vec<Call>,
    pub(in crate::limits) pending: Vec<Pending>,
    /// When it may ask.
    pub(in crate::limits) due: Option<u64>,
    pub(in crate::limits) waited: Waited,
}

/// How long a request has waited, and whether in vain. Proof that it has waited at all.
#[derive(Debug)]
pub struct Waited {
    /// Since when; [`None`] if it has not.
    pub(in crate::limits) since: Option<u64>,
    /// A question was not answered in time.
    pub(in crate::limits) in_vain: bool,
    _waiting: Waiting,
}

impl Waited {
    /// It has not.
    pub(in crate::limits) const fn not() -> Self {
        Self::since(None, Waiting(None))
    }

    /// It waits since then.
    pub(in crate::limits) const fn since(since: Option<u64>, waiting: Waiting) -> Self {
        Self { since, in_vain: false, _waiting: waiting }
    }

    /// Whether it may still wait for its turn to ask until `due`.
    pub(in crate::limits) fn may_wait_until(since: Option<u64>, due: u64) -> bool {
        since.is_none_or(|since| due <= since + PATIENCE_NANOS)
    }

    /// Whether it may still wait for an answer: its turn has come, give or take what timers are late.
    pub(in crate::limits) fn may_ask(since: Option<u64>, now: u64) -> bool {
        since.is_none_or(|since| now <= since + PATIENCE_NANOS + LATE_NANOS)
    }
}

impl Wanted {
    /// Sends what is to be asked and waits for the answer, at most 5 ms; or for the request's turn to ask, at most 5 ms.
    pub async fn settled(mut self, clock: &Clock) -> Waited {
        for call in std::mem::take(&mut self.calls) {
            tokio::spawn(call.run(clock.clone()));
        }
        if let Some(due) = self.due {
            let wait = due.saturating_sub(clock.now().monotonic_nanos).min(PATIENCE_NANOS);
            tokio::time::sleep(Duration::from_nanos(wait)).await;
            return self.waited;
        }
        let answered = async {
            let mut all = true;
            for pending in &mut self.pending {
                let ended = pending.wait_for(|asking| *asking != Fate::Pending).await;
                all &= ended.is_ok_and(|asking| *asking == Fate::Answered);
            }
            all
        };
        let answered = tokio::time::timeout(Duration::from_nanos(PATIENCE_NANOS), answered).await;
        Waited { in_vain: answered != Ok(true), ..self.waited }
    }

    /// Questions to be sent, for those who drive them themselves.
    #[cfg(test)]
    pub(in crate::limits) fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }

    /// What [`Wanted::settled`] would do at `now`, having begun at `began`: wait on, or end, answered or not.
    #[cfg(test)]
    pub(in crate::limits) fn ends(&self, began: u64, now: u64) -> Option<bool> {
        let is_over = now >= began + PATIENCE_NANOS;
        if let Some(due) = self.due {
            return (now >= due || is_over).then_some(true);
        }
        let fates: Vec<Fate> = self.pending.iter().map(|pending| *pending.borrow()).collect();
        if fates.contains(&Fate::Pending) {
            return is_over.then_some(false);
        }
        Some(fates.iter().all(|fate| *fate == Fate::Answered))
    }

    /// The wait, over.
    #[cfg(test)]
    pub(in crate::limits) fn into_waited(self, is_answered: bool) -> Waited {
        Waited { in_vain: !is_answered, ..self.waited }
    }
}

/// Counts a request as waiting at its buckets, until it is dropped.
#[derive(Debug)]
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
