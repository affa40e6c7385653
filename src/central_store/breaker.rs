//! When a store is given up, and when it is tried again (Nygard, "Release It!", 2007).
//!
//! One broken connection is enough; of calls that were not answered in time it takes three within a second, or within as
//! long as three take one after the other, because one may be this machine's own fault.

use std::time::Duration;

use crate::limits::shared::CALLS_IN_VAIN;

/// Calls not answered in time after which a store is given up.
const TIME_OUTS: usize = CALLS_IN_VAIN as usize;
/// So long after the first of them, or longer where three take longer.
const WITHIN: Duration = Duration::from_secs(1);
/// How soon a replica that was not heard tries to say again that it is there, so that a store that hangs is given up even
/// where nobody asks it.
pub(super) const NEXT_TRY: Duration = Duration::from_millis(100);

const FIRST_PROBE: Duration = Duration::from_millis(250);
const LONGEST_PROBE: Duration = Duration::from_millis(500);
/// How long one that is back waits for the others: as long as a probe may take to be made. While one is counted by the
/// store and another by its share of the rate, more than the rate is admitted; so they go on together.
pub(super) const GRACE: Duration = Duration::from_millis(750);

/// The time-outs of one connection.
#[derive(Debug)]
pub(super) struct TimeOuts {
    within_nanos: u64,
    /// When the last ones were, in monotonic nanoseconds, the oldest first.
    last: [Option<u64>; TIME_OUTS],
}

impl TimeOuts {
    /// None, of calls that are waited for so long.
    pub(super) fn new(timeout: Duration) -> Self {
        let within = WITHIN.max(timeout.saturating_add(NEXT_TRY).saturating_mul(CALLS_IN_VAIN));
        Self { within_nanos: u64::try_from(within.as_nanos()).unwrap_or(u64::MAX), last: [None; TIME_OUTS] }
    }

    /// Notes one, of a call that was made then; the first of those that make the store given up, if they do.
    pub(super) fn note(&mut self, now_nanos: u64) -> Option<u64> {
        self.last.rotate_left(1);
        self.last[TIME_OUTS - 1] = Some(now_nanos);
        self.last[0].filter(|oldest| now_nanos.saturating_sub(*oldest) <= self.within_nanos)
    }
}

/// How long to wait before a store is tried again that failed so many times in a row, 0 for the first; a quarter more
/// or less by `random`, so that replicas do not come all at once.
pub(super) fn probe_after(failures: u32, random: u32) -> Duration {
    let base = FIRST_PROBE.saturating_mul(1 << failures.min(10)).min(LONGEST_PROBE);
    base.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0 + 0.75)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn three_time_outs_within_a_second_are_enough_and_fewer_are_not() {
        let mut time_outs = TimeOuts::new(Duration::from_millis(50));
        let times = [0, 600, 1_001, 1_500, 1_501, 9_000].map(|milliseconds| milliseconds * MILLISECOND);
        let enough = times.map(|time| time_outs.note(time));
        // The third comes more than a second after the first; the fourth within one of the second, and so it goes on.
        assert_eq!(enough, [None, None, None, Some(times[1]), Some(times[2]), None]);
    }

    /// One after the other, as slowly as they may come where nobody asks.
    #[test]
    fn a_long_time_out_is_given_up_after_three_of_them_too() {
        for timeout in [5, 50, 250, 1_000] {
            let mut time_outs = TimeOuts::new(Duration::from_millis(timeout));
            let gap = (timeout + 100) * MILLISECOND;
            let enough = [0, gap, 2 * gap].map(|time| time_outs.note(time));
            assert_eq!(enough, [None, None, Some(0)], "{timeout} ms");
        }
    }

    #[test]
    fn probes_double_up_to_half_a_second_and_spread_by_a_quarter() {
        let bases: Vec<_> = (0..6).map(|failures| probe_after(failures, u32::MAX / 2).as_millis()).collect();
        assert_eq!(bases, [250, 500, 500, 500, 500, 500]);
        assert_eq!(probe_after(0, 0), FIRST_PROBE.mul_f64(0.75));
        assert_eq!(probe_after(u32::MAX, u32::MAX), LONGEST_PROBE.mul_f64(1.25));
        assert!(LONGEST_PROBE.mul_f64(1.25) < GRACE);
    }
}
