//! Digests and peppers, as rows.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::failure::unreadable;
use super::pool::Session;
use super::{PostgresStore, operators, rows};
use crate::clock::Now;
use crate::tokens::store::columns::{self, pepper_number, signed};
use crate::tokens::store::failure::Failure;
use crate::tokens::store::peppers::{PepperRotation, PepperUse, Rehash};
use crate::tokens::store::writing::PepperTables;
use crate::tokens::store::{Act, StoredOperator};
use crate::tokens::{Digest, Error, Scheme, TokenRecord};

pub(super) const TABLES: &str = r#"
CREATE TABLE tollgate.former_digest (
    digest BYTEA NOT NULL CHECK (length(digest) = 32),
    pepper INTEGER NOT NULL,
    token TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (digest, pepper)
);
CREATE INDEX former_digest_by_token ON tollgate.former_digest (token);
ALTER TABLE tollgate.pepper ADD COLUMN retired_at BIGINT;
"#;

fn pepper_use(row: &Row) -> Result<PepperUse, Failure> {
    let version: i32 = row.try_get(0)?;
    let version = u16::try_from(version).map_err(|_| unreadable(0))?;
    Ok(PepperUse {
        scheme: columns::digest(version, [0; 32]).scheme,
        working_tokens: rows::unsigned(row, 1)?,
        ended_tokens: rows::unsigned(row, 2)?,
        working_operators: rows::unsigned(row, 3)?,
        retired_at_unix_seconds: rows::time(row, 4)?,
    })
}

impl PepperTables for Session<'_> {
    fn operator_by_digest(&self, digest: &Digest) -> Result<Option<StoredOperator>, Failure> {
        let sql = "SELECT name FROM tollgate.operator WHERE digest = $1 AND pepper = $2";
        let pepper = i32::from(pepper_number(digest.scheme));
        let found = self.query_opt(sql, &[(&&digest.bytes[..], Type::BYTEA), (&pepper, Type::INT4)])?;
        let Some(row) = found else { return Ok(None) };
        Ok(operators::named(self, &[row.try_get(0)?])?.pop())
    }

    fn move_token(&self, id: &str, moved: &Rehash) -> Result<(), Failure> {
        let sql = "WITH kept AS (INSERT INTO tollgate.former_digest VALUES ($2, $3, $1) \
                   ON CONFLICT (digest, pepper) DO NOTHING) \
                   UPDATE tollgate.token SET digest = $4, pepper = $5 WHERE id = $1";
        let (from, to) = (pepper_number(moved.from.scheme), pepper_number(moved.to.scheme));
        self.execute(
            sql,
            &[
                (&id, Type::TEXT),
                (&&moved.from.bytes[..], Type::BYTEA),
                (&i32::from(from), Type::INT4),
                (&&moved.to.bytes[..], Type::BYTEA),
                (&i32::from(to), Type::INT4),
            ],
        )?;
        Ok(())
    }

    fn move_operator(&self, name: &str, to: &Digest) -> Result<(), Failure> {
        let sql = "UPDATE tollgate.operator SET digest = $2, pepper = $3 WHERE name = $1";
        let pepper = i32::from(pepper_number(to.scheme));
        self.execute(sql, &[(&name, Type::TEXT), (&&to.bytes[..], Type::BYTEA), (&pepper, Type::INT4)])?;
        Ok(())
    }

    fn uses_of_peppers(&self, unix_seconds: u64) -> Result<Vec<PepperUse>, Failure> {
        let sql = "WITH tokens AS (SELECT pepper, count(*) AS held, count(*) FILTER (WHERE revoked_at IS NULL \
                   AND (expires_at IS NULL OR expires_at > $1) \
                   AND (overlap_until IS NULL OR overlap_until > $1)) AS working \
                   FROM tollgate.token GROUP BY pepper), \
                   operators AS (SELECT pepper, count(*) FILTER (WHERE revoked_at IS NULL \
                   AND (expires_at IS NULL OR expires_at > $1)) AS working \
                   FROM tollgate.operator GROUP BY pepper), \
                   versions AS (SELECT version, retired_at FROM tollgate.pepper \
                   UNION ALL SELECT 0, NULL WHERE EXISTS (SELECT FROM tokens WHERE pepper = 0)) \
                   SELECT v.version, coalesce(t.working, 0), coalesce(t.held - t.working, 0), \
                   coalesce(o.working, 0), v.retired_at FROM versions v LEFT JOIN tokens t ON t.pepper = v.version \
                   LEFT JOIN operators o ON o.pepper = v.version ORDER BY v.version";
        self.query(sql, &[(&signed(unix_seconds), Type::INT8)])?.iter().map(pepper_use).collect()
    }

    fn set_retired(&self, version: u16, unix_seconds: u64) -> Result<(), Failure> {
        let sql = "UPDATE tollgate.pepper SET retired_at = $2 WHERE version = $1";
        self.execute(sql, &[(&i32::from(version), Type::INT4), (&signed(unix_seconds), Type::INT8)])?;
        Ok(())
    }
}

impl PepperRotation for PostgresStore {
    fn rehash(&self, act: Act<'_>, moves: &[Rehash]) -> Result<usize, Error> {
        self.write(act, |writing| writing.rehash(moves))
    }

    fn under_peppers(&self, now: Now) -> Result<Vec<PepperUse>, Error> {
        self.read(|on| on.uses_of_peppers(now.unix_seconds()))
    }

    fn retired_peppers(&self) -> Result<Vec<u16>, Error> {
        self.read(|on| {
            let sql = "SELECT version FROM tollgate.pepper WHERE retired_at IS NOT NULL";
            let version = |row: &Row| u16::try_from(row.try_get::<_, i32>(0)?).map_err(|_| unreadable(0));
            on.query(sql, &[])?.iter().map(version).collect()
        })
    }

    fn tokens_under(&self, scheme: Scheme, after: &str, count: u32) -> Result<Vec<TokenRecord>, Error> {
        let sql = format!("{} WHERE t.pepper = $1 AND t.id > $2 ORDER BY t.id LIMIT $3", rows::TOKEN);
        let (pepper, count) = (i32::from(pepper_number(scheme)), i64::from(count));
        self.read(|on| {
            let found =
                on.query(&sql, &[(&pepper, Type::INT4), (&after, Type::TEXT), (&count, Type::INT8)])?;
            found.iter().map(|row| Ok(rows::token(row)?.record)).collect()
        })
    }

    fn retire_pepper(&self, act: Act<'_>, version: u16, forced: bool) -> Result<PepperUse, Error> {
        self.write(act, |writing| writing.retire_pepper(version, forced))
    }
}
