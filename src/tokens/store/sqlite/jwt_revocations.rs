//! Revoked JWTs inside a writing transaction, and as rows.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::rows::{self, signed, unsigned};
use super::write::Writing;
use super::{Failure, SqliteStore};
use crate::tokens::store::jwt_revocations::{JwtRevocations, MOST_JWT_REVOCATIONS, NewJwtRevocation};
use crate::tokens::store::{Act, ChangeKind};
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

/// Kind, issuer, name and time of a row.
fn columns(jwts: &JwtsRevoked) -> (&'static str, &str, &str, u64) {
    match jwts {
        JwtsRevoked::Token { issuer, jti } => ("token", issuer, jti, 0),
        JwtsRevoked::Subject { issuer, subject, issued_before_unix_seconds } => {
            ("subject", issuer, subject, *issued_before_unix_seconds)
        }
        JwtsRevoked::Workspace { workspace, issued_before_unix_seconds } => {
            ("workspace", "", workspace, *issued_before_unix_seconds)
        }
    }
}

fn revocation(row: &Row<'_>) -> rusqlite::Result<JwtRevocation> {
    let kind: String = row.get(1)?;
    let (issuer, name) = (row.get(2)?, row.get(3)?);
    let issued_before_unix_seconds = unsigned(row, 4)?;
    let jwts = match &*kind {
        "token" => JwtsRevoked::Token { issuer, jti: name },
        "subject" => JwtsRevoked::Subject { issuer, subject: name, issued_before_unix_seconds },
        "workspace" => JwtsRevoked::Workspace { workspace: name, issued_before_unix_seconds },
        _ => return Err(rows::unreadable(1)),
    };
    Ok(JwtRevocation {
        id: row.get(0)?,
        jwts,
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

impl Writing<'_> {
    fn revoke_jwts(&mut self, new: &NewJwtRevocation) -> Result<JwtRevocation, Failure> {
        self.on
            .prepare_cached("DELETE FROM jwt_revocation WHERE ends_at <= ?1")?
            .execute([signed(self.seconds())])?;
        let (kind, issuer, name, issued_before) = columns(&new.jwts);
        let sql = format!("{REVOCATION} WHERE kind = ?1 AND issuer = ?2 AND name = ?3");
        let before = self.on.prepare_cached(&sql)?.query_row([kind, issuer, name], revocation).optional()?;
        let known = before.as_ref().map(|before| (columns(&before.jwts).3, before.ends_at_unix_seconds));
        if let (Some(before), Some((cut, end))) = (&before, known)
            && issued_before <= cut
            && new.ends_at_unix_seconds <= end
        {
            return Ok(before.clone());
        }
        if before.is_none() {
            self.refuse_too_many()?;
        }
        let (cut, end) = known.unwrap_or_default();
        let sql = "INSERT INTO jwt_revocation VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
                   ON CONFLICT (kind, issuer, name) DO UPDATE SET \
                   issued_before = ?5, reason = ?6, revoked_at = ?7, ends_at = ?8";
        self.on.prepare_cached(sql)?.execute(params![
            new.id,
            kind,
            issuer,
            name,
            signed(issued_before.max(cut)),
            new.reason,
            signed(self.seconds()),
            signed(new.ends_at_unix_seconds.max(end)),
        ])?;
        let id = before.map_or_else(|| new.id.clone(), |before| before.id);
        let made = by_id(self.on, &id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let body = serde_json::to_value(made.view()).unwrap_or_default();
        self.append(ChangeKind::JwtRevoked, &made.id, &body)?;
        Ok(made)
    }

    fn refuse_too_many(&self) -> Result<(), Failure> {
        let count: u32 =
            self.on.prepare_cached("SELECT count(*) FROM jwt_revocation")?.query_row([], |row| row.get(0))?;
        if count >= MOST_JWT_REVOCATIONS {
            return Err(Error::TooManyJwtRevocations { cap: MOST_JWT_REVOCATIONS }.into());
        }
        Ok(())
    }
}
