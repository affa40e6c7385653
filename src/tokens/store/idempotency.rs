//! What a store keeps of requests that may be repeated. Part of [`super::Store`].

use crate::clock::Now;
use crate::tokens::{Error, TokenRecord, WorkspaceRecord};

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

/// What a request made.
#[derive(Clone, Copy, Debug)]
pub enum Made<'r> {
    /// A workspace.
    Workspace(&'r WorkspaceRecord),
    /// A token, also in place of another.
    Token(&'r TokenRecord),
}

/// A request that makes something, with what it is answered. The answer is kept in the transaction of the change, so
/// that there is never one without the other.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRequest<'a> {
    /// Its key, which was begun.
    pub key: &'a IdempotencyKey,
    /// The answer, without any secret; [`None`] if it cannot be written.
    pub answer: fn(Made<'_>, Now) -> Option<KeptAnswer>,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: the request is the first with it, and is to be carried out.
    First,
    /// The first request was this one, and has been answered.
    Answered(KeptAnswer),
    /// The first request was this one, and has made nothing yet: it is being carried out, or its process ended. It may be
    /// carried out again, since only one of several can keep its answer; but what revokes may have been done.
    Unanswered,
    /// The first request was another one.
    OtherRequest,
}

/// Idempotency keys. They are no part of the log: a change that a request makes has its own entry.
pub trait IdempotencyKeys {
    /// Remembers a key for [`KEY_LIFE_SECONDS`] unless it is known; [`Error::TooManyIdempotencyKeys`].
    fn begin_request(&self, now: Now, key: &IdempotencyKey) -> Result<Begun, Error>;

    /// Keeps the answer of a request whose change was not made with its key, unless there is one.
    fn answer_request(&self, key: &IdempotencyKey, answer: &KeptAnswer) -> Result<(), Error>;

    /// What a request was answered.
    fn answered_request(&self, key: &IdempotencyKey) -> Result<Option<KeptAnswer>, Error>;

    /// Forgets the key of a request that has changed nothing, unless it was answered.
    fn forget_request(&self, key: &IdempotencyKey) -> Result<(), Error>;
}
