//! Tokens that were seen and are stored under an outdated pepper, or as a plain SHA-256: they are to be moved.
//!
//! Only here is a token there in plain text, so only now can it be hashed anew. A request that meets one leaves both
//! digests, once, and goes on. The thread that tells of sightings has the store move them; memory follows by the log, as
//! on every other gateway.

use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Place;

use super::Registry;
use crate::clock::Now;
use crate::tokens::store::{Act, Rehash};
use crate::tokens::{Digest, Error};

/// How many may wait; more are met again.
const MOST_WAITING: usize = 10_000;
/// How many are moved in one transaction, which keeps other changes waiting.
const AT_ONCE: usize = 100;
/// How many are moved between two looks.
const MOST_AT_A_TIME: usize = 2_000;

/// What waits, by its present key.
#[derive(Debug, Default)]
pub(super) struct Outdated {
    waiting: DashMap<u128, Rehash>,
    count: AtomicUsize,
}

impl Registry {
    /// Notes by which digest a token was found, if that is outdated. Costs one comparison otherwise.
    pub(super) fn note_digest(&self, found: Digest, token: &[u8]) {
        if !self.peppers.outdates(found.scheme) || self.outdated.count.load(Ordering::Relaxed) >= MOST_WAITING
        {
            return;
        }
        if let Place::Vacant(place) = self.outdated.waiting.entry(found.key()) {
            place.insert(Rehash { from: found, to: self.peppers.digest(token) });
            self.outdated.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the store move what waits; answers with how many it moved. What it fails to take goes on waiting. Blocks.
    pub(super) fn move_outdated(&self, now: Now) -> Result<usize, Error> {
        if self.outdated.count.load(Ordering::Relaxed) == 0 {
            return Ok(0);
        }
        let all: Vec<Rehash> = self.outdated.waiting.iter().take(MOST_AT_A_TIME).map(|one| *one).collect();
        let mut moved = 0;
        for batch in all.chunks(AT_ONCE) {
            moved += self.store.rehash(Act::by("tollgate", now), batch)?;
            for one in batch {
                if self.outdated.waiting.remove(&one.from.key()).is_some() {
                    self.outdated.count.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
        Ok(moved)
    }
}

#[cfg(test)]
mod tests;
