//! The shape of our own tokens.
//!
//! Prefix, the region's letter, 57 random base62 characters (339 bits), and the CRC-32 of all before as six
//! base62 characters: 64 after the prefix. The scheme is GitHub's ("Behind GitHub's new authentication token
//! formats", 2021): the prefix lets scanners find leaked tokens, the checksum keeps accidents away from the
//! look-up. The checksum is no secret and proves nothing.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memmem::Finder;

use crate::domain::Secret;

use super::Error;
use super::random::{BASE62, Random, push_base62};

const RANDOM_CHARACTERS: usize = 57;
const CHECKSUM_CHARACTERS: usize = 6;
const AFTER_PREFIX: usize = 1 + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS;

/// Makes and recognises tokens under one prefix.
#[derive(Clone, Debug)]
pub struct Format {
    prefix: Arc<str>,
    finder: Finder<'static>,
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.prefix == other.prefix
    }
}

impl Eq for Format {}

impl Format {
    /// The format under `prefix`, which the caller has checked with [`is_prefix`].
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into(), finder: Finder::new(prefix).into_owned() }
    }

    /// The prefix, for example `sgp_`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A regular expression that finds these tokens in any text, for scanners; it is also in GitHub's syntax.
    pub fn pattern(&self) -> String {
        format!("{}[a-zA-Z0-9]{{{AFTER_PREFIX}}}", self.prefix)
    }

    /// A new token of the region with this letter.
    pub fn mint(&self, letter: char, random: &dyn Random) -> Result<Secret<String>, Error> {
        let mut token = String::with_capacity(self.prefix.len() + AFTER_PREFIX);
        token.push_str(&self.prefix);
        token.push(letter);
        push_base62(&mut token, RANDOM_CHARACTERS, random)?;
        for digit in checksum(token.as_bytes()) {
            token.push(char::from(digit));
        }
        Ok(Secret::new(token))
    }

    /// The region's letter if `token` has this format and its checksum holds.
    pub fn recognise(&self, token: &[u8]) -> Option<char> {
        let rest = token.strip_prefix(self.prefix.as_bytes())?;
        if rest.len() != AFTER_PREFIX || !rest.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let (signed, sum) = token.split_at(token.len() - CHECKSUM_CHARACTERS);
        (checksum(signed) == sum).then(|| char::from(rest[0]))
    }

    /// The first token of this format anywhere in a request's query, escaped or not.
    ///
    /// A query without the prefix and without an escape costs one search for the prefix.
    pub fn find_in_query<'q>(&self, query: &'q [u8]) -> Option<Cow<'q, [u8]>> {
        if let Some(found) = self.find(query) {
            return Some(Cow::Borrowed(found));
        }
        memchr::memchr(b'%', query)?;
        let decoded = percent_decoded(query);
        self.find(&decoded).map(|found| Cow::Owned(found.to_vec()))
    }

    fn find<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        let length = self.prefix.len() + AFTER_PREFIX;
        self.finder
            .find_iter(text)
            .filter_map(|start| text.get(start..start + length))
            .find(|candidate| self.recognise(candidate).is_some())
    }
}

/// Whether a text can be a prefix: 2 to 16 of `A-Z a-z 0-9 _`, with `_` at the end, so that a double click
/// selects the whole token and a scanner can tell it from a word.
pub(super) fn is_prefix(text: &str) -> bool {
    (2..=16).contains(&text.len())
        && text.ends_with('_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn checksum(signed: &[u8]) -> [u8; CHECKSUM_CHARACTERS] {
    let mut rest = crc32fast::hash(signed);
    let mut digits = [b'0'; CHECKSUM_CHARACTERS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = if byte == b'%' { hex_pair(after) } else { None };
        decoded.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    decoded
}

fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    Some(digit(*text.first()?)? << 4 | digit(*text.get(1)?)?)
}

#[cfg(test)]
mod tests;
