//! Rows of SQLite to records and back.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::overrides::{self, overrides_of};
use crate::domain::{Plan, Role, WorkspaceState};
pub(super) use crate::tokens::store::columns::{digest, pepper_number, quota, quota_text, signed};
use crate::tokens::store::failure::Failure;
use crate::tokens::store::{LogEntry, StoredToken, columns};
use crate::tokens::{Digest, Error, TokenRecord, WorkspaceRecord};

pub(super) const WORKSPACE: &str = concat!(
    "SELECT id, number, region, plan, features, state, contacts, created_at, ",
    overrides_of!("workspace", "workspace.id"),
    " FROM workspace"
);

pub(super) const TOKEN: &str = concat!(
    "SELECT t.id, t.family, t.number, t.workspace, t.name, t.scopes, t.role, t.own_limit, t.created_at, \
     t.expires_at, t.revoked_at, t.revoked_reason, t.overlap_until, t.replaced_by, u.at, t.pepper, t.digest, \
     t.is_foreign, t.allowed_networks, t.is_decoy, ",
    overrides_of!("token", "t.family"),
    " FROM token t LEFT JOIN token_use u ON u.token = t.id"
);

pub(super) const LOG: &str =
    "SELECT seq, previous, hash, at_unix_millis, actor, kind, subject, body FROM log";

pub(super) fn workspace(row: &Row<'_>) -> rusqlite::Result<WorkspaceRecord> {
    Ok(WorkspaceRecord {
        id: row.get(0)?,
        number: unsigned(row, 1)?,
        region: row.get(2)?,
        plan: word(row, 3, Plan::by_name)?,
        features: words(row, 4)?,
        state: word(row, 5, WorkspaceState::by_name)?,
        contacts: words(row, 6)?,
        created_at_unix_seconds: unsigned(row, 7)?,
        overrides: overrides::column(row, 8)?,
    })
}

pub(super) fn token(row: &Row<'_>) -> rusqlite::Result<StoredToken> {
    let own_limit: Option<String> = row.get(7)?;
    let own_limit = own_limit.map(|text| quota(&text).ok_or_else(|| unreadable(7))).transpose()?;
    let record = TokenRecord {
        id: row.get(0)?,
        family: row.get(1)?,
        number: unsigned(row, 2)?,
        workspace: row.get(3)?,
        name: row.get(4)?,
        scopes: words(row, 5)?,
        role: word(row, 6, Role::by_name)?,
        own_limit,
        allowed_networks: columns::networks(&words(row, 18)?).ok_or_else(|| unreadable(18))?,
        is_decoy: row.get(19)?,
        overrides: overrides::column(row, 20)?,
        created_at_unix_seconds: unsigned(row, 8)?,
        expires_at_unix_seconds: time(row, 9)?,
        revoked_at_unix_seconds: time(row, 10)?,
        revoked_reason: row.get(11)?,
        overlap_until_unix_seconds: time(row, 12)?,
        replaced_by: row.get(13)?,
        last_used_unix_seconds: time(row, 14)?,
    };
    Ok(StoredToken {
        record,
        digest: digest(row.get(15)?, row.get(16)?),
        foreign: row.get(17)?,
        former: Vec::new(),
    })
}

pub(super) fn log_entry(row: &Row<'_>) -> rusqlite::Result<LogEntry> {
    Ok(LogEntry {
        seq: unsigned(row, 0)?,
        previous: row.get(1)?,
        hash: row.get(2)?,
        at_unix_millis: unsigned(row, 3)?,
        actor: row.get(4)?,
        kind: row.get(5)?,
        subject: row.get(6)?,
        body: row.get(7)?,
    })
}

/// As [`log_entry`]; a column that cannot be read was altered.
pub(super) fn audited(row: &Row<'_>) -> Result<LogEntry, Failure> {
    log_entry(row).map_err(|error| match unsigned(row, 0) {
        Ok(seq) => Error::LogAltered(seq).into(),
        Err(_) => error.into(),
    })
}

/// What was read; [`None`], and `tell` is called, where the row is there and no store wrote it so.
pub(super) fn unless_altered<T>(
    read: rusqlite::Result<T>,
    tell: impl FnOnce(),
) -> rusqlite::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..),
        ) => {
            tell();
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn workspace_by_id(on: &Connection, id: &str) -> rusqlite::Result<Option<WorkspaceRecord>> {
    on.prepare_cached(&format!("{WORKSPACE} WHERE id = ?1"))?.query_row([id], workspace).optional()
}

pub(super) fn token_by_id(on: &Connection, id: &str) -> rusqlite::Result<Option<StoredToken>> {
    on.prepare_cached(&format!("{TOKEN} WHERE t.id = ?1"))?.query_row([id], token).optional()
}

pub(super) fn token_by_digest(on: &Connection, wanted: &Digest) -> rusqlite::Result<Option<StoredToken>> {
    on.prepare_cached(&format!("{TOKEN} WHERE t.digest = ?1 AND t.pepper = ?2"))?
        .query_row(params![wanted.bytes, pepper_number(wanted.scheme)], token)
        .optional()
}

/// Adds the ids of a family's tokens.
pub(super) fn ids_of_family(on: &Connection, family: &str, ids: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut statement = on.prepare_cached("SELECT id FROM token WHERE family = ?1")?;
    for id in statement.query_map([family], |row| row.get(0))? {
        ids.push(id?);
    }
    Ok(())
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| unreadable(column))
}

pub(super) fn json(words: &[String]) -> String {
    serde_json::Value::from(words).to_string()
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let value: Option<i64> = row.get(column)?;
    value.map(|value| u64::try_from(value).map_err(|_| unreadable(column))).transpose()
}

fn word<T>(row: &Row<'_>, column: usize, read: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    read(&text).ok_or_else(|| unreadable(column))
}

fn words(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<String>> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|_| unreadable(column))
}

pub(super) fn unreadable(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        Type::Text,
        "the value was not written by tollgate".into(),
    )
}
