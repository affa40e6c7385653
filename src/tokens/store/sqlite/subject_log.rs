//! The log by what its entries are about.

use rusqlite::params;

use super::{SqliteStore, rows};
use crate::tokens::Error;
use crate::tokens::store::LogEntry;
use crate::tokens::store::subject_log::SubjectLog;

impl SubjectLog for SqliteStore {
    fn log_of(&self, subjects: &[&str], before: u64, count: u32) -> Result<Vec<LogEntry>, Error> {
        let sql = format!("{} WHERE subject = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3", rows::LOG);
        self.read(|on| {
            let mut found: Vec<LogEntry> = Vec::new();
            let mut statement = on.prepare_cached(&sql)?;
            for subject in subjects {
                let entries =
                    statement.query_map(params![subject, rows::signed(before), count], rows::log_entry)?;
                for entry in entries {
                    found.push(entry?);
                }
            }
            found.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.seq));
            found.dedup_by_key(|entry| entry.seq);
            found.truncate(count as usize);
            Ok(found)
        })
    }
}
