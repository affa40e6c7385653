//! Time as an argument.
//!
//! Decides what "now" is for one request: it is read once on arrival and every decision about the request
//! uses that reading. Monotonic time drives limits and deadlines, wall time drives expiry; a jump of the
//! wall clock never touches a limit. Tests hold a [`Clock::manual`] and move it themselves.

mod deadline;

pub use deadline::Deadline;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds since the clock was made, starting at one hour so that subtraction has room; never goes back.
    pub monotonic_nanos: u64,
    /// Milliseconds since 1970 (UTC) by the wall clock.
    pub unix_millis: u64,
}

impl Now {
    /// Whole seconds since 1970 (UTC).
    pub const fn unix_seconds(self) -> u64 {
        self.unix_millis / 1_000
    }

    /// Time that passed since an earlier reading of the same clock.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.monotonic_nanos.saturating_sub(earlier.monotonic_nanos))
    }
}

const START_NANOS: u64 = 3_600_000_000_000;

/// Where readings come from.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System(Instant),
    Manual(Arc<ManualTime>),
    /// Tokio's time, and the second since 1970 in which it started.
    #[cfg(test)]
    Paused(tokio::time::Instant, u64),
}

#[derive(Debug)]
struct ManualTime {
    monotonic_nanos: AtomicU64,
    unix_millis: AtomicU64,
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// A clock that stands still until [`Clock::advance`]; starts at `unix_seconds`.
    pub fn manual(unix_seconds: u64) -> Self {
        Self(Source::Manual(Arc::new(ManualTime {
            monotonic_nanos: AtomicU64::new(START_NANOS),
            unix_millis: AtomicU64::new(unix_seconds * 1_000),
        })))
    }

    /// A clock that goes with the time of a paused runtime, in which it must be made; starts at `unix_seconds`.
    #[cfg(test)]
    pub(crate) fn paused(unix_seconds: u64) -> Self {
        Self(Source::Paused(tokio::time::Instant::now(), unix_seconds))
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        match &self.0 {
            Source::System(start) => Now {
                monotonic_nanos: START_NANOS + start.elapsed().as_nanos() as u64,
                unix_millis: SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_millis() as u64),
            },
            Source::Manual(time) => Now {
                monotonic_nanos: time.monotonic_nanos.load(Ordering::SeqCst),
                unix_millis: time.unix_millis.load(Ordering::SeqCst),
            },
            #[cfg(test)]
            Source::Paused(start, unix_seconds) => Now {
                monotonic_nanos: START_NANOS + start.elapsed().as_nanos() as u64,
                unix_millis: unix_seconds * 1_000 + start.elapsed().as_millis() as u64,
            },
        }
    }

    /// Reads the monotonic clock alone, for a moment after another reading of this clock: the wall clock is taken to
    /// have moved as far since.
    pub fn now_after(&self, earlier: Now) -> Now {
        let Source::System(start) = &self.0 else { return self.now() };
        let monotonic_nanos = START_NANOS + start.elapsed().as_nanos() as u64;
        let passed_nanos = monotonic_nanos.saturating_sub(earlier.monotonic_nanos);
        Now { monotonic_nanos, unix_millis: earlier.unix_millis + passed_nanos / 1_000_000 }
    }

    /// Moves a manual clock; does nothing to the system's.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(time) = &self.0 {
            time.monotonic_nanos.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
            time.unix_millis.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
        }
    }
}
