//! The tables, and how a connection to them is opened.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use crate::journal::JournalError;

/// Marks the file as ours (`tgtj`).
const APPLICATION_ID: i64 = 0x7467_746a;
const SCHEMA: i64 = 2;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE token (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    workspace TEXT NOT NULL,
    entries INTEGER NOT NULL
) STRICT;
CREATE TABLE entry (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    token INTEGER NOT NULL,
    at_unix_millis INTEGER NOT NULL,
    method TEXT NOT NULL,
    operation TEXT NOT NULL,
    resource TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER NOT NULL,
    forwarded TEXT NOT NULL,
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    request_id TEXT NOT NULL
) STRICT;
CREATE INDEX entry_by_token ON entry (token, number);
";

/// A name for what is forwarded from this file, and indexes by time.
const SPOOL: &str = "
CREATE TABLE spool (only INTEGER PRIMARY KEY CHECK (only = 1), id TEXT NOT NULL) STRICT;
INSERT INTO spool VALUES (1, lower(hex(randomblob(16))));
DROP INDEX entry_by_token;
CREATE INDEX entry_by_token ON entry (token, at_unix_millis, number);
CREATE INDEX refusal_by_token ON entry (token, at_unix_millis, number) WHERE forwarded = 'no';
";

/// Why a file cannot be opened, still without its place.
pub(super) enum Failure {
    Io(io::Error),
    Sqlite(rusqlite::Error),
    Foreign,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Failure {
    pub(super) fn at(self, place: &str) -> JournalError {
        let place = place.to_owned();
        match self {
            Self::Io(source) => JournalError::Failed { place, source: source.into() },
            Self::Sqlite(source) => JournalError::Failed { place, source: source.into() },
            Self::Foreign => JournalError::Foreign { place },
        }
    }
}

pub(super) fn open(path: &Path) -> Result<Connection, Failure> {
    let mut make = OpenOptions::new();
    make.write(true).create(true).truncate(false).mode(0o600).open(path).map_err(Failure::Io)?;
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let pragma = |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, schema) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, schema) {
        (APPLICATION_ID, SCHEMA) => {}
        (APPLICATION_ID, 1) => transaction.execute_batch(SPOOL)?,
        (0, 0) if tables == 0 => {
            transaction.execute_batch(TABLES)?;
            transaction.execute_batch(SPOOL)?;
        }
        _ => return Err(Failure::Foreign),
    }
    if schema != SCHEMA {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(connection)
}
