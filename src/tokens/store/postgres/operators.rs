//! Operators, as rows.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::pool::Session;
use super::{PostgresStore, rows};
use crate::tokens::store::Act;
use crate::tokens::store::columns::{pepper_number, signed};
use crate::tokens::store::failure::Failure;
use crate::tokens::store::operators::{NewOperator, Operators, StoredOperator};
use crate::tokens::{Digest, Error, OperatorRecord};

pub(super) const TABLE: &str = r#"
CREATE TABLE tollgate.operator (
    name TEXT COLLATE "C" PRIMARY KEY,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    pepper INTEGER NOT NULL,
    digest BYTEA NOT NULL CHECK (length(digest) = 32),
    UNIQUE (digest, pepper)
);
"#;

const OPERATOR: &str =
    "SELECT name, created_at, expires_at, revoked_at, pepper, digest FROM tollgate.operator";

pub(super) fn all(on: &Session<'_>) -> Result<Vec<StoredOperator>, Failure> {
    on.query(&format!("{OPERATOR} ORDER BY name"), &[])?.iter().map(operator).collect()
}

pub(super) fn named(on: &Session<'_>, names: &[String]) -> Result<Vec<StoredOperator>, Failure> {
    let sql = format!("{OPERATOR} WHERE name = ANY($1) ORDER BY name");
    on.query(&sql, &[(&names, Type::TEXT_ARRAY)])?.iter().map(operator).collect()
}

pub(super) fn insert(on: &Session<'_>, record: &OperatorRecord, digest: &Digest) -> Result<(), Failure> {
    on.execute(
        "INSERT INTO tollgate.operator VALUES ($1, $2, $3, NULL, $4, $5)",
        &[
            (&record.name, Type::TEXT),
            (&signed(record.created_at_unix_seconds), Type::INT8),
            (&record.expires_at_unix_seconds.map(signed), Type::INT8),
            (&i32::from(pepper_number(digest.scheme)), Type::INT4),
            (&&digest.bytes[..], Type::BYTEA),
        ],
    )?;
    Ok(())
}

pub(super) fn set_revoked(on: &Session<'_>, name: &str, unix_seconds: u64) -> Result<(), Failure> {
    let sql = "UPDATE tollgate.operator SET revoked_at = $2 WHERE name = $1";
    on.execute(sql, &[(&name, Type::TEXT), (&signed(unix_seconds), Type::INT8)])?;
    Ok(())
}

fn operator(row: &Row) -> Result<StoredOperator, Failure> {
    let record = OperatorRecord {
        name: row.try_get(0)?,
        created_at_unix_seconds: rows::unsigned(row, 1)?,
        expires_at_unix_seconds: rows::time(row, 2)?,
        revoked_at_unix_seconds: rows::time(row, 3)?,
    };
    Ok(StoredOperator { record, digest: rows::digest(row, 4, 5)? })
}

impl Operators for PostgresStore {
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
