//! How long an issuer's JWTs can live.

use std::sync::Arc;

/// How long a JWT that an issuer makes now is accepted at the most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtLifetime {
    /// Its `iss`.
    pub issuer: Arc<str>,
    /// The longest accepted lifetime and the leeways at both of its ends.
    pub longest_seconds: u64,
    /// Whether its tokens also speak for workspaces that the registry does not know.
    pub claims_suffice: bool,
}
