//! A JSON Web Key Set with only what is understood (RFC 7517, section 5).

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::{LoadFailed, MAX_SET_BYTES};
use crate::authentication::jwt::{Algorithm, Header, KeyIgnored, VerificationKey, parse_object};

/// The most keys that are kept of a set.
const MAX_KEYS: usize = 64;

/// An immutable set of keys.
#[derive(Debug)]
pub(in crate::authentication) struct KeySet {
    keys: Vec<Arc<VerificationKey>>,
}

/// Which key a header selects.
#[derive(Debug)]
pub(in crate::authentication) enum Selection<'s> {
    /// This one. Whether its algorithm is the header's is for the verification to say.
    Key(&'s Arc<VerificationKey>),
    /// The set has none of that id, or none for that algorithm.
    Unknown,
    /// No id is named and several keys would fit.
    Ambiguous,
}

impl KeySet {
    /// Reads a set; every key that is left out is told to `ignored` with its place and reason.
    ///
    /// Keys that `previous` holds as well keep their identity, so that what they verified stays trusted.
    pub(in crate::authentication) fn parse(
        text: &[u8],
        allowed: &[Algorithm],
        previous: Option<&Self>,
        mut ignored: impl FnMut(usize, KeyIgnored),
    ) -> Result<Self, LoadFailed> {
        if text.len() > MAX_SET_BYTES {
            return Err(LoadFailed::TooLong);
        }
        let members = parse_object(text).ok_or(LoadFailed::NotAKeySet)?;
        let Some(Value::Array(jwks)) = members.get("keys") else { return Err(LoadFailed::NotAKeySet) };
        let mut keys = Vec::new();
        for (place, jwk) in jwks.iter().enumerate() {
            let read = jwk.as_object().ok_or(KeyIgnored::Malformed);
            match read.and_then(|jwk| VerificationKey::from_jwk(jwk, allowed)) {
                Ok(_) if keys.len() == MAX_KEYS => ignored(place, KeyIgnored::TooMany),
                Ok(key) => keys.push((place, key)),
                Err(reason) => ignored(place, reason),
            }
        }
        let keys: Vec<_> = without_duplicates(keys, ignored).map(|key| kept(previous, key)).collect();
        if keys.is_empty() { Err(LoadFailed::NoUsableKey) } else { Ok(Self { keys }) }
    }

    /// The key that a token's header selects: by its id or, without one, the only key for its algorithm.
    pub(in crate::authentication) fn select(&self, header: &Header) -> Selection<'_> {
        let mut fitting = self.keys.iter().filter(|key| match &header.kid {
            Some(kid) => key.kid() == Some(kid),
            None => header.algorithm == Some(key.algorithm()),
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Selection::Key(key),
            (Some(_), Some(_)) => Selection::Ambiguous,
            (None, _) => Selection::Unknown,
        }
    }

    /// Whether a key is still one of the set, by identity.
    pub(super) fn holds(&self, key: &Arc<VerificationKey>) -> bool {
        self.keys.iter().any(|held| Arc::ptr_eq(held, key))
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// Two keys of one id make a token mean whichever is tried first, so neither is kept.
fn without_duplicates(
    keys: Vec<(usize, VerificationKey)>,
    mut ignored: impl FnMut(usize, KeyIgnored),
) -> impl Iterator<Item = VerificationKey> {
    let mut uses: HashMap<String, u32> = HashMap::new();
    for kid in keys.iter().filter_map(|(_, key)| key.kid()) {
        *uses.entry(kid.to_owned()).or_default() += 1;
    }
    keys.into_iter().filter_map(move |(place, key)| {
        let unique = key.kid().is_none_or(|kid| uses.get(kid) == Some(&1));
        if !unique {
            ignored(place, KeyIgnored::DuplicateKid);
        }
        unique.then_some(key)
    })
}

fn kept(previous: Option<&KeySet>, key: VerificationKey) -> Arc<VerificationKey> {
    let same = previous.and_then(|set| set.keys.iter().find(|held| held.is_same(&key)));
    same.map_or_else(|| Arc::new(key), Arc::clone)
}
