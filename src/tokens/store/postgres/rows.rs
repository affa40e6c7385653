//! Rows of PostgreSQL to records and back.

use tokio_postgres::Row;

use super::failure::unreadable;
use crate::domain::{OverrideHolder, Plan, Role, WorkspaceState};
use crate::tokens::store::columns;
use crate::tokens::store::failure::Failure;
use crate::tokens::store::{LogEntry, StoredToken};
use crate::tokens::{Digest, Error, HeldOverride, OverrideRecord, TokenRecord, WorkspaceRecord};

/// A JSON array of a holder's overrides, as a column: an array for each.
macro_rules! overrides_of {
    ($kind:literal, $holder:literal) => {
        concat!(
            "coalesce((SELECT json_agg(json_build_array(policy, quota, until, reason, set_at))::text \
             FROM tollgate.limit_override WHERE kind = '",
            $kind,
            "' AND holder = ",
            $holder,
            "), '[]')"
        )
    };
}

pub(super) const WORKSPACE: &str = concat!(
    "SELECT id, number, region, plan, features, state, contacts, created_at, ",
    overrides_of!("workspace", "workspace.id"),
    " FROM tollgate.workspace"
);

/// Tokens, with columns behind those that [`token`] reads.
macro_rules! tokens {
    ($more:literal) => {
        concat!(
            "SELECT t.id, t.family, t.number, t.workspace, t.name, t.scopes, t.role, t.own_limit, t.created_at, \
             t.expires_at, t.revoked_at, t.revoked_reason, t.overlap_until, t.replaced_by, u.at, t.pepper, t.digest, \
             t.is_foreign, t.allowed_networks, t.is_decoy, ",
            overrides_of!("token", "t.family"),
            $more,
            " FROM tollgate.token t LEFT JOIN tollgate.token_use u ON u.token = t.id"
        )
    };
}

pub(super) const TOKEN: &str = tokens!("");

/// Tokens with what stood for them before.
pub(super) const CHANGED_TOKEN: &str = tokens!(
    ", ARRAY(SELECT f.pepper FROM tollgate.former_digest f WHERE f.token = t.id ORDER BY f.digest, f.pepper), \
     ARRAY(SELECT f.digest FROM tollgate.former_digest f WHERE f.token = t.id ORDER BY f.digest, f.pepper)"
);

pub(super) const LOG: &str =
    "SELECT seq, previous, hash, at_unix_millis, actor, kind, subject, body FROM tollgate.log";

pub(super) const OVERRIDE: &str =
    "SELECT kind, holder, policy, quota, until, reason, set_at FROM tollgate.limit_override";

pub(super) fn workspace(row: &Row) -> Result<WorkspaceRecord, Failure> {
    Ok(WorkspaceRecord {
        id: row.try_get(0)?,
        number: unsigned(row, 1)?,
        region: row.try_get(2)?,
        plan: word(row, 3, Plan::by_name)?,
        features: row.try_get(4)?,
        state: word(row, 5, WorkspaceState::by_name)?,
        contacts: row.try_get(6)?,
        created_at_unix_seconds: unsigned(row, 7)?,
        overrides: word(row, 8, columns::overrides)?,
    })
}

pub(super) fn token(row: &Row) -> Result<StoredToken, Failure> {
    let own_limit: Option<&str> = row.try_get(7)?;
    let own_limit = own_limit.map(|text| columns::quota(text).ok_or_else(|| unreadable(7))).transpose()?;
    let record = TokenRecord {
        id: row.try_get(0)?,
        family: row.try_get(1)?,
        number: unsigned(row, 2)?,
        workspace: row.try_get(3)?,
        name: row.try_get(4)?,
        scopes: row.try_get(5)?,
        role: word(row, 6, Role::by_name)?,
        own_limit,
        allowed_networks: columns::networks(&row.try_get::<_, Vec<String>>(18)?)
            .ok_or_else(|| unreadable(18))?,
        is_decoy: row.try_get(19)?,
        overrides: word(row, 20, columns::overrides)?,
        created_at_unix_seconds: unsigned(row, 8)?,
        expires_at_unix_seconds: time(row, 9)?,
        revoked_at_unix_seconds: time(row, 10)?,
        revoked_reason: row.try_get(11)?,
        overlap_until_unix_seconds: time(row, 12)?,
        replaced_by: row.try_get(13)?,
        last_used_unix_seconds: time(row, 14)?,
    };
    Ok(StoredToken { record, digest: digest(row, 15, 16)?, foreign: row.try_get(17)?, former: Vec::new() })
}

/// A row of [`CHANGED_TOKEN`].
pub(super) fn changed_token(row: &Row) -> Result<StoredToken, Failure> {
    let (versions, all): (Vec<i32>, Vec<&[u8]>) = (row.try_get(21)?, row.try_get(22)?);
    let former = versions.into_iter().zip(all).map(|(version, bytes)| {
        let version = u16::try_from(version).map_err(|_| unreadable(21))?;
        Ok(columns::digest(version, bytes.try_into().map_err(|_| unreadable(22))?))
    });
    Ok(StoredToken { former: former.collect::<Result<_, Failure>>()?, ..token(row)? })
}

pub(super) fn log_entry(row: &Row) -> Result<LogEntry, Failure> {
    Ok(LogEntry {
        seq: unsigned(row, 0)?,
        previous: hash(row, 1)?,
        hash: hash(row, 2)?,
        at_unix_millis: unsigned(row, 3)?,
        actor: row.try_get(4)?,
        kind: row.try_get(5)?,
        subject: row.try_get(6)?,
        body: row.try_get(7)?,
    })
}

/// As [`log_entry`]; a column that cannot be read was altered.
pub(super) fn audited(row: &Row) -> Result<LogEntry, Failure> {
    log_entry(row).map_err(|failure| match unsigned(row, 0) {
        Ok(seq) => Error::LogAltered(seq).into(),
        Err(_) => failure,
    })
}

pub(super) fn held_override(row: &Row) -> Result<HeldOverride, Failure> {
    let holder = word(row, 0, |kind| Some(kind.to_owned()))?;
    Ok(HeldOverride {
        holder: OverrideHolder::of(&holder, row.try_get(1)?).ok_or_else(|| unreadable(0))?,
        record: OverrideRecord {
            policy: row.try_get(2)?,
            quota: word(row, 3, columns::quota)?,
            until_unix_seconds: unsigned(row, 4)?,
            reason: row.try_get(5)?,
            set_at_unix_seconds: unsigned(row, 6)?,
        },
    })
}

/// A digest in two columns: the pepper's version and the bytes.
pub(super) fn digest(row: &Row, pepper: usize, bytes: usize) -> Result<Digest, Failure> {
    let version: i32 = row.try_get(pepper)?;
    let version = u16::try_from(version).map_err(|_| unreadable(pepper))?;
    Ok(columns::digest(version, hash(row, bytes)?))
}

pub(super) fn hash(row: &Row, column: usize) -> Result<[u8; 32], Failure> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| unreadable(column))
}

pub(super) fn unsigned(row: &Row, column: usize) -> Result<u64, Failure> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|_| unreadable(column))
}

pub(super) fn time(row: &Row, column: usize) -> Result<Option<u64>, Failure> {
    let value: Option<i64> = row.try_get(column)?;
    value.map(|value| u64::try_from(value).map_err(|_| unreadable(column))).transpose()
}

fn word<T>(row: &Row, column: usize, read: impl Fn(&str) -> Option<T>) -> Result<T, Failure> {
    read(row.try_get(column)?).ok_or_else(|| unreadable(column))
}
