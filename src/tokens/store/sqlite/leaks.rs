//! Leaked tokens inside a writing transaction.

use serde_json::json;

use super::rows;
use super::write::Writing;
use super::{Failure, SqliteStore};
use crate::tokens::store::{Act, ChangeKind, LeakRevocation, LeakedToken, Leaks};
use crate::tokens::{Error, TokenRecord, TokenState};

/// Why a leaked token was revoked.
const REASON: &str = "leaked";

impl Leaks for SqliteStore {
    fn revoke_leaked(&self, act: Act<'_>, found: &[LeakedToken]) -> Result<Vec<LeakRevocation>, Error> {
        self.write(act, |writing| found.iter().map(|one| writing.revoke_leaked(one)).collect())
    }
}

impl Writing<'_> {
    fn revoke_leaked(&mut self, found: &LeakedToken) -> Result<LeakRevocation, Failure> {
        let Some(stored) = rows::token_by_id(self.on, &found.token_id)? else {
            return Ok(LeakRevocation::Unknown);
        };
        let token = stored.record;
        let state = token.state_at(self.seconds());
        if state != TokenState::Active {
            return Ok(LeakRevocation::NotActive(state));
        }
        let family = self.working_family_of(&token)?;
        let also: Vec<&str> = family.iter().map(|one| &*one.id).collect();
        self.set_revoked(&token.id, REASON)?;
        let body = json!({"workspace": token.workspace, "name": token.name, "reason": REASON,
                          "leak": found.leak, "also_revoked": also});
        self.append(ChangeKind::TokenRevoked, &token.id, &body)?;
        self.enqueue(&token.workspace)?;
        for one in &family {
            let reason = format!("{REASON} ({} of its family was found)", token.id);
            self.mark_revoked(&one.id, &one.workspace, &one.name, &reason)?;
        }
        let revoked = std::iter::once(token.id).chain(family.into_iter().map(|one| one.id));
        Ok(LeakRevocation::Revoked(revoked.collect()))
    }

    /// The other tokens of a token's family that work.
    fn working_family_of(&self, token: &TokenRecord) -> Result<Vec<TokenRecord>, Failure> {
        let mut ids = Vec::new();
        rows::ids_of_family(self.on, &token.family, &mut ids)?;
        ids.sort_unstable();
        let mut working = Vec::new();
        for id in ids.iter().filter(|id| **id != token.id) {
            let other = rows::token_by_id(self.on, id)?.map(|stored| stored.record);
            working.extend(other.filter(|other| other.state_at(self.seconds()) == TokenState::Active));
        }
        Ok(working)
    }
}
