//! The task that loads one issuer's keys: at the start, ahead of their end, when asked, and when its file changes.

use std::sync::Weak;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::freshness::spread;
use super::{Freshness, IssuerKeys, Loaded, Pace, SavedSet, Source};
use crate::clock::Clock;

/// Between two tries while there is no set at all.
const WITHOUT_KEYS: Duration = Duration::from_secs(3);
/// Between two tries while the last good set is in use.
const AFTER_A_FAILURE: Duration = Duration::from_secs(30);
/// Between two looks at a file.
const FILE_POLL: Duration = Duration::from_secs(2);

/// Loads one issuer's keys for as long as an [`super::super::Authenticator`] uses them. Spawn
/// [`Refresher::run`] on any runtime with time and I/O.
#[derive(Debug)]
pub struct Refresher {
    keys: Weak<IssuerKeys>,
    source: Source,
    asked: mpsc::Receiver<()>,
    pace: Pace,
    saved: Option<SavedSet>,
    /// The last good set and its validator, for as long as no other came.
    last: Option<Last>,
    seen_change: Option<SystemTime>,
}

#[derive(Debug)]
struct Last {
    text: Vec<u8>,
    etag: Option<HeaderValue>,
}

impl Refresher {
    pub(super) const fn new(
        keys: Weak<IssuerKeys>,
        source: Source,
        asked: mpsc::Receiver<()>,
        pace: Pace,
        saved: Option<SavedSet>,
    ) -> Self {
        Self { keys, source, asked, pace, saved, last: None, seen_change: None }
    }

    /// Loads until nobody uses the keys any more.
    pub async fn run(mut self, clock: Clock) {
        let mut was_asked = false;
        while let Some(wait) = self.load(was_asked, &clock).await {
            match self.wait(wait, &clock).await {
                Some(asked) => was_asked = asked,
                None => break,
            }
        }
    }

    /// Loads once; the time until the next load, or [`None`] when nobody uses the keys any more.
    async fn load(&mut self, was_asked: bool, clock: &Clock) -> Option<Duration> {
        let began = clock.now();
        self.keys.upgrade()?.begin_load(was_asked, began);
        // What was asked before the load began is answered by it.
        while self.asked.try_recv().is_ok() {}
        self.seen_change = self.source.changed_at().await;
        let etag = self.last.as_ref().and_then(|last| last.etag.as_ref());
        let loaded = self.source.load(etag).await;
        let keys = self.keys.upgrade()?;
        let now = clock.now();
        let wait = match keys.end_load(loaded, began, now) {
            Ok(Loaded::NotModified { freshness }) => {
                self.save(began.unix_seconds()).await;
                freshness.wait(&self.pace)
            }
            Ok(Loaded::Set { text, etag, freshness }) => {
                self.last = Some(Last { text, etag });
                self.save(began.unix_seconds()).await;
                freshness.wait(&self.pace)
            }
            Err(failure) => {
                tracing::warn!(issuer = &**keys.issuer(), "the issuer's keys were not renewed: {failure}");
                let retry = if keys.has_keys(now) { AFTER_A_FAILURE } else { WITHOUT_KEYS };
                retry.min(Freshness::Unsaid.wait(&self.pace))
            }
        };
        Some(spread(wait, now))
    }

    /// Keeps the last good set on disk for the next process, as loaded at `unix_seconds`.
    async fn save(&self, unix_seconds: u64) {
        let (Some(saved), Some(last)) = (&self.saved, &self.last) else { return };
        let (saved, text) = (saved.clone(), last.text.clone());
        let written = tokio::task::spawn_blocking(move || saved.save(&text, unix_seconds)).await;
        if let Err(error) = written.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped))) {
            tracing::warn!("an issuer's keys cannot be saved: {error}; check authentication.keys_folder");
        }
    }

    /// Waits for the time to pass, an ask, or a change of the file. Whether it was an ask; [`None`] when nobody uses
    /// the keys any more.
    async fn wait(&mut self, wait: Duration, clock: &Clock) -> Option<bool> {
        let mut end = Instant::now() + wait;
        let mut was_asked = false;
        loop {
            let until = if self.source.is_file() { end.min(Instant::now() + FILE_POLL) } else { end };
            match tokio::time::timeout_at(until, self.asked.recv()).await {
                Ok(None) => return None,
                Ok(Some(())) => {
                    was_asked = true;
                    end = end.min(Instant::now() + self.keys.upgrade()?.cool_down(clock.now()));
                }
                Err(_) if until == end => return Some(was_asked),
                Err(_) => {
                    let changed = self.source.changed_at().await;
                    if changed.is_some() && changed != self.seen_change {
                        return Some(was_asked);
                    }
                }
            }
        }
    }
}
