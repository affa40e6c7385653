//! Operators, as rows.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::SqliteStore;
use super::rows::{self, pepper_number, signed, time, unsigned};
use crate::tokens::store::Act;
use crate::tokens::store::operators::{NewOperator, Operators, StoredOperator};
use crate::tokens::{Digest, Error, OperatorRecord};

/// The table of schema 3.
pub(super) const TABLE: &str = "
CREATE TABLE operator (
    name TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    pepper INTEGER NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    UNIQUE (digest, pepper)
) STRICT, WITHOUT ROWID;
";

const OPERATOR: &str = "SELECT name, created_at, expires_at, revoked_at, pepper, digest FROM operator";

fn operator(row: &Row<'_>) -> rusqlite::Result<StoredOperator> {
    let record = OperatorRecord {
        name: row.get(0)?,
        created_at_unix_seconds: unsigned(row, 1)?,
        expires_at_unix_seconds: time(row, 2)?,
        revoked_at_unix_seconds: time(row, 3)?,
    };
    Ok(StoredOperator { record, digest: rows::digest(row.get(4)?, row.get(5)?) })
}

pub(super) fn by_name(on: &Connection, name: &str) -> rusqlite::Result<Option<StoredOperator>> {
    on.prepare_cached(&format!("{OPERATOR} WHERE name = ?1"))?.query_row([name], operator).optional()
}

pub(super) fn all(on: &Connection) -> rusqlite::Result<Vec<StoredOperator>> {
    on.prepare_cached(&format!("{OPERATOR} ORDER BY name"))?.query_map([], operator)?.collect()
}

impl Operators for SqliteStore {
    fn create_operator(&self, act: Act<'_>, new: &NewOperator) -> Result<OperatorRecord, Error> {
        self.write(act, |writing| writing.create_operator(new))
    }

    fn operators(&self) -> Result<Vec<OperatorRecord>, Error> {
        self.read(|on| Ok(all(on)?.into_iter().map(|stored| stored.record).collect()))
    }

    fn revoke_operator(&self, act: Act<'_>, name: &str) -> Result<OperatorRecord, Error> {
        self.write(act, |writing| writing.revoke_operator(name))
    }
}

pub(super) fn insert(on: &Connection, record: &OperatorRecord, digest: &Digest) -> rusqlite::Result<()> {
    on.prepare_cached("INSERT INTO operator VALUES (?1, ?2, ?3, NULL, ?4, ?5)")?.execute(params![
        record.name,
        signed(record.created_at_unix_seconds),
        record.expires_at_unix_seconds.map(signed),
        pepper_number(digest.scheme),
        digest.bytes,
    ])?;
    Ok(())
}

pub(super) fn set_revoked(on: &Connection, name: &str, unix_seconds: u64) -> rusqlite::Result<()> {
    on.prepare_cached("UPDATE operator SET revoked_at = ?2 WHERE name = ?1")?
        .execute(params![name, signed(unix_seconds)])?;
    Ok(())
}
