//! How long answers took lately, at the longest: requests wait for one so long, and a little.

use std::time::Duration;

/// An answer counts for one to two of these.
const COUNTS_FOR: Duration = Duration::from_secs(10);

/// The longest round trip of this period and of the one before.
#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    period: u64,
    longest_nanos: u64,
    before_nanos: u64,
}

impl RoundTrips {
    /// Notes an answer that took so long, and came at `now` of the monotonic clock. Answers with the longest of those that
    /// count.
    pub(super) fn note(&mut self, took_nanos: u64, now_nanos: u64) -> u64 {
        let period = now_nanos / COUNTS_FOR.as_nanos() as u64;
        if period > self.period {
            self.before_nanos = if period == self.period + 1 { self.longest_nanos } else { 0 };
            (self.period, self.longest_nanos) = (period, 0);
        }
        self.longest_nanos = self.longest_nanos.max(took_nanos);
        self.longest_nanos.max(self.before_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_one_counts_for_ten_seconds_at_least_and_twenty_at_most() {
        let second = 1_000_000_000;
        let mut trips = RoundTrips::default();
        assert_eq!(trips.note(9, 5 * second), 9);
        assert_eq!(trips.note(3, 9 * second), 9);
        assert_eq!(trips.note(2, 15 * second), 9, "of the period before");
        assert_eq!(trips.note(4, 19 * second), 9);
        assert_eq!(trips.note(1, 20 * second), 4);
        assert_eq!(trips.note(1, 45 * second), 1, "nothing of a while ago");
        assert_eq!(trips.note(2, 44 * second), 2, "of a call that looked at its clock before another");
    }
}
