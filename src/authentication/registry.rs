//! What this room asks of the token registry.

use std::sync::Arc;

use crate::clock::Now;
use crate::domain::{LimitOverride, Network, Quota, RegionId, Role, Subject, TokenId, Workspace};

/// The registry as identification sees it. Every method is synchronous and answers from memory.
pub trait Tokens {
    /// What is known of an opaque token. Expiry is judged at `now`.
    fn find(&self, token: &[u8], now: Now) -> TokenLookup;

    /// A workspace as it is known at this moment.
    fn workspace(&self, id: &str) -> Option<Arc<Workspace>>;

    /// Whether bytes have the registry's own token format: prefix, length, alphabet and checksum.
    fn recognises(&self, value: &[u8]) -> bool;

    /// Whether "not found" means that there is none. False while the store is away, where it may have been made.
    fn is_current(&self, now: Now) -> bool {
        let _ = now;
        true
    }

    /// Whether what is known may be believed. False while it is older than the configuration allows.
    fn may_answer(&self, now: Now) -> bool {
        let _ = now;
        true
    }

    /// Whether a genuine JWT was revoked. Asked on every use, also of a cached token.
    fn jwt_revoked(&self, jwt: &JwtIdentity<'_>) -> bool {
        let _ = jwt;
        false
    }
}

/// The answer to [`Tokens::find`].
#[derive(Clone, Debug)]
pub enum TokenLookup {
    /// Never seen, or damaged.
    Unknown,
    /// Genuine, and revoked.
    Revoked(Whose),
    /// Genuine, and past its end.
    Expired(Whose),
    /// A decoy that is armed.
    Decoy(Whose),
    /// Genuine, and its workspace's region is not configured here: nothing can be said of it.
    Unplaced,
    /// In the format of a region that this gateway does not serve.
    Elsewhere(RegionId),
    /// Genuine and in force.
    Found(TokenEntry),
}

/// Whose a genuine token is that is refused. For records alone: whoever sent it is told nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The token's public name.
    pub token_id: TokenId,
    /// Its workspace's id.
    pub workspace_id: Arc<str>,
}

/// A token in force.
#[derive(Clone, Debug)]
pub struct TokenEntry {
    /// Its public name.
    pub id: TokenId,
    /// What its limits are counted under; the high bit is clear.
    pub subject: Subject,
    /// Its workspace.
    pub workspace: Arc<Workspace>,
    /// Its role.
    pub role: Role,
    /// Its scopes.
    pub scopes: Arc<[Arc<str>]>,
    /// Its own limit.
    pub own_limit: Option<Quota>,
    /// Limits in place of policies'; [`None`] for none, which most have.
    pub overrides: Option<Arc<[LimitOverride]>>,
    /// Where it may be used from; [`None`] for everywhere, which most are.
    pub allowed_networks: Option<Arc<[Network]>>,
    /// When it ends.
    pub expires_at_unix_seconds: Option<u64>,
}

/// What a revocation can name a genuine JWT by.
#[derive(Clone, Copy, Debug)]
pub struct JwtIdentity<'a> {
    /// `iss`
    pub issuer: &'a str,
    /// `jti`
    pub jti: Option<&'a str>,
    /// `sub`
    pub subject: &'a str,
    /// The client: `client_id`, `azp` or `sub`, or the configured claim.
    pub client: &'a str,
    /// `iat`; a token without one counts as issued before any time.
    pub issued_at_unix_seconds: Option<u64>,
    /// The workspace's id.
    pub workspace: &'a str,
}
