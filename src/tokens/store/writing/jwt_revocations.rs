//! Revoked JWTs inside a writing transaction.

use super::{Failure, Tables, Writing};
use crate::tokens::store::ChangeKind;
use crate::tokens::store::columns::{jwts, jwts_columns};
use crate::tokens::store::jwt_revocations::{ENDED_KEPT_SECONDS, MOST_JWT_REVOCATIONS, NewJwtRevocation};
use crate::tokens::{Error, JwtRevocation};

impl<T: Tables> Writing<'_, T> {
    pub(in crate::tokens::store) fn revoke_jwts(
        &mut self,
        new: &NewJwtRevocation,
    ) -> Result<JwtRevocation, Failure> {
        self.on.delete_ended_jwt_revocations(self.seconds().saturating_sub(ENDED_KEPT_SECONDS))?;
        let before = self.on.jwt_revocation_of(&new.jwts)?;
        let (kind, issuer, name, issued_before) = jwts_columns(&new.jwts);
        let known = before.as_ref().map(|before| (jwts_columns(&before.jwts).3, before.ends_at_unix_seconds));
        if let (Some(before), Some((cut, end))) = (&before, known)
            && issued_before <= cut
            && new.ends_at_unix_seconds <= end
        {
            return Ok(before.clone());
        }
        if before.is_none() && self.is_full_of_jwts()? {
            self.on.delete_ended_jwt_revocations(self.seconds())?;
            if self.is_full_of_jwts()? {
                return Err(Error::TooManyJwtRevocations { cap: MOST_JWT_REVOCATIONS }.into());
            }
        }
        let (cut, end) = known.unwrap_or_default();
        let later = jwts(kind, issuer.to_owned(), name.to_owned(), issued_before.max(cut));
        let made = JwtRevocation {
            id: before.map_or_else(|| new.id.clone(), |before| before.id),
            jwts: later.unwrap_or_else(|| new.jwts.clone()),
            reason: new.reason.clone(),
            revoked_at_unix_seconds: self.seconds(),
            ends_at_unix_seconds: new.ends_at_unix_seconds.max(end),
        };
        self.on.put_jwt_revocation(&made)?;
        let body = serde_json::to_value(made.view()).unwrap_or_default();
        self.append(ChangeKind::JwtRevoked, &made.id, &body);
        Ok(made)
    }

    fn is_full_of_jwts(&self) -> Result<bool, Failure> {
        Ok(self.on.jwt_revocations_held()? >= u64::from(MOST_JWT_REVOCATIONS))
    }
}
