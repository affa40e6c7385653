//! Leaked tokens inside a writing transaction.
//!
//! Whatever they are, they cost one statement to read, one to revoke and one to log: the log is locked meanwhile, and
//! every gateway waits for the commit.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Failure, Tables, Writing};
use crate::tokens::store::{ChangeKind, LeakRevocation, LeakedToken};
use crate::tokens::{TokenRecord, TokenState};

/// Why a leaked token was revoked.
const REASON: &str = "leaked";

/// What a transaction knows of the tokens that were found, and what it does.
struct Found {
    /// Those that were found and their families, by id, as they are now.
    tokens: BTreeMap<String, TokenRecord>,
    /// Ids and reasons.
    revoked: Vec<(String, String)>,
    /// Entries and workspaces of which somebody is to be told.
    owed: Vec<(u64, String)>,
}

impl<T: Tables> Writing<'_, T> {
    pub(in crate::tokens::store) fn revoke_leaked(
        &mut self,
        found: &[LeakedToken],
    ) -> Result<Vec<LeakRevocation>, Failure> {
        let ids: Vec<&str> = found.iter().map(|one| &*one.token_id).collect();
        let tokens = self.on.with_families(&ids, self.seconds())?;
        let tokens = tokens.into_iter().map(|token| (token.id.clone(), token)).collect();
        let mut all = Found { tokens, revoked: Vec::new(), owed: Vec::new() };
        let revoked = found.iter().map(|one| self.revoke_one(one, &mut all)).collect::<Result<_, _>>()?;
        if !all.revoked.is_empty() {
            self.on.set_all_revoked(&all.revoked, self.seconds())?;
        }
        self.on.insert_owed(&all.owed, self.millis())?;
        Ok(revoked)
    }

    fn revoke_one(&mut self, found: &LeakedToken, all: &mut Found) -> Result<LeakRevocation, Failure> {
        let Some(token) = all.tokens.get(&found.token_id).cloned() else {
            return Ok(LeakRevocation::Unknown);
        };
        let state = token.state_at(self.seconds());
        if state != TokenState::Active {
            return Ok(LeakRevocation::NotActive(state));
        }
        if token.is_decoy {
            return self.decoy_found(found, &token);
        }
        let family = all.working_family_of(&token, self.seconds());
        let also: Vec<&str> = family.iter().map(|one| &*one.id).collect();
        all.revoke(&token, REASON.to_owned(), self.seconds());
        let body = json!({"workspace": token.workspace, "name": token.name, "reason": REASON,
                          "leak": found.leak, "also_revoked": also});
        self.append(ChangeKind::TokenRevoked, &token.id, &body);
        all.owed.push((self.seq, token.workspace.clone()));
        for one in &family {
            let reason = format!("{REASON} ({} of its family was found)", token.id);
            self.log_revoked(&one.id, &one.workspace, &one.name, &reason);
            all.revoke(one, reason, self.seconds());
        }
        let revoked = std::iter::once(token.id).chain(family.into_iter().map(|one| one.id));
        Ok(LeakRevocation::Revoked(revoked.collect()))
    }

    /// It was put there to be found, and goes on telling who uses it.
    fn decoy_found(&mut self, found: &LeakedToken, token: &TokenRecord) -> Result<LeakRevocation, Failure> {
        if self.on.last_told(&token.id, ChangeKind::DecoyFound)?.is_none_or(|last| self.is_over(last)) {
            let body = json!({"workspace": token.workspace, "name": token.name, "leak": found.leak});
            self.append(ChangeKind::DecoyFound, &token.id, &body);
        }
        Ok(LeakRevocation::Decoy)
    }
}

impl Found {
    /// The other tokens of a token's family that work, by id.
    fn working_family_of(&self, token: &TokenRecord, unix_seconds: u64) -> Vec<TokenRecord> {
        let ends_too = |other: &&TokenRecord| {
            other.family == token.family
                && other.id != token.id
                && other.state_at(unix_seconds) == TokenState::Active
        };
        self.tokens.values().filter(ends_too).cloned().collect()
    }

    fn revoke(&mut self, token: &TokenRecord, reason: String, unix_seconds: u64) {
        if let Some(held) = self.tokens.get_mut(&token.id) {
            held.revoked_at_unix_seconds = Some(unix_seconds);
        }
        self.revoked.push((token.id.clone(), reason));
    }
}
