//! One request as the journal keeps it.

use serde::{Deserialize, Serialize};

use super::Place;

/// A write or a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When the request arrived, in milliseconds since 1970.
    pub at_unix_millis: u64,
    /// The credential's public name: a token's id; of a JWT its issuer and client with a space between, so that no
    /// client's name passes for a token's id.
    pub token_id: String,
    /// Its workspace; empty if that was not known.
    pub workspace_id: String,
    /// The method.
    pub method: String,
    /// The operation of the endpoint table, or `unmatched`.
    pub operation: String,
    /// The path that was asked for, with whatever could be a credential masked.
    pub resource: String,
    /// How it ended.
    pub outcome: String,
    /// The status of the answer; 0 if there was none.
    pub status: u16,
    /// Whether an upstream may have acted on it: `no`, `maybe` or `yes`.
    pub forwarded: String,
    /// Where it came from: address and port.
    pub address: String,
    /// The user agent, masked and cut.
    pub user_agent: String,
    /// The request's id.
    pub request_id: String,
}

impl Entry {
    /// Whether something may have been changed by it; otherwise it was refused.
    pub fn is_write(&self) -> bool {
        self.forwarded != "no"
    }
}

/// An entry with its number in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number; what is kept later has a greater one.
    pub number: u64,
    /// The entry.
    pub entry: Entry,
}

impl Kept {
    /// Where it stands in the order of answers.
    pub const fn place(&self) -> Place {
        Place { at_unix_millis: self.entry.at_unix_millis, number: self.number }
    }
}

/// How much a token did in a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// Requests that may have changed something.
    pub writes: u64,
    /// Requests that were refused.
    pub refusals: u64,
    /// Those of them that were refused because the token was revoked.
    pub refusals_after_revocation: u64,
    /// Addresses that they came from, without ports, up to 20 of a token, the busiest first.
    pub addresses: Vec<String>,
}

impl Activity {
    /// Adds what another token did.
    pub fn add(&mut self, other: Self) {
        self.writes += other.writes;
        self.refusals += other.refusals;
        self.refusals_after_revocation += other.refusals_after_revocation;
        for address in other.addresses {
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
    }
}

/// What the cores write, as far as the journal reads it.
#[derive(Deserialize)]
pub(super) struct Line {
    time: String,
    outcome: String,
    status: u16,
    method: String,
    path: String,
    operation: String,
    #[serde(default)]
    workspace_id: String,
    token_id: String,
    issuer: Option<String>,
    forwarded: String,
    #[serde(default)]
    peer: String,
    #[serde(default)]
    user_agent: String,
    request_id: String,
}

impl Line {
    /// The entry of a line; [`None`] for one that is no line of ours.
    pub(super) fn read(line: &[u8]) -> Option<Entry> {
        let line: Self = serde_json::from_slice(line).ok()?;
        let time: jiff::Timestamp = line.time.parse().ok()?;
        Some(Entry {
            at_unix_millis: u64::try_from(time.as_millisecond()).ok()?,
            token_id: match line.issuer {
                Some(issuer) => format!("{issuer} {}", line.token_id),
                None => line.token_id,
            },
            workspace_id: line.workspace_id,
            method: line.method,
            operation: line.operation,
            resource: line.path,
            outcome: line.outcome,
            status: line.status,
            forwarded: line.forwarded,
            address: line.peer,
            user_agent: line.user_agent,
            request_id: line.request_id,
        })
    }
}
