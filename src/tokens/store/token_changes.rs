//! Changes of a token that is there.

use super::Act;
use crate::domain::Network;
use crate::tokens::{Error, TokenRecord};

/// What changes in a token; the default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenChange {
    /// Another name for people.
    pub name: Option<String>,
    /// Other networks that it may be used from, in place of all of before; none lets it be used from everywhere.
    pub allowed_networks: Option<Vec<Network>>,
}

/// The part of a store that changes tokens.
pub trait TokenChanges {
    /// Changes a token that works; [`Error::TokenUnknown`], [`Error::Ended`]. A change that changes nothing
    /// writes no entry.
    fn set_token(&self, act: Act<'_>, id: &str, change: &TokenChange) -> Result<TokenRecord, Error>;
}

#[cfg(test)]
pub(crate) mod contract;
