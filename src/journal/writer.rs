//! From the cores' lines to a journal, in batches.

use std::io::{self, Write};
use std::sync::Arc;

use super::Journal;
use super::entry::Line;

/// The most entries that go into a journal at once.
const BATCH: usize = 2_000;

/// Takes whole lines and hands their entries on. A journal's failure is this write's failure, so that whoever
/// writes counts the lines as lost.
#[derive(Debug)]
pub struct Writer {
    journal: Arc<dyn Journal>,
    failed: bool,
}

impl Writer {
    /// A writer to this journal.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal, failed: false }
    }
}

impl Write for Writer {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let entries: Vec<_> = lines.split(|byte| *byte == b'\n').filter_map(Line::read).collect();
        for batch in entries.chunks(BATCH) {
            if let Err(error) = self.journal.append(batch) {
                if !self.failed {
                    tracing::error!(%error, "what tokens do is not written down");
                }
                self.failed = true;
                return Err(io::Error::other(error));
            }
        }
        if self.failed && !entries.is_empty() {
            tracing::info!("what tokens do is written down again");
            self.failed = false;
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
