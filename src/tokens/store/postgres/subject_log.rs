//! The log by what its entries are about.

use tokio_postgres::types::Type;

use super::{PostgresStore, rows};
use crate::tokens::Error;
use crate::tokens::store::LogEntry;
use crate::tokens::store::columns::signed;
use crate::tokens::store::subject_log::SubjectLog;

impl SubjectLog for PostgresStore {
    fn log_of(&self, subjects: &[&str], before: u64, count: u32) -> Result<Vec<LogEntry>, Error> {
        let sql = format!("{} WHERE subject = ANY($1) AND seq < $2 ORDER BY seq DESC LIMIT $3", rows::LOG);
        self.read(|on| {
            let found = on.query(
                &sql,
                &[
                    (&subjects, Type::TEXT_ARRAY),
                    (&signed(before), Type::INT8),
                    (&i64::from(count), Type::INT8),
                ],
            )?;
            found.iter().map(rows::log_entry).collect()
        })
    }
}
