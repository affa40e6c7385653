//! The outbox as a table.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::pool::Session;
use super::rows;
use crate::clock::Now;
use crate::tokens::Error;
use crate::tokens::store::columns::signed;
use crate::tokens::store::failure::Failure;
use crate::tokens::store::outbox::short;
use crate::tokens::store::writing::NewMessage;
use crate::tokens::store::{Attempt, Backlog, Delivery, Outbox, Recipient};

pub(super) const TABLES: &str = r#"
CREATE TABLE tollgate.outbox (
    id TEXT COLLATE "C" PRIMARY KEY,
    entry BIGINT NOT NULL,
    contact TEXT,
    enqueued_at_unix_millis BIGINT NOT NULL,
    due_at_unix_millis BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    last_failure TEXT,
    settled_at_unix_millis BIGINT,
    delivered BOOLEAN NOT NULL DEFAULT false
);
CREATE INDEX outbox_waiting ON tollgate.outbox (due_at_unix_millis, entry) WHERE settled_at_unix_millis IS NULL;
CREATE INDEX outbox_settled ON tollgate.outbox (settled_at_unix_millis) WHERE settled_at_unix_millis IS NOT NULL;
"#;

/// What is due at a time, the longest due first.
const DUE: &str = "FROM tollgate.outbox WHERE settled_at_unix_millis IS NULL AND due_at_unix_millis <= $1 \
    ORDER BY due_at_unix_millis, entry, id";

/// Adds a message that is due at once.
pub(super) fn insert(on: &Session<'_>, message: &NewMessage) -> Result<(), Failure> {
    let sql = "INSERT INTO tollgate.outbox (id, entry, contact, enqueued_at_unix_millis, due_at_unix_millis, \
               attempts) VALUES ($1, $2, $3, $4, $4, 0)";
    on.execute(
        sql,
        &[
            (&message.id, Type::TEXT),
            (&signed(message.entry), Type::INT8),
            (&message.contact, Type::TEXT),
            (&signed(message.enqueued_at_unix_millis), Type::INT8),
        ],
    )?;
    Ok(())
}

impl Outbox for PostgresStore {
    fn claim(&self, now: Now, lease: Duration, count: u32) -> Result<Vec<Delivery>, Error> {
        let now = signed(now.unix_millis);
        let is_due =
            |on: &Session<'_>| on.query_opt(&format!("SELECT 1 {DUE} LIMIT 1"), &[(&now, Type::INT8)]);
        if self.read(is_due)?.is_none() {
            return Ok(Vec::new());
        }
        let until = now.saturating_add(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX));
        // What another process is taking at this moment is left to it.
        let sql = format!(
            "WITH due AS (SELECT id AS due_id, due_at_unix_millis AS was_due {DUE} LIMIT $3 FOR UPDATE SKIP LOCKED), \
             taken AS (UPDATE tollgate.outbox o SET attempts = attempts + 1, due_at_unix_millis = $2 \
             FROM due WHERE o.id = due.due_id RETURNING o.*, due.was_due) \
             SELECT seq, previous, hash, at_unix_millis, actor, kind, subject, body, t.id, t.contact, \
             t.enqueued_at_unix_millis, t.attempts FROM taken t JOIN tollgate.log ON seq = t.entry \
             ORDER BY t.was_due, t.entry, t.id"
        );
        let count = i64::from(count);
        self.note(|on| {
            let taken = on.query(&sql, &[(&now, Type::INT8), (&until, Type::INT8), (&count, Type::INT8)])?;
            taken.iter().map(delivery).collect()
        })
    }

    fn settle(&self, now: Now, delivery_id: &str, attempt: u32, end: &Attempt) -> Result<(), Error> {
        let (now, attempt) = (signed(now.unix_millis), i64::from(attempt));
        self.note(|on| {
            match end {
                Attempt::Delivered => on.execute(
                    "UPDATE tollgate.outbox SET settled_at_unix_millis = $2, delivered = true \
                     WHERE id = $1 AND settled_at_unix_millis IS NULL",
                    &[(&delivery_id, Type::TEXT), (&now, Type::INT8)],
                ),
                Attempt::Failed { due_at_unix_millis, why } => on.execute(
                    "UPDATE tollgate.outbox SET due_at_unix_millis = $3, last_failure = $4 \
                     WHERE id = $1 AND attempts = $2 AND settled_at_unix_millis IS NULL",
                    &[
                        (&delivery_id, Type::TEXT),
                        (&attempt, Type::INT8),
                        (&signed(*due_at_unix_millis), Type::INT8),
                        (&short(why), Type::TEXT),
                    ],
                ),
                Attempt::GivenUp { why } => on.execute(
                    "UPDATE tollgate.outbox SET settled_at_unix_millis = $3, last_failure = $4 \
                     WHERE id = $1 AND attempts = $2 AND settled_at_unix_millis IS NULL",
                    &[
                        (&delivery_id, Type::TEXT),
                        (&attempt, Type::INT8),
                        (&now, Type::INT8),
                        (&short(why), Type::TEXT),
                    ],
                ),
            }?;
            Ok(())
        })
    }

    fn backlog(&self) -> Result<Backlog, Error> {
        let sql = "SELECT count(*), min(enqueued_at_unix_millis) FROM tollgate.outbox \
                   WHERE settled_at_unix_millis IS NULL";
        self.read(|on| {
            let Some(row) = on.query_opt(sql, &[])? else { return Ok(Backlog::default()) };
            Ok(Backlog { messages: rows::unsigned(&row, 0)?, oldest_unix_millis: rows::time(&row, 1)? })
        })
    }

    fn forget_settled(&self, before_unix_millis: u64, count: u32) -> Result<u32, Error> {
        let sql = "DELETE FROM tollgate.outbox WHERE id IN (SELECT id FROM tollgate.outbox \
                   WHERE settled_at_unix_millis < $1 LIMIT $2)";
        let (before, count) = (signed(before_unix_millis), i64::from(count));
        self.note(|on| {
            let forgotten = on.execute(sql, &[(&before, Type::INT8), (&count, Type::INT8)])?;
            Ok(u32::try_from(forgotten).unwrap_or(u32::MAX))
        })
    }
}

fn delivery(row: &Row) -> Result<Delivery, Failure> {
    let contact: Option<String> = row.try_get(9)?;
    let attempt: i32 = row.try_get(11)?;
    Ok(Delivery {
        entry: rows::log_entry(row)?,
        id: row.try_get(8)?,
        recipient: contact.map_or(Recipient::Operator, Recipient::Contact),
        enqueued_at_unix_millis: rows::unsigned(row, 10)?,
        attempt: u32::try_from(attempt).map_err(|_| super::failure::unreadable(11))?,
    })
}
