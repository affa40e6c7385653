//! Idempotency keys, as rows.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::signed;
use super::{Failure, SqliteStore};
use crate::clock::Now;
use crate::tokens::Error;
use crate::tokens::store::idempotency::{
    Begun, IdempotencyKey, IdempotencyKeys, KEY_LIFE_SECONDS, KeptAnswer, MOST_KEYS,
};
use crate::tokens::store::writing::KeyTables;

/// The table of schema 3.
pub(super) const TABLE: &str = "
CREATE TABLE idempotency_key (
    operator TEXT NOT NULL,
    key BLOB NOT NULL CHECK (length(key) = 32),
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    began_at INTEGER NOT NULL,
    status INTEGER,
    body TEXT,
    PRIMARY KEY (operator, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_key_by_start ON idempotency_key (began_at);
";

impl KeyTables for Connection {
    fn keep_answer(&self, key: &IdempotencyKey, answer: &KeptAnswer) -> Result<bool, Failure> {
        let sql = "UPDATE idempotency_key SET status = ?4, body = ?5 \
                   WHERE operator = ?1 AND key = ?2 AND fingerprint = ?3 AND status IS NULL";
        let parameters = params![key.operator, key.key, key.fingerprint, answer.status, answer.body];
        Ok(self.prepare_cached(sql)?.execute(parameters)? > 0)
    }
}

impl IdempotencyKeys for SqliteStore {
    fn begin_request(&self, now: Now, key: &IdempotencyKey) -> Result<Begun, Error> {
        let oldest = now.unix_seconds().saturating_sub(KEY_LIFE_SECONDS);
        self.note(|on| {
            on.prepare_cached("DELETE FROM idempotency_key WHERE began_at <= ?1")?
                .execute([signed(oldest)])?;
            if let Some(known) = known(on, key)? {
                return Ok(known);
            }
            let count: u32 = on
                .prepare_cached("SELECT count(*) FROM idempotency_key WHERE operator = ?1")?
                .query_row([&key.operator], |row| row.get(0))?;
            if count >= MOST_KEYS {
                return Err(Error::TooManyIdempotencyKeys { cap: MOST_KEYS }.into());
            }
            on.prepare_cached("INSERT INTO idempotency_key VALUES (?1, ?2, ?3, ?4, NULL, NULL)")?
                .execute(params![key.operator, key.key, key.fingerprint, signed(now.unix_seconds())])?;
            Ok(Begun::First)
        })
    }

    fn answer_request(&self, key: &IdempotencyKey, answer: &KeptAnswer) -> Result<(), Error> {
        self.note(|on| on.keep_answer(key, answer).map(drop))
    }

    fn answered_request(&self, key: &IdempotencyKey) -> Result<Option<KeptAnswer>, Error> {
        self.read(|on| {
            Ok(match known(on, key)? {
                Some(Begun::Answered(answer)) => Some(answer),
                Some(_) | None => None,
            })
        })
    }

    fn forget_request(&self, key: &IdempotencyKey) -> Result<(), Error> {
        self.note(|on| {
            on.prepare_cached(
                "DELETE FROM idempotency_key WHERE operator = ?1 AND key = ?2 AND status IS NULL",
            )?
            .execute(params![key.operator, key.key])?;
            Ok(())
        })
    }
}

fn known(on: &Connection, key: &IdempotencyKey) -> Result<Option<Begun>, Failure> {
    let sql = "SELECT fingerprint, status, body FROM idempotency_key WHERE operator = ?1 AND key = ?2";
    let row = on
        .prepare_cached(sql)?
        .query_row(params![key.operator, key.key], |row| {
            let fingerprint: [u8; 32] = row.get(0)?;
            let (status, body): (Option<u16>, Option<String>) = (row.get(1)?, row.get(2)?);
            Ok((fingerprint, status.zip(body)))
        })
        .optional()?;
    Ok(row.map(|(fingerprint, answer)| match answer {
        _ if fingerprint != key.fingerprint => Begun::OtherRequest,
        Some((status, body)) => Begun::Answered(KeptAnswer { status, body }),
        None => Begun::Unanswered,
    }))
}
