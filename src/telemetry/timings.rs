//! Times that another room measures, as one histogram for all cores.

use std::time::Duration;

use super::histogram::{FINE, Histogram};

/// A histogram that any thread may add to: from 5 µs to 1 s.
#[derive(Debug)]
pub struct Timings(pub(super) Histogram);

impl Default for Timings {
    fn default() -> Self {
        Self(Histogram::new(&FINE))
    }
}

impl Timings {
    /// Adds one time.
    pub fn observe(&self, time: Duration) {
        self.0.observe(time);
    }
}
