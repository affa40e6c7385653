//! The outbox as a table.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::failure::{unless_altered, unreadable};
use super::pool::Session;
use super::rows;
use crate::clock::Now;
use crate::tokens::Error;
use crate::tokens::store::columns::signed;
use crate::tokens::store::failure::Failure;
use crate::tokens::store::outbox::{
    ACTOR, GATHERED_AFTER_MILLIS, GATHERED_WITHIN_MILLIS, MOST_GATHERED, MOST_LISTED, short,
    warn_of_contacts, warn_of_entry, warn_of_message,
};
use crate::tokens::store::writing::outbox::Owed;
use crate::tokens::store::writing::{NewMessage, Tables};
use crate::tokens::store::{Act, Attempt, Backlog, Delivery, LogEntry, Outbox, Recipient};

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

/// Leaks that are to be told of, and those that a message tells of beside its first, whose entry it names.
pub(super) const LEAKS: &str = r#"
CREATE TABLE tollgate.leak_owed (
    entry BIGINT PRIMARY KEY,
    workspace TEXT COLLATE "C" NOT NULL,
    at_unix_millis BIGINT NOT NULL
);
CREATE INDEX leak_owed_by_workspace ON tollgate.leak_owed (workspace, at_unix_millis);
CREATE TABLE tollgate.outbox_leak (
    first BIGINT NOT NULL,
    entry BIGINT NOT NULL,
    PRIMARY KEY (first, entry)
);
"#;

/// Workspaces whose leaks are to be gathered.
const OWED: &str = "SELECT workspace, min(entry), min(at_unix_millis) FROM tollgate.leak_owed GROUP BY workspace \
    HAVING max(at_unix_millis) <= $1 OR min(at_unix_millis) <= $2";
/// The lock under which messages are made of them (`tgto`).
const GATHER_LOCK: &str = "SELECT pg_try_advisory_xact_lock(1952936047)";

/// What is due at a time, the longest due first.
const DUE: &str = "FROM tollgate.outbox WHERE settled_at_unix_millis IS NULL AND due_at_unix_millis <= $1 \
    ORDER BY due_at_unix_millis, entry, id";

/// Adds leaks that are to be told of.
pub(super) fn insert_owed(
    on: &Session<'_>,
    leaks: &[(u64, String)],
    at_unix_millis: u64,
) -> Result<(), Failure> {
    if leaks.is_empty() {
        return Ok(());
    }
    let (entries, workspaces): (Vec<i64>, Vec<&str>) =
        leaks.iter().map(|(entry, workspace)| (signed(*entry), workspace.as_str())).unzip();
    let sql = "INSERT INTO tollgate.leak_owed (entry, workspace, at_unix_millis) \
               SELECT entry, workspace, $3 FROM unnest($1::int8[], $2::text[]) AS owed (entry, workspace)";
    on.execute(
        sql,
        &[
            (&entries, Type::INT8_ARRAY),
            (&workspaces, Type::TEXT_ARRAY),
            (&signed(at_unix_millis), Type::INT8),
        ],
    )?;
    Ok(())
}

/// Ends a message, unless that was done or another has taken it; the first entry that it tells of.
pub(super) fn give_up(
    on: &Session<'_>,
    id: &str,
    attempt: u32,
    at_unix_millis: u64,
    why: &str,
) -> Result<Option<LogEntry>, Failure> {
    let sql = "WITH ended AS (UPDATE tollgate.outbox SET settled_at_unix_millis = $3, last_failure = $4 \
               WHERE id = $1 AND attempts = $2 AND settled_at_unix_millis IS NULL RETURNING entry) \
               SELECT seq, previous, hash, at_unix_millis, actor, kind, subject, body \
               FROM ended JOIN tollgate.log ON seq = entry";
    let ended = on.query_opt(
        sql,
        &[
            (&id, Type::TEXT),
            (&i64::from(attempt), Type::INT8),
            (&signed(at_unix_millis), Type::INT8),
            (&why, Type::TEXT),
        ],
    )?;
    let told = ended.as_ref().map(|row| unless_altered(rows::log_entry(row), || warn_of_row(id, row)));
    Ok(told.transpose()?.flatten())
}

fn warn_of_row(message_id: &str, row: &Row) {
    warn_of_entry(message_id, row.try_get(0).unwrap_or_default());
}

/// The times up to which leaks must have come last, or first, to be gathered now.
fn quiet_since(now: Now) -> [i64; 2] {
    [GATHERED_AFTER_MILLIS, GATHERED_WITHIN_MILLIS].map(|age| signed(now.unix_millis.saturating_sub(age)))
}

fn is_owed(on: &Session<'_>, now: Now) -> Result<bool, Failure> {
    let [last, first] = quiet_since(now);
    let owed = on.query_opt(&format!("{OWED} LIMIT 1"), &[(&last, Type::INT8), (&first, Type::INT8)])?;
    Ok(owed.is_some())
}

/// Makes messages of what is owed to workspaces, unless another process does. What is added meanwhile is either moved
/// or stays: deleting and moving is one statement.
fn gather(on: &Session<'_>, now: Now) -> Result<(), Failure> {
    let locked = on.query_opt(GATHER_LOCK, &[])?.map_or(Ok(false), |row| row.try_get(0))?;
    if !locked {
        return Ok(());
    }
    let [last, first] = quiet_since(now);
    let sql = format!(
        "SELECT o.*, hash FROM ({OWED} LIMIT {MOST_GATHERED}) AS o (workspace, first, since) \
         LEFT JOIN tollgate.log ON seq = first"
    );
    for row in on.query(&sql, &[(&last, Type::INT8), (&first, Type::INT8)])? {
        let owed = Owed {
            workspace: row.try_get(0)?,
            first: rows::unsigned(&row, 1)?,
            since_unix_millis: rows::unsigned(&row, 2)?,
            hash: row.try_get::<_, Option<&[u8]>>(3)?.and_then(|hash| hash.try_into().ok()),
        };
        let workspace = unless_altered(Tables::workspace(on, &owed.workspace), || {
            warn_of_contacts(&owed.workspace);
        })?;
        for message in owed.messages(workspace.flatten().map(|found| found.contacts).unwrap_or_default()) {
            insert(on, &message)?;
        }
        on.execute(
            "WITH gone AS (DELETE FROM tollgate.leak_owed WHERE workspace = $2 RETURNING entry) \
             INSERT INTO tollgate.outbox_leak SELECT $1, entry FROM gone WHERE entry <> $1",
            &[(&signed(owed.first), Type::INT8), (&owed.workspace, Type::TEXT)],
        )?;
    }
    Ok(())
}

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
        let time = now;
        let now = signed(time.unix_millis);
        let is_due = |on: &Session<'_>| {
            let due = on.query_opt(&format!("SELECT 1 {DUE} LIMIT 1"), &[(&now, Type::INT8)])?;
            Ok(due.is_some() || is_owed(on, time)?)
        };
        if !self.read(is_due)? {
            return Ok(Vec::new());
        }
        let until = now.saturating_add(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX));
        // What another process is taking at this moment is left to it.
        let sql = format!(
            "WITH due AS (SELECT id AS due_id, due_at_unix_millis AS was_due {DUE} LIMIT $3 FOR UPDATE SKIP LOCKED), \
             taken AS (UPDATE tollgate.outbox o SET attempts = least(attempts, 2147483646) + 1, due_at_unix_millis = $2 \
             FROM due WHERE o.id = due.due_id RETURNING o.*, due.was_due) \
             SELECT t.id, t.entry, t.contact, t.enqueued_at_unix_millis, t.attempts FROM taken t \
             ORDER BY t.was_due, t.entry, t.id"
        );
        let count = i64::from(count);
        self.note(|on| {
            gather(on, time)?;
            let taken = on.query(&sql, &[(&now, Type::INT8), (&until, Type::INT8), (&count, Type::INT8)])?;
            let mut deliveries = Vec::with_capacity(taken.len());
            for row in &taken {
                let id: String = row.try_get(0)?;
                deliveries.extend(unless_altered(delivery(on, row, &id), || warn_of_message(&id))?);
            }
            Ok(deliveries)
        })
    }

    fn settle(&self, now: Now, delivery_id: &str, attempt: u32, end: &Attempt) -> Result<(), Error> {
        if let Attempt::GivenUp { why } = end {
            let act = Act::by(ACTOR, now);
            return self.write(act, |writing| writing.give_up(delivery_id, attempt, short(why)));
        }
        let (now, attempt) = (signed(now.unix_millis), i64::from(attempt));
        self.note(|on| {
            match end {
                Attempt::GivenUp { .. } => Ok(0),
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
            }?;
            Ok(())
        })
    }

    fn backlog(&self) -> Result<Backlog, Error> {
        let sql = "SELECT sum(messages)::int8, min(oldest) FROM \
                   (SELECT count(*), min(enqueued_at_unix_millis) FROM tollgate.outbox \
                   WHERE settled_at_unix_millis IS NULL UNION ALL \
                   SELECT count(DISTINCT workspace), min(at_unix_millis) FROM tollgate.leak_owed) AS waiting (messages, oldest)";
        self.read(|on| {
            let Some(row) = on.query_opt(sql, &[])? else { return Ok(Backlog::default()) };
            let oldest: Option<i64> = row.try_get(1)?;
            let oldest_unix_millis = oldest.and_then(|oldest| u64::try_from(oldest).ok());
            Ok(Backlog { messages: rows::unsigned(&row, 0)?, oldest_unix_millis })
        })
    }

    fn forget_settled(&self, before_unix_millis: u64, count: u32) -> Result<u32, Error> {
        let sql = "DELETE FROM tollgate.outbox WHERE id IN (SELECT id FROM tollgate.outbox \
                   WHERE settled_at_unix_millis < $1 LIMIT $2)";
        let (before, count) = (signed(before_unix_millis), i64::from(count));
        self.note(|on| {
            let forgotten = on.execute(sql, &[(&before, Type::INT8), (&count, Type::INT8)])?;
            if forgotten > 0 {
                let told =
                    "DELETE FROM tollgate.outbox_leak WHERE first NOT IN (SELECT entry FROM tollgate.outbox)";
                on.execute(told, &[])?;
            }
            Ok(u32::try_from(forgotten).unwrap_or(u32::MAX))
        })
    }
}

/// A message with the leaks that it tells of.
fn delivery(on: &Session<'_>, row: &Row, id: &str) -> Result<Delivery, Failure> {
    let (first, contact, attempt): (i64, Option<String>, i32) =
        (row.try_get(1)?, row.try_get(2)?, row.try_get(4)?);
    let others =
        on.query_opt("SELECT count(*) FROM tollgate.outbox_leak WHERE first = $1", &[(&first, Type::INT8)])?;
    let sql = format!(
        "{} WHERE seq = ANY(ARRAY(SELECT $1::int8 UNION ALL (SELECT entry FROM tollgate.outbox_leak \
         WHERE first = $1 ORDER BY entry LIMIT $2))) ORDER BY seq LIMIT $2",
        rows::LOG
    );
    let listed = on.query(&sql, &[(&first, Type::INT8), (&i64::from(MOST_LISTED), Type::INT8)])?;
    let mut entries = Vec::with_capacity(listed.len());
    for row in &listed {
        entries.extend(unless_altered(rows::log_entry(row), || warn_of_row(id, row))?);
    }
    Ok(Delivery {
        id: id.to_owned(),
        recipient: contact.map_or(Recipient::Operator, Recipient::Contact),
        entries,
        leaks: others.map_or(Ok(0), |row| rows::unsigned(&row, 0))? + 1,
        enqueued_at_unix_millis: rows::unsigned(row, 3)?,
        attempt: u32::try_from(attempt).map_err(|_| unreadable(4))?,
    })
}
