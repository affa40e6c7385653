//! Revocations that are in force here although the store does not have them yet.
//!
//! A revocation is in force in this process before the store is asked. If the store cannot write it, it stays in
//! force, with the tokens of the family that the store would revoke along, and is written as soon as that can be done.
//! Other processes on the same store learn of it only then: the store is all that they have in common.

mod names;
mod queue;
mod revoke;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;

use super::Registry;
use super::record::{NEVER, Values};
use super::revoked_jwts::{JwtNames, RevokedJwts};
use crate::clock::Now;
use crate::domain::TokenId;
use crate::tokens::{Error, JwtRevocation};
use names::Names;
use queue::{Queue, Write};

/// How many revocations may wait for the store.
pub const MOST_UNWRITTEN: usize = 10_000;
/// How many are tried between two looks at the log.
const AT_ONCE: usize = 200;

/// What waits for the store.
#[derive(Default)]
pub(super) struct Unwritten {
    /// Tokens that are refused, with how many revocations say so.
    refused: DashMap<TokenId, u32>,
    /// How many say so in all, so that a request need not look while there are none.
    count: AtomicUsize,
    /// JWTs that are refused; [`None`] while none are.
    jwts: ArcSwapOption<RevokedJwts>,
    /// How many revocations of JWTs that are of.
    jwt_count: AtomicUsize,
    /// Operators that are refused, with how many revocations say so.
    operators: Names,
    /// Workspaces that are deleted, with how many revocations say so.
    workspaces: Names,
    queue: Mutex<Queue>,
    /// Held by the one who looks for relatives.
    searching: Mutex<()>,
}

/// What a revocation takes out of force.
#[derive(Clone, Debug)]
pub(super) enum Revoked {
    Token {
        id: TokenId,
        reach: Reach,
    },
    Jwts(JwtRevocation),
    Operator(String),
    /// A workspace that is deleted, with all that is its.
    Workspace(String),
}

/// Which tokens of a family end with one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    /// Those that it replaced.
    Predecessors,
    /// All that work.
    Family,
}

impl Revoked {
    /// What it is called, and by which name.
    fn named(&self) -> (&'static str, String) {
        match self {
            Self::Token { id, .. } => ("token", id.to_string()),
            Self::Jwts(revocation) => ("JWT revocation", revocation.id.clone()),
            Self::Operator(name) => ("operator", name.clone()),
            Self::Workspace(id) => ("workspace", id.clone()),
        }
    }

    /// The same for all that take the same out of force.
    fn key(&self) -> String {
        match self {
            Self::Token { id, reach } => format!("{reach:?} {}", &**id),
            Self::Jwts(revocation) => format!("{:?}", revocation.jwts),
            Self::Operator(name) => format!("operator {name}"),
            Self::Workspace(id) => format!("workspace {id}"),
        }
    }
}

impl Unwritten {
    /// Whether a token is refused although its record does not say so.
    pub(super) fn refuses(&self, id: &str) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.refused.contains_key(id)
    }

    /// Whether a JWT is refused although the store does not say so.
    pub(super) fn refuses_jwt(&self, jwt: &JwtNames<'_>) -> bool {
        self.jwt_count.load(Ordering::Acquire) > 0
            && self.jwts.load().as_ref().is_some_and(|revoked| revoked.holds(jwt))
    }

    /// Whether an operator is refused although its record does not say so.
    pub(super) fn refuses_operator(&self, name: &str) -> bool {
        self.operators.hold(name)
    }

    /// Whether a workspace is deleted although the store does not say so.
    pub(super) fn refuses_workspace(&self, id: &str) -> bool {
        self.workspaces.hold(id)
    }

    fn refuse(&self, id: &TokenId) {
        *self.refused.entry(id.clone()).or_insert(0) += 1;
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    fn allow(&self, id: &TokenId) {
        if let Some(mut times) = self.refused.get_mut(id) {
            *times = times.saturating_sub(1);
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
        self.refused.remove_if(id, |_, times| *times == 0);
    }

    /// Refuses what a revocation that was put into the queue is of.
    fn enforce(&self, queue: &Queue, revoked: &Revoked) {
        match revoked {
            Revoked::Token { id, .. } => self.refuse(id),
            Revoked::Jwts(_) => self.refuse_jwts(queue),
            Revoked::Operator(name) => self.operators.refuse(name),
            Revoked::Workspace(id) => self.workspaces.refuse(id),
        }
    }

    /// Ends what [`Unwritten::enforce`] began, once the revocation is out of the queue.
    fn relax(&self, queue: &Queue, revoked: &Revoked, relatives: &[TokenId]) {
        match revoked {
            Revoked::Token { id, .. } => relatives.iter().chain([id]).for_each(|id| self.allow(id)),
            Revoked::Jwts(_) => self.refuse_jwts(queue),
            Revoked::Operator(name) => self.operators.allow(name),
            Revoked::Workspace(id) => self.workspaces.allow(id),
        }
    }

    /// Refuses the JWTs that the queue has, and no others.
    fn refuse_jwts(&self, queue: &Queue) {
        let revoked = RevokedJwts::default();
        queue.jwts().for_each(|revocation| revoked.put(revocation));
        let count = revoked.len();
        self.jwts.store((count > 0).then(|| Arc::new(revoked)));
        self.jwt_count.store(count, Ordering::Release);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many revocations wait for the store.
    pub(super) fn len(&self) -> usize {
        self.queue().waiting()
    }

    /// Takes revocations out of the queue.
    fn remove(&self, numbers: &[u64]) -> Vec<Revoked> {
        let mut queue = self.queue();
        let gone = queue.remove(numbers);
        for gone in &gone {
            self.relax(&queue, &gone.revoked, gone.relatives.as_deref().unwrap_or_default());
        }
        gone.into_iter().map(|gone| gone.revoked).collect()
    }
}

impl fmt::Debug for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unwritten").field("waiting", &self.len()).finish_non_exhaustive()
    }
}

/// Tokens that are refused for as long as this lives.
#[derive(Debug)]
pub struct HeldTokens<'r> {
    unwritten: &'r Unwritten,
    ids: Vec<TokenId>,
}

impl Drop for HeldTokens<'_> {
    fn drop(&mut self) {
        self.ids.iter().for_each(|id| self.unwritten.allow(id));
    }
}

impl Registry {
    /// Refuses tokens here, whatever their records say, for as long as what this answers lives: whoever is about to
    /// revoke them need not wait for the store.
    pub fn hold<'i>(&self, ids: impl IntoIterator<Item = &'i str>) -> HeldTokens<'_> {
        let ids: Vec<TokenId> = ids.into_iter().map(TokenId::from).collect();
        for id in &ids {
            self.unwritten.refuse(id);
        }
        HeldTokens { unwritten: &self.unwritten, ids }
    }

    /// How many revocations are in force here and not yet in the store.
    pub fn unwritten_revocations(&self) -> usize {
        self.unwritten.len()
    }

    /// Whether this process has now read all that the store says. A workspace whose region is not configured keeps
    /// nobody else's tokens from being followed.
    fn follows(&self, now: Now) -> bool {
        matches!(self.sync(now), Ok(_) | Err(Error::Unplaced { .. }))
    }

    /// Tries to write what waits, oldest first. Blocks.
    pub(super) fn write_revocations(&self, now: Now) {
        let tried = self.unwritten.queue().due(AT_ONCE);
        let written = tried.iter().take_while(|(_, write)| self.is_written(&**write));
        let written: Vec<u64> = written.map(|(number, _)| *number).collect();
        // Until the log says so, only what waits keeps them refused.
        if written.is_empty() || !self.follows(now) {
            return;
        }
        for revoked in self.unwritten.remove(&written) {
            let (what, name) = revoked.named();
            tracing::info!(what, name, "a revocation that waited for the store was written");
        }
    }

    /// Whether the store has it now, or will never have it.
    fn is_written(&self, write: &Write) -> bool {
        match write(&*self.store) {
            Ok(()) => true,
            Err(error) if error.is_of_the_store() => false,
            Err(error) => {
                tracing::error!(%error, "a revocation that waited for the store was refused");
                true
            }
        }
    }

    /// Refuses those that the store would revoke with what waits. A family is known by its number, and predecessors by
    /// their end, which only a rotated token has; of a token that was rotated itself they cannot be told from what came
    /// after it, and wait for the store. Looks through all tokens, twice; meanwhile nobody waits for the queue,
    /// and whoever comes meanwhile is dealt with by the next look, together with all others.
    fn refuse_relatives(&self) {
        let _one_at_a_time = self.unwritten.searching.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = self.unwritten.queue().take_unsearched();
        if wanted.is_empty() {
            return;
        }
        let mut by_id: HashMap<&TokenId, Vec<(u64, Reach)>> = HashMap::new();
        for (number, id, reach) in &wanted {
            by_id.entry(id).or_default().push((*number, *reach));
        }
        let mut families: HashMap<u64, Vec<(u64, &TokenId, Reach)>> = HashMap::new();
        self.each_token(|id, values| {
            let Some((id, revocations)) = by_id.get_key_value(id) else { return };
            for (number, reach) in revocations {
                if *reach == Reach::Family || values.ends == NEVER {
                    families.entry(values.number).or_default().push((*number, id, *reach));
                }
            }
        });
        let mut relatives: HashMap<u64, Vec<TokenId>> = HashMap::new();
        if !families.is_empty() {
            self.each_token(|id, values| {
                for (number, of, reach) in families.get(&values.number).into_iter().flatten() {
                    let ends_too = values.ends != 0 && (*reach == Reach::Family || values.ends != NEVER);
                    if ends_too && id != *of {
                        relatives.entry(*number).or_default().push(id.clone());
                    }
                }
            });
        }
        let mut queue = self.unwritten.queue();
        for (number, _, _) in &wanted {
            let found = relatives.remove(number).unwrap_or_default();
            if queue.lacks_relatives(*number) {
                for id in &found {
                    self.unwritten.refuse(id);
                }
                queue.set_relatives(*number, found);
            }
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
