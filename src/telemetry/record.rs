//! The record of one request.

use std::fmt;
use std::sync::Arc;

use super::{Core, Facts};
use crate::domain::Outcome;

/// The record of one request, counted and written exactly once: by [`Record::finish`], or when it is dropped
/// before that, which means that the client has gone (or, while its thread panics, that we are at fault).
pub struct Record {
    core: Arc<Core>,
    /// What is known so far; fill it in on the way.
    pub facts: Facts,
    closed: bool,
}

impl Record {
    pub(super) const fn new(core: Arc<Core>, facts: Facts) -> Self {
        Self { core, facts, closed: false }
    }

    /// The core that it was opened on.
    pub const fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The request's id.
    pub fn request_id(&self) -> &str {
        self.facts.request_id.as_str()
    }

    /// Closes the record: the answer is complete, or was broken off by us or the upstream. A closed record stays
    /// as it is.
    pub fn finish(&mut self, outcome: Outcome, status: u16) {
        if !self.closed {
            self.facts.status = status;
            self.close(outcome);
        }
    }

    fn close(&mut self, outcome: Outcome) {
        let now = self.core.clock.now_after(self.facts.arrived);
        self.closed = true;
        self.facts.outcome = Some(outcome);
        self.facts.total = now.since(self.facts.arrived);
        self.core.close(&self.facts, outcome);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.closed {
            let outcome = if std::thread::panicking() { Outcome::Internal } else { Outcome::ClientGone };
            self.close(outcome);
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("facts", &self.facts).finish_non_exhaustive()
    }
}
