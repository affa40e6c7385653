//! The keys of an issuer: an immutable set behind a swap pointer, loaded beside the request path.
//!
//! Decides which key of a set a token may be checked by, and when the issuer is asked again. Requests never
//! wait for a refresh; only a token with an unknown key id may wait, for one fetch shared by all. Bounds: one
//! such fetch per cool-down whatever is sent, 1,024 waiting requests an issuer, 256 KiB and 64 keys a set. It refuses to
//! know what the tokens claim.

#[cfg(test)]
mod fake;
mod fetch;
mod keys;
mod refresher;
mod set;
mod source;

use std::time::Duration;

pub(super) use keys::{Arrival, Ask, IssuerKeys, Trust};
pub use refresher::Refresher;
pub(super) use set::{KeySet, Selection};
pub(super) use source::{JwksUrl, Source};

#[cfg(test)]
pub(super) use fake::FakeSource;

/// How keys are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Between two loads.
    pub(super) refresh: Duration,
    /// Between two loads that unknown key ids cause.
    pub(super) cool_down: Duration,
    /// For how long the last good set is used while it cannot be renewed.
    pub(super) max_stale: Duration,
}

/// Why a set could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadFailed {
    /// The file cannot be read.
    #[error("the file {path} cannot be read: {source}; check jwks_file")]
    File { path: std::path::PathBuf, source: std::io::Error },
    /// The certificates that the issuer's are checked against cannot be read.
    #[error("no usable certificate in {0}; check ca_file or the system's certificates")]
    Certificates(String),
    /// No connection, or it broke.
    #[error("the issuer's key server cannot be reached: {0}; check jwks_uri and the network")]
    Unreachable(String),
    /// Another status than 200. Redirects are not followed.
    #[error(
        "the issuer's key server answered {0}; jwks_uri must answer 200 itself, redirects are not followed"
    )]
    Status(u16),
    /// The deadline passed.
    #[error("the issuer's key server did not answer within 5 s; check jwks_uri and the network")]
    TimedOut,
    /// Too long.
    #[error("the key set is longer than 256 KiB; check that jwks_uri or jwks_file names a key set")]
    TooLong,
    /// Not a key set.
    #[error("what was loaded is not a JSON Web Key Set; check jwks_uri or jwks_file")]
    NotAKeySet,
    /// A key set without a usable key.
    #[error("the key set has no usable key; the keys that were left out are logged beside this")]
    NoUsableKey,
}

/// The longest key set.
const MAX_SET_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests;
