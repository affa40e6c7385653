//! Moving tokens from one pepper to another.
//!
//! A token is moved when it is seen, since only then is it there in plain text. What stood for it before is kept: an
//! import of the same hash finds it, and a gateway that has it in memory under its former digest moves it there, too.

use super::Act;
use crate::clock::Now;
use crate::tokens::{Digest, Error, Scheme, TokenRecord};

/// A token, or an operator's, that is to be stored under another pepper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rehash {
    /// What stands for it.
    pub from: Digest,
    /// What is to stand for it.
    pub to: Digest,
}

/// What is stored under one pepper, or as a plain SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PepperUse {
    /// Which.
    pub scheme: Scheme,
    /// Tokens that work, decoys among them.
    pub working_tokens: u64,
    /// Tokens that were revoked or have expired.
    pub ended_tokens: u64,
    /// Operators' tokens that work.
    pub working_operators: u64,
    /// When it was retired.
    pub retired_at_unix_seconds: Option<u64>,
}

impl PepperUse {
    /// Whether something would stop working without it.
    pub const fn is_needed(&self) -> bool {
        self.working_tokens > 0 || self.working_operators > 0
    }
}

/// The part of a store that knows peppers by their versions.
pub trait PepperRotation {
    /// Moves what is still stored as it is said to be, in one entry of the log; answers with how many were moved.
    fn rehash(&self, act: Act<'_>, moves: &[Rehash]) -> Result<usize, Error>;

    /// What is stored under each version that was ever used, and as a plain SHA-256 if anything is; by version. Reads
    /// every token.
    fn under_peppers(&self, now: Now) -> Result<Vec<PepperUse>, Error>;

    /// The versions that were retired.
    fn retired_peppers(&self) -> Result<Vec<u16>, Error>;

    /// Up to `count` tokens that are stored so, whose ids come after `after`, by id.
    fn tokens_under(&self, scheme: Scheme, after: &str, count: u32) -> Result<Vec<TokenRecord>, Error>;

    /// Marks a version as retired; [`Error::PepperNeeded`] if something that works is stored under it, unless `forced`;
    /// [`Error::PepperUnknown`]. Doing it again changes nothing.
    fn retire_pepper(&self, act: Act<'_>, version: u16, forced: bool) -> Result<PepperUse, Error>;
}

#[cfg(test)]
pub(crate) mod contract;
