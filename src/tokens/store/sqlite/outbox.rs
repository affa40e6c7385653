//! The outbox as a table.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::rows::{self, signed, unsigned};
use super::{Failure, SqliteStore};
use crate::clock::Now;
use crate::tokens::Error;
use crate::tokens::store::outbox::{
    ACTOR, GATHERED_AFTER_MILLIS, GATHERED_WITHIN_MILLIS, MOST_GATHERED, MOST_LISTED, short,
    warn_of_contacts, warn_of_entry, warn_of_message,
};
use crate::tokens::store::writing::NewMessage;
use crate::tokens::store::writing::outbox::Owed;
use crate::tokens::store::{Act, Attempt, Backlog, Delivery, LogEntry, Outbox, Recipient};

pub(super) const TABLES: &str = "
CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    entry INTEGER NOT NULL,
    contact TEXT,
    enqueued_at_unix_millis INTEGER NOT NULL,
    due_at_unix_millis INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    last_failure TEXT,
    settled_at_unix_millis INTEGER,
    delivered INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_waiting ON outbox (due_at_unix_millis, entry) WHERE settled_at_unix_millis IS NULL;
CREATE INDEX outbox_settled ON outbox (settled_at_unix_millis) WHERE settled_at_unix_millis IS NOT NULL;
";

/// Leaks that are to be told of, and those that a message tells of beside its first, whose entry it names.
pub(super) const LEAKS: &str = "
CREATE TABLE leak_owed (
    entry INTEGER PRIMARY KEY,
    workspace TEXT NOT NULL,
    at_unix_millis INTEGER NOT NULL
) STRICT;
CREATE INDEX leak_owed_by_workspace ON leak_owed (workspace, at_unix_millis);
CREATE TABLE outbox_leak (
    first INTEGER NOT NULL,
    entry INTEGER NOT NULL,
    PRIMARY KEY (first, entry)
) STRICT, WITHOUT ROWID;
";

/// Workspaces whose leaks are to be gathered.
const OWED: &str = "SELECT workspace, min(entry), min(at_unix_millis) FROM leak_owed GROUP BY workspace \
    HAVING max(at_unix_millis) <= ?1 OR min(at_unix_millis) <= ?2";

/// Adds leaks that are to be told of.
pub(super) fn insert_owed(
    on: &Connection,
    leaks: &[(u64, String)],
    at_unix_millis: u64,
) -> rusqlite::Result<()> {
    let mut insert = on.prepare_cached("INSERT INTO leak_owed VALUES (?1, ?2, ?3)")?;
    for (entry, workspace) in leaks {
        insert.execute(params![signed(*entry), workspace, signed(at_unix_millis)])?;
    }
    Ok(())
}

/// Ends a message, unless that was done or another has taken it; the first entry that it tells of.
pub(super) fn give_up(
    on: &Connection,
    id: &str,
    attempt: u32,
    at_unix_millis: u64,
    why: &str,
) -> rusqlite::Result<Option<LogEntry>> {
    let sql = "UPDATE outbox SET settled_at_unix_millis = ?3, last_failure = ?4 \
               WHERE id = ?1 AND attempts = ?2 AND settled_at_unix_millis IS NULL RETURNING entry";
    let ended = params![id, attempt, signed(at_unix_millis), why];
    let Some(first) = on.prepare_cached(sql)?.query_row(ended, |row| row.get::<_, i64>(0)).optional()? else {
        return Ok(None);
    };
    let told =
        on.prepare_cached(&format!("{} WHERE seq = ?1", rows::LOG))?.query_row([first], rows::log_entry);
    rows::unless_altered(told.optional(), || warn_of_entry(id, first)).map(Option::flatten)
}

fn is_owed(on: &Connection, now: Now) -> Result<bool, Failure> {
    let mut statement = on.prepare_cached(&format!("{OWED} LIMIT 1"))?;
    Ok(statement.exists(quiet_since(now))?)
}

/// The times up to which leaks must have come last, or first, to be gathered now.
fn quiet_since(now: Now) -> [i64; 2] {
    [GATHERED_AFTER_MILLIS, GATHERED_WITHIN_MILLIS].map(|age| signed(now.unix_millis.saturating_sub(age)))
}

/// Makes messages of what is owed to workspaces.
fn gather(on: &Connection, now: Now) -> Result<(), Failure> {
    let mut statement = on.prepare_cached(&format!("{OWED} LIMIT {MOST_GATHERED}"))?;
    let owed = statement.query_map(quiet_since(now), |row| {
        Ok(Owed {
            workspace: row.get(0)?,
            first: unsigned(row, 1)?,
            hash: None,
            since_unix_millis: unsigned(row, 2)?,
        })
    })?;
    for mut owed in owed.collect::<Result<Vec<_>, _>>()? {
        let hash = "SELECT hash FROM log WHERE seq = ?1 AND length(hash) = 32";
        owed.hash = on.prepare_cached(hash)?.query_row([signed(owed.first)], |row| row.get(0)).optional()?;
        let workspace = rows::unless_altered(rows::workspace_by_id(on, &owed.workspace), || {
            warn_of_contacts(&owed.workspace);
        })?;
        for message in owed.messages(workspace.flatten().map(|found| found.contacts).unwrap_or_default()) {
            insert(on, &message)?;
        }
        let moved =
            "INSERT INTO outbox_leak SELECT ?1, entry FROM leak_owed WHERE workspace = ?2 AND entry <> ?1";
        on.prepare_cached(moved)?.execute(params![signed(owed.first), owed.workspace])?;
        on.prepare_cached("DELETE FROM leak_owed WHERE workspace = ?1")?.execute([&owed.workspace])?;
    }
    Ok(())
}

/// Adds a message that is due at once.
pub(super) fn insert(on: &Connection, message: &NewMessage) -> rusqlite::Result<()> {
    on.prepare_cached(
        "INSERT INTO outbox (id, entry, contact, enqueued_at_unix_millis, due_at_unix_millis, attempts) \
         VALUES (?1, ?2, ?3, ?4, ?4, 0)",
    )?
    .execute(params![
        message.id,
        signed(message.entry),
        message.contact,
        signed(message.enqueued_at_unix_millis)
    ])?;
    Ok(())
}

impl SqliteStore {
    /// A writing transaction that is no change of the log.
    pub(super) fn note<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let done = self.writer.take(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        done.map_err(|failure| failure.at(&self.place))
    }
}

impl Outbox for SqliteStore {
    fn claim(&self, now: Now, lease: Duration, count: u32) -> Result<Vec<Delivery>, Error> {
        if !self.read(|on| Ok(is_owed(on, now)? || !due(on, now, 1)?.is_empty()))? {
            return Ok(Vec::new());
        }
        self.note(|on| {
            gather(on, now)?;
            let until = now.unix_millis.saturating_add(lease.as_millis() as u64);
            let mut take = on.prepare_cached(
                "UPDATE outbox SET attempts = min(attempts, ?3) + 1, due_at_unix_millis = ?2 \
                 WHERE id = CAST(?1 AS TEXT)",
            )?;
            let mut taken = Vec::new();
            for id in due(on, now, count)? {
                take.execute(params![id, signed(until), u32::MAX - 1])?;
                let told = String::from_utf8_lossy(&id).into_owned();
                taken.extend(rows::unless_altered(delivery(on, id), || warn_of_message(&told))?);
            }
            Ok(taken)
        })
    }

    fn settle(&self, now: Now, delivery_id: &str, attempt: u32, end: &Attempt) -> Result<(), Error> {
        if let Attempt::GivenUp { why } = end {
            let act = Act::by(ACTOR, now);
            return self.write(act, |writing| writing.give_up(delivery_id, attempt, short(why)));
        }
        let now = signed(now.unix_millis);
        self.note(|on| {
            match end {
                Attempt::GivenUp { .. } => 0,
                Attempt::Delivered => on
                    .prepare_cached(
                        "UPDATE outbox SET settled_at_unix_millis = ?2, delivered = 1 \
                         WHERE id = ?1 AND settled_at_unix_millis IS NULL",
                    )?
                    .execute(params![delivery_id, now])?,
                Attempt::Failed { due_at_unix_millis, why } => on
                    .prepare_cached(
                        "UPDATE outbox SET due_at_unix_millis = ?3, last_failure = ?4 \
                         WHERE id = ?1 AND attempts = ?2 AND settled_at_unix_millis IS NULL",
                    )?
                    .execute(params![delivery_id, attempt, signed(*due_at_unix_millis), short(why)])?,
            };
            Ok(())
        })
    }

    fn backlog(&self) -> Result<Backlog, Error> {
        self.read(|on| {
            let sql = "SELECT coalesce(sum(messages), 0), min(oldest) FROM \
                       (SELECT count(*) AS messages, min(enqueued_at_unix_millis) AS oldest FROM outbox \
                       WHERE settled_at_unix_millis IS NULL UNION ALL \
                       SELECT count(DISTINCT workspace), min(at_unix_millis) FROM leak_owed)";
            Ok(on.prepare_cached(sql)?.query_row([], |row| {
                let oldest: Option<i64> = row.get(1)?;
                let oldest_unix_millis = oldest.and_then(|oldest| u64::try_from(oldest).ok());
                Ok(Backlog { messages: unsigned(row, 0)?, oldest_unix_millis })
            })?)
        })
    }

    fn forget_settled(&self, before_unix_millis: u64, count: u32) -> Result<u32, Error> {
        self.note(|on| {
            let sql = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox \
                       WHERE settled_at_unix_millis < ?1 LIMIT ?2)";
            let forgotten = on.prepare_cached(sql)?.execute(params![signed(before_unix_millis), count])?;
            if forgotten > 0 {
                on.execute("DELETE FROM outbox_leak WHERE first NOT IN (SELECT entry FROM outbox)", [])?;
            }
            Ok(forgotten as u32)
        })
    }
}

/// The bytes of the ids of up to `count` messages that are due, the longest due first.
fn due(on: &Connection, now: Now, count: u32) -> Result<Vec<Vec<u8>>, Failure> {
    let sql = "SELECT CAST(id AS BLOB) FROM outbox WHERE settled_at_unix_millis IS NULL AND due_at_unix_millis <= ?1 \
               ORDER BY due_at_unix_millis, entry LIMIT ?2";
    let mut statement = on.prepare_cached(sql)?;
    let ids = statement.query_map(params![signed(now.unix_millis), count], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// A message with the leaks that it tells of.
fn delivery(on: &Connection, id: Vec<u8>) -> rusqlite::Result<Delivery> {
    let id = String::from_utf8(id).map_err(|error| rusqlite::Error::Utf8Error(0, error.utf8_error()))?;
    let sql = "SELECT entry, contact, enqueued_at_unix_millis, attempts FROM outbox WHERE id = ?1";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, unsigned(row, 2)?, row.get(3)?));
    let (first, contact, enqueued_at_unix_millis, attempt): (i64, Option<String>, u64, u32) =
        on.prepare_cached(sql)?.query_row([&id], read)?;
    let sql = "SELECT count(*) FROM outbox_leak WHERE first = ?1";
    let others = on.prepare_cached(sql)?.query_row([first], |row| unsigned(row, 0))?;
    let sql = format!(
        "{} WHERE seq IN (SELECT ?1 UNION ALL SELECT entry FROM outbox_leak WHERE first = ?1) ORDER BY seq LIMIT ?2",
        rows::LOG
    );
    let mut statement = on.prepare_cached(&sql)?;
    let mut listed = statement.query(params![first, MOST_LISTED])?;
    let mut entries = Vec::new();
    while let Some(row) = listed.next()? {
        let seq = row.get(0).unwrap_or_default();
        entries.extend(rows::unless_altered(rows::log_entry(row), || warn_of_entry(&id, seq))?);
    }
    Ok(Delivery {
        id,
        recipient: contact.map_or(Recipient::Operator, Recipient::Contact),
        entries,
        leaks: others + 1,
        enqueued_at_unix_millis,
        attempt,
    })
}
