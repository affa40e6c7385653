//! When a failed delivery is tried again.

use std::time::Duration;

/// The wait after the first failure; each further one is four times as long.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_hours(6);

/// When to try again what failed for the `attempt`-th time, in milliseconds since 1970; [`None`] once the message
/// would be older than `give_up_after`. The wait grows from 5 s by a factor of four up to six hours, and is drawn
/// from its upper half by `random` so that messages that failed together do not come back together ("equal jitter").
pub(super) fn next_attempt(
    attempt: u32,
    enqueued_at_unix_millis: u64,
    now_unix_millis: u64,
    give_up_after: Duration,
    random: u64,
) -> Option<u64> {
    let doublings = attempt.saturating_sub(1).min(10) * 2;
    let wait = LONGEST_WAIT.min(FIRST_WAIT * (1 << doublings)).as_millis() as u64;
    let due = now_unix_millis.saturating_add(wait / 2 + random % (wait / 2 + 1));
    let end = enqueued_at_unix_millis.saturating_add(give_up_after.as_millis() as u64);
    (due <= end).then_some(due)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS: Duration = Duration::from_hours(72);

    #[test]
    fn waits_grow_and_are_bounded() {
        for (attempt, most_seconds) in [
            (0, 5),
            (1, 5),
            (2, 20),
            (3, 80),
            (4, 320),
            (5, 1_280),
            (6, 5_120),
            (7, 20_480),
            (8, 21_600),
            (u32::MAX, 21_600),
        ] {
            let wait = |random| next_attempt(attempt, 0, 0, DAYS, random).unwrap();
            assert_eq!(wait(0), most_seconds * 500, "{attempt}");
            assert_eq!(wait(most_seconds * 500), most_seconds * 1_000, "{attempt}");
            assert!(wait(u64::MAX) <= most_seconds * 1_000);
        }
    }

    #[test]
    fn what_is_too_old_is_given_up() {
        let hours = |hours: u64| hours * 3_600_000;
        assert!(next_attempt(20, 0, hours(66), DAYS, u64::MAX / 2 * 2).is_some());
        assert_eq!(next_attempt(20, 0, hours(70), DAYS, 0), None);
        assert_eq!(next_attempt(1, u64::MAX, u64::MAX, DAYS, 7), Some(u64::MAX));
    }
}
