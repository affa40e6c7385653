//! Who is calling: from a request's head to a proven [`Caller`], or to the reason why there is none.
//!
//! Decides which credential a request carries, whether it is genuine and in force, and whom it speaks for.
//! Opaque tokens are the registry's business, which this room sees as [`Tokens`]; JWTs are verified here
//! by the keys of configured issuers.
//!
//! Invariants:
//!
//! - Only this room makes a [`Caller`].
//! - An expired, revoked or suspended credential is told so only where it is genuine.
//! - A failure of ours (an issuer or the registry away) is never said to be the caller's.
//! - A cached JWT is worth no more than a fresh one: expiry, key, revocation and workspace are checked on
//!   every use.
//! - Whatever strangers send, an issuer is asked at most once per cool-down, and nothing that they send is kept.
//!
//! It refuses to know what was asked for, whether the caller may have it, and how a refusal is written.
//!
//! # Decision
//!
//! Signatures are checked by aws-lc-rs itself rather than through jsonwebtoken, which parses a key again for
//! every token, cannot keep a prepared verifier across threads, ignores `crit` and `typ`, and keeps the last
//! of two members of one name. The order of checks, the algorithm that a key fixes and the strictness of
//! base64url and JSON are this room's either way; Wycheproof's vectors are the judge of them.

mod authenticator;
mod cache;
mod caller;
mod credentials;
mod issuer;
mod jwks;
mod jwt;
mod refused;
mod registry;
mod settings;
mod subject;
mod verified;

pub use authenticator::{Attempt, Authenticator, IssuerStatus, KeysArrived, KeysWanted};
pub use caller::{Caller, CredentialKind};
pub use jwks::Refresher;
pub use jwt::{Algorithm, ClaimName, InvalidJwt};
pub use refused::Refused;
pub use registry::{JwtIdentity, TokenEntry, TokenLookup, Tokens, Whose};
pub use settings::{Checked, ClaimSettings, IssuerSettings, Settings, from_settings};
pub use subject::SubjectKey;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
