//! What goes when there is too much.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use super::{Bounds, signed, unsigned};
use crate::clock::Now;
use crate::tokens::store::failure::Failure;
use crate::tokens::store::postgres::Session;

/// The most entries that go in one transaction.
const PORTION: u32 = 5_000;
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

/// Lets the oldest of those tokens go that have too many: refusals first.
pub(super) fn let_go(bounds: Bounds, on: &Session<'_>, tokens: &Added<'_>) -> Result<(), Failure> {
    let names: Vec<&str> = tokens.keys().copied().collect();
    let sql = "SELECT name, entries - $2 FROM tollgate.journal_token \
                   WHERE name = ANY($1) AND entries > $2 ORDER BY name";
    let most = signed(bounds.entries_per_token);
    for row in on.query(sql, &[(&names, Type::TEXT_ARRAY), (&most, Type::INT8)])? {
        let (name, excess): (&str, i64) = (row.try_get(0)?, row.try_get(1)?);
        let mut gone = 0;
        for which in ["token = $1 AND forwarded = 'no'", "token = $1"] {
            let sql = format!(
                "DELETE FROM tollgate.journal_entry WHERE number IN (SELECT number FROM tollgate.journal_entry \
                     WHERE {which} ORDER BY at_unix_millis, number LIMIT $2)"
            );
            gone += signed(on.execute(&sql, &[(&name, Type::TEXT), (&(excess - gone), Type::INT8)])?);
        }
        uncount(on, &[name], &[gone])?;
    }
    Ok(())
}

/// Lets up to [`PORTION`] of the oldest entries go, if they are too old or there are too many. Does nothing
/// while another gateway does.
pub(super) fn sweep_portion(bounds: Bounds, on: &Session<'_>, now: Now) -> Result<u64, Failure> {
    let locked = on.query_opt(LOCK, &[])?.map_or(Ok(false), |row| row.try_get(0))?;
    if !locked {
        return Ok(0);
    }
    let row = on.query_opt("SELECT coalesce(sum(entries), 0)::int8 FROM tollgate.journal_token", &[])?;
    let held = signed(row.map_or(Ok(0), |row| unsigned(&row, 0))?);
    let excess = held.saturating_sub(signed(bounds.entries));
    let retention = u64::try_from(bounds.retention.as_millis()).unwrap_or(u64::MAX);
    let cutoff = signed(now.unix_millis.saturating_sub(retention));
    let sql = format!(
        "WITH oldest AS (SELECT number, at_unix_millis, row_number() OVER (ORDER BY number) AS place \
             FROM (SELECT number, at_unix_millis FROM tollgate.journal_entry ORDER BY number LIMIT {PORTION}) AS first), \
             gone AS (DELETE FROM tollgate.journal_entry e USING oldest o WHERE e.number = o.number \
             AND (o.place <= $1 OR o.at_unix_millis < $2) RETURNING e.token) \
             SELECT token, count(*) FROM gone GROUP BY token ORDER BY token"
    );
    let (mut names, mut counts) = (Vec::new(), Vec::new());
    let rows = on.query(&sql, &[(&excess, Type::INT8), (&cutoff, Type::INT8)])?;
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
    let forgotten = "DELETE FROM tollgate.journal_source WHERE seen_at < now() - make_interval(secs => $1)";
    on.execute(forgotten, &[(&bounds.retention.as_secs_f64(), Type::FLOAT8)])?;
    Ok(counts.iter().sum::<i64>().unsigned_abs())
}

fn uncount(on: &Session<'_>, names: &[&str], counts: &[i64]) -> Result<(), Failure> {
    let sql = "UPDATE tollgate.journal_token t SET entries = t.entries - gone.entries \
               FROM unnest($1::text[], $2::int8[]) AS gone (name, entries) WHERE t.name = gone.name";
    on.execute(sql, &[(&names, Type::TEXT_ARRAY), (&counts, Type::INT8_ARRAY)])?;
    Ok(())
}
