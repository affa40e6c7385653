//! Leaked tokens inside a writing transaction.

use serde_json::json;

use super::{Failure, Tables, Writing};
use crate::tokens::store::{ChangeKind, LeakRevocation, LeakedToken};
use crate::tokens::{TokenRecord, TokenState};

/// Why a leaked token was revoked.
const REASON: &str = "leaked";

impl<T: Tables> Writing<'_, T> {
    pub(in crate::tokens::store) fn revoke_leaked(
        &mut self,
        found: &[LeakedToken],
    ) -> Result<Vec<LeakRevocation>, Failure> {
        let mut owed = Vec::new();
        let revoked = found.iter().map(|one| self.revoke_one(one, &mut owed)).collect::<Result<_, _>>()?;
        self.on.insert_owed(&owed, self.millis())?;
        Ok(revoked)
    }

    fn revoke_one(
        &mut self,
        found: &LeakedToken,
        owed: &mut Vec<(u64, String)>,
    ) -> Result<LeakRevocation, Failure> {
        let Some(stored) = self.on.token(&found.token_id)? else {
            return Ok(LeakRevocation::Unknown);
        };
        let token = stored.record;
        let state = token.state_at(self.seconds());
        if state != TokenState::Active {
            return Ok(LeakRevocation::NotActive(state));
        }
        if token.is_decoy {
            // It was put there to be found, and goes on telling who uses it.
            if self.on.last_told(&token.id, ChangeKind::DecoyFound)?.is_none_or(|last| self.is_over(last)) {
                let body = json!({"workspace": token.workspace, "name": token.name, "leak": found.leak});
                self.append(ChangeKind::DecoyFound, &token.id, &body);
            }
            return Ok(LeakRevocation::Decoy);
        }
        let family = self.working_family_of(&token)?;
        let also: Vec<&str> = family.iter().map(|one| &*one.id).collect();
        self.set_revoked(&token.id, REASON)?;
        let body = json!({"workspace": token.workspace, "name": token.name, "reason": REASON,
                          "leak": found.leak, "also_revoked": also});
        self.append(ChangeKind::TokenRevoked, &token.id, &body);
        owed.push((self.seq, token.workspace.clone()));
        for one in &family {
            let reason = format!("{REASON} ({} of its family was found)", token.id);
            self.mark_revoked(&one.id, &one.workspace, &one.name, &reason)?;
        }
        let revoked = std::iter::once(token.id).chain(family.into_iter().map(|one| one.id));
        Ok(LeakRevocation::Revoked(revoked.collect()))
    }

    /// The other tokens of a token's family that work.
    fn working_family_of(&self, token: &TokenRecord) -> Result<Vec<TokenRecord>, Failure> {
        let family = self.on.working_family(&token.family, self.seconds())?;
        Ok(family.into_iter().filter(|other| other.id != token.id).collect())
    }
}
