//! What goes when there is too much.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::{Bounds, signed};
use crate::clock::Now;

/// The most entries that go in one transaction, so that nobody who appends waits long.
pub(super) const PORTION: u64 = 5_000;
/// The most portions of one sweep.
pub(super) const MOST_PORTIONS: u32 = 40;

impl Bounds {
    /// Counts entries that were added to a token, and lets its oldest go if it has too many, up to `most`: refusals first.
    /// Answers with how many went.
    pub(super) fn count(&self, on: &Connection, token: i64, added: u64, most: u64) -> rusqlite::Result<u64> {
        let sql = "UPDATE token SET entries = entries + ?2 WHERE number = ?1 RETURNING entries";
        let entries: i64 =
            on.prepare_cached(sql)?.query_row(params![token, signed(added)], |row| row.get(0))?;
        let excess = (entries - signed(self.entries_per_token)).min(signed(most));
        if excess <= 0 {
            return Ok(0);
        }
        let mut gone = 0;
        for which in ["token = ?1 AND forwarded = 'no'", "token = ?1"] {
            let sql = format!(
                "DELETE FROM entry WHERE number IN \
                 (SELECT number FROM entry WHERE {which} ORDER BY at_unix_millis, number LIMIT ?2)"
            );
            gone += signed(on.prepare_cached(&sql)?.execute(params![token, excess - gone])? as u64);
        }
        on.prepare_cached("UPDATE token SET entries = entries - ?2 WHERE number = ?1")?
            .execute(params![token, gone])?;
        Ok(gone.unsigned_abs())
    }

    /// Lets up to [`PORTION`] of the oldest entries go, if they are too old or there are too many.
    pub(super) fn sweep_portion(&self, on: &Connection, now: Now) -> rusqlite::Result<u64> {
        self.last_to_go(on, now)?.map_or(Ok(0), |last| delete_through(on, last))
    }

    /// The last of the oldest entries that are to go.
    fn last_to_go(&self, on: &Connection, now: Now) -> rusqlite::Result<Option<i64>> {
        let cutoff = now.unix_millis.saturating_sub(self.retention.as_millis() as u64);
        let sql = "SELECT coalesce(sum(entries), 0) FROM token";
        let count: i64 = on.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        let too_long = if used_bytes(on)? > signed(self.file_bytes) { count / 10 + 1 } else { 0 };
        let excess = (count - signed(self.entries)).max(too_long);
        let mut oldest =
            on.prepare_cached("SELECT number, at_unix_millis FROM entry ORDER BY number LIMIT ?1")?;
        let mut last = None;
        let rows =
            oldest.query_map([signed(PORTION)], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        for (place, row) in (0_i64..).zip(rows) {
            let (number, at) = row?;
            if place >= excess && at >= signed(cutoff) {
                break;
            }
            last = Some(number);
        }
        Ok(last)
    }
}

/// Lets the entries up to a number go; answers with how many there were.
pub(super) fn delete_through(on: &Connection, last: i64) -> rusqlite::Result<u64> {
    let mut gone: HashMap<i64, i64> = HashMap::new();
    let mut delete = on.prepare_cached("DELETE FROM entry WHERE number <= ?1 RETURNING token")?;
    for token in delete.query_map([last], |row| row.get(0))? {
        *gone.entry(token?).or_default() += 1;
    }
    let mut count = on.prepare_cached("UPDATE token SET entries = entries - ?2 WHERE number = ?1")?;
    for (token, entries) in &gone {
        count.execute(params![token, entries])?;
    }
    on.execute("DELETE FROM token WHERE entries <= 0", [])?;
    Ok(gone.values().sum::<i64>().unsigned_abs())
}

/// Bytes of the file less those of its free pages.
fn used_bytes(on: &Connection) -> rusqlite::Result<i64> {
    let pragma = |name: &str| on.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}
