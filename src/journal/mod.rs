//! What each credential did: its writes and its refusals, kept for a while.
//!
//! Decides which requests are kept, for how long and how many. It answers one question, after a leak: what did
//! this token do? Invariants: the request path never waits for it, what it cannot take at once is dropped and
//! counted; no credential, no query and no body is ever in it; entries per token and in all, their age and the
//! file's bytes are bounded, the oldest go first, and of one token its refusals before its writes, so that nobody
//! who goes on trying a revoked token wipes out what it did. It is no audit trail: entries are not chained, and a
//! power cut may take the last second's. It refuses to know workspaces' owners and messages to them.
//!
//! The cores write lines ([`Telemetry::keep_journal`](crate::telemetry::Telemetry::keep_journal)), a thread of its
//! own hands them to a [`Writer`], and that to a [`Journal`]. A gateway alone has a [`SqliteJournal`]. Gateways that
//! share a token store in PostgreSQL share a [`PostgresJournal`] there: each writes its own file all the same, as a
//! spool, from which a [`Forwarder`] hands the entries on, each once, as soon as the database takes them.

mod entry;
mod forwarder;
mod postgres;
mod settings;
mod sqlite;
mod writer;

pub use entry::{Activity, Entry, Kept};
pub use forwarder::{Forwarded, Forwarder, Parts, StartFault};
pub use postgres::PostgresJournal;
pub use settings::{Bounds, Checked, Settings, from_settings};
pub use sqlite::SqliteJournal;
pub use writer::Writer;

use crate::clock::Now;
use crate::tokens;

/// How many addresses an [`Activity`] has at most.
const MOST_ADDRESSES: u32 = 20;

/// Why a journal cannot be used. Entries that it did not take are lost and counted.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file or database failed.
    #[error("the journal {place} failed: {source}; give it a folder that can be written to, with room")]
    Failed {
        /// Which: a path or an address, without credentials.
        place: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database failed.
    #[error("the journal in the token store's database failed: {0}")]
    Database(#[from] tokens::Error),
    /// The database cannot keep every text.
    #[error(
        "the database of the token store has the encoding {encoding}, which lacks letters that requests may have; \
         move the store to a database made with `ENCODING 'UTF8'`, or say `journal.shared = false` to keep the journal \
         in a file of each gateway"
    )]
    Encoding {
        /// As PostgreSQL calls it.
        encoding: String,
    },
    /// The file is something else.
    #[error("{place} is no journal of this tollgate; name another file in `journal.file`")]
    Foreign {
        /// Which file.
        place: String,
    },
}

/// Where an entry stands in the order of answers: the latest first, of one time the one that was kept last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its time, in milliseconds since 1970.
    pub at_unix_millis: u64,
    /// Its number.
    pub number: u64,
}

/// Which of a token's entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    #[default]
    All,
    /// What may have changed something ([`Entry::is_write`]).
    Writes,
    /// What was refused.
    Refusals,
}

impl Which {
    /// What is added to a condition on entries, which both journals call `e`.
    const fn condition(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Writes => " AND e.forwarded <> 'no'",
            Self::Refusals => " AND e.forwarded = 'no'",
        }
    }
}

/// What is asked of a journal.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// Whose entries: a token's public id, or a JWT's client.
    pub token_id: &'q str,
    /// Which of them.
    pub which: Which,
    /// From when on, in milliseconds since 1970.
    pub from_unix_millis: u64,
    /// Before when.
    pub before_unix_millis: u64,
    /// Only entries that come after this one in the order of answers, as a page told it last.
    pub after: Option<Place>,
    /// The most that is answered.
    pub count: u32,
}

/// A journal. Every method blocks and is called off the request threads.
pub trait Journal: Send + Sync + std::fmt::Debug {
    /// Keeps entries, in the order in which they came. Of a token that has too many the oldest go, refusals first.
    fn append(&self, entries: &[Entry]) -> Result<(), JournalError>;

    /// A token's entries, the latest first.
    fn entries(&self, question: &Question<'_>) -> Result<Vec<Kept>, JournalError>;

    /// How much a token did in the time of a question, whatever it asks for, its page and its count.
    fn activity(&self, question: &Question<'_>) -> Result<Activity, JournalError>;

    /// Lets entries go that are too old or too many, in portions; answers with how many went. Does little when
    /// there is little to do; to be called every minute or so.
    fn sweep(&self, now: Now) -> Result<u64, JournalError>;

    /// Asks every gateway that shares the journal to hand on what it noted until now; for [`Journal::missing`].
    fn ask_all(&self) -> Result<Asked, JournalError> {
        Ok(Asked(0))
    }

    /// How many gateways have not yet handed on what they noted before they were asked. One that was not seen for
    /// a minute is gone, and not counted.
    fn missing(&self, asked: Asked) -> Result<u64, JournalError> {
        let Asked(_) = asked;
        Ok(0)
    }
}

/// Which asking of all gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked(u64);

#[cfg(test)]
mod tests;
