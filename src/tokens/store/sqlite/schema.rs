//! The tables, and how a connection to them is opened.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::{Failure, idempotency, jwt_revocations, operators, outbox, peppers, sightings};
use crate::tokens::Error;

/// Marks the file as ours (`tgte`).
const APPLICATION_ID: i64 = 0x7467_7465;
/// The newest schema.
const SCHEMA: i64 = STEPS[STEPS.len() - 1].0;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// What makes each schema out of the one before; the first starts from nothing.
const STEPS: [(i64, &[&str]); 6] = [
    (1, &[TABLES]),
    (2, &[OVERRIDES]),
    (3, &[outbox::TABLES]),
    (4, &[operators::TABLE, jwt_revocations::TABLE, idempotency::TABLE]),
    (5, &[outbox::LEAKS]),
    (6, &[POWERS, sightings::TABLE, peppers::TABLES]),
];

const POWERS: &str = "
ALTER TABLE token ADD COLUMN allowed_networks TEXT NOT NULL DEFAULT '[]';
ALTER TABLE token ADD COLUMN is_decoy INTEGER NOT NULL DEFAULT 0;
";

const OVERRIDES: &str = "
CREATE TABLE limit_override (
    kind TEXT NOT NULL CHECK (kind IN ('token', 'workspace')),
    holder TEXT NOT NULL,
    policy TEXT NOT NULL,
    quota TEXT NOT NULL,
    until INTEGER NOT NULL,
    reason TEXT NOT NULL,
    set_at INTEGER NOT NULL,
    PRIMARY KEY (kind, holder, policy)
) STRICT, WITHOUT ROWID;
CREATE INDEX token_by_family ON token (family);
";

const TABLES: &str = "
CREATE TABLE head (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO head VALUES (1, 0, zeroblob(32));
CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    previous BLOB NOT NULL,
    hash BLOB NOT NULL,
    at_unix_millis INTEGER NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX log_by_subject ON log (subject, seq);
CREATE TRIGGER log_is_not_updated BEFORE UPDATE ON log
    BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_is_not_deleted BEFORE DELETE ON log
    BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TABLE workspace (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    region TEXT NOT NULL,
    plan TEXT NOT NULL,
    features TEXT NOT NULL,
    state TEXT NOT NULL,
    contacts TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE token (
    id TEXT PRIMARY KEY,
    family TEXT NOT NULL,
    number INTEGER NOT NULL,
    workspace TEXT NOT NULL REFERENCES workspace (id),
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    role TEXT NOT NULL,
    own_limit TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    revoked_reason TEXT,
    overlap_until INTEGER,
    replaced_by TEXT,
    pepper INTEGER NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    is_foreign INTEGER NOT NULL,
    UNIQUE (digest, pepper)
) STRICT;
CREATE INDEX token_by_workspace ON token (workspace, id);
CREATE INDEX token_by_successor ON token (replaced_by) WHERE replaced_by IS NOT NULL;
CREATE TABLE token_use (
    token TEXT PRIMARY KEY REFERENCES token (id),
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE pepper (
    version INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32)
) STRICT;
";

/// Opens the file, makes it (readable by its owner alone) if it is not there, and brings its tables to
/// [`SCHEMA`].
pub(super) fn open(path: &Path) -> Result<Connection, Failure> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| Error::file(path, "make", source))?;
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    prepare_once(&connection)?;
    refuse_other_files(&connection, path)?;
    use_write_ahead_log(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = pragma(&transaction, "user_version")?;
    for (schema, step) in STEPS.iter().filter(|(schema, _)| *schema > found) {
        step.iter().try_for_each(|tables| transaction.execute_batch(tables))?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", schema)?;
    }
    transaction.commit()?;
    Ok(connection)
}

/// Opens a file that is there for reading alone; nothing is made or brought up to date. [`Error::StoreOlder`].
pub(super) fn open_read_only(path: &Path) -> Result<Connection, Failure> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    prepare_once(&connection)?;
    refuse_other_files(&connection, path)?;
    let found = pragma(&connection, "user_version")?;
    if found < SCHEMA {
        return Err(Error::StoreOlder { place: path.display().to_string(), found, known: SCHEMA }.into());
    }
    Ok(connection)
}

/// Has statements keep their plan whatever is bound to them: without it SQLite prepares some anew each time that they are
/// used, which costs more than using them.
fn prepare_once(connection: &Connection) -> rusqlite::Result<bool> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
}

/// Changing the journal mode needs the file alone and does not wait for it, unlike everything else.
fn use_write_ahead_log(connection: &Connection) -> rusqlite::Result<()> {
    let mut tries_left = BUSY_TIMEOUT.as_millis() / BUSY_PAUSE.as_millis();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && tries_left > 0 => {
                tries_left -= 1;
                std::thread::sleep(BUSY_PAUSE);
            }
            result => return result,
        }
    }
}

/// Everything is read in one transaction, because another process may be making the tables at this moment.
fn refuse_other_files(connection: &Connection, path: &Path) -> Result<(), Failure> {
    let place = || path.display().to_string();
    let connection = connection.unchecked_transaction()?;
    let connection: &Connection = &connection;
    let (application, found) = (pragma(connection, "application_id")?, pragma(connection, "user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || tables != 0) {
        return Err(Error::StoreForeign { place: place() }.into());
    }
    if found > SCHEMA {
        return Err(Error::StoreNewer { place: place(), found, known: SCHEMA }.into());
    }
    Ok(())
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}
