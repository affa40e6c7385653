//! The log as it tells of some tokens or workspaces. Part of [`super::Store`].

use super::LogEntry;
use crate::tokens::Error;

/// Reading the log by what its entries are about.
pub trait SubjectLog {
    /// Up to `count` entries about one of these subjects whose numbers are below `before`, newest first.
    fn log_of(&self, subjects: &[&str], before: u64, count: u32) -> Result<Vec<LogEntry>, Error>;
}
