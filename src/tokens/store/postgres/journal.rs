//! The tables of the journal that gateways share ([`crate::journal::PostgresJournal`] writes and reads them).

/// Entries and how many each token has; which gateways hand entries on, up to which number of their spools, and which
/// asking they have answered.
pub(super) const TABLES: &str = r#"
CREATE TABLE tollgate.journal_token (
    name TEXT COLLATE "C" PRIMARY KEY,
    workspace TEXT NOT NULL,
    entries BIGINT NOT NULL
) WITH (fillfactor = 70);
CREATE TABLE tollgate.journal_entry (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token TEXT COLLATE "C" NOT NULL,
    at_unix_millis BIGINT NOT NULL,
    method TEXT NOT NULL,
    operation TEXT NOT NULL,
    resource TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER NOT NULL,
    forwarded TEXT NOT NULL,
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    request_id TEXT NOT NULL
);
CREATE INDEX journal_entry_by_token ON tollgate.journal_entry (token, at_unix_millis, number);
CREATE INDEX journal_refusal_by_token ON tollgate.journal_entry (token, at_unix_millis, number)
    WHERE forwarded = 'no';
CREATE TABLE tollgate.journal_source (
    spool TEXT COLLATE "C" PRIMARY KEY,
    taken BIGINT NOT NULL,
    answered BIGINT NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 20);
CREATE TABLE tollgate.journal_asked (
    single BOOLEAN PRIMARY KEY DEFAULT true CHECK (single),
    number BIGINT NOT NULL
) WITH (fillfactor = 20);
INSERT INTO tollgate.journal_asked (number) VALUES (0);
"#;
