//! Tokens by what they are called, whatever else is known of them.

use super::Registry;
use crate::domain::TokenId;
use crate::tokens::Digest;

impl Registry {
    /// The public id of a token that is known here, also of one whose workspace has no configured region.
    pub fn id_of_token(&self, token: &[u8]) -> Option<TokenId> {
        let mut digests = self.peppers.digests(token).chain([Digest::sha256(token)]);
        digests.find_map(|digest| self.tokens.find(digest.key(), |_, values| self.id_of(values.id)).flatten())
    }
}
