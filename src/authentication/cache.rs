//! Tokens that were verified, so that a client's next request costs no signature check.
//!
//! # Security considerations
//!
//! The key is the whole token, compared whole: a token that differs in one bit is another token. The hash
//! only finds the place, so it may be cheap: `SipHash` under a random key over the token's last bytes, which are
//! the end of its signature. Only genuine tokens get in, so forgers cannot fill it. A hit proves the signature
//! and nothing else; everything that can change is checked on every use by [`Verified::caller`].

use std::fmt;
use std::hash::{Hash, Hasher, RandomState};
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};

use super::verified::Verified;

/// Bytes of the token's end that find its place.
const HASHED_BYTES: usize = 32;

/// A bounded cache of verified tokens, shared by every core.
pub(super) struct VerifiedTokens {
    entries: usize,
    cache: Cache<Token, Arc<Verified>, ByLength, RandomState>,
}

impl VerifiedTokens {
    /// A cache for about `entries` tokens of up to 1 KiB; longer ones take the place of several.
    pub(super) fn new(entries: usize) -> Self {
        let hasher = RandomState::new();
        let cache = Cache::with(entries, entries as u64, ByLength, hasher, DefaultLifecycle::default());
        Self { entries, cache }
    }

    /// For how many it was made.
    pub(super) const fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn find(&self, token: &[u8]) -> Option<Arc<Verified>> {
        self.cache.get(&TokenRef(token))
    }

    pub(super) fn insert(&self, token: &[u8], verified: Arc<Verified>) {
        self.cache.insert(Token(token.into()), verified);
    }

    pub(super) fn remove(&self, token: &[u8]) {
        self.cache.remove(&TokenRef(token));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.cache.len()
    }
}

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedTokens").field("entries", &self.entries).finish_non_exhaustive()
    }
}

#[derive(PartialEq, Eq)]
struct Token(Box<[u8]>);

struct TokenRef<'t>(&'t [u8]);

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        TokenRef(&self.0).hash(state);
    }
}

impl Hash for TokenRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0[self.0.len().saturating_sub(HASHED_BYTES)..]);
    }
}

impl Equivalent<Token> for TokenRef<'_> {
    fn equivalent(&self, key: &Token) -> bool {
        *self.0 == *key.0
    }
}

#[derive(Clone)]
struct ByLength;

impl Weighter<Token, Arc<Verified>> for ByLength {
    fn weight(&self, key: &Token, _: &Arc<Verified>) -> u64 {
        (key.0.len() as u64).div_ceil(1024).max(1)
    }
}
