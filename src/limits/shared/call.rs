//! One question on its way to the central store.

use std::sync::Arc;

use tokio::sync::watch;

use super::cell::{Fate, Pending, Sent, StoreState};
use super::cells::SharedCells;
use super::plan::{Shared, longest_wait_nanos};
use super::store::{Answer, CentralStore, OutageAgo, Question, StoreFault};
use crate::clock::Clock;
use crate::limits::cells::Debit;
use crate::limits::key::Key;

/// A bucket to ask of: whose, how it is counted and shared, and for a request of which cost (0 for a lease ahead).
#[derive(Clone, Copy, Debug)]
pub(in crate::limits) struct Want {
    pub(in crate::limits) key: Key,
    pub(in crate::limits) debit: Debit,
    pub(in crate::limits) shared: Shared,
    pub(in crate::limits) cost: u32,
}

/// A question that has begun. Run it, or end it with an answer; dropped, it ends as unanswered.
#[must_use = "a question that is not sent ends as unanswered"]
pub struct Call {
    cells: Arc<SharedCells>,
    store: Arc<dyn CentralStore>,
    question: Question,
    buckets: Vec<(Key, Sent)>,
    done: watch::Sender<Fate>,
}

impl Call {
    /// Begins a question of buckets of one group, all or none; [`None`] if any may not be asked now.
    pub(in crate::limits) fn begin(
        cells: &Arc<SharedCells>,
        store: &Arc<dyn CentralStore>,
        wants: &[Want],
        now: u64,
    ) -> Option<(Self, Pending)> {
        let state = state_of(&**store);
        let (done, pending) = watch::channel(Fate::Pending);
        let outage = store.last_outage().and_then(|outage| {
            let ended = outage.ended_nanos?;
            let (began_ago_nanos, ended_ago_nanos) =
                (now.saturating_sub(outage.began_nanos), now.saturating_sub(ended));
            Some(OutageAgo { began_ago_nanos, ended_ago_nanos })
        });
        let mut call = Self {
            cells: Arc::clone(cells),
            store: Arc::clone(store),
            question: Question { group: Arc::from(""), asked: Vec::with_capacity(wants.len()), outage },
            buckets: Vec::with_capacity(wants.len()),
            done,
        };
        for want in wants {
            let begun = cells.with(want.key, &want.debit, now, |cell| {
                let asked = cell.begin(want.cost, &pending, want.shared, state, now)?;
                Some((Arc::clone(&cell.name.group), asked))
            });
            let Some((group, asked)) = begun.flatten() else {
                call.abandon();
                return None;
            };
            call.question.group = group;
            call.question.asked.push(asked);
            let sent = Sent { at: now, sharing: want.shared.sharing, replicas: state.replicas };
            call.buckets.push((want.key, sent));
        }
        Some((call, pending))
    }

    /// What is asked.
    pub const fn question(&self) -> &Question {
        &self.question
    }

    /// Asks the store, and ends with what it says.
    pub async fn run(self, clock: Clock) {
        let answer = self.store.ask(self.question.clone()).await;
        self.end(&answer, clock.now().monotonic_nanos);
    }

    /// Ends the question at `now` of the monotonic clock.
    pub fn end(mut self, answer: &Result<Answer, StoreFault>, now: u64) {
        let buckets = std::mem::take(&mut self.buckets);
        let asked = &self.question.asked;
        let ended = match answer {
            Ok(Answer::Granted(grants)) if grants.len() == asked.len() => {
                for (((key, sent), asked), grant) in buckets.iter().zip(asked).zip(grants) {
                    self.cells.with_known(*key, |cell| cell.granted(asked, grant, *sent, now));
                }
                Fate::Answered
            }
            Ok(Answer::Denied { place, wait_nanos }) => {
                for (at, ((key, sent), asked)) in buckets.iter().zip(asked).enumerate() {
                    self.cells.with_known(*key, |cell| {
                        if at == *place {
                            cell.denied_at_store(asked, *wait_nanos, *sent, now);
                        } else {
                            cell.denied_elsewhere(sent.at);
                        }
                    });
                }
                Fate::Answered
            }
            Ok(Answer::Granted(_)) | Err(_) => {
                for (key, sent) in &buckets {
                    self.cells.with_known(*key, |cell| cell.unanswered(sent.at.max(now)));
                }
                Fate::Failed
            }
        };
        self.done.send_replace(ended);
    }

    fn abandon(&mut self) {
        for (key, _) in self.buckets.drain(..) {
            self.cells.with_known(key, super::cell::Cell::abandoned);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.buckets.is_empty() {
            return;
        }
        for (key, sent) in self.buckets.drain(..) {
            self.cells.with_known(key, |cell| cell.unanswered(sent.at));
        }
        self.done.send_replace(Fate::Failed);
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("question", &self.question).finish_non_exhaustive()
    }
}

/// How the store stands.
pub(in crate::limits) fn state_of(store: &dyn CentralStore) -> StoreState {
    let down = || store.last_outage().map_or(0, |outage| outage.began_nanos);
    StoreState {
        replicas: store.replicas().get(),
        deadline_nanos: store.deadline_nanos(),
        longest_wait_nanos: longest_wait_nanos(store),
        down_since: (!store.is_up()).then(down),
    }
}
