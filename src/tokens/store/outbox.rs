//! Messages that a change owes to somebody, kept in the store until they were delivered.
//!
//! That a message is owed is written down by the transaction of the change that it tells of, so neither exists without
//! the other. What is owed to one workspace within a moment ([`GATHERED_AFTER_MILLIS`]) is told in one message to each
//! contact: an alert of ten thousand tokens is no ten thousand e-mails. Whoever delivers takes a message for a time (a
//! lease); if that process dies, the message is due again when the lease is over. So it is delivered at least once,
//! and a receiver that keeps the ids of messages sees each once. What a message says is made up from its log entries
//! when it is delivered.

use std::time::Duration;

use super::LogEntry;
use crate::clock::Now;
use crate::tokens::Error;

/// The most bytes that are kept of why an attempt failed.
pub const LONGEST_FAILURE_BYTES: usize = 256;

/// Leaks of a workspace are gathered once none was added for so long: by then every replica that is well refuses the
/// tokens and has told the journal what they did until then, and the message is under way within 2 s of the leak.
pub const GATHERED_AFTER_MILLIS: u64 = 750;
/// Leaks of a workspace are gathered after so long though others go on being added.
pub const GATHERED_WITHIN_MILLIS: u64 = 30_000;
/// Who acts in the log where a message is given up.
pub(super) const ACTOR: &str = "tollgate";
/// The most workspaces whose leaks are gathered at once.
pub(super) const MOST_GATHERED: u32 = 64;
/// The most leaks that a message lists; what is beyond is counted.
pub const MOST_LISTED: u32 = 50;

/// Who a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// A contact of the workspace: an e-mail address or the `https` address of a webhook.
    Contact(String),
    /// The operator, because the workspace has no contacts or a decoy was used.
    Operator,
}

/// A message to one recipient, taken for one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id, the same in every attempt and unlike that of any other message: `msg_` and 32 hexadecimal digits.
    pub id: String,
    /// Who it is for.
    pub recipient: Recipient,
    /// What it tells of, leaks or the use of a token, up to [`MOST_LISTED`] entries, in the log's order.
    pub entries: Vec<LogEntry>,
    /// How many it tells of in all.
    pub leaks: u64,
    /// When the first of them was found, in milliseconds since 1970.
    pub enqueued_at_unix_millis: u64,
    /// How often it was taken, this time included.
    pub attempt: u32,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The recipient has it.
    Delivered,
    /// It failed and is to be tried again at a time, in milliseconds since 1970.
    Failed {
        /// When it is due again.
        due_at_unix_millis: u64,
        /// Why it failed.
        why: String,
    },
    /// It failed and is not tried again.
    GivenUp {
        /// Why it failed the last time.
        why: String,
    },
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that are neither delivered nor given up, those that are being gathered included.
    pub messages: u64,
    /// When the oldest of them was put in, in milliseconds since 1970.
    pub oldest_unix_millis: Option<u64>,
}

/// The part of a store that keeps messages. They are owed by
/// [`Leaks`](super::Leaks) and [`Sightings`](super::sightings::Sightings).
pub trait Outbox {
    /// Gathers what is owed, then takes up to `count` messages that are due, the longest due first, for `lease`. Nobody
    /// else is given them before that is over. Costs one read while nothing is due. What somebody altered so that it cannot
    /// be read keeps no other message back: it is left out, and the log names it.
    fn claim(&self, now: Now, lease: Duration, count: u32) -> Result<Vec<Delivery>, Error>;

    /// Tells how the attempt of this number ended. An attempt whose message was since taken by another changes
    /// nothing, unless it was delivered. Telling again changes nothing. That a message was given up is an entry of the
    /// log ([`ChangeKind::LeakUntold`](super::ChangeKind::LeakUntold), of a use
    /// [`ChangeKind::UseUntold`](super::ChangeKind::UseUntold)).
    fn settle(&self, now: Now, delivery_id: &str, attempt: u32, end: &Attempt) -> Result<(), Error>;

    /// What waits.
    fn backlog(&self) -> Result<Backlog, Error>;

    /// Forgets up to `count` messages that were delivered or given up before a time; answers with how many.
    fn forget_settled(&self, before_unix_millis: u64, count: u32) -> Result<u32, Error>;
}

/// Says that an entry of the log cannot be read. The message is about the others that it tells of; about nothing it fails,
/// and is tried again as any other.
pub(super) fn warn_of_entry(message_id: &str, entry: i64) {
    tracing::error!(
        message_id,
        entry,
        "a message to owners leaves out an entry of the log, which cannot be read: it was altered; `tollgate audit verify` \
         tells what else was, restore the row from a backup"
    );
}

/// Says that a message cannot be read. It is left for the time of a lease.
pub(super) fn warn_of_message(message_id: &str) {
    tracing::error!(
        message_id,
        "a message to owners waits, because its row of `outbox` cannot be read: it was altered; restore the row from a \
         backup, or delete it to give the message up"
    );
}

/// Says that a workspace's contacts cannot be read. The operator is told in their place.
pub(super) fn warn_of_contacts(workspace: &str) {
    tracing::error!(
        workspace,
        "a leak is told to the operator alone, because the row of its workspace cannot be read: it was altered; restore the \
         row from a backup, and tell the workspace's contacts"
    );
}

/// Why an attempt failed, as it is kept.
pub(super) fn short(why: &str) -> &str {
    &why[..why.floor_char_boundary(LONGEST_FAILURE_BYTES)]
}
