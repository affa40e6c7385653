//! What became of the calls, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::Fault;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// With an answer.
    Answered,
    /// Without one in time.
    TimedOut,
    /// With an error, or with a broken connection.
    Failed,
    /// At once, because too many others wait for an answer.
    Busy,
}

impl CallEnd {
    /// Every end.
    pub const ALL: [Self; 4] = [Self::Answered, Self::TimedOut, Self::Failed, Self::Busy];

    /// The word in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
            Self::Busy => "busy",
        }
    }

    pub(super) const fn of(fault: &Fault) -> Self {
        match fault {
            Fault::TimedOut | Fault::TooLate => Self::TimedOut,
            Fault::Connection(_)
            | Fault::Unable(_)
            | Fault::Cluster
            | Fault::OneCall(_)
            | Fault::Unintelligible => Self::Failed,
        }
    }
}

/// Calls by how they ended.
#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; CallEnd::ALL.len()]);

impl Counts {
    pub(super) fn add(&self, end: CallEnd) {
        self.0[end as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn of(&self, end: CallEnd) -> u64 {
        self.0[end as usize].load(Ordering::Relaxed)
    }
}
