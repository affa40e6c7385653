//! Idempotency keys, as rows.

use tokio_postgres::types::Type;

use super::pool::Session;
use super::{PostgresStore, rows};
use crate::clock::Now;
use crate::tokens::Error;
use crate::tokens::store::columns::signed;
use crate::tokens::store::failure::Failure;
use crate::tokens::store::idempotency::{
    Begun, IdempotencyKey, IdempotencyKeys, KEY_LIFE_SECONDS, KeptAnswer, MOST_KEYS,
};
use crate::tokens::store::writing::KeyTables;

pub(super) const TABLE: &str = r#"
CREATE TABLE tollgate.idempotency_key (
    operator TEXT COLLATE "C" NOT NULL,
    key BYTEA NOT NULL CHECK (length(key) = 32),
    fingerprint BYTEA NOT NULL CHECK (length(fingerprint) = 32),
    began_at BIGINT NOT NULL,
    status INTEGER,
    body TEXT,
    PRIMARY KEY (operator, key)
);
CREATE INDEX idempotency_key_by_start ON tollgate.idempotency_key (began_at);
"#;

impl KeyTables for Session<'_> {
    fn keep_answer(&self, key: &IdempotencyKey, answer: &KeptAnswer) -> Result<bool, Failure> {
        let sql = "UPDATE tollgate.idempotency_key SET status = $4, body = $5 \
                   WHERE operator = $1 AND key = $2 AND fingerprint = $3 AND status IS NULL";
        let kept = self.execute(
            sql,
            &[
                (&key.operator, Type::TEXT),
                (&&key.key[..], Type::BYTEA),
                (&&key.fingerprint[..], Type::BYTEA),
                (&i32::from(answer.status), Type::INT4),
                (&answer.body, Type::TEXT),
            ],
        )?;
        Ok(kept > 0)
    }
}

impl IdempotencyKeys for PostgresStore {
    fn begin_request(&self, now: Now, key: &IdempotencyKey) -> Result<Begun, Error> {
        let oldest = signed(now.unix_seconds().saturating_sub(KEY_LIFE_SECONDS));
        let (began, place, fingerprint) = (signed(now.unix_seconds()), &key.key[..], &key.fingerprint[..]);
        self.note(|on| {
            on.execute(
                "DELETE FROM tollgate.idempotency_key WHERE began_at <= $1",
                &[(&oldest, Type::INT8)],
            )?;
            // Whoever adds the same key at this moment is waited for.
            let sql = "INSERT INTO tollgate.idempotency_key VALUES ($1, $2, $3, $4, NULL, NULL) \
                       ON CONFLICT (operator, key) DO NOTHING";
            let added = on.execute(
                sql,
                &[
                    (&key.operator, Type::TEXT),
                    (&place, Type::BYTEA),
                    (&fingerprint, Type::BYTEA),
                    (&began, Type::INT8),
                ],
            )?;
            if added == 0 {
                return known(on, key);
            }
            let sql = "SELECT count(*) FROM tollgate.idempotency_key WHERE operator = $1";
            let found = on.query_opt(sql, &[(&key.operator, Type::TEXT)])?;
            let count = found.map_or(Ok(0), |row| rows::unsigned(&row, 0))?;
            if count > u64::from(MOST_KEYS) {
                return Err(Error::TooManyIdempotencyKeys { cap: MOST_KEYS }.into());
            }
            Ok(Begun::First)
        })
    }

    fn answer_request(&self, key: &IdempotencyKey, answer: &KeptAnswer) -> Result<(), Error> {
        self.note(|on| on.keep_answer(key, answer).map(drop))
    }

    fn answered_request(&self, key: &IdempotencyKey) -> Result<Option<KeptAnswer>, Error> {
        self.read(|on| {
            Ok(match known(on, key)? {
                Begun::Answered(answer) => Some(answer),
                Begun::First | Begun::Unanswered | Begun::OtherRequest => None,
            })
        })
    }

    fn forget_request(&self, key: &IdempotencyKey) -> Result<(), Error> {
        let sql = "DELETE FROM tollgate.idempotency_key WHERE operator = $1 AND key = $2 AND status IS NULL";
        self.note(|on| {
            on.execute(sql, &[(&key.operator, Type::TEXT), (&&key.key[..], Type::BYTEA)])?;
            Ok(())
        })
    }
}

fn known(on: &Session<'_>, key: &IdempotencyKey) -> Result<Begun, Failure> {
    let sql =
        "SELECT fingerprint, status, body FROM tollgate.idempotency_key WHERE operator = $1 AND key = $2";
    let found = on.query_opt(sql, &[(&key.operator, Type::TEXT), (&&key.key[..], Type::BYTEA)])?;
    // Forgotten at this moment by the process that had it: it is asked for again.
    let Some(row) = found else { return Ok(Begun::Unanswered) };
    if rows::hash(&row, 0)? != key.fingerprint {
        return Ok(Begun::OtherRequest);
    }
    let (status, body): (Option<i32>, Option<String>) = (row.try_get(1)?, row.try_get(2)?);
    let status = status.and_then(|status| u16::try_from(status).ok());
    Ok(status
        .zip(body)
        .map_or(Begun::Unanswered, |(status, body)| Begun::Answered(KeptAnswer { status, body })))
}
