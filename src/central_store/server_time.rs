//! What the server's clock shows, as far as its answers tell, so that what is asked of it can say until when it is waited
//! for.
//!
//! An answer that says `T` shows that the server's clock is ahead of ours by at least `T` less the time when it came,
//! and by at most `T` less the time when the question went. The largest known least is kept until an answer says that it
//! cannot be true, because either clock was moved. So a deadline is never later at the server than here: what nobody waits
//! for any more is refused. It is earlier by no more than the fastest answer took to come back, so that a question which
//! is refused would not have been answered in time either.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::limits::shared::TICK_NANOS;

/// How far the server's clock is ahead of ours, in ticks: less than it is by no more than an answer takes to come.
#[derive(Debug)]
pub(super) struct ServerTime(AtomicI64);

impl Default for ServerTime {
    /// Not known: every deadline is as late as can be.
    fn default() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }
}

impl ServerTime {
    /// An answer said `ticks`, to what was sent and came at these monotonic nanoseconds.
    pub(super) fn observe(&self, ticks: u64, sent_nanos: u64, came_nanos: u64) {
        let ahead = |nanos: u64| ticks.cast_signed().saturating_sub(nanos.cast_signed());
        let (least, most) = (ahead(came_nanos.div_ceil(TICK_NANOS)), ahead(sent_nanos / TICK_NANOS));
        if !(least..=most).contains(&self.0.load(Ordering::Relaxed)) {
            self.0.store(least, Ordering::Relaxed);
        }
    }

    /// What the server's clock shows at a monotonic time, at least.
    pub(super) fn at(&self, nanos: u64) -> u64 {
        let ticks = (nanos / TICK_NANOS).cast_signed().saturating_add(self.0.load(Ordering::Relaxed));
        u64::try_from(ticks).unwrap_or(0)
    }

    /// How long it is at a monotonic time until the server's clock shows so many ticks, at most.
    pub(super) fn until(&self, ticks: u64, nanos: u64) -> Duration {
        Duration::from_nanos(ticks.saturating_sub(self.at(nanos)).saturating_mul(TICK_NANOS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;
    const TICKS: u64 = MILLISECOND / TICK_NANOS;

    #[test]
    fn a_deadline_is_never_later_than_the_server_s_and_as_close_as_the_fastest_answer_was() {
        let server = ServerTime::default();
        assert!(server.at(0) > u64::MAX / 4, "nothing is known");
        // It is ahead by 1,000 ms, and says so half way.
        for (sent, came, at_best) in [(10, 50, 20), (60, 62, 1), (70, 90, 1)] {
            let said = (1_000 + u64::midpoint(sent, came)) * TICKS;
            server.observe(said, sent * MILLISECOND, came * MILLISECOND);
            assert_eq!(server.at(100 * MILLISECOND), (1_100 - at_best) * TICKS);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_number_of_a_server_is_too_large(
            ticks in proptest::array::uniform2(proptest::prelude::any::<u64>()),
            mut nanos in proptest::array::uniform3(proptest::prelude::any::<u64>()),
        ) {
            nanos.sort_unstable();
            let server = ServerTime::default();
            server.observe(ticks[0], nanos[0], nanos[1]);
            let _ = (server.at(nanos[2]), server.until(ticks[1], nanos[2]));
        }
    }

    #[test]
    fn one_answer_is_enough_after_either_clock_has_jumped() {
        let server = ServerTime::default();
        for ahead in [5_000, 10_000, 0, 5_000] {
            server.observe((ahead + 11) * TICKS, 10 * MILLISECOND, 12 * MILLISECOND);
            assert_eq!(server.at(12 * MILLISECOND), (ahead + 11) * TICKS);
        }
    }
}
