//! The outbox as a table.

use std::sync::PoisonError;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::rows::{self, signed, unsigned};
use super::{Failure, SqliteStore};
use crate::clock::Now;
use crate::tokens::Error;
use crate::tokens::store::outbox::short;
use crate::tokens::store::writing::NewMessage;
use crate::tokens::store::{Attempt, Backlog, Delivery, Outbox, Recipient};

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

const DELIVERY: &str = "SELECT seq, previous, hash, at_unix_millis, actor, kind, subject, body, \
    o.id, o.contact, o.enqueued_at_unix_millis, o.attempts FROM outbox o JOIN log ON seq = o.entry";

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
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let done = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        done().map_err(|failure: Failure| failure.at(&self.place))
    }
}

impl Outbox for SqliteStore {
    fn claim(&self, now: Now, lease: Duration, count: u32) -> Result<Vec<Delivery>, Error> {
        if self.read(|on| due(on, now, 1))?.is_empty() {
            return Ok(Vec::new());
        }
        self.note(|on| {
            let until = now.unix_millis.saturating_add(lease.as_millis() as u64);
            let mut take = on.prepare_cached(
                "UPDATE outbox SET attempts = attempts + 1, due_at_unix_millis = ?2 WHERE id = ?1",
            )?;
            let mut read = on.prepare_cached(&format!("{DELIVERY} WHERE o.id = ?1"))?;
            let mut taken = Vec::new();
            for id in due(on, now, count)? {
                take.execute(params![id, signed(until)])?;
                taken.extend(read.query_row([id], delivery).optional()?);
            }
            Ok(taken)
        })
    }

    fn settle(&self, now: Now, delivery_id: &str, attempt: u32, end: &Attempt) -> Result<(), Error> {
        let now = signed(now.unix_millis);
        self.note(|on| {
            match end {
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
                Attempt::GivenUp { why } => on
                    .prepare_cached(
                        "UPDATE outbox SET settled_at_unix_millis = ?3, last_failure = ?4 \
                         WHERE id = ?1 AND attempts = ?2 AND settled_at_unix_millis IS NULL",
                    )?
                    .execute(params![delivery_id, attempt, now, short(why)])?,
            };
            Ok(())
        })
    }

    fn backlog(&self) -> Result<Backlog, Error> {
        self.read(|on| {
            let sql = "SELECT count(*), min(enqueued_at_unix_millis) FROM outbox \
                       WHERE settled_at_unix_millis IS NULL";
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
            Ok(on.prepare_cached(sql)?.execute(params![signed(before_unix_millis), count])? as u32)
        })
    }
}

/// The ids of up to `count` messages that are due, the longest due first.
fn due(on: &Connection, now: Now, count: u32) -> Result<Vec<String>, Failure> {
    let sql = "SELECT id FROM outbox WHERE settled_at_unix_millis IS NULL AND due_at_unix_millis <= ?1 \
               ORDER BY due_at_unix_millis, entry LIMIT ?2";
    let mut statement = on.prepare_cached(sql)?;
    let ids = statement.query_map(params![signed(now.unix_millis), count], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let contact: Option<String> = row.get(9)?;
    Ok(Delivery {
        entry: rows::log_entry(row)?,
        id: row.get(8)?,
        recipient: contact.map_or(Recipient::Operator, Recipient::Contact),
        enqueued_at_unix_millis: unsigned(row, 10)?,
        attempt: row.get(11)?,
    })
}
