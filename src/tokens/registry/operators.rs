//! Operators in memory, so that the operators' listener asks no store who is calling.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Registry;
use crate::clock::Now;
use crate::tokens::store::StoredOperator;
use crate::tokens::{OperatorRecord, TokenState};

/// What is known of an operator's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorLookup {
    /// Never seen, or no operator's token.
    Unknown,
    /// Genuine, and revoked.
    Revoked,
    /// Genuine, and its time is over.
    Expired,
    /// Genuine and in force: the operator's name.
    Found(Arc<str>),
}

/// Every operator by the first bits of its token's digest.
#[derive(Debug, Default)]
pub(super) struct Operators(ArcSwap<HashMap<u128, OperatorRecord>>);

impl Operators {
    pub(super) fn put(&self, stored: StoredOperator) {
        let mut all = HashMap::clone(&self.0.load());
        all.retain(|_, known| known.name != stored.record.name);
        all.insert(stored.digest.key(), stored.record);
        self.0.store(Arc::new(all));
    }

    #[cfg(test)]
    pub(super) fn holds(&self, digest: &crate::tokens::Digest) -> bool {
        self.0.load().contains_key(&digest.key())
    }
}

impl Registry {
    /// Whether there is an operator of this name.
    pub(super) fn knows_operator(&self, name: &str) -> bool {
        self.operators.0.load().values().any(|record| record.name == name)
    }

    /// Whose an operator's token is, and whether it works.
    pub fn operator(&self, token: &[u8], now: Now) -> OperatorLookup {
        if self.operator_format.recognise(token).is_none() {
            return OperatorLookup::Unknown;
        }
        let all = self.operators.0.load();
        let mut digests = self.peppers.digests(token);
        let found = digests.find_map(|digest| all.get(&digest.key()).map(|record| (record, digest)));
        let found = found.map(|(record, digest)| {
            self.note_digest(digest, token);
            record
        });
        found.map_or(OperatorLookup::Unknown, |record| match record.state_at(now.unix_seconds()) {
            TokenState::Active if self.unwritten.refuses_operator(&record.name) => OperatorLookup::Revoked,
            TokenState::Active => OperatorLookup::Found(Arc::from(record.name.as_str())),
            TokenState::Expired => OperatorLookup::Expired,
            TokenState::Revoked => OperatorLookup::Revoked,
        })
    }
}
