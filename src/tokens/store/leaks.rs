//! Tokens that were found where strangers can read them.
//!
//! Decides what a store does with one: in one transaction the token, its predecessors and every other token of
//! its family that still works are revoked, the log says where it was found, and a message to the workspace's
//! contacts is in the [`Outbox`](super::Outbox). What is told of a leak is a stranger's text: it is cut, freed
//! of control characters, and whatever could be a credential in it is masked.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Act;
use crate::telemetry::{cut, masked};
use crate::tokens::{Error, Moment, TokenState};

/// The most bytes that are kept of an address where a token was found.
pub const LONGEST_LEAK_URL_BYTES: usize = 2_048;
/// The most bytes that are kept of any other text about a leak.
pub const LONGEST_LEAK_WORD_BYTES: usize = 128;

/// Where a token was found, as its finder says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    found_by: String,
    #[serde(rename = "type")]
    kind: String,
    url: String,
    source: String,
    reported_at_unix_seconds: u64,
}

impl Leak {
    /// A leak that `found_by` (`github-secret-scanning`) told of at a time. `kind` is the finder's name for
    /// such tokens; `url` and `source` (`commit`, `gist_content`) say where it was found and may be empty.
    pub fn new(found_by: &str, kind: &str, url: &str, source: &str, reported_at_unix_seconds: u64) -> Self {
        let word = |text| shown(text, LONGEST_LEAK_WORD_BYTES);
        Self {
            found_by: word(found_by),
            kind: word(kind),
            url: shown_url(url),
            source: word(source),
            reported_at_unix_seconds,
        }
    }

    /// Who found it.
    pub fn found_by(&self) -> &str {
        &self.found_by
    }

    /// The finder's name for tokens of this kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Where; may be empty.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// In what: `commit`, `issue_comment`, …; may be empty.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// When its finder told of it.
    pub const fn reported_at(&self) -> Moment {
        Moment(self.reported_at_unix_seconds)
    }
}

/// A stranger's text as it may be kept and shown.
fn shown(text: &str, most_bytes: usize) -> String {
    let plain: Cow<'_, str> = if text.contains(char::is_control) {
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect::<String>().into()
    } else {
        text.into()
    };
    String::from_utf8_lossy(&masked(cut(plain.as_bytes(), most_bytes))).into_owned()
}

/// A short text of a stranger as it may be kept and shown.
pub(super) fn shown_word(text: &str) -> String {
    shown(text, LONGEST_LEAK_WORD_BYTES)
}

/// As [`shown`], for an address: a commit's name (40 hexadecimal digits between two slashes) stays, which is what the
/// address leads to.
fn shown_url(url: &str) -> String {
    let is_commit =
        |part: &str| part.len() == 40 && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let url = String::from_utf8_lossy(cut(url.as_bytes(), LONGEST_LEAK_URL_BYTES));
    let mut text = String::with_capacity(url.len());
    for part in url.split_inclusive(['/', '?', '#']) {
        let name = part.trim_end_matches(['/', '?', '#']);
        if is_commit(name) && text.ends_with('/') {
            text.push_str(part);
        } else {
            text.push_str(&shown(part, LONGEST_LEAK_URL_BYTES));
        }
    }
    text
}

/// A token that was found.
#[derive(Clone, Debug)]
pub struct LeakedToken {
    /// The token's public id.
    pub token_id: String,
    /// Where it was found.
    pub leak: Leak,
}

/// What became of a token that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeakRevocation {
    /// These tokens worked until now: the one that was found comes first, then those of its family.
    Revoked(Vec<String>),
    /// It did not work any more; nothing was changed and nobody is told again.
    NotActive(TokenState),
    /// It is a decoy: the log says where it was found, and it stays what it is.
    Decoy,
    /// There is no such token.
    Unknown,
}

/// The part of a store that deals with leaked tokens.
pub trait Leaks {
    /// Revokes tokens that were found, in one transaction, and answers in the order of `found`. The same tokens
    /// again change nothing, write no entry and tell nobody.
    ///
    /// A thousand at a time keep other changes waiting for about a tenth of a second.
    fn revoke_leaked(&self, act: Act<'_>, found: &[LeakedToken]) -> Result<Vec<LeakRevocation>, Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_finder_says_is_cut_masked_and_one_line() {
        let token = format!("sgp_u{}", "aB3".repeat(21));
        let url = format!("https://example.com/{token}?a=1\r\nBcc: x");
        let leak = Leak::new("github\u{1b}[31m", &"long ".repeat(100), &url, "", 1_700_000_000);
        assert_eq!(leak.found_by(), "github [31m");
        assert_eq!(leak.url(), "https://example.com/sgp_ua***?a=1  Bcc: x");
        assert!(leak.kind().len() <= LONGEST_LEAK_WORD_BYTES);
        let commit = "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d";
        let at_commit = format!("https://github.com/o/r/blob/{commit}/a.env#L1");
        assert_eq!(Leak::new("x", "x", &at_commit, "", 0).url(), at_commit);
        let no_commit = format!("https://example.com/?{commit}");
        assert_eq!(Leak::new("x", "x", &no_commit, "", 0).url(), "https://example.com/?7fd1a6***");
        let long = Leak::new("x", "x", &format!("https://example.com/{}", "ü".repeat(4_000)), "", 0);
        assert!(long.url().len() <= LONGEST_LEAK_URL_BYTES + 3);
        let written = serde_json::to_string(&leak).unwrap();
        assert_eq!(serde_json::from_str::<Leak>(&written).unwrap(), leak);
        assert!(!format!("{leak:?}{written}").contains(&token[..20]));
    }
}
