//! The journal that the gateways of a region share, in the database of their token store.
//!
//! # Decision
//!
//! Entries come from each gateway's own file, its spool. With the entries the transaction writes down up to which
//! number of the spool they are, so each is taken once, whatever becomes of a connection. Old entries go row by row
//! and not as partitions: gateways need no right to change tables. How many rows each token has is counted beside
//! them, as in a file ([`super::SqliteJournal`]).
//!
//! Whoever needs what every gateway has noted asks all of them: a number goes up, and each gateway answers with that
//! number once it has handed on what it noted before.

mod bounds;

use std::collections::BTreeMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{Activity, Asked, Bounds, Entry, Journal, JournalError, Kept, MOST_ADDRESSES, Place, Question};
use crate::clock::Now;
use crate::tokens::PostgresAddress;
use crate::tokens::store::failure::Failure;
use crate::tokens::store::postgres::{Database, Session};

/// One that hands entries on, one that reads.
const CONNECTIONS: usize = 2;
/// How long a gateway that was not seen still counts.
const GONE_AFTER_SECONDS: u32 = 60;

const KEPT: &str = "SELECT e.number, e.at_unix_millis, e.token, t.workspace, e.method, e.operation, e.resource, \
    e.outcome, e.status, e.forwarded, e.address, e.user_agent, e.request_id \
    FROM tollgate.journal_entry e JOIN tollgate.journal_token t ON t.name = e.token";

/// Entries in the tables that the token store makes.
#[derive(Debug)]
pub struct PostgresJournal {
    database: Database,
    bounds: Bounds,
}

/// What a gateway hands on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'p> {
    /// The name of its spool.
    pub(super) spool: &'p str,
    /// Entries of the spool, the first kept first.
    pub(super) entries: &'p [Kept],
    /// Which asking is answered with it.
    pub(super) answers: Option<Asked>,
}

impl PostgresJournal {
    /// In this database, which is not connected to yet.
    pub fn new(address: &PostgresAddress, bounds: Bounds) -> Result<Self, JournalError> {
        Ok(Self { database: Database::new(address, CONNECTIONS, "tollgate journal")?, bounds })
    }

    /// Whether the database can keep every text; [`JournalError::Encoding`].
    pub fn check_encoding(&self) -> Result<(), JournalError> {
        let sql = "SELECT current_setting('server_encoding')";
        let found =
            self.database.read(|on| Ok(on.query_opt(sql, &[])?.map(|row| row.try_get(0)).transpose()?))?;
        match found.unwrap_or_default() {
            encoding if encoding == "UTF8" => Ok(()),
            encoding => Err(JournalError::Encoding { encoding }),
        }
    }

    /// The last asking of all gateways.
    pub(super) fn asked(&self) -> Result<Asked, JournalError> {
        let sql = "SELECT number FROM tollgate.journal_asked";
        let number =
            self.database.read(|on| on.query_opt(sql, &[])?.map(|row| unsigned(&row, 0)).transpose())?;
        Ok(Asked(number.unwrap_or(0)))
    }

    /// Takes a part of a spool; what of it was taken before is left out.
    pub(super) fn take(&self, part: Part<'_>) -> Result<(), JournalError> {
        Ok(self.database.write(|on| {
            let sql = "INSERT INTO tollgate.journal_source (spool, taken, answered, seen_at) VALUES ($1, 0, 0, now()) \
                       ON CONFLICT (spool) DO UPDATE SET seen_at = now() RETURNING taken";
            let taken = on.query_opt(sql, &[(&part.spool, Type::TEXT)])?;
            let taken = taken.map_or(Ok(0), |row| unsigned(&row, 0))?;
            let new: Vec<&Entry> =
                part.entries.iter().filter(|kept| kept.number > taken).map(|kept| &kept.entry).collect();
            self.insert(on, &new)?;
            let taken = signed(part.entries.last().map_or(taken, |last| last.number.max(taken)));
            let answered = signed(part.answers.map_or(0, |Asked(number)| number));
            let sql = "UPDATE tollgate.journal_source SET taken = $2, answered = greatest(answered, $3) WHERE spool = $1";
            on.execute(sql, &[(&part.spool, Type::TEXT), (&taken, Type::INT8), (&answered, Type::INT8)])?;
            Ok(())
        })?)
    }

    /// Has nobody wait for a gateway that ends.
    pub(super) fn leave(&self, spool: &str) -> Result<(), JournalError> {
        let sql = format!(
            "UPDATE tollgate.journal_source SET seen_at = now() - interval '{GONE_AFTER_SECONDS} seconds' \
             WHERE spool = $1"
        );
        Ok(self.database.write(|on| on.execute(&sql, &[(&spool, Type::TEXT)]).map(drop))?)
    }

    fn insert(&self, on: &Session<'_>, entries: &[&Entry]) -> Result<(), Failure> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut tokens: BTreeMap<&str, (&str, i64)> = BTreeMap::new();
        for entry in entries {
            let (workspace, count) = tokens.entry(&entry.token_id).or_default();
            (*workspace, *count) = (&entry.workspace_id, *count + 1);
        }
        bounds::count(on, &tokens)?;
        let text = |of: fn(&Entry) -> &str| entries.iter().map(|entry| of(entry)).collect::<Vec<&str>>();
        let number = |of: fn(&Entry) -> i64| entries.iter().map(|entry| of(entry)).collect::<Vec<i64>>();
        let statuses: Vec<i32> = entries.iter().map(|entry| i32::from(entry.status)).collect();
        on.execute(
            "INSERT INTO tollgate.journal_entry (token, at_unix_millis, method, operation, resource, outcome, status, \
             forwarded, address, user_agent, request_id) SELECT * FROM unnest($1::text[], $2::int8[], $3::text[], \
             $4::text[], $5::text[], $6::text[], $7::int4[], $8::text[], $9::text[], $10::text[], $11::text[])",
            &[
                (&text(|entry| &entry.token_id), Type::TEXT_ARRAY),
                (&number(|entry| signed(entry.at_unix_millis)), Type::INT8_ARRAY),
                (&text(|entry| &entry.method), Type::TEXT_ARRAY),
                (&text(|entry| &entry.operation), Type::TEXT_ARRAY),
                (&text(|entry| &entry.resource), Type::TEXT_ARRAY),
                (&text(|entry| &entry.outcome), Type::TEXT_ARRAY),
                (&statuses, Type::INT4_ARRAY),
                (&text(|entry| &entry.forwarded), Type::TEXT_ARRAY),
                (&text(|entry| &entry.address), Type::TEXT_ARRAY),
                (&text(|entry| &entry.user_agent), Type::TEXT_ARRAY),
                (&text(|entry| &entry.request_id), Type::TEXT_ARRAY),
            ],
        )?;
        bounds::let_go(self.bounds, on, &tokens)
    }
}

impl Journal for PostgresJournal {
    fn append(&self, entries: &[Entry]) -> Result<(), JournalError> {
        let entries: Vec<&Entry> = entries.iter().collect();
        Ok(self.database.write(|on| self.insert(on, &entries))?)
    }

    fn entries(&self, question: &Question<'_>) -> Result<Vec<Kept>, JournalError> {
        let sql = format!(
            "{KEPT} WHERE e.token = $1 AND e.at_unix_millis >= $2 AND e.at_unix_millis < $3 \
             AND (e.at_unix_millis, e.number) < ($4, $5){} \
             ORDER BY e.at_unix_millis DESC, e.number DESC LIMIT $6",
            question.which.condition()
        );
        let after = question.after.unwrap_or(Place { at_unix_millis: u64::MAX, number: u64::MAX });
        Ok(self.database.read(|on| {
            let found = on.query(
                &sql,
                &[
                    (&question.token_id, Type::TEXT),
                    (&signed(question.from_unix_millis), Type::INT8),
                    (&signed(question.before_unix_millis), Type::INT8),
                    (&signed(after.at_unix_millis), Type::INT8),
                    (&signed(after.number), Type::INT8),
                    (&i64::from(question.count), Type::INT8),
                ],
            )?;
            found.iter().map(kept).collect()
        })?)
    }

    fn activity(&self, question: &Question<'_>) -> Result<Activity, JournalError> {
        let of_token =
            "FROM tollgate.journal_entry WHERE token = $1 AND at_unix_millis >= $2 AND at_unix_millis < $3";
        let counts = format!(
            "SELECT count(*) FILTER (WHERE forwarded <> 'no'), count(*) FILTER (WHERE forwarded = 'no'), \
             count(*) FILTER (WHERE outcome = 'token_revoked') {of_token}"
        );
        let hosts = format!(
            "SELECT regexp_replace(address, ':[0-9]*$', '') AS host {of_token} AND address <> '' \
             GROUP BY host ORDER BY count(*) DESC, host LIMIT {MOST_ADDRESSES}"
        );
        let (from, before) = (signed(question.from_unix_millis), signed(question.before_unix_millis));
        Ok(self.database.read(|on| {
            let ask =
                [(&question.token_id as _, Type::TEXT), (&from as _, Type::INT8), (&before as _, Type::INT8)];
            let mut activity = Activity::default();
            if let Some(row) = on.query_opt(&counts, &ask)? {
                activity.writes = unsigned(&row, 0)?;
                activity.refusals = unsigned(&row, 1)?;
                activity.refusals_after_revocation = unsigned(&row, 2)?;
            }
            for row in on.query(&hosts, &ask)? {
                activity.addresses.push(row.try_get(0)?);
            }
            Ok(activity)
        })?)
    }

    fn sweep(&self, now: Now) -> Result<u64, JournalError> {
        let mut gone = 0;
        for _ in 0..bounds::MOST_PORTIONS {
            let portion = self.database.write(|on| bounds::sweep_portion(self.bounds, on, now))?;
            gone += portion;
            if portion == 0 {
                break;
            }
        }
        Ok(gone)
    }

    fn ask_all(&self) -> Result<Asked, JournalError> {
        let sql = "UPDATE tollgate.journal_asked SET number = number + 1 RETURNING number";
        let number =
            self.database.write(|on| on.query_opt(sql, &[])?.map(|row| unsigned(&row, 0)).transpose())?;
        Ok(Asked(number.unwrap_or(0)))
    }

    fn missing(&self, asked: Asked) -> Result<u64, JournalError> {
        let sql = format!(
            "SELECT count(*) FROM tollgate.journal_source WHERE answered < $1 \
             AND seen_at > now() - interval '{GONE_AFTER_SECONDS} seconds'"
        );
        let number = signed(asked.0);
        let missing = self.database.read(|on| {
            on.query_opt(&sql, &[(&number, Type::INT8)])?.map(|row| unsigned(&row, 0)).transpose()
        })?;
        Ok(missing.unwrap_or(0))
    }
}

fn kept(row: &Row) -> Result<Kept, Failure> {
    let status: i32 = row.try_get(8)?;
    let entry = Entry {
        at_unix_millis: unsigned(row, 1)?,
        token_id: row.try_get(2)?,
        workspace_id: row.try_get(3)?,
        method: row.try_get(4)?,
        operation: row.try_get(5)?,
        resource: row.try_get(6)?,
        outcome: row.try_get(7)?,
        status: u16::try_from(status).unwrap_or(0),
        forwarded: row.try_get(9)?,
        address: row.try_get(10)?,
        user_agent: row.try_get(11)?,
        request_id: row.try_get(12)?,
    };
    Ok(Kept { number: unsigned(row, 0)?, entry })
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row, column: usize) -> Result<u64, Failure> {
    Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or(0))
}

#[cfg(test)]
mod tests;
