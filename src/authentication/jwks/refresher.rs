//! The task that loads one issuer's keys: at the start, on its own pace, when asked, and when its file changes.

use std::sync::Weak;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::{IssuerKeys, Pace, Source};
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
    seen_change: Option<SystemTime>,
}

impl Refresher {
    pub(super) const fn new(
        keys: Weak<IssuerKeys>,
        source: Source,
        asked: mpsc::Receiver<()>,
        pace: Pace,
    ) -> Self {
        Self { keys, source, asked, pace, seen_change: None }
    }

    /// Loads until nobody uses the keys any more.
    pub async fn run(mut self, clock: Clock) {
        while let Some(wait) = self.load(&clock).await {
            if !self.wait(wait).await {
                break;
            }
        }
    }

    /// Loads once; the time until the next load, or [`None`] when nobody uses the keys any more.
    async fn load(&mut self, clock: &Clock) -> Option<Duration> {
        self.keys.upgrade()?.begin_load(clock.now());
        self.seen_change = self.source.changed_at().await;
        let loaded = self.source.load().await;
        let keys = self.keys.upgrade()?;
        // What was asked while the load ran is answered by it.
        while self.asked.try_recv().is_ok() {}
        let refresh = self.pace.refresh;
        let Err(failure) = keys.end_load(loaded, clock.now()) else { return Some(refresh) };
        tracing::warn!(issuer = &**keys.issuer(), "the issuer's keys were not renewed: {failure}");
        Some(if keys.has_keys(clock.now()) { refresh.min(AFTER_A_FAILURE) } else { WITHOUT_KEYS })
    }

    /// Waits for the time to pass, an ask, or a change of the file; false when nobody uses the keys any more.
    async fn wait(&mut self, wait: Duration) -> bool {
        let end = tokio::time::Instant::now() + wait;
        loop {
            let until =
                if self.source.is_file() { end.min(tokio::time::Instant::now() + FILE_POLL) } else { end };
            match tokio::time::timeout_at(until, self.asked.recv()).await {
                Ok(asked) => return asked.is_some(),
                Err(_) if until == end => return true,
                Err(_) => {
                    let changed = self.source.changed_at().await;
                    if changed.is_some() && changed != self.seen_change {
                        return true;
                    }
                }
            }
        }
    }
}
