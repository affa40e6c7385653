//! Which policies' quotas changed of late, so that the sweep carries over the buckets of those who do not come.
//!
//! A request carries its own bucket over. One that nobody asks for would be taken for full once the former quota had filled
//! it, and leave, though under a slower one the same share of it is used: whoever came back then would have a fresh bucket.
//! It refuses to know callers' own quotas: those are no policy's, and their buckets are told apart by them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cell::{Cell, Measure, Moment};
use super::key::Key;
use crate::clock::Now;

/// A change is kept until so many passes of the sweep have ended: the one that was under way may have been past a bucket.
const PASSES: u8 = 2;

/// A policy by its number, and how it counts.
pub(super) type Counted = (u32, Measure);

/// The changes that not every bucket has seen.
#[derive(Default)]
pub(super) struct Changes(Mutex<State>);

#[derive(Default)]
struct State {
    /// How each policy counts, or did when it was there.
    in_force: HashMap<u32, Measure>,
    /// Of the newest rules that are not in force yet.
    next: Option<(u32, Vec<Counted>)>,
    unseen: Arc<Unseen>,
}

/// The changes of each policy, in their order.
pub(super) type Unseen = HashMap<u32, Vec<Change>>;

/// A policy's quota took another's place.
#[derive(Clone, Copy)]
pub(super) struct Change {
    from: Measure,
    to: Measure,
    since: u64,
    revision: u32,
    passes: u8,
}

impl Changes {
    /// Takes down how the policies of new rules count. The first are in force at once.
    pub(super) fn prepare(&self, revision: u32, policies: Vec<Counted>) {
        let mut state = self.state();
        if state.in_force.is_empty() {
            state.in_force = policies.into_iter().collect();
        } else {
            state.next = Some((revision, policies));
        }
    }

    /// Says that the rules that were prepared last are in force from now on.
    pub(super) fn change(&self, now: u64) {
        let mut state = self.state();
        let Some((revision, policies)) = state.next.take() else { return };
        let mut unseen = Unseen::clone(&state.unseen);
        for (policy, to) in policies {
            let before = state.in_force.insert(policy, to).filter(|before| *before != to);
            if let Some(from) = before {
                let change = Change { from, to, since: now, revision, passes: PASSES };
                unseen.entry(policy).or_default().push(change);
            }
        }
        state.unseen = Arc::new(unseen);
    }

    /// The changes.
    pub(super) fn unseen(&self) -> Arc<Unseen> {
        Arc::clone(&self.state().unseen)
    }

    /// Says that a pass over all buckets has ended.
    pub(super) fn pass_ended(&self) {
        let mut state = self.state();
        if !state.unseen.is_empty() {
            let mut unseen = Unseen::clone(&state.unseen);
            unseen.retain(|_, changes| {
                changes.retain_mut(|change| {
                    change.passes -= 1;
                    change.passes > 0
                });
                !changes.is_empty()
            });
            state.unseen = Arc::new(unseen);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries a bucket over the changes that it has not seen.
pub(super) fn settle(changes: &Unseen, key: Key, cell: &mut Cell, now: Now) {
    // Mostly there are none.
    if changes.is_empty() {
        return;
    }
    for change in changes.get(&key.policy()).into_iter().flatten() {
        if change.revision > cell.revision() && change.from == cell.measure() {
            let (now, unix_millis) = (now.monotonic_nanos, now.unix_millis);
            cell.settle(change.to, change.revision, &Moment { since: change.since, now, unix_millis });
        }
    }
}
