//! A journal in one SQLite file.
//!
//! # Decision
//!
//! The file stands beside the token store and is not the store: SQLite has one writer to a file, and a busy
//! journal in the store would have revocations wait for it; and a journal may lose its last second in a power
//! cut (`synchronous=NORMAL`), which a revocation may not.

mod bounds;
mod schema;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use super::{Activity, Bounds, Entry, Journal, JournalError, Kept, MOST_ADDRESSES, Place, Question};
use crate::clock::Now;

const KEPT: &str = "SELECT e.number, e.at_unix_millis, t.name, t.workspace, e.method, e.operation, e.resource, \
    e.outcome, e.status, e.forwarded, e.address, e.user_agent, e.request_id \
    FROM entry e JOIN token t ON t.number = e.token";

/// Entries in one SQLite file. Several processes may have the same file open.
#[derive(Debug)]
pub struct SqliteJournal {
    place: String,
    bounds: Bounds,
    reader: Mutex<Connection>,
    writer: Mutex<Connection>,
}

impl SqliteJournal {
    /// Opens the file and makes it (readable by its owner alone) if it is not there; its folder must exist.
    /// [`JournalError::Foreign`].
    pub fn open(path: &Path, bounds: Bounds) -> Result<Self, JournalError> {
        let place = path.display().to_string();
        let open = || schema::open(path).map_err(|failure| failure.at(&place));
        let (writer, reader) = (Mutex::new(open()?), Mutex::new(open()?));
        Ok(Self { place, bounds, reader, writer })
    }

    /// The name of this file among those that entries are forwarded from.
    pub(super) fn spool_id(&self) -> Result<String, JournalError> {
        self.read(|on| on.query_row("SELECT id FROM spool", [], |row| row.get(0)))
    }

    /// Up to `count` entries, the first kept first.
    pub(super) fn oldest(&self, count: u32) -> Result<Vec<Kept>, JournalError> {
        let sql = format!("{KEPT} ORDER BY e.number LIMIT ?1");
        self.read(|on| on.prepare_cached(&sql)?.query_map([count], kept)?.collect())
    }

    /// How many entries there are.
    pub(super) fn held(&self) -> Result<u64, JournalError> {
        let sql = "SELECT coalesce(sum(entries), 0) FROM token";
        self.read(|on| on.prepare_cached(sql)?.query_row([], |row| unsigned(row, 0)))
    }

    /// Lets the entries up to a number go.
    pub(super) fn forget_through(&self, number: u64) -> Result<(), JournalError> {
        self.write(|on| bounds::delete_through(on, signed(number)).map(drop))
    }

    fn failed(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Failed { place: self.place.clone(), source: source.into() }
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, JournalError> {
        work(&held(&self.reader)).map_err(|source| self.failed(source))
    }

    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        let done = || {
            let mut connection = held(&self.writer);
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        done().map_err(|source| self.failed(source))
    }
}

fn held(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal for SqliteJournal {
    fn append(&self, entries: &[Entry]) -> Result<(), JournalError> {
        self.write(|on| {
            let mut added: HashMap<&str, (i64, u64)> = HashMap::new();
            let mut insert = on.prepare_cached(
                "INSERT INTO entry (token, at_unix_millis, method, operation, resource, outcome, status, \
                 forwarded, address, user_agent, request_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?;
            for entry in entries {
                if !added.contains_key(&*entry.token_id) {
                    added.insert(&entry.token_id, (token_number(on, entry)?, 0));
                }
                let Some((token, count)) = added.get_mut(&*entry.token_id) else { continue };
                *count += 1;
                insert.execute(params![
                    *token,
                    signed(entry.at_unix_millis),
                    entry.method,
                    entry.operation,
                    entry.resource,
                    entry.outcome,
                    entry.status,
                    entry.forwarded,
                    entry.address,
                    entry.user_agent,
                    entry.request_id,
                ])?;
            }
            let mut most = bounds::PORTION;
            for (token, count) in added.values() {
                most -= self.bounds.count(on, *token, *count, most)?;
            }
            Ok(())
        })
    }

    fn entries(&self, question: &Question<'_>) -> Result<Vec<Kept>, JournalError> {
        self.read(|on| {
            let sql = format!(
                "{KEPT} WHERE t.name = ?1 AND e.at_unix_millis >= ?2 AND e.at_unix_millis < ?3 \
                 AND (e.at_unix_millis, e.number) < (?4, ?5){} \
                 ORDER BY e.at_unix_millis DESC, e.number DESC LIMIT ?6",
                question.which.condition()
            );
            let after = question.after.unwrap_or(Place { at_unix_millis: u64::MAX, number: u64::MAX });
            let ask = params![
                question.token_id,
                signed(question.from_unix_millis),
                signed(question.before_unix_millis),
                signed(after.at_unix_millis),
                signed(after.number),
                question.count
            ];
            on.prepare_cached(&sql)?.query_map(ask, kept)?.collect()
        })
    }

    fn activity(&self, question: &Question<'_>) -> Result<Activity, JournalError> {
        self.read(|on| {
            let of_token = "FROM entry WHERE token = (SELECT number FROM token WHERE name = ?1) \
                            AND at_unix_millis >= ?2 AND at_unix_millis < ?3";
            let ask = params![
                question.token_id,
                signed(question.from_unix_millis),
                signed(question.before_unix_millis)
            ];
            let sql = format!(
                "SELECT coalesce(sum(forwarded <> 'no'), 0), coalesce(sum(forwarded = 'no'), 0), \
                 coalesce(sum(outcome = 'token_revoked'), 0) {of_token}"
            );
            let counted = |row: &Row<'_>| Ok((unsigned(row, 0)?, unsigned(row, 1)?, unsigned(row, 2)?));
            let (writes, refusals, refusals_after_revocation) =
                on.prepare_cached(&sql)?.query_row(ask, counted)?;
            let sql = format!(
                "SELECT rtrim(rtrim(address, '0123456789'), ':') AS host {of_token} AND address <> '' \
                 GROUP BY host ORDER BY count(*) DESC, host LIMIT {MOST_ADDRESSES}"
            );
            let mut by_host = on.prepare_cached(&sql)?;
            let addresses = by_host.query_map(ask, |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(Activity { writes, refusals, refusals_after_revocation, addresses })
        })
    }

    fn sweep(&self, now: Now) -> Result<u64, JournalError> {
        let mut gone = 0;
        for _ in 0..bounds::MOST_PORTIONS {
            let portion = self.write(|on| self.bounds.sweep_portion(on, now))?;
            gone += portion;
            if portion == 0 {
                break;
            }
        }
        Ok(gone)
    }
}

/// The number that stands for a token, new if it has no entries yet.
fn token_number(on: &Connection, entry: &Entry) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO token (name, workspace, entries) VALUES (?1, ?2, 0) \
               ON CONFLICT (name) DO UPDATE SET workspace = ?2 RETURNING number";
    on.prepare_cached(sql)?.query_row([&entry.token_id, &entry.workspace_id], |row| row.get(0))
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let entry = Entry {
        at_unix_millis: unsigned(row, 1)?,
        token_id: row.get(2)?,
        workspace_id: row.get(3)?,
        method: row.get(4)?,
        operation: row.get(5)?,
        resource: row.get(6)?,
        outcome: row.get(7)?,
        status: row.get(8)?,
        forwarded: row.get(9)?,
        address: row.get(10)?,
        user_agent: row.get(11)?,
        request_id: row.get(12)?,
    };
    Ok(Kept { number: unsigned(row, 0)?, entry })
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}
