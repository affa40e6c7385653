//! The current keys of one issuer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, watch};

use super::{KeySet, LoadFailed, LoadResult, Loaded, Loads, Pace, Refresher, SavedSet, Source};
use crate::authentication::jwt::{Algorithm, VerificationKey};
use crate::clock::Now;

/// A load is taken to be under way for no longer than this, should its task have died.
const LONGEST_LOAD_NANOS: u64 = 7_000_000_000;

/// The keys of one issuer, shared by every core.
#[derive(Debug)]
pub(in crate::authentication) struct IssuerKeys {
    issuer: Arc<str>,
    allowed: Vec<Algorithm>,
    pub(super) pace: Pace,
    set: ArcSwapOption<KeySet>,
    /// Moves whenever the set's keys change; what was verified under an older one is looked at again.
    pub(super) generation: AtomicU64,
    /// When the next key's time comes that left the set.
    next_retirement_nanos: AtomicU64,
    /// Monotonic time at which the load began that brought or confirmed the set. Lies before the clock's start
    /// where an earlier process loaded it.
    renewed_nanos: AtomicI64,
    /// The same by the wall clock.
    renewed_unix_seconds: AtomicU64,
    last_failure: ArcSwapOption<String>,
    /// Until when a load is under way; 0 if none is.
    pub(super) loading_until_nanos: AtomicU64,
    /// Before when unknown keys cause no load.
    pub(super) next_ask_nanos: AtomicU64,
    pub(super) waiting: AtomicU32,
    pub(super) asks: mpsc::Sender<()>,
    /// How many loads have ended.
    pub(super) ended: watch::Sender<u64>,
    loads: Loads,
}

/// Whether a key may be used at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::authentication) enum Trust {
    /// It is in a set that is fresh enough, or left it a short while ago.
    Trusted,
    /// It has left the set.
    Removed,
    /// The set could not be renewed for too long.
    Stale,
}

impl IssuerKeys {
    /// Keys without a set yet, and what loads them.
    pub(in crate::authentication) fn new(
        issuer: Arc<str>,
        source: Source,
        allowed: Vec<Algorithm>,
        pace: Pace,
        saved: Option<SavedSet>,
    ) -> (Arc<Self>, Refresher) {
        // One place: asks while one is queued are answered by the same load.
        let (asks, asked) = mpsc::channel(1);
        let keys = Arc::new(Self {
            issuer,
            allowed,
            pace,
            set: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            next_retirement_nanos: AtomicU64::new(u64::MAX),
            renewed_nanos: AtomicI64::new(0),
            renewed_unix_seconds: AtomicU64::new(0),
            last_failure: ArcSwapOption::empty(),
            loading_until_nanos: AtomicU64::new(0),
            next_ask_nanos: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            asks,
            ended: watch::Sender::new(0),
            loads: Loads::default(),
        });
        let refresher = Refresher::new(Arc::downgrade(&keys), source, asked, pace, saved);
        (keys, refresher)
    }

    /// Begins with the set that other keys of the same source hold, as old as it is there.
    pub(in crate::authentication) fn begin_with(&self, other: &Self) {
        let Some(set) = other.set.load_full() else { return };
        self.renewed_nanos.store(other.renewed_nanos.load(Ordering::Acquire), Ordering::Release);
        let unix_seconds = other.renewed_unix_seconds.load(Ordering::Acquire);
        self.renewed_unix_seconds.store(unix_seconds, Ordering::Release);
        self.put(set);
    }

    /// Begins with a set that an earlier process loaded, if there is one that can be used.
    pub(in crate::authentication) fn restore(&self, saved: &SavedSet, now: Now) {
        let restored = saved.load(now).and_then(|found| {
            let Some((text, loaded_unix_seconds)) = found else { return Ok(()) };
            let set = self.parse(&text).map_err(super::saved::NotRestored::Set)?;
            let age_seconds = now.unix_seconds().saturating_sub(loaded_unix_seconds);
            tracing::info!(issuer = &*self.issuer, age_seconds, keys = set.len(), "saved keys are in use");
            let age_nanos = age_seconds.saturating_mul(1_000_000_000).try_into().unwrap_or(i64::MAX);
            self.renewed_nanos.store(signed(now).saturating_sub(age_nanos), Ordering::Release);
            self.renewed_unix_seconds.store(loaded_unix_seconds, Ordering::Release);
            self.put(Arc::new(set));
            Ok(())
        });
        if let Err(reason) = restored {
            tracing::warn!(issuer = &*self.issuer, "saved keys are not used: {reason}");
        }
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
        let all_stay = now.monotonic_nanos < self.next_retirement_nanos.load(Ordering::Acquire);
        if all_stay && generation == verified_under.load(Ordering::Relaxed) {
            return Trust::Trusted;
        }
        if !self.set.load().as_ref().is_some_and(|set| set.holds(key, now.monotonic_nanos)) {
            return Trust::Removed;
        }
        verified_under.store(generation, Ordering::Relaxed);
        Trust::Trusted
    }

    /// Marks a load as under way; one that unknown keys asked for begins a cool-down.
    pub(super) fn begin_load(&self, was_asked: bool, now: Now) {
        if was_asked {
            let next = now.monotonic_nanos + self.pace.cool_down.as_nanos() as u64;
            self.next_ask_nanos.store(next, Ordering::Release);
        }
        self.loading_until_nanos.store(now.monotonic_nanos + LONGEST_LOAD_NANOS, Ordering::Release);
    }

    /// Takes in what a load that began at `began` brought; the last good set stays where it failed.
    pub(super) fn end_load(
        &self,
        loaded: Result<Loaded, LoadFailed>,
        began: Now,
        now: Now,
    ) -> Result<Loaded, LoadFailed> {
        let result = loaded.and_then(|loaded| self.take_in(&loaded, now).map(|()| loaded));
        self.loads.count(match &result {
            Ok(Loaded::Set { .. }) => LoadResult::Loaded,
            Ok(Loaded::NotModified { .. }) => LoadResult::NotModified,
            Err(failure) => failure.result(),
        });
        if result.is_ok() {
            self.renewed_nanos.store(signed(began), Ordering::Release);
            self.renewed_unix_seconds.store(began.unix_seconds(), Ordering::Release);
        }
        self.last_failure.store(result.as_ref().err().map(|failure| Arc::new(failure.to_string())));
        self.loading_until_nanos.store(0, Ordering::Release);
        self.ended.send_modify(|count| *count += 1);
        result
    }

    fn take_in(&self, loaded: &Loaded, now: Now) -> Result<(), LoadFailed> {
        let previous = self.set.load_full();
        match (loaded, previous) {
            (Loaded::Set { text, .. }, None) => self.put(Arc::new(self.parse(text)?)),
            (Loaded::Set { text, .. }, Some(previous)) => {
                let until_nanos = now.monotonic_nanos + self.pace.removal_overlap.as_nanos() as u64;
                let set = self.parse(text)?.succeeding(&previous, now.monotonic_nanos, until_nanos);
                if !set.is_same(&previous) {
                    self.put(Arc::new(set));
                }
            }
            (Loaded::NotModified { .. }, previous) => {
                let fewer = previous.and_then(|set| set.without_retired(now.monotonic_nanos));
                if let Some(set) = fewer {
                    self.put(Arc::new(set));
                }
            }
        }
        Ok(())
    }

    fn parse(&self, text: &[u8]) -> Result<KeySet, LoadFailed> {
        let ignored = |place, reason| {
            tracing::warn!(
                issuer = &*self.issuer,
                "keys[{place}] of the issuer's key set is left out: {reason}"
            );
        };
        KeySet::parse(text, &self.allowed, ignored)
    }

    fn put(&self, set: Arc<KeySet>) {
        tracing::debug!(issuer = &*self.issuer, keys = set.len(), "the key set changed");
        let next_retirement_nanos = set.next_retirement_nanos();
        self.set.store(Some(set));
        self.next_retirement_nanos.store(next_retirement_nanos, Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn is_stale(&self, now: Now) -> bool {
        signed(now).saturating_sub(self.renewed_nanos.load(Ordering::Acquire))
            > self.pace.max_stale.as_nanos() as i64
    }

    /// Whether there is a set that may be used.
    pub(in crate::authentication) fn has_keys(&self, now: Now) -> bool {
        self.set.load().is_some() && !self.is_stale(now)
    }

    /// Whether the set in use was loaded after a monotonic time.
    pub(super) fn renewed_since(&self, monotonic_nanos: u64) -> bool {
        self.renewed_nanos.load(Ordering::Acquire) >= monotonic_nanos.cast_signed()
    }

    /// Whether the set in use was loaded after a second by the wall clock.
    pub(super) fn renewed_after_second(&self, unix_seconds: i64) -> bool {
        self.renewed_unix_seconds.load(Ordering::Acquire).cast_signed() > unix_seconds
    }

    /// Seconds since the keys were loaded or confirmed.
    pub(in crate::authentication) fn age_seconds(&self, now: Now) -> Option<u64> {
        self.set.load().as_ref()?;
        let age_nanos = signed(now).saturating_sub(self.renewed_nanos.load(Ordering::Acquire));
        Some(age_nanos.max(0).cast_unsigned() / 1_000_000_000)
    }

    /// Whether the last load failed.
    pub(in crate::authentication) fn last_load_failed(&self) -> bool {
        self.last_failure.load().is_some()
    }

    /// Why the last load failed, if it did.
    pub(in crate::authentication) fn last_failure(&self) -> Option<Arc<String>> {
        self.last_failure.load_full()
    }

    /// How its loads ended.
    pub(in crate::authentication) fn loads(&self) -> &Loads {
        &self.loads
    }
}

/// Monotonic time that can be compared with a time before the clock's start.
const fn signed(now: Now) -> i64 {
    now.monotonic_nanos.cast_signed()
}
