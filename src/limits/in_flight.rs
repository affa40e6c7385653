//! How many requests of each caller are being served.
//!
//! Invariant: what a [`InFlightGuard`] counted it uncounts when it is dropped, wherever that happens; there is
//! no other way to count, so nothing leaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};

use super::key::Spread;
use crate::domain::Subject;

/// One request counted; uncounted on drop.
#[derive(Debug)]
struct Slot(Arc<AtomicU32>);

impl Slot {
    fn of(counter: &Arc<AtomicU32>, cap: u32) -> Option<Self> {
        let more = |count: u32| (count < cap).then_some(count + 1);
        counter.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        Some(Self(Arc::clone(counter)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Keeps a request counted as being served; drop it with the last byte of the answer. It may move to another
/// task and outlive the configuration that made it.
#[derive(Debug, Default)]
#[must_use = "a request whose guard is dropped no longer counts as in flight"]
pub struct InFlightGuard([Option<Slot>; 3]);

/// Which cap was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    Token,
    Workspace,
    Total,
}

/// The caps; [`None`] is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Caps {
    pub(super) token: Option<u32>,
    pub(super) workspace: Option<u32>,
    pub(super) total: Option<u32>,
}

impl Caps {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// The counters of the process. Outlives every configuration.
pub(super) struct InFlight {
    subjects: DashMap<Subject, Arc<AtomicU32>, Spread>,
    count: AtomicUsize,
    overflow: Arc<AtomicU32>,
    total: Arc<AtomicU32>,
}

impl InFlight {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self {
            subjects: DashMap::with_hasher(Spread::new(secret)),
            count: AtomicUsize::new(0),
            overflow: Arc::default(),
            total: Arc::default(),
        }
    }

    /// Counts one request of a token and its workspace, or says which cap has no room. `most` bounds the
    /// counters; subjects beyond it share one.
    pub(super) fn enter(
        &self,
        caller: Option<(Subject, Subject)>,
        caps: Caps,
        most: usize,
    ) -> Result<InFlightGuard, (Reached, u32)> {
        let mut guard = InFlightGuard::default();
        let places = [
            (Reached::Token, caps.token, caller.map(|(token, _)| token)),
            (Reached::Workspace, caps.workspace, caller.map(|(_, workspace)| workspace)),
        ];
        for (slot, (reached, cap, subject)) in guard.0.iter_mut().zip(places) {
            if let (Some(cap), Some(subject)) = (cap, subject) {
                let entered = self.with_counter(subject, most, |counter| Slot::of(counter, cap));
                *slot = Some(entered.ok_or((reached, cap))?);
            }
        }
        if let Some(cap) = caps.total {
            guard.0[2] = Some(Slot::of(&self.total, cap).ok_or((Reached::Total, cap))?);
        }
        Ok(guard)
    }

    /// The cap that [`InFlight::enter`] would have no room under.
    pub(super) fn reached(&self, caller: Option<(Subject, Subject)>, caps: Caps) -> Option<(Reached, u32)> {
        let held = |subject| self.subjects.get(&subject).map_or(0, |counter| counter.load(Ordering::Relaxed));
        let places = [
            (Reached::Token, caps.token, caller.map(|(token, _)| held(token))),
            (Reached::Workspace, caps.workspace, caller.map(|(_, workspace)| held(workspace))),
            (Reached::Total, caps.total, Some(self.total.load(Ordering::Relaxed))),
        ];
        places.into_iter().find_map(|(reached, cap, count)| (count? >= cap?).then_some((reached, cap?)))
    }

    /// Drops the counters that count nothing.
    pub(super) fn sweep(&self) {
        let mut removed = 0;
        self.subjects.retain(|_, counter| {
            // Guards clone the counter under this map's lock only, so one owner means no guard.
            let idle = Arc::strong_count(counter) == 1;
            removed += usize::from(idle);
            !idle
        });
        self.count.fetch_sub(removed, Ordering::Relaxed);
    }

    fn with_counter<R>(&self, subject: Subject, most: usize, use_it: impl FnOnce(&Arc<AtomicU32>) -> R) -> R {
        if let Some(counter) = self.subjects.get(&subject) {
            return use_it(&counter);
        }
        match self.subjects.entry(subject) {
            Entry::Occupied(occupied) => use_it(occupied.get()),
            Entry::Vacant(vacant) => {
                let more = |count: usize| (count < most).then_some(count + 1);
                if self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
                    use_it(&vacant.insert(Arc::default()))
                } else {
                    use_it(&self.overflow)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: Caps = Caps { token: Some(2), workspace: Some(3), total: Some(4) };

    #[test]
    fn each_cap_refuses_and_a_refusal_counts_nothing() {
        let in_flight = InFlight::new(&[7; 32]);
        let enter = |token, workspace| in_flight.enter(Some((Subject(token), Subject(workspace))), CAPS, 100);
        let first = enter(1, 9).unwrap();
        let second = enter(1, 9).unwrap();
        assert_eq!(enter(1, 9).unwrap_err(), (Reached::Token, 2));
        let third = enter(2, 9).unwrap();
        for _ in 0..10 {
            assert_eq!(enter(2, 9).unwrap_err(), (Reached::Workspace, 3));
        }
        let fourth = enter(3, 8).unwrap();
        assert_eq!(enter(4, 7).unwrap_err(), (Reached::Total, 4));
        drop((first, third));
        let fifth = enter(2, 9).unwrap();
        drop((second, fourth, fifth));
        assert_eq!(in_flight.total.load(Ordering::SeqCst), 0);
        assert!(in_flight.subjects.iter().all(|counter| counter.load(Ordering::SeqCst) == 0));
        in_flight.sweep();
        assert_eq!((in_flight.subjects.len(), in_flight.count.load(Ordering::SeqCst)), (0, 0));
    }

    #[test]
    fn a_panic_gives_the_place_back() {
        let in_flight = InFlight::new(&[7; 32]);
        let enter = || in_flight.enter(Some((Subject(1), Subject(9))), CAPS, 100);
        for _ in 0..10 {
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _guard = enter().unwrap();
                panic!("while it is served");
            }));
            assert!(panicked.is_err());
        }
        let both = (enter().unwrap(), enter().unwrap());
        assert_eq!(enter().unwrap_err(), (Reached::Token, 2));
        drop(both);
    }

    #[test]
    fn a_sweep_keeps_what_is_being_served() {
        let in_flight = InFlight::new(&[7; 32]);
        let guard = in_flight.enter(Some((Subject(1), Subject(9))), CAPS, 100).unwrap();
        in_flight.sweep();
        let second = in_flight.enter(Some((Subject(1), Subject(9))), CAPS, 100).unwrap();
        assert!(in_flight.enter(Some((Subject(1), Subject(9))), CAPS, 100).is_err());
        drop((guard, second));
    }

    #[test]
    fn subjects_past_the_bound_share_a_counter() {
        let in_flight = InFlight::new(&[7; 32]);
        let caps = Caps { token: Some(1), workspace: None, total: None };
        let held = in_flight.enter(Some((Subject(1), Subject(9))), caps, 1).unwrap();
        let shared = in_flight.enter(Some((Subject(2), Subject(9))), caps, 1).unwrap();
        assert!(in_flight.enter(Some((Subject(3), Subject(9))), caps, 1).is_err());
        assert_eq!(in_flight.subjects.len(), 1);
        drop((held, shared));
    }
}
