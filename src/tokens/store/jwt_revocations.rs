//! What a store keeps of revoked JWTs. Part of [`super::Store`].

use super::Act;
use crate::tokens::{Error, JwtRevocation, JwtsRevoked};

#[cfg(test)]
pub(crate) mod contract;

/// How many revocations in force a store holds: each takes about 50 bytes of every process's memory.
pub const MOST_JWT_REVOCATIONS: u32 = 100_000;

/// How long one whose end has come is kept all the same, while there is room: a clock that was ahead for a while has
/// taken the end of others for come.
pub(super) const ENDED_KEPT_SECONDS: u64 = 2 * 86_400;

/// A revocation to be written.
#[derive(Clone, Debug)]
pub struct NewJwtRevocation {
    /// Its public id, not yet taken.
    pub id: String,
    /// Which JWTs.
    pub jwts: JwtsRevoked,
    /// Why.
    pub reason: String,
    /// When no token of them can live any more.
    pub ends_at_unix_seconds: u64,
}

/// Revoked JWTs. A new revocation is an entry of the log, and a row of [`super::Changes`]; one whose end has come
/// has no effect and goes some time later, without an entry.
pub trait JwtRevocations {
    /// Revokes JWTs; [`Error::TooManyJwtRevocations`]. There is one revocation of the same token, subject or
    /// workspace: revoking it again keeps the id and the later times, and writes an entry only if that changes
    /// what is revoked.
    fn revoke_jwts(&self, act: Act<'_>, new: &NewJwtRevocation) -> Result<JwtRevocation, Error>;

    /// Up to `count` revocations, also ended ones, whose ids come after `after`, by id.
    fn jwt_revocations(&self, after: &str, count: u32) -> Result<Vec<JwtRevocation>, Error>;
}
