//! The keys of an issuer: an immutable set behind a swap pointer, loaded beside the request path.
//!
//! Decides which key of a set a token may be checked by, when the issuer is asked again, and for how long keys
//! are used that could not be renewed or that left the set. Requests never wait for a refresh; only a token
//! with an unknown key id may wait, for one load shared by all. Bounds: one such load per cool-down whatever is
//! sent, 1,024 waiting requests an issuer for 7 s each, 256 KiB and 64 keys a set, 5 s a load. A set that breaks a
//! bound or has no usable key leaves the last good one in place; a single odd key is left out of its set. It
//! refuses to know what the tokens claim.

mod ask;
#[cfg(test)]
mod fake;
mod fetch;
mod freshness;
mod keys;
mod loads;
mod refresher;
mod saved;
mod set;
mod source;

use std::time::Duration;

pub(super) use ask::{Arrival, Ask};
pub(super) use freshness::Freshness;
pub(super) use keys::{IssuerKeys, Trust};
pub(super) use loads::{LoadFailed, LoadResult, Loads};
pub use refresher::Refresher;
pub(super) use saved::SavedSet;
pub(super) use set::{KeySet, Selection};
pub(super) use source::{Loaded, Source};

#[cfg(test)]
pub(super) use fake::FakeSource;

/// How keys are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Between two loads where the issuer does not say for how long its answer is fresh.
    pub(super) refresh: Duration,
    /// Between two loads that unknown key ids cause.
    pub(super) cool_down: Duration,
    /// For how long the last good set is used while it cannot be renewed.
    pub(super) max_stale: Duration,
    /// For how long a key that left the set is still used.
    pub(super) removal_overlap: Duration,
}

/// The longest key set.
const MAX_SET_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests;
