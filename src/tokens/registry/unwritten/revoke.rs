//! Revoking: here at once, then in the store.

use std::sync::Arc;

use super::queue::Write;
use super::{MOST_UNWRITTEN, Reach, Registry, Revoked};
use crate::clock::Now;
use crate::domain::{JwtLifetime, TokenId, WorkspaceState};
use crate::tokens::mint::check_text;
use crate::tokens::{
    Act, Error, JwtRevocation, JwtsRevoked, LeakedToken, Mint, OperatorRecord, Store, TokenRecord,
    WorkspaceChange, WorkspaceRecord,
};

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
        let write = move |store: &dyn Store| store.revoke_token(Act::by(&actor, now), &owned_id, &reason);
        self.revoke_by(id, now, write)
    }

    /// As [`Registry::revoke`], for any way to write a revocation. `write` may be called again after it failed and
    /// after it succeeded.
    pub fn revoke_by<T>(
        &self,
        id: &str,
        now: Now,
        write: impl Fn(&dyn Store) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let revoked = Revoked::Token { id: TokenId::from(id), reach: Reach::Predecessors };
        self.put_in_force(&revoked, now, write)
    }

    /// Revokes JWTs as [`Mint::revoke_jwts`] does, and as [`Registry::revoke`] here at once, whatever the store does.
    /// A workspace that this process knows need not be looked up in the store.
    pub fn revoke_jwts(
        &self,
        mint: &Mint,
        act: Act<'_>,
        (jwts, reason): (&JwtsRevoked, &str),
        accepted: &[JwtLifetime],
    ) -> Result<JwtRevocation, Error> {
        let new = mint.jwt_revocation(act, jwts, reason, accepted, |workspace| {
            if self.workspace(workspace).is_some() { Ok(()) } else { mint.workspace(workspace).map(drop) }
        })?;
        let revocation = JwtRevocation {
            id: new.id.clone(),
            jwts: new.jwts.clone(),
            reason: new.reason.clone(),
            revoked_at_unix_seconds: act.now.unix_seconds(),
            ends_at_unix_seconds: new.ends_at_unix_seconds,
        };
        let (actor, now) = (act.actor.to_owned(), act.now);
        let write = move |store: &dyn Store| store.revoke_jwts(Act::by(&actor, now), &new);
        self.put_in_force(&Revoked::Jwts(revocation), now, write)
    }

    /// Revokes an operator's token as [`Mint::revoke_operator`] does, and as [`Registry::revoke`] here at once.
    pub fn revoke_operator(&self, act: Act<'_>, name: &str) -> Result<OperatorRecord, Error> {
        if !self.knows_operator(name) {
            return self.store.revoke_operator(act, name);
        }
        let (actor, now, owned) = (act.actor.to_owned(), act.now, name.to_owned());
        let write = move |store: &dyn Store| store.revoke_operator(Act::by(&actor, now), &owned);
        self.put_in_force(&Revoked::Operator(name.to_owned()), now, write)
    }

    /// Changes a workspace as [`Mint::set_workspace`] does. If that deletes it, it is deleted here at once, with all of
    /// its tokens and JWTs, as [`Registry::revoke`] revokes.
    pub fn set_workspace(
        &self,
        mint: &Mint,
        act: Act<'_>,
        id: &str,
        change: &WorkspaceChange,
    ) -> Result<WorkspaceRecord, Error> {
        mint.check_workspace_change(change)?;
        if change.state != Some(WorkspaceState::Deleted) || self.workspace(id).is_none() {
            return self.store.set_workspace(act, id, change);
        }
        let (actor, now) = (act.actor.to_owned(), act.now);
        let (owned, change) = (id.to_owned(), change.clone());
        let write = move |store: &dyn Store| store.set_workspace(Act::by(&actor, now), &owned, &change);
        self.put_in_force(&Revoked::Workspace(id.to_owned()), now, write)
    }

    /// Refuses leaked tokens here, each with its whole family, until the store has revoked them, which it has just
    /// failed to do; answers with those for which there is no room, because too many wait already. Blocks.
    pub fn refuse_leaked(&self, actor: &'static str, now: Now, leaked: Vec<LeakedToken>) -> Vec<String> {
        let mut left_out = Vec::new();
        for one in leaked {
            let id = TokenId::from(&*one.token_id);
            let token_id = one.token_id.clone();
            let write: Arc<Write> = Arc::new(move |store| {
                store.revoke_leaked(Act::by(actor, now), std::slice::from_ref(&one)).map(drop)
            });
            match self.enqueue(&Revoked::Token { id, reach: Reach::Family }, write) {
                Some((number, _)) => self.unwritten.queue().wait(number),
                None => left_out.push(token_id),
            }
        }
        self.refuse_relatives();
        left_out
    }

    /// Has a revocation refused here at once: its number, and whether it was not there yet. [`None`] if there is no
    /// room for it.
    fn enqueue(&self, revoked: &Revoked, write: Arc<Write>) -> Option<(u64, bool)> {
        let mut queue = self.unwritten.queue();
        if let Some(number) = queue.of(revoked) {
            return Some((number, false));
        }
        if queue.len() >= MOST_UNWRITTEN {
            return None;
        }
        let number = queue.push(revoked.clone(), write);
        self.unwritten.enforce(&queue, revoked);
        Some((number, true))
    }

    fn put_in_force<T>(
        &self,
        revoked: &Revoked,
        now: Now,
        write: impl Fn(&dyn Store) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let (what, id) = revoked.named();
        let write = Arc::new(write);
        let again = Arc::clone(&write);
        let later: Arc<Write> = Arc::new(move |store| again(store).map(drop));
        let (number, is_new) = self.enqueue(revoked, later).ok_or(Error::TooManyUnwritten(MOST_UNWRITTEN))?;
        match write(&*self.store) {
            Ok(written) => {
                if self.follows(now) {
                    self.unwritten.remove(&[number]);
                } else {
                    self.wait_for_store(number);
                }
                Ok(written)
            }
            Err(error) if error.is_of_the_store() => {
                self.wait_for_store(number);
                tracing::error!(what, id, %error, "a revocation is in force here, but not yet in the store");
                Err(Error::RevocationUnwritten { what, id, source: Box::new(error) })
            }
            Err(error) => {
                if is_new {
                    self.unwritten.remove(&[number]);
                }
                Err(error)
            }
        }
    }

    /// Leaves a revocation in force until it is written, with whatever else ends with it.
    fn wait_for_store(&self, number: u64) {
        self.unwritten.queue().wait(number);
        self.refuse_relatives();
    }
}
