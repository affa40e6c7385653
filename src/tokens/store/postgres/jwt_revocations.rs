//! Revoked JWTs, as rows.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::failure::unreadable;
use super::pool::Session;
use super::{PostgresStore, rows};
use crate::tokens::store::Act;
use crate::tokens::store::columns::{jwts, jwts_columns, signed};
use crate::tokens::store::failure::Failure;
use crate::tokens::store::jwt_revocations::{JwtRevocations, NewJwtRevocation};
use crate::tokens::{Error, JwtRevocation, JwtsRevoked};

/// `issuer` is empty for a workspace, `issued_before` is 0 for one token. A name can be longer than an index of
/// PostgreSQL takes, so its hash stands for it there.
pub(super) const TABLE: &str = r#"
CREATE TABLE tollgate.jwt_revocation (
    id TEXT COLLATE "C" PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('token', 'subject', 'workspace')),
    issuer TEXT NOT NULL,
    name TEXT NOT NULL,
    issued_before BIGINT NOT NULL,
    reason TEXT NOT NULL,
    revoked_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);
CREATE INDEX jwt_revocation_by_name ON tollgate.jwt_revocation (kind, md5(issuer), md5(name));
CREATE INDEX jwt_revocation_by_end ON tollgate.jwt_revocation (ends_at);
"#;

const REVOCATION: &str =
    "SELECT id, kind, issuer, name, issued_before, reason, revoked_at, ends_at FROM tollgate.jwt_revocation";

pub(super) fn after(on: &Session<'_>, id: &str, count: u32) -> Result<Vec<JwtRevocation>, Failure> {
    let sql = format!("{REVOCATION} WHERE id > $1 ORDER BY id LIMIT $2");
    let found = on.query(&sql, &[(&id, Type::TEXT), (&i64::from(count), Type::INT8)])?;
    found.iter().map(revocation).collect()
}

pub(super) fn with_ids(on: &Session<'_>, ids: &[String]) -> Result<Vec<JwtRevocation>, Failure> {
    let sql = format!("{REVOCATION} WHERE id = ANY($1) ORDER BY id");
    on.query(&sql, &[(&ids, Type::TEXT_ARRAY)])?.iter().map(revocation).collect()
}

pub(super) fn of(on: &Session<'_>, jwts: &JwtsRevoked) -> Result<Option<JwtRevocation>, Failure> {
    let (kind, issuer, name, _) = jwts_columns(jwts);
    let sql = format!(
        "{REVOCATION} WHERE kind = $1 AND md5(issuer) = md5($2) AND md5(name) = md5($3) AND issuer = $2 AND name = $3"
    );
    let found = on.query_opt(&sql, &[(&kind, Type::TEXT), (&issuer, Type::TEXT), (&name, Type::TEXT)])?;
    found.as_ref().map(revocation).transpose()
}

pub(super) fn held(on: &Session<'_>) -> Result<u64, Failure> {
    let row = on.query_opt("SELECT count(*) FROM tollgate.jwt_revocation", &[])?;
    row.map_or(Ok(0), |row| rows::unsigned(&row, 0))
}

pub(super) fn put(on: &Session<'_>, record: &JwtRevocation) -> Result<(), Failure> {
    let (kind, issuer, name, issued_before) = jwts_columns(&record.jwts);
    let sql = "INSERT INTO tollgate.jwt_revocation VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
               ON CONFLICT (id) DO UPDATE SET issued_before = $5, reason = $6, revoked_at = $7, ends_at = $8";
    on.execute(
        sql,
        &[
            (&record.id, Type::TEXT),
            (&kind, Type::TEXT),
            (&issuer, Type::TEXT),
            (&name, Type::TEXT),
            (&signed(issued_before), Type::INT8),
            (&record.reason, Type::TEXT),
            (&signed(record.revoked_at_unix_seconds), Type::INT8),
            (&signed(record.ends_at_unix_seconds), Type::INT8),
        ],
    )?;
    Ok(())
}

pub(super) fn delete_ended(on: &Session<'_>, unix_seconds: u64) -> Result<(), Failure> {
    let sql = "DELETE FROM tollgate.jwt_revocation WHERE ends_at <= $1";
    on.execute(sql, &[(&signed(unix_seconds), Type::INT8)])?;
    Ok(())
}

fn revocation(row: &Row) -> Result<JwtRevocation, Failure> {
    let revoked = jwts(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, rows::unsigned(row, 4)?);
    Ok(JwtRevocation {
        id: row.try_get(0)?,
        jwts: revoked.ok_or_else(|| unreadable(1))?,
        reason: row.try_get(5)?,
        revoked_at_unix_seconds: rows::unsigned(row, 6)?,
        ends_at_unix_seconds: rows::unsigned(row, 7)?,
    })
}

impl JwtRevocations for PostgresStore {
    fn revoke_jwts(&self, act: Act<'_>, new: &NewJwtRevocation) -> Result<JwtRevocation, Error> {
        self.write(act, |writing| writing.revoke_jwts(new))
    }

    fn jwt_revocations(&self, after_id: &str, count: u32) -> Result<Vec<JwtRevocation>, Error> {
        self.read(|on| after(on, after_id, count))
    }
}
