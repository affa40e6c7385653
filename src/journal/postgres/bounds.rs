//! What goes when there is too much.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{Bounds, signed, unsigned};
use crate::clock::Now;
use crate::tokens::store::failure::Failure;
use crate::tokens::store::postgres::Session;

/// The most entries that go in one transaction.
const PORTION: u32 = 5_000;
/// How many of the oldest and of the newest entries tell how long entries are.
const SAMPLE: u32 = 500;
/// What an entry takes in indexes.
const INDEXED_BYTES: u64 = 200;
/// The most portions of one sweep.
pub(super) const MOST_PORTIONS: u32 = 40;
/// The lock of the one gateway that sweeps (`tgtj`).
const LOCK: &str = "SELECT pg_try_advisory_xact_lock(1952936042)";

/// Tokens with their workspaces and how many entries they are given. In an order, so that two gateways that write
/// entries of the same tokens never wait for each other in a circle.
type Added<'e> = BTreeMap<&'e str, (&'e str, i64)>;

/// Counts entries that are added.
pub(super) fn count(on: &Session<'_>, tokens: &Added<'_>) -> Result<(), Failure> {
    let (names, rest): (Vec<&str>, Vec<(&str, i64)>) =
        tokens.iter().map(|(name, rest)| (*name, *rest)).unzip();
    let (workspaces, counts): (Vec<&str>, Vec<i64>) = rest.into_iter().unzip();
    let sql = "INSERT INTO tollgate.journal_token AS held (name, workspace, entries) \
                   SELECT * FROM unnest($1::text[], $2::text[], $3::int8[]) AS added (name, workspace, entries) \
                   ON CONFLICT (name) DO UPDATE SET workspace = excluded.workspace, \
                   entries = held.entries + excluded.entries";
    on.execute(
        sql,
        &[(&names, Type::TEXT_ARRAY), (&workspaces, Type::TEXT_ARRAY), (&counts, Type::INT8_ARRAY)],
    )?;
    Ok(())
}

/// Lets the oldest entries of those tokens go that have too many, up to [`PORTION`]: refusals first.
pub(super) fn let_go(bounds: Bounds, on: &Session<'_>, tokens: &Added<'_>) -> Result<(), Failure> {
    let names: Vec<&str> = tokens.keys().copied().collect();
    let sql = "SELECT name, entries - $2 FROM tollgate.journal_token \
                   WHERE name = ANY($1) AND entries > $2 ORDER BY name";
    let most = signed(bounds.entries_per_token);
    let mut left = i64::from(PORTION);
    for row in on.query(sql, &[(&names, Type::TEXT_ARRAY), (&most, Type::INT8)])? {
        let (name, excess) = (row.try_get(0)?, row.try_get::<_, i64>(1)?.min(left));
        if excess == 0 {
            break;
        }
        let mut gone = 0;
        for which in ["token = $1 AND forwarded = 'no'", "token = $1"] {
            let sql = format!(
                "DELETE FROM tollgate.journal_entry WHERE number IN (SELECT number FROM tollgate.journal_entry \
                     WHERE {which} ORDER BY at_unix_millis, number LIMIT $2)"
            );
            gone += signed(on.execute(&sql, &[(&name, Type::TEXT), (&(excess - gone), Type::INT8)])?);
        }
        uncount(on, &[name], &[gone])?;
        left -= gone;
    }
    Ok(())
}

/// Lets up to [`PORTION`] of the oldest entries go, if they are too old, or there are too many of
/// them or too many bytes. Does nothing while another gateway does.
pub(super) fn sweep_portion(bounds: Bounds, on: &Session<'_>, now: Now) -> Result<u64, Failure> {
    let locked = on.query_opt(LOCK, &[])?.map_or(Ok(false), |row| row.try_get(0))?;
    if !locked {
        return Ok(0);
    }
    let row = on.query_opt("SELECT coalesce(sum(entries), 0)::int8 FROM tollgate.journal_token", &[])?;
    let held = signed(row.map_or(Ok(0), |row| unsigned(&row, 0))?);
    let excess = held.saturating_sub(signed(bounds.entries).min(entries_within(bounds.file_bytes, on)?));
    let retention = u64::try_from(bounds.retention.as_millis()).unwrap_or(u64::MAX);
    let cutoff = signed(now.unix_millis.saturating_sub(retention));
    let sql = format!(
        "SELECT number, token FROM (SELECT number, token, at_unix_millis, row_number() OVER (ORDER BY number) AS place \
             FROM (SELECT number, token, at_unix_millis FROM tollgate.journal_entry ORDER BY number LIMIT {PORTION}) \
             AS first) AS oldest WHERE place <= $1 OR at_unix_millis < $2"
    );
    let oldest = on.query(&sql, &[(&excess, Type::INT8), (&cutoff, Type::INT8)])?;
    let gone = delete(on, &oldest)?;
    let forgotten = "DELETE FROM tollgate.journal_source WHERE seen_at < now() - make_interval(secs => $1)";
    on.execute(forgotten, &[(&bounds.retention.as_secs_f64(), Type::FLOAT8)])?;
    Ok(gone)
}

/// Deletes entries, given by number and token. The tokens are locked first, as they are by whoever adds entries: two
/// that wait for each other would wait in a circle.
fn delete(on: &Session<'_>, entries: &[Row]) -> Result<u64, Failure> {
    let (mut numbers, mut tokens) = (Vec::new(), BTreeSet::new());
    for row in entries {
        numbers.push(row.try_get::<_, i64>(0)?);
        tokens.insert(row.try_get::<_, &str>(1)?);
    }
    if numbers.is_empty() {
        return Ok(0);
    }
    let tokens: Vec<&str> = tokens.into_iter().collect();
    let lock = "SELECT name FROM tollgate.journal_token WHERE name = ANY($1) ORDER BY name FOR UPDATE";
    on.query(lock, &[(&tokens, Type::TEXT_ARRAY)])?;
    let sql = "WITH gone AS (DELETE FROM tollgate.journal_entry WHERE number = ANY($1) RETURNING token) \
               SELECT token, count(*) FROM gone GROUP BY token ORDER BY token";
    let rows = on.query(sql, &[(&numbers, Type::INT8_ARRAY)])?;
    let (mut names, mut counts) = (Vec::new(), Vec::new());
    for row in &rows {
        names.push(row.try_get::<_, &str>(0)?);
        counts.push(signed(unsigned(row, 1)?));
    }
    if !names.is_empty() {
        uncount(on, &names, &counts)?;
        on.execute(
            "DELETE FROM tollgate.journal_token WHERE name = ANY($1) AND entries <= 0",
            &[(&names, Type::TEXT_ARRAY)],
        )?;
    }
    Ok(counts.iter().sum::<i64>().unsigned_abs())
}

/// How many entries so many bytes hold, as the oldest and the newest of them are long. A table's own size tells nothing:
/// it does not shrink when rows go.
fn entries_within(bytes: u64, on: &Session<'_>) -> Result<i64, Failure> {
    let sample = |order: &str| {
        format!(
            "(SELECT pg_column_size(e.*) AS bytes FROM tollgate.journal_entry e ORDER BY number {order} LIMIT {SAMPLE})"
        )
    };
    let sql = format!(
        "SELECT ceil(avg(bytes))::int8 FROM ({} UNION ALL {}) AS entries",
        sample("ASC"),
        sample("DESC")
    );
    let average = on.query_opt(&sql, &[])?.map_or(Ok(None), |row| row.try_get::<_, Option<i64>>(0))?;
    let each = average.unwrap_or(0).unsigned_abs() + INDEXED_BYTES;
    Ok(signed(bytes / each))
}

fn uncount(on: &Session<'_>, names: &[&str], counts: &[i64]) -> Result<(), Failure> {
    let sql = "UPDATE tollgate.journal_token t SET entries = t.entries - gone.entries \
               FROM unnest($1::text[], $2::int8[]) AS gone (name, entries) WHERE t.name = gone.name";
    on.execute(sql, &[(&names, Type::TEXT_ARRAY), (&counts, Type::INT8_ARRAY)])?;
    Ok(())
}
