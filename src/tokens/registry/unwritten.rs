//! Revocations that are in force here although the store does not have them yet.
//!
//! A revocation is in force in this process before the store is asked. If the store cannot write it, it stays in
//! force, with the tokens of the family that the store would revoke along, and is written as soon as that can be done.
//! Other processes on the same store learn of it only then: the store is all that they have in common.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dashmap::DashSet;

use super::Registry;
use super::record::{NEVER, Values};
use crate::clock::Now;
use crate::domain::TokenId;
use crate::tokens::mint::check_text;
use crate::tokens::{Act, Error, LeakedToken, Store, TokenRecord};

/// How many revocations may wait for the store.
pub const MOST_UNWRITTEN: usize = 10_000;
/// How many are tried between two looks at the log.
const AT_ONCE: usize = 200;

/// Writes a revocation; may be called again after it failed, and after it succeeded.
type Write = Box<dyn Fn(&dyn Store) -> Result<(), Error> + Send>;

/// What waits for the store.
#[derive(Default)]
pub(super) struct Unwritten {
    /// Tokens that are refused, with how many revocations say so.
    refused: DashSet<TokenId>,
    /// How many there are, so that a request need not look while there are none.
    count: AtomicUsize,
    waiting: Mutex<VecDeque<Waiting>>,
}

struct Waiting {
    id: TokenId,
    write: Write,
    reach: Reach,
    /// Others of its family that end with it; [`None`] until they were looked for.
    relatives: Option<Vec<TokenId>>,
}

/// Which tokens of a family end with one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Those that it replaced.
    Predecessors,
    /// All that work.
    Family,
}

impl Unwritten {
    /// Whether a token is refused although its record does not say so.
    pub(super) fn refuses(&self, id: &str) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.refused.contains(id)
    }

    fn refuse(&self, id: &TokenId) {
        if self.refused.insert(id.clone()) {
            self.count.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn allow(&self, id: &str) {
        if self.refused.remove(id).is_some() {
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a revocation of this very token waits.
    fn is_waiting(&self, id: &TokenId) -> bool {
        self.refuses(id) && self.waiting().iter().any(|one| one.id == *id)
    }

    /// How many revocations wait for the store.
    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }
}

impl fmt::Debug for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unwritten").field("waiting", &self.len()).finish_non_exhaustive()
    }
}

impl Registry {
    /// Revokes a token and its predecessors that still work, as [`Store::revoke_token`] does.
    ///
    /// It is refused here before the store is asked. If the store fails, it stays refused: the answer is
    /// [`Error::RevocationUnwritten`], and the revocation is written when that can be done.
    /// [`Error::TooManyUnwritten`] if too many wait already, and then nothing was done. Blocks.
    pub fn revoke(&self, act: Act<'_>, id: &str, reason: &str) -> Result<TokenRecord, Error> {
        check_text("reason", reason, 256)?;
        let (actor, now, owned_id, reason) =
            (act.actor.to_owned(), act.now, id.to_owned(), reason.to_owned());
        let write =
            move |store: &dyn Store| store.revoke_token(Act { actor: &actor, now }, &owned_id, &reason);
        self.revoke_by(id, now, write)
    }

    /// As [`Registry::revoke`], for any way to write a revocation. `write` may be called again after it failed and
    /// after it succeeded.
    pub fn revoke_by<T>(
        &self,
        id: &str,
        now: Now,
        write: impl Fn(&dyn Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let id = TokenId::from(id);
        let was_refused = self.unwritten.refuses(&id);
        if !was_refused && self.unwritten.len() >= MOST_UNWRITTEN {
            return Err(Error::TooManyUnwritten(MOST_UNWRITTEN));
        }
        self.unwritten.refuse(&id);
        match write(&*self.store) {
            Ok(written) => {
                if !self.follows(now) {
                    self.wait_for_store(&id, Reach::Predecessors, write);
                    self.refuse_relatives();
                } else if !was_refused {
                    self.unwritten.allow(&id);
                }
                Ok(written)
            }
            Err(error) if error.is_of_the_store() => {
                if !was_refused {
                    self.wait_for_store(&id, Reach::Predecessors, write);
                    self.refuse_relatives();
                }
                tracing::error!(token = &*id, %error, "a revocation is in force here, but not yet in the store");
                Err(Error::RevocationUnwritten { id: id.to_string(), source: Box::new(error) })
            }
            Err(error) => {
                if !was_refused {
                    self.unwritten.allow(&id);
                }
                Err(error)
            }
        }
    }

    /// Refuses leaked tokens here, each with its whole family, until the store has revoked them, which it has just
    /// failed to do; answers with those for which there is no room, because too many wait already. Blocks.
    pub fn refuse_leaked(&self, actor: &'static str, now: Now, leaked: Vec<LeakedToken>) -> Vec<String> {
        let mut left_out = Vec::new();
        for one in leaked {
            let id = TokenId::from(&*one.token_id);
            if self.unwritten.is_waiting(&id) {
                continue;
            }
            if self.unwritten.len() >= MOST_UNWRITTEN {
                left_out.push(one.token_id);
                continue;
            }
            self.unwritten.refuse(&id);
            self.wait_for_store(&id, Reach::Family, move |store| {
                store.revoke_leaked(Act { actor, now }, std::slice::from_ref(&one))
            });
        }
        self.refuse_relatives();
        left_out
    }

    /// How many revocations are in force here and not yet in the store.
    pub fn unwritten_revocations(&self) -> usize {
        self.unwritten.len()
    }

    fn wait_for_store<T>(
        &self,
        id: &TokenId,
        reach: Reach,
        write: impl Fn(&dyn Store) -> Result<T, Error> + Send + 'static,
    ) {
        let write: Write = Box::new(move |store| write(store).map(drop));
        self.unwritten.waiting().push_back(Waiting { id: id.clone(), write, reach, relatives: None });
    }

    /// Whether this process has now read all that the store says. A workspace whose region is not configured keeps
    /// nobody else's tokens from being followed.
    fn follows(&self, now: Now) -> bool {
        matches!(self.sync(now), Ok(_) | Err(Error::Unplaced { .. }))
    }

    /// Tries to write what waits, oldest first. Blocks.
    pub(super) fn write_revocations(&self, now: Now) {
        if self.unwritten.len() == 0 {
            return;
        }
        let mut tried: Vec<Waiting> = {
            let mut waiting = self.unwritten.waiting();
            let count = waiting.len().min(AT_ONCE);
            waiting.drain(..count).collect()
        };
        let written = tried.iter().take_while(|one| self.is_written(one)).count();
        let left = tried.split_off(written);
        // Until the log says so, only what waits keeps them refused.
        let is_in_force = !tried.is_empty() && self.follows(now);
        if is_in_force {
            for done in tried.drain(..) {
                done.relatives.iter().flatten().chain([&done.id]).for_each(|id| self.unwritten.allow(id));
                tracing::info!(token = &*done.id, "a revocation that waited for the store was written");
            }
        }
        let mut waiting = self.unwritten.waiting();
        tried.into_iter().chain(left).rev().for_each(|one| waiting.push_front(one));
    }

    /// Whether the store has it now, or will never have it.
    fn is_written(&self, waiting: &Waiting) -> bool {
        match (waiting.write)(&*self.store) {
            Ok(()) => true,
            Err(error) if error.is_of_the_store() => false,
            Err(error) => {
                tracing::error!(token = &*waiting.id, %error, "a revocation that waited for the store was refused");
                true
            }
        }
    }

    /// Refuses those that the store would revoke with what waits. A family is known by its number, and predecessors by
    /// their end, which only a rotated token has. Looks through all tokens, twice.
    fn refuse_relatives(&self) {
        let mut waiting = self.unwritten.waiting();
        let wanted: HashMap<&TokenId, Reach> =
            waiting.iter().filter(|one| one.relatives.is_none()).map(|one| (&one.id, one.reach)).collect();
        if wanted.is_empty() {
            return;
        }
        let mut families: HashMap<u64, Vec<(TokenId, Reach)>> = HashMap::new();
        self.each_token(|id, values| match wanted.get(id) {
            Some(Reach::Predecessors) if values.ends != NEVER => {}
            Some(reach) => families.entry(values.number).or_default().push((id.clone(), *reach)),
            None => {}
        });
        let mut relatives: HashMap<TokenId, Vec<TokenId>> = HashMap::new();
        self.each_token(|id, values| {
            for (of, reach) in families.get(&values.number).into_iter().flatten() {
                let ends_too = match reach {
                    Reach::Predecessors => values.ends != NEVER && values.ends != 0,
                    Reach::Family => values.ends != 0,
                };
                if ends_too && id != of {
                    self.unwritten.refuse(id);
                    relatives.entry(of.clone()).or_default().push(id.clone());
                }
            }
        });
        for one in waiting.iter_mut().filter(|one| one.relatives.is_none()) {
            one.relatives = Some(relatives.remove(&one.id).unwrap_or_default());
        }
    }

    /// Calls `visit` with every token that has an id.
    fn each_token(&self, mut visit: impl FnMut(&TokenId, &Values)) {
        let visited: Result<(), std::convert::Infallible> = self.tokens.try_for_each(|_, values| {
            if let Some(id) = self.id_of(values.id) {
                visit(&id, values);
            }
            Ok(())
        });
        match visited {
            Ok(()) => {}
        }
    }
}

#[cfg(test)]
mod tests;
