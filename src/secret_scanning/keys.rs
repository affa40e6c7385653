//! GitHub's keys as they are now, kept up to date beside the requests.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::key_set::{KeySet, Known, PublicKey};
use super::source::{KeySource, LoadFailed, Loaded};
use crate::clock::{Clock, Now};

/// The most alerts that wait for a load at a time.
const MAX_WAITING: u32 = 64;
/// The longest wait for a load.
const LONGEST_WAIT: Duration = Duration::from_secs(7);
/// The longest wait between two tries after a failure. GitHub lets an address ask 60 times an hour.
const LONGEST_RETRY: Duration = Duration::from_mins(2);
const FIRST_RETRY: Duration = Duration::from_secs(3);
/// How often a file is read.
const FILE_REFRESH: Duration = Duration::from_secs(2);
/// How old keys may be that cannot be renewed.
const MAX_STALE: Duration = Duration::from_hours(7 * 24);

/// How often keys are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Between two loads.
    pub(super) refresh: Duration,
    /// Between two loads that unknown key ids ask for.
    pub(super) cool_down: Duration,
}

/// Why there is no key to check an alert by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyFault {
    /// GitHub has no such key.
    Unknown,
    /// GitHub took it out of use.
    Retired,
    /// GitHub's keys cannot be had, so nothing can be said of it.
    Unavailable,
}

/// GitHub's keys, shared by every core.
#[derive(Debug)]
pub(super) struct SignerKeys {
    source: KeySource,
    pace: Pace,
    set: ArcSwapOption<KeySet>,
    /// When the load began that brought or confirmed the set.
    renewed_nanos: AtomicU64,
    last_failure: ArcSwapOption<String>,
    loading: AtomicBool,
    /// Before when unknown keys cause no load.
    next_ask_nanos: AtomicU64,
    waiting: AtomicU32,
    asks: mpsc::Sender<()>,
    /// How many loads have ended.
    ended: watch::Sender<u64>,
}

/// Loads the keys for as long as somebody uses them. Spawn [`KeysRefresher::run`] on any runtime with time and I/O.
#[derive(Debug)]
pub struct KeysRefresher {
    keys: Weak<SignerKeys>,
    asked: mpsc::Receiver<()>,
}

impl SignerKeys {
    /// Keys that are not loaded yet, and what loads them.
    pub(super) fn new(source: KeySource, pace: Pace) -> (Arc<Self>, KeysRefresher) {
        // One place: asks while one is queued are answered by the same load.
        let (asks, asked) = mpsc::channel(1);
        let keys = Arc::new(Self {
            source,
            pace,
            set: ArcSwapOption::empty(),
            renewed_nanos: AtomicU64::new(0),
            last_failure: ArcSwapOption::empty(),
            // The first load is about to begin.
            loading: AtomicBool::new(true),
            next_ask_nanos: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            asks,
            ended: watch::Sender::new(0),
        });
        let refresher = KeysRefresher { keys: Arc::downgrade(&keys), asked };
        (keys, refresher)
    }

    /// Whether these are the keys of a source at a pace.
    pub(super) fn are_of(&self, source: &KeySource, pace: Pace) -> bool {
        self.source == *source && self.pace == pace
    }

    /// The key with an id. An unknown one makes the keys be loaded again, at most once in a cool-down whatever is
    /// asked for, and waits for that load.
    pub(super) async fn find(&self, id: &[u8], clock: &Clock) -> Result<Arc<PublicKey>, KeyFault> {
        // Subscribed before anything is read, so that no end of a load is missed.
        let mut ended = self.ended.subscribe();
        match self.known(id, clock.now()) {
            Err(KeyFault::Unknown | KeyFault::Unavailable) if self.ask(clock.now()) => {}
            known => return known,
        }
        let _place = Waiting::take(self).ok_or(KeyFault::Unavailable)?;
        match tokio::time::timeout(LONGEST_WAIT, ended.changed()).await {
            Ok(Ok(())) => self.known(id, clock.now()),
            Ok(Err(_)) | Err(_) => Err(KeyFault::Unavailable),
        }
    }

    fn known(&self, id: &[u8], now: Now) -> Result<Arc<PublicKey>, KeyFault> {
        let set = self.set.load();
        let Some(set) = set.as_ref().filter(|_| !self.is_stale(now)) else {
            return Err(KeyFault::Unavailable);
        };
        match set.find(id) {
            Known::Current(key) => Ok(Arc::clone(key)),
            Known::Retired => Err(KeyFault::Retired),
            // Nobody was there to ask whether it is new.
            Known::Missing if self.last_failure.load().is_some() => Err(KeyFault::Unavailable),
            Known::Missing => Err(KeyFault::Unknown),
        }
    }

    /// Whether a load is under way or begins now.
    fn ask(&self, now: Now) -> bool {
        if self.loading.load(Ordering::Acquire) {
            return true;
        }
        let next = self.next_ask_nanos.load(Ordering::Acquire);
        if now.monotonic_nanos < next {
            return false;
        }
        let later = now.monotonic_nanos + self.pace.cool_down.as_nanos() as u64;
        let moved = self.next_ask_nanos.compare_exchange(next, later, Ordering::AcqRel, Ordering::Acquire);
        if moved.is_ok() {
            self.loading.store(true, Ordering::Release);
            // A full channel means that a load is about to begin anyway.
            let _ = self.asks.try_send(());
        }
        true
    }

    fn is_stale(&self, now: Now) -> bool {
        self.age(now) > MAX_STALE
    }

    fn age(&self, now: Now) -> Duration {
        Duration::from_nanos(now.monotonic_nanos.saturating_sub(self.renewed_nanos.load(Ordering::Acquire)))
    }

    /// Time since the keys were loaded or confirmed, and how many there are; [`None`] before the first load.
    pub(super) fn status(&self, now: Now) -> Option<(Duration, usize)> {
        self.set.load().as_ref().map(|set| (self.age(now), set.current()))
    }

    /// Why the last load failed, if it did.
    pub(super) fn last_failure(&self) -> Option<Arc<String>> {
        self.last_failure.load_full()
    }

    /// Takes in what a load that began at `began` brought; the last good set stays where it failed.
    fn end_load(&self, loaded: Result<Option<KeySet>, LoadFailed>, began: Now) -> bool {
        let result = loaded.map(|set| {
            if let Some(set) = set {
                self.set.store(Some(Arc::new(set)));
            }
            self.renewed_nanos.store(began.monotonic_nanos, Ordering::Release);
        });
        if let Err(failure) = &result {
            tracing::warn!("GitHub's keys were not renewed: {failure}");
        }
        self.last_failure.store(result.as_ref().err().map(|failure| Arc::new(failure.to_string())));
        self.loading.store(false, Ordering::Release);
        self.ended.send_modify(|count| *count += 1);
        result.is_ok()
    }
}

/// A place among those who wait.
struct Waiting<'k>(&'k AtomicU32);

impl<'k> Waiting<'k> {
    fn take(keys: &'k SignerKeys) -> Option<Self> {
        let place = Self(&keys.waiting);
        (keys.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl KeysRefresher {
    /// Loads until nobody uses the keys any more.
    pub async fn run(mut self, clock: Clock) {
        let mut last: Option<(Vec<u8>, Option<HeaderValue>)> = None;
        let mut retry = FIRST_RETRY;
        while let Some(keys) = self.keys.upgrade() {
            let began = clock.now();
            keys.loading.store(true, Ordering::Release);
            while self.asked.try_recv().is_ok() {}
            let etag = last.as_ref().and_then(|(_, etag)| etag.as_ref());
            let loaded = keys.source.load(etag).await.and_then(|loaded| match loaded {
                Loaded::NotModified => Ok(None),
                Loaded::Document { text, .. } if last.as_ref().is_some_and(|(last, _)| *last == text) => {
                    Ok(None)
                }
                Loaded::Document { text, etag } => {
                    let left_out = |id: &str| {
                        tracing::warn!(
                            id,
                            "a key of GitHub's is left out: it is no P-256 key, or there twice"
                        );
                    };
                    let set = KeySet::parse(&text, left_out)
                        .map_err(|fault| LoadFailed::Document(fault.to_string()))?;
                    last = Some((text, etag));
                    Ok(Some(set))
                }
            });
            let wait = if keys.end_load(loaded, began) {
                retry = FIRST_RETRY;
                if matches!(keys.source, KeySource::File(_)) { FILE_REFRESH } else { keys.pace.refresh }
            } else {
                let wait = retry;
                retry = (retry * 2).min(LONGEST_RETRY);
                wait
            };
            drop(keys);
            // An ask ends the wait, and so does the end of the keys.
            let _ = tokio::time::timeout_at(Instant::now() + wait, self.asked.recv()).await;
        }
    }
}

#[cfg(test)]
mod tests;
