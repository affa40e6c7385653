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
/// How many random characters of a token are shown.
const SHOWN_CHARACTERS: usize = 4;
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

    /// The format under a prefix; [`None`] if no token can start so.
    pub fn checked(prefix: &str) -> Option<Self> {
        is_prefix(prefix).then(|| Self::new(prefix))
    }

    /// The prefix, for example `sgp_`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How long a token is.
    pub fn token_bytes(&self) -> usize {
        self.prefix.len() + AFTER_PREFIX
    }

    /// How a token of this format is shown to people: its beginning, of which 53 random characters are missing.
    pub fn redacted(&self, token: &[u8]) -> String {
        let shown = &token[..token.len().min(self.prefix.len() + 1 + SHOWN_CHARACTERS)];
        format!("{}…", String::from_utf8_lossy(shown))
    }

    /// A regular expression that finds these tokens in any text, for scanners; it is also in GitHub's syntax.
    pub fn pattern(&self) -> String {
        format!("{}[a-zA-Z0-9]{{{AFTER_PREFIX}}}", self.prefix)
    }

    /// A rule for gitleaks, to be put into its `.gitleaks.toml`.
    pub fn gitleaks_rule(&self) -> String {
        let (prefix, pattern) = (&self.prefix, self.pattern());
        format!(
            "[[rules]]\n\
             id = \"tollgate-token\"\n\
             description = \"An API token of tollgate ({prefix}…)\"\n\
             regex = '''\\b{pattern}\\b'''\n\
             keywords = [\"{prefix}\"]\n"
        )
    }

    /// The fields of a custom pattern of GitHub's secret scanning, by the names of its form.
    pub fn github_custom_pattern(&self) -> [(&'static str, String); 4] {
        [
            ("Pattern name", format!("tollgate token ({}…)", self.prefix)),
            ("Secret format", self.pattern()),
            ("Before secret", r"\A|[^0-9A-Za-z_]".to_owned()),
            ("After secret", r"\z|[^0-9A-Za-z_]".to_owned()),
        ]
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

    /// Every token of this format in a text, with where it begins.
    pub fn find_all<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = (usize, &'t [u8])> {
        self.finder
            .find_iter(text)
            .filter_map(|start| Some((start, text.get(start..start + self.token_bytes())?)))
            .filter(|(_, candidate)| self.recognise(candidate).is_some())
    }

    fn find<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        self.find_all(text).next().map(|(_, token)| token)
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
