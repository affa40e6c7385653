//! The gate in front of asking an issuer for a key that its set does not hold.
//!
//! Nobody is told that a key does not exist unless the issuer was asked after the token was made: a load that began
//! earlier says nothing of a key that was published since. While a cool-down forbids another load, such
//! tokens wait for its end, as many as there are places; the others are told that it cannot be said.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::IssuerKeys;
use crate::clock::Now;

/// The most requests that wait for one issuer at a time.
const MAX_WAITING: u32 = 1024;
/// The longest rest of a cool-down that is waited for.
const LONGEST_COOL_DOWN: Duration = Duration::from_secs(5);
/// The longest wait in all.
const LONGEST_WAIT: Duration = Duration::from_secs(7);

/// What asking for an unknown key led to.
#[derive(Debug)]
pub(in crate::authentication) enum Ask {
    /// A load is under way or will be soon: wait for its end, then look again.
    Wait(Arrival),
    /// The keys have changed since they were looked at.
    LookAgain,
    /// The issuer was asked since the token was made: the key does not exist.
    Refused,
    /// The issuer cannot be asked, so nothing can be said of the key.
    Unavailable,
}

/// The end of a load. Holds one of the issuer's waiting places until it is dropped.
#[derive(Debug)]
pub(in crate::authentication) struct Arrival {
    keys: Arc<IssuerKeys>,
    ended: watch::Receiver<u64>,
    seen_generation: u64,
    asked_nanos: u64,
}

impl Arrival {
    /// Waits at most 7 s, until the keys change or a load ends that began after the ask. True if such a load
    /// succeeded, so that a key that is still unknown does not exist.
    pub(in crate::authentication) async fn wait(mut self) -> bool {
        let settled = async {
            loop {
                if self.ended.changed().await.is_err() || self.keys.last_load_failed() {
                    return false;
                }
                if self.keys.renewed_since(self.asked_nanos) {
                    return true;
                }
                if self.keys.generation.load(Ordering::Acquire) != self.seen_generation {
                    return false;
                }
                // The load was under way already when this was asked. A full channel means that others ask, too.
                let _ = self.keys.asks.try_send(());
            }
        };
        tokio::time::timeout(LONGEST_WAIT, settled).await.unwrap_or(false)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.keys.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl IssuerKeys {
    /// Asks for a key that the set of generation `seen` does not hold, for a token that was made in the second
    /// `made_by` at the latest, if that is known. At most one load per cool-down, shared by all who ask.
    pub(in crate::authentication) fn ask(
        self: &Arc<Self>,
        seen_generation: u64,
        made_by: Option<i64>,
        now: Now,
    ) -> Ask {
        // Subscribed before anything is read, so that no end of a load is missed.
        let ended = self.ended.subscribe();
        let asked_nanos = now.monotonic_nanos;
        let arrival =
            |keys: &Arc<Self>| Arrival { keys: Arc::clone(keys), ended, seen_generation, asked_nanos };
        if asked_nanos < self.loading_until_nanos.load(Ordering::Acquire) {
            return self.join(arrival);
        }
        if self.generation.load(Ordering::Acquire) != seen_generation {
            return Ask::LookAgain;
        }
        if !self.has_keys(now) {
            return Ask::Unavailable;
        }
        let rest = self.cool_down(now);
        if !rest.is_zero() {
            if self.last_load_failed() {
                return Ask::Unavailable;
            }
            if made_by.is_some_and(|second| self.renewed_after_second(second)) {
                return Ask::Refused;
            }
            if rest > LONGEST_COOL_DOWN {
                return Ask::Unavailable;
            }
        }
        // A full channel means that a load is about to begin anyway.
        let _ = self.asks.try_send(());
        self.join(arrival)
    }

    fn join(self: &Arc<Self>, arrival: impl FnOnce(&Arc<Self>) -> Arrival) -> Ask {
        // Dropping the arrival gives the place back.
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let arrival = arrival(self);
        if before < MAX_WAITING { Ask::Wait(arrival) } else { Ask::Unavailable }
    }

    /// The time until an ask may cause a load.
    pub(super) fn cool_down(&self, now: Now) -> Duration {
        let next = self.next_ask_nanos.load(Ordering::Acquire);
        Duration::from_nanos(next.saturating_sub(now.monotonic_nanos))
    }
}
