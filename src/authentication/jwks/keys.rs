//! The current keys of one issuer and the gate in front of asking for more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, watch};

use super::{KeySet, LoadFailed, Pace, Refresher, Source};
use crate::authentication::jwt::{Algorithm, VerificationKey};
use crate::clock::Now;

/// The most requests that wait for one issuer at a time.
const MAX_WAITING: u32 = 1024;
/// A load is taken to be under way for no longer than this, should its task have died.
const LONGEST_LOAD_NANOS: u64 = 7_000_000_000;

/// The keys of one issuer, shared by every core.
#[derive(Debug)]
pub(in crate::authentication) struct IssuerKeys {
    issuer: Arc<str>,
    allowed: Vec<Algorithm>,
    pace: Pace,
    set: ArcSwapOption<KeySet>,
    /// Moves whenever the set's keys change; what was verified under an older one is looked at again.
    generation: AtomicU64,
    /// Monotonic time of the last good load.
    loaded_nanos: AtomicU64,
    last_load_failed: AtomicBool,
    /// Until when a load is under way; 0 if none is.
    loading_until_nanos: AtomicU64,
    next_ask_nanos: AtomicU64,
    waiting: AtomicU32,
    asks: mpsc::Sender<()>,
    /// How many loads have ended.
    ended: watch::Sender<u64>,
}

/// What asking for an unknown key led to.
#[derive(Debug)]
pub(in crate::authentication) enum Ask {
    /// A load is under way: wait for its end, then look again.
    Wait(Arrival),
    /// The keys have changed since they were looked at.
    LookAgain,
    /// The issuer was asked within the cool-down and answered: the key does not exist.
    Refused,
    /// The issuer could not be asked, so nothing can be said of the key.
    Unavailable,
}

/// Whether a key may be used at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::authentication) enum Trust {
    /// It is in a set that is fresh enough.
    Trusted,
    /// It has left the set.
    Removed,
    /// The set could not be renewed for too long.
    Stale,
}

/// The end of a load that is under way. Holds one of the issuer's waiting places until it is dropped.
#[derive(Debug)]
pub(in crate::authentication) struct Arrival {
    keys: Arc<IssuerKeys>,
    ended: watch::Receiver<u64>,
}

impl Arrival {
    /// Waits at most 2 s; false if the load did not end in time.
    pub(in crate::authentication) async fn wait(mut self) -> bool {
        let wait = tokio::time::timeout(Duration::from_secs(2), self.ended.changed());
        matches!(wait.await, Ok(Ok(())))
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.keys.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl IssuerKeys {
    /// Keys without a set yet, and what loads them.
    pub(in crate::authentication) fn new(
        issuer: Arc<str>,
        source: Source,
        allowed: Vec<Algorithm>,
        pace: Pace,
    ) -> (Arc<Self>, Refresher) {
        // One place: asks while one is queued are answered by the same load.
        let (asks, asked) = mpsc::channel(1);
        let keys = Arc::new(Self {
            issuer,
            allowed,
            pace,
            set: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            loaded_nanos: AtomicU64::new(0),
            last_load_failed: AtomicBool::new(false),
            loading_until_nanos: AtomicU64::new(0),
            next_ask_nanos: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            asks,
            ended: watch::Sender::new(0),
        });
        let refresher = Refresher::new(Arc::downgrade(&keys), source, asked, pace);
        (keys, refresher)
    }

    pub(in crate::authentication) const fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// The current set with its generation; no set where there is none or it is too old.
    pub(in crate::authentication) fn current(&self, now: Now) -> (u64, Option<Arc<KeySet>>) {
        // The generation is read first: a set that is swapped in between is looked at once more later, never
        // trusted under a newer number than its own.
        let generation = self.generation.load(Ordering::Acquire);
        let set = if self.is_stale(now) { None } else { self.set.load_full() };
        (generation, set)
    }

    /// Whether a key that verified under `generation` may still be used. Updates `generation` when it may.
    pub(in crate::authentication) fn trust(
        &self,
        key: &Arc<VerificationKey>,
        verified_under: &AtomicU64,
        now: Now,
    ) -> Trust {
        if self.is_stale(now) {
            return Trust::Stale;
        }
        let generation = self.generation.load(Ordering::Acquire);
        if generation == verified_under.load(Ordering::Relaxed) {
            return Trust::Trusted;
        }
        if !self.set.load().as_ref().is_some_and(|set| set.holds(key)) {
            return Trust::Removed;
        }
        verified_under.store(generation, Ordering::Relaxed);
        Trust::Trusted
    }

    /// Asks for a key that the set of generation `seen` does not hold. At most one load per cool-down, shared
    /// by all who ask.
    pub(in crate::authentication) fn ask(self: &Arc<Self>, seen: u64, now: Now) -> Ask {
        // Subscribed before anything is read, so that no end of a load is missed.
        let ended = self.ended.subscribe();
        if now.monotonic_nanos < self.loading_until_nanos.load(Ordering::Acquire) {
            return self.join(ended);
        }
        if self.generation.load(Ordering::Acquire) != seen {
            return Ask::LookAgain;
        }
        if self.set.load().is_none() || self.is_stale(now) {
            return Ask::Unavailable;
        }
        let next = self.next_ask_nanos.load(Ordering::Acquire);
        if now.monotonic_nanos < next {
            let failed = self.last_load_failed.load(Ordering::Acquire);
            return if failed { Ask::Unavailable } else { Ask::Refused };
        }
        let after = now.monotonic_nanos + self.pace.cool_down.as_nanos() as u64;
        if self.next_ask_nanos.compare_exchange(next, after, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.begin_load(now);
            // A full channel means that a load is about to begin anyway.
            let _ = self.asks.try_send(());
        }
        self.join(ended)
    }

    fn join(self: &Arc<Self>, ended: watch::Receiver<u64>) -> Ask {
        let arrival = Arrival { keys: Arc::clone(self), ended };
        // Dropping the arrival gives the place back.
        if self.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING {
            Ask::Wait(arrival)
        } else {
            Ask::Unavailable
        }
    }

    /// Marks a load as under way.
    pub(super) fn begin_load(&self, now: Now) {
        self.loading_until_nanos.store(now.monotonic_nanos + LONGEST_LOAD_NANOS, Ordering::Release);
    }

    /// Takes in what a load brought; the last good set stays where it failed.
    pub(super) fn end_load(&self, loaded: Result<Vec<u8>, LoadFailed>, now: Now) -> Result<(), LoadFailed> {
        let result = loaded.and_then(|text| self.replace(&text, now));
        self.last_load_failed.store(result.is_err(), Ordering::Release);
        self.loading_until_nanos.store(0, Ordering::Release);
        self.ended.send_modify(|count| *count += 1);
        result
    }

    fn replace(&self, text: &[u8], now: Now) -> Result<(), LoadFailed> {
        let previous = self.set.load_full();
        let ignored = |place, reason| {
            tracing::warn!(
                issuer = &*self.issuer,
                "keys[{place}] of the issuer's key set is left out: {reason}"
            );
        };
        let set = KeySet::parse(text, &self.allowed, previous.as_deref(), ignored)?;
        tracing::debug!(issuer = &*self.issuer, keys = set.len(), "key set loaded");
        self.loaded_nanos.store(now.monotonic_nanos, Ordering::Release);
        self.set.store(Some(Arc::new(set)));
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn is_stale(&self, now: Now) -> bool {
        now.monotonic_nanos.saturating_sub(self.loaded_nanos.load(Ordering::Acquire))
            > self.pace.max_stale.as_nanos() as u64
    }

    /// Whether there is a set that may be used.
    pub(in crate::authentication) fn has_keys(&self, now: Now) -> bool {
        self.set.load().is_some() && !self.is_stale(now)
    }

    /// Seconds since the last good load.
    pub(in crate::authentication) fn age_seconds(&self, now: Now) -> Option<u64> {
        self.set.load().as_ref()?;
        let loaded = self.loaded_nanos.load(Ordering::Acquire);
        Some(now.monotonic_nanos.saturating_sub(loaded) / 1_000_000_000)
    }

    /// Whether the last load failed.
    pub(in crate::authentication) fn last_load_failed(&self) -> bool {
        self.last_load_failed.load(Ordering::Acquire)
    }
}
