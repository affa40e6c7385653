//! What a store keeps of requests that may be repeated. Part of [`super::Store`].

use crate::clock::Now;
use crate::tokens::Error;

#[cfg(test)]
pub(crate) mod contract;

/// How long a key is remembered.
pub const KEY_LIFE_SECONDS: u64 = 86_400;
/// How many keys a store remembers of one operator.
pub const MOST_KEYS: u32 = 10_000;

/// An `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07) and the request that it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Whose it is: an operator's name.
    pub operator: String,
    /// SHA-256 of the key.
    pub key: [u8; 32],
    /// SHA-256 of the request's method, target and body.
    pub fingerprint: [u8; 32],
}

/// What a key's first request was answered; never with a secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The status code.
    pub status: u16,
    /// The body, JSON.
    pub body: String,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: the request is the first with it, and is to be carried out.
    First,
    /// The first request was this one, and has been answered.
    Answered(KeptAnswer),
    /// The first request was this one; it is being carried out, or its process ended before it was answered.
    Unanswered,
    /// The first request was another one.
    OtherRequest,
}

/// Idempotency keys. They are no part of the log: a change that a request makes has its own entry.
pub trait IdempotencyKeys {
    /// Remembers a key for [`KEY_LIFE_SECONDS`] unless it is known; [`Error::TooManyIdempotencyKeys`].
    fn begin_request(&self, now: Now, key: &IdempotencyKey) -> Result<Begun, Error>;

    /// Keeps the answer of a request that has made its change.
    fn answer_request(&self, key: &IdempotencyKey, answer: &KeptAnswer) -> Result<(), Error>;

    /// Forgets the key of a request that has changed nothing.
    fn forget_request(&self, key: &IdempotencyKey) -> Result<(), Error>;
}
