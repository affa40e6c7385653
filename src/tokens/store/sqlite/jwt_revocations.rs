//! Revoked JWTs, as rows.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::SqliteStore;
use super::rows::{self, signed, unsigned};
use crate::tokens::store::jwt_revocations::{JwtRevocations, NewJwtRevocation};
use crate::tokens::store::{Act, columns};
use crate::tokens::{Error, JwtRevocation, JwtsRevoked};

/// The table of schema 3. `issuer` is empty for a workspace, `issued_before` is 0 for one token.
pub(super) const TABLE: &str = "
CREATE TABLE jwt_revocation (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('token', 'subject', 'workspace')),
    issuer TEXT NOT NULL,
    name TEXT NOT NULL,
    issued_before INTEGER NOT NULL,
    reason TEXT NOT NULL,
    revoked_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    UNIQUE (kind, issuer, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX jwt_revocation_by_end ON jwt_revocation (ends_at);
";

const REVOCATION: &str =
    "SELECT id, kind, issuer, name, issued_before, reason, revoked_at, ends_at FROM jwt_revocation";

fn revocation(row: &Row<'_>) -> rusqlite::Result<JwtRevocation> {
    let kind: String = row.get(1)?;
    let jwts = columns::jwts(&kind, row.get(2)?, row.get(3)?, unsigned(row, 4)?);
    Ok(JwtRevocation {
        id: row.get(0)?,
        jwts: jwts.ok_or_else(|| rows::unreadable(1))?,
        reason: row.get(5)?,
        revoked_at_unix_seconds: unsigned(row, 6)?,
        ends_at_unix_seconds: unsigned(row, 7)?,
    })
}

pub(super) fn by_id(on: &Connection, id: &str) -> rusqlite::Result<Option<JwtRevocation>> {
    on.prepare_cached(&format!("{REVOCATION} WHERE id = ?1"))?.query_row([id], revocation).optional()
}

/// Hands every revocation to `load`.
pub(super) fn each(on: &Connection, load: &mut dyn FnMut(JwtRevocation)) -> rusqlite::Result<()> {
    for found in on.prepare(REVOCATION)?.query_map([], revocation)? {
        load(found?);
    }
    Ok(())
}

impl JwtRevocations for SqliteStore {
    fn revoke_jwts(&self, act: Act<'_>, new: &NewJwtRevocation) -> Result<JwtRevocation, Error> {
        self.write(act, |writing| writing.revoke_jwts(new))
    }

    fn jwt_revocations(&self, after: &str, count: u32) -> Result<Vec<JwtRevocation>, Error> {
        let sql = format!("{REVOCATION} WHERE id > ?1 ORDER BY id LIMIT ?2");
        self.read(|on| {
            let mut statement = on.prepare_cached(&sql)?;
            Ok(statement.query_map(params![after, count], revocation)?.collect::<Result<_, _>>()?)
        })
    }
}

pub(super) fn of(on: &Connection, jwts: &JwtsRevoked) -> rusqlite::Result<Option<JwtRevocation>> {
    let (kind, issuer, name, _) = columns::jwts_columns(jwts);
    let sql = format!("{REVOCATION} WHERE kind = ?1 AND issuer = ?2 AND name = ?3");
    on.prepare_cached(&sql)?.query_row([kind, issuer, name], revocation).optional()
}

pub(super) fn held(on: &Connection) -> rusqlite::Result<u64> {
    on.prepare_cached("SELECT count(*) FROM jwt_revocation")?.query_row([], |row| unsigned(row, 0))
}

pub(super) fn put(on: &Connection, record: &JwtRevocation) -> rusqlite::Result<()> {
    let (kind, issuer, name, issued_before) = columns::jwts_columns(&record.jwts);
    let sql = "INSERT INTO jwt_revocation VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO UPDATE SET \
               issued_before = ?5, reason = ?6, revoked_at = ?7, ends_at = ?8";
    on.prepare_cached(sql)?.execute(params![
        record.id,
        kind,
        issuer,
        name,
        signed(issued_before),
        record.reason,
        signed(record.revoked_at_unix_seconds),
        signed(record.ends_at_unix_seconds),
    ])?;
    Ok(())
}

pub(super) fn delete_ended(on: &Connection, unix_seconds: u64) -> rusqlite::Result<()> {
    on.prepare_cached("DELETE FROM jwt_revocation WHERE ends_at <= ?1")?.execute([signed(unix_seconds)])?;
    Ok(())
}
