//! Overrides of limits as rows.

use rusqlite::{Connection, Row, params};

use super::rows::{self, unsigned};
use crate::domain::OverrideHolder;
use crate::tokens::store::columns;
use crate::tokens::{HeldOverride, OverrideRecord};

/// A JSON array of a holder's overrides, as a column: an array for each.
macro_rules! overrides_of {
    ($kind:literal, $holder:literal) => {
        concat!(
            "(SELECT json_group_array(json_array(policy, quota, until, reason, set_at)) FROM limit_override \
             WHERE kind = '",
            $kind,
            "' AND holder = ",
            $holder,
            ")"
        )
    };
}
pub(super) use overrides_of;

/// Reads a column of `overrides_of`, by policy.
pub(super) fn column(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<OverrideRecord>> {
    let text = row.get_ref(column)?.as_str()?;
    columns::overrides(text).ok_or_else(|| rows::unreadable(column))
}

/// Up to `count` overrides after one of a holder and policy, by kind of holder, holder and policy.
pub(super) fn listed(
    on: &Connection,
    after: Option<(&OverrideHolder, &str)>,
    count: u32,
) -> rusqlite::Result<Vec<HeldOverride>> {
    let (kind, holder, policy) =
        after.map_or(("", "", ""), |(holder, policy)| (holder.kind(), holder.id(), policy));
    let sql = "SELECT kind, holder, policy, quota, until, reason, set_at FROM limit_override \
               WHERE (kind, holder, policy) > (?1, ?2, ?3) ORDER BY kind, holder, policy LIMIT ?4";
    on.prepare_cached(sql)?.query_map(params![kind, holder, policy, count], held)?.collect()
}

fn held(row: &Row<'_>) -> rusqlite::Result<HeldOverride> {
    let kind: String = row.get(0)?;
    let quota: String = row.get(3)?;
    Ok(HeldOverride {
        holder: OverrideHolder::of(&kind, row.get(1)?).ok_or_else(|| rows::unreadable(0))?,
        record: OverrideRecord {
            policy: row.get(2)?,
            quota: columns::quota(&quota).ok_or_else(|| rows::unreadable(3))?,
            until_unix_seconds: unsigned(row, 4)?,
            reason: row.get(5)?,
            set_at_unix_seconds: unsigned(row, 6)?,
        },
    })
}
