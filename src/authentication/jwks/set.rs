//! A JSON Web Key Set with only what is understood (RFC 7517, section 5).

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::{LoadFailed, MAX_SET_BYTES};
use crate::authentication::jwt::{Algorithm, Header, KeyIgnored, VerificationKey, parse_object};

/// The most keys of a set, and the most that are kept of those that left it.
const MAX_KEYS: usize = 64;

/// An immutable set of keys.
#[derive(Debug)]
pub(in crate::authentication) struct KeySet {
    keys: Vec<Arc<VerificationKey>>,
    retiring: Vec<Retiring>,
}

/// A key that left the set and may be used until a monotonic time.
#[derive(Clone, Debug)]
struct Retiring {
    key: Arc<VerificationKey>,
    until_nanos: u64,
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
    pub(in crate::authentication) fn parse(
        text: &[u8],
        allowed: &[Algorithm],
        mut ignored: impl FnMut(usize, KeyIgnored),
    ) -> Result<Self, LoadFailed> {
        if text.len() > MAX_SET_BYTES {
            return Err(LoadFailed::TooLong);
        }
        let members = parse_object(text).ok_or(LoadFailed::NotAKeySet)?;
        let Some(Value::Array(jwks)) = members.get("keys") else { return Err(LoadFailed::NotAKeySet) };
        if jwks.len() > MAX_KEYS {
            return Err(LoadFailed::TooManyKeys);
        }
        let mut keys = Vec::new();
        for (place, jwk) in jwks.iter().enumerate() {
            let read = jwk.as_object().ok_or(KeyIgnored::Malformed);
            match read.and_then(|jwk| VerificationKey::from_jwk(jwk, allowed)) {
                Ok(key) => keys.push((place, key)),
                Err(reason) => ignored(place, reason),
            }
        }
        let keys: Vec<_> = without_duplicates(keys, ignored).map(Arc::new).collect();
        if keys.is_empty() { Err(LoadFailed::NoUsableKey) } else { Ok(Self { keys, retiring: Vec::new() }) }
    }

    /// This set in the place of `previous`. A key that both hold keeps its identity, so that what it verified stays
    /// trusted. A key that left may be used until `until_nanos`, or until an earlier set said so, unless
    /// another now has its id; one without an id cannot be told from its successor and ends at once.
    pub(super) fn succeeding(mut self, previous: &Self, now_nanos: u64, until_nanos: u64) -> Self {
        let left = previous.keys.iter().map(|key| Retiring { key: Arc::clone(key), until_nanos });
        let known: Vec<Retiring> = left.chain(previous.retiring.iter().cloned()).collect();
        for key in &mut self.keys {
            if let Some(same) = known.iter().find(|known| known.key.is_same(key)) {
                *key = Arc::clone(&same.key);
            }
        }
        let keys = &self.keys;
        let takes_part = |retiring: &Retiring| {
            retiring.until_nanos > now_nanos
                && retiring.key.kid().is_some()
                && !keys.iter().any(|key| key.kid() == retiring.key.kid())
        };
        self.retiring = known.into_iter().filter(takes_part).take(MAX_KEYS).collect();
        self
    }

    /// The same keys without those whose time has come; [`None`] where there are none.
    pub(super) fn without_retired(&self, now_nanos: u64) -> Option<Self> {
        if self.next_retirement_nanos() > now_nanos {
            return None;
        }
        let retiring = self.retiring.iter().filter(|retiring| retiring.until_nanos > now_nanos).cloned();
        Some(Self { keys: self.keys.clone(), retiring: retiring.collect() })
    }

    /// The key that a token's header selects: by its id or, without one, the only key for its algorithm.
    pub(in crate::authentication) fn select(&self, header: &Header, now_nanos: u64) -> Selection<'_> {
        let mut fitting = self.keys.iter().filter(|key| match &header.kid {
            Some(kid) => key.kid() == Some(kid),
            None => header.algorithm == Some(key.algorithm()),
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Selection::Key(key),
            (Some(_), Some(_)) => Selection::Ambiguous,
            (None, _) => self.select_retiring(header, now_nanos),
        }
    }

    fn select_retiring(&self, header: &Header, now_nanos: u64) -> Selection<'_> {
        let Some(kid) = header.kid.as_deref() else { return Selection::Unknown };
        let mut usable = self.retiring.iter().filter(|retiring| retiring.until_nanos > now_nanos);
        let found = usable.find(|retiring| retiring.key.kid() == Some(kid));
        found.map_or(Selection::Unknown, |retiring| Selection::Key(&retiring.key))
    }

    /// Whether a key, known by identity, may be used.
    pub(super) fn holds(&self, key: &Arc<VerificationKey>, now_nanos: u64) -> bool {
        let mut usable = self.retiring.iter().filter(|retiring| retiring.until_nanos > now_nanos);
        self.keys.iter().any(|held| Arc::ptr_eq(held, key))
            || usable.any(|retiring| Arc::ptr_eq(&retiring.key, key))
    }

    /// When the next key's time comes; the end of time where none is retiring.
    pub(super) fn next_retirement_nanos(&self) -> u64 {
        self.retiring.iter().map(|retiring| retiring.until_nanos).min().unwrap_or(u64::MAX)
    }

    /// Whether both hold the same keys by identity, those that left included.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let mine = self.keys.iter().chain(self.retiring.iter().map(|retiring| &retiring.key));
        let theirs = other.keys.iter().chain(other.retiring.iter().map(|retiring| &retiring.key));
        mine.map(Arc::as_ptr).eq(theirs.map(Arc::as_ptr))
    }

    /// How many keys there are, those that left not counted.
    pub(in crate::authentication) fn len(&self) -> usize {
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
