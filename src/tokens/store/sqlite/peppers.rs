//! Digests and peppers, as rows.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::rows::{pepper_number, signed, time, unsigned};
use super::{Failure, SqliteStore, operators, rows};
use crate::clock::Now;
use crate::tokens::store::peppers::{PepperRotation, PepperUse, Rehash};
use crate::tokens::store::writing::PepperTables;
use crate::tokens::store::{Act, StoredOperator};
use crate::tokens::{Digest, Error, Scheme, TokenRecord};

/// What schema 6 adds.
pub(super) const TABLES: &str = "
CREATE TABLE former_digest (
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    pepper INTEGER NOT NULL,
    token TEXT NOT NULL,
    PRIMARY KEY (digest, pepper)
) STRICT, WITHOUT ROWID;
CREATE INDEX former_digest_by_token ON former_digest (token);
ALTER TABLE pepper ADD COLUMN retired_at INTEGER;
";

/// What stood for a token before.
pub(super) fn former_of(on: &Connection, id: &str) -> rusqlite::Result<Vec<Digest>> {
    let mut statement = on.prepare_cached("SELECT pepper, digest FROM former_digest WHERE token = ?1")?;
    statement.query_map([id], |row| Ok(rows::digest(row.get(0)?, row.get(1)?)))?.collect()
}

fn pepper_use(row: &Row<'_>) -> rusqlite::Result<PepperUse> {
    Ok(PepperUse {
        scheme: rows::digest(row.get(0)?, [0; 32]).scheme,
        working_tokens: unsigned(row, 1)?,
        ended_tokens: unsigned(row, 2)?,
        working_operators: unsigned(row, 3)?,
        retired_at_unix_seconds: time(row, 4)?,
    })
}

impl PepperTables for Connection {
    fn operator_by_digest(&self, digest: &Digest) -> Result<Option<StoredOperator>, Failure> {
        let sql = "SELECT name FROM operator WHERE digest = ?1 AND pepper = ?2";
        let parameters = params![digest.bytes, pepper_number(digest.scheme)];
        let name: Option<String> =
            self.prepare_cached(sql)?.query_row(parameters, |row| row.get(0)).optional()?;
        name.map_or(Ok(None), |name| Ok(operators::by_name(self, &name)?))
    }

    fn move_token(&self, id: &str, moved: &Rehash) -> Result<(), Failure> {
        let sql = "INSERT INTO former_digest VALUES (?1, ?2, ?3) ON CONFLICT (digest, pepper) DO NOTHING";
        self.prepare_cached(sql)?.execute(params![moved.from.bytes, pepper_number(moved.from.scheme), id])?;
        self.prepare_cached("UPDATE token SET digest = ?2, pepper = ?3 WHERE id = ?1")?.execute(params![
            id,
            moved.to.bytes,
            pepper_number(moved.to.scheme)
        ])?;
        Ok(())
    }

    fn move_operator(&self, name: &str, to: &Digest) -> Result<(), Failure> {
        self.prepare_cached("UPDATE operator SET digest = ?2, pepper = ?3 WHERE name = ?1")?
            .execute(params![name, to.bytes, pepper_number(to.scheme)])?;
        Ok(())
    }

    fn uses_of_peppers(&self, unix_seconds: u64) -> Result<Vec<PepperUse>, Failure> {
        let sql = "WITH tokens AS (SELECT pepper, count(*) AS held, count(*) FILTER (WHERE revoked_at IS NULL \
                   AND (expires_at IS NULL OR expires_at > ?1) \
                   AND (overlap_until IS NULL OR overlap_until > ?1)) AS working FROM token GROUP BY pepper), \
                   operators AS (SELECT pepper, count(*) FILTER (WHERE revoked_at IS NULL \
                   AND (expires_at IS NULL OR expires_at > ?1)) AS working FROM operator GROUP BY pepper), \
                   versions AS (SELECT version, retired_at FROM pepper \
                   UNION ALL SELECT 0, NULL WHERE EXISTS (SELECT 1 FROM tokens WHERE pepper = 0)) \
                   SELECT v.version, coalesce(t.working, 0), coalesce(t.held - t.working, 0), \
                   coalesce(o.working, 0), v.retired_at FROM versions v LEFT JOIN tokens t ON t.pepper = v.version \
                   LEFT JOIN operators o ON o.pepper = v.version ORDER BY v.version";
        let mut statement = self.prepare_cached(sql)?;
        Ok(statement.query_map([signed(unix_seconds)], pepper_use)?.collect::<Result<_, _>>()?)
    }

    fn set_retired(&self, version: u16, unix_seconds: u64) -> Result<(), Failure> {
        self.prepare_cached("UPDATE pepper SET retired_at = ?2 WHERE version = ?1")?
            .execute(params![version, signed(unix_seconds)])?;
        Ok(())
    }
}

impl PepperRotation for SqliteStore {
    fn rehash(&self, act: Act<'_>, moves: &[Rehash]) -> Result<usize, Error> {
        self.write(act, |writing| writing.rehash(moves))
    }

    fn under_peppers(&self, now: Now) -> Result<Vec<PepperUse>, Error> {
        self.read(|on| on.uses_of_peppers(now.unix_seconds()))
    }

    fn retired_peppers(&self) -> Result<Vec<u16>, Error> {
        self.read(|on| {
            let mut statement =
                on.prepare_cached("SELECT version FROM pepper WHERE retired_at IS NOT NULL")?;
            Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
    }

    fn tokens_under(&self, scheme: Scheme, after: &str, count: u32) -> Result<Vec<TokenRecord>, Error> {
        let sql = format!("{} WHERE t.pepper = ?1 AND t.id > ?2 ORDER BY t.id LIMIT ?3", rows::TOKEN);
        self.read(|on| {
            let mut statement = on.prepare_cached(&sql)?;
            let found = statement.query_map(params![pepper_number(scheme), after, count], rows::token)?;
            Ok(found.map(|stored| stored.map(|stored| stored.record)).collect::<Result<_, _>>()?)
        })
    }

    fn retire_pepper(&self, act: Act<'_>, version: u16, forced: bool) -> Result<PepperUse, Error> {
        self.write(act, |writing| writing.retire_pepper(version, forced))
    }
}
