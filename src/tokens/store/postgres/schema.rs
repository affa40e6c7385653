//! The tables, in a schema of their own, and how a database is brought up to date.

use tokio_postgres::types::Type;

use super::pool::{ANSWER_DEADLINE, SCHEMA_DEADLINE, Session};
use super::{idempotency, journal, jwt_revocations, operators, outbox, peppers, sightings};
use crate::tokens::Error;
use crate::tokens::store::failure::Failure;

/// The newest schema.
pub(super) const SCHEMA: i64 = STEPS[STEPS.len() - 1].0;

/// What makes each schema out of the one before; the first starts from nothing.
const STEPS: [(i64, &[&str]); 4] = [
    (1, &[TABLES]),
    (2, &[outbox::TABLES, operators::TABLE, jwt_revocations::TABLE, idempotency::TABLE]),
    (3, &[journal::TABLES, outbox::LEAKS]),
    (4, &[POWERS, sightings::TABLE, peppers::TABLES]),
];

const POWERS: &str = "
ALTER TABLE tollgate.token ADD COLUMN allowed_networks TEXT[] NOT NULL DEFAULT '{}';
ALTER TABLE tollgate.token ADD COLUMN is_decoy BOOLEAN NOT NULL DEFAULT false;
";

/// The lock under which steps are taken (`tgte`).
const LOCK: &str = "SELECT pg_advisory_xact_lock(1952936037)";

/// Ids are ordered by their bytes whatever the database's language is, as pages of lists need it.
const TABLES: &str = r#"
DO $$ BEGIN
    IF to_regnamespace('tollgate') IS NULL THEN CREATE SCHEMA tollgate; END IF;
END $$;
CREATE TABLE tollgate.schema_version (
    single BOOLEAN PRIMARY KEY DEFAULT true CHECK (single),
    version BIGINT NOT NULL
);
INSERT INTO tollgate.schema_version (version) VALUES (0);
CREATE TABLE tollgate.head (
    single BOOLEAN PRIMARY KEY DEFAULT true CHECK (single),
    seq BIGINT NOT NULL,
    hash BYTEA NOT NULL CHECK (length(hash) = 32)
) WITH (fillfactor = 10);
INSERT INTO tollgate.head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));
CREATE TABLE tollgate.log (
    seq BIGINT PRIMARY KEY,
    previous BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    at_unix_millis BIGINT NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX log_by_subject ON tollgate.log (subject, seq);
CREATE FUNCTION tollgate.refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the log is append-only'; END $$;
CREATE TRIGGER log_is_not_rewritten BEFORE UPDATE OR DELETE OR TRUNCATE ON tollgate.log
    FOR EACH STATEMENT EXECUTE FUNCTION tollgate.refuse_rewriting();
CREATE TABLE tollgate.workspace (
    id TEXT COLLATE "C" PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    region TEXT NOT NULL,
    plan TEXT NOT NULL,
    features TEXT[] NOT NULL,
    state TEXT NOT NULL,
    contacts TEXT[] NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE tollgate.token (
    id TEXT COLLATE "C" PRIMARY KEY,
    family TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    workspace TEXT COLLATE "C" NOT NULL REFERENCES tollgate.workspace (id),
    name TEXT NOT NULL,
    scopes TEXT[] NOT NULL,
    role TEXT NOT NULL,
    own_limit TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    revoked_reason TEXT,
    overlap_until BIGINT,
    replaced_by TEXT COLLATE "C",
    pepper INTEGER NOT NULL,
    digest BYTEA NOT NULL CHECK (length(digest) = 32),
    is_foreign BOOLEAN NOT NULL,
    UNIQUE (digest, pepper)
);
CREATE INDEX token_by_workspace ON tollgate.token (workspace, id);
CREATE INDEX token_by_family ON tollgate.token (family);
CREATE INDEX token_by_successor ON tollgate.token (replaced_by) WHERE replaced_by IS NOT NULL;
CREATE TABLE tollgate.token_use (
    token TEXT COLLATE "C" PRIMARY KEY,
    at BIGINT NOT NULL
) WITH (fillfactor = 70);
CREATE TABLE tollgate.pepper (
    version INTEGER PRIMARY KEY,
    fingerprint BYTEA NOT NULL CHECK (length(fingerprint) = 32)
);
CREATE TABLE tollgate.limit_override (
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('token', 'workspace')),
    holder TEXT COLLATE "C" NOT NULL,
    policy TEXT COLLATE "C" NOT NULL,
    quota TEXT NOT NULL,
    until BIGINT NOT NULL,
    reason TEXT NOT NULL,
    set_at BIGINT NOT NULL,
    PRIMARY KEY (kind, holder, policy)
);
"#;

/// The schema that a database has, 0 for none; [`Error::StoreForeign`], [`Error::StoreNewer`].
pub(super) fn found(session: &Session<'_>, place: &str) -> Result<i64, Failure> {
    let sql = "SELECT to_regclass('tollgate.schema_version') IS NOT NULL, EXISTS (SELECT FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'tollgate')";
    let row = session.query_opt(sql, &[])?.ok_or_else(|| super::failure::unreadable(0))?;
    match (row.try_get(0)?, row.try_get(1)?) {
        (false, true) => return Err(Error::StoreForeign { place: place.to_owned() }.into()),
        (false, false) => return Ok(0),
        (true, _) => {}
    }
    let row = session.query_opt("SELECT version FROM tollgate.schema_version", &[])?;
    let found = row.ok_or_else(|| super::failure::unreadable(0))?.try_get(0)?;
    if found > SCHEMA {
        return Err(Error::StoreNewer { place: place.to_owned(), found, known: SCHEMA }.into());
    }
    Ok(found)
}

/// Takes the steps that are missing. Of several processes that start at once one takes them.
pub(super) fn bring_up_to_date(session: &Session<'_>, place: &str) -> Result<(), Failure> {
    session.batch(LOCK, SCHEMA_DEADLINE)?;
    let found = found(session, place)?;
    for (schema, step) in STEPS.iter().filter(|(schema, _)| *schema > found) {
        step.iter().try_for_each(|tables| session.batch(tables, SCHEMA_DEADLINE))?;
        let sql = "UPDATE tollgate.schema_version SET version = $1";
        session.execute(sql, &[(schema, Type::INT8)])?;
    }
    session.batch("SET LOCAL statement_timeout = DEFAULT", ANSWER_DEADLINE)
}
