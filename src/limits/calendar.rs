//! Counts by the calendar: so many in one UTC day or month, and none carried over.
//!
//! A count is one word, the period's number above and what was used in it below, so that a decision is one
//! compare-and-swap, as a TAT's is. Invariants: in one period no more than the quota is admitted, whoever races; a
//! wall clock that is set back a little goes on with the period that it had reached, and one that is set back far
//! takes what was used along, so that a step of the clock hands out nothing twice.
//!
//! governor has no such count; everything else about a bucket (its key, its place, its overflow) is the same.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bucket::{Scale, Verdict};
use crate::domain::{Quota, Window};

pub(super) const DAY_SECONDS: u64 = 86_400;
/// How far the wall clock may be set back without returning to the period before.
const SET_BACK_MILLIS: u64 = 3_600_000;

/// How a bucket refills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refill {
    /// All the time, by GCRA.
    Gradual,
    /// All at once when a UTC day begins.
    Daily,
    /// All at once when a UTC month begins.
    Monthly,
}

impl Refill {
    /// How a quota's bucket refills.
    pub(super) const fn of(quota: &Quota) -> Self {
        match (quota.window, quota.period_seconds) {
            (Window::Calendar, 86_400) => Self::Daily,
            (Window::Calendar, 2_592_000) => Self::Monthly,
            (Window::Calendar | Window::Rolling, _) => Self::Gradual,
        }
    }

    /// The number of the period in which a time is; 0 for what has none.
    pub(super) const fn number_at(self, unix_millis: u64) -> u32 {
        let day = unix_millis / 1_000 / DAY_SECONDS;
        match self {
            Self::Gradual => 0,
            Self::Daily => day as u32,
            Self::Monthly => month_of(day),
        }
    }

    /// The day on which a period begins, counted from 1970.
    pub(super) const fn begins(self, number: u32) -> u64 {
        match self {
            Self::Gradual | Self::Daily => number as u64,
            Self::Monthly => first_day(number),
        }
    }

    /// A period's length.
    const fn seconds(self, number: u32) -> u32 {
        ((self.begins(number + 1) - self.begins(number)) * DAY_SECONDS) as u32
    }
}

/// What a period of the calendar has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) refill: Refill,
    pub(super) number: u32,
    pub(super) left: u32,
}

impl Counted {
    /// The period's length, 28 to 31 days for a month.
    pub(super) const fn period_seconds(&self) -> u32 {
        self.refill.seconds(self.number)
    }
}

/// Both clocks of one decision, and how the bucket refills.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) refill: Refill,
    pub(super) now: u64,
    pub(super) unix_millis: u64,
}

impl At {
    /// The period that counts, and what was used in it.
    pub(super) const fn read(&self, word: u64) -> (u32, u32) {
        let (known, used) = ((word >> 32) as u32, word as u32);
        let number = self.refill.number_at(self.unix_millis);
        if known < number {
            (number, 0)
        } else if known > number && known == self.refill.number_at(self.unix_millis + SET_BACK_MILLIS) {
            (known, used)
        } else {
            (number, used)
        }
    }

    /// The word that says so.
    pub(super) const fn write(number: u32, used: u32) -> u64 {
        (number as u64) << 32 | used as u64
    }

    /// Time until the period of a number ends.
    pub(super) const fn until_end_of(&self, number: u32) -> u64 {
        let ends_unix_millis = self.refill.begins(number + 1) * DAY_SECONDS * 1_000;
        ends_unix_millis.saturating_sub(self.unix_millis) * 1_000_000
    }

    fn verdict(&self, number: u32, used: u32, scale: Scale, refused: bool) -> Verdict {
        let left_nanos = self.until_end_of(number);
        let left = scale.burst.get().saturating_sub(used);
        Verdict {
            tat: self.now + left_nanos,
            wait_nanos: refused.then_some(left_nanos),
            scale,
            counted: Some(Counted { refill: self.refill, number, left }),
        }
    }
}

/// Takes `cost` requests of the period, or nothing.
pub(super) fn take(word: &AtomicU64, at: &At, scale: Scale, cost: NonZeroU32) -> Verdict {
    let (most, cost) = (scale.burst.get(), cost.min(scale.burst).get());
    let more = |seen: u64| {
        let (number, used) = at.read(seen);
        let after = used.checked_add(cost).filter(|after| *after <= most)?;
        Some(At::write(number, after))
    };
    match word.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
        Ok(before) => {
            let (number, used) = at.read(before);
            at.verdict(number, used + cost, scale, false)
        }
        Err(seen) => {
            let (number, used) = at.read(seen);
            at.verdict(number, used, scale, true)
        }
    }
}

/// Says what [`take`] would of what is left, and writes nothing.
pub(super) fn peek(word: u64, at: &At, scale: Scale, cost: NonZeroU32) -> Verdict {
    let (number, used) = at.read(word);
    let cost = cost.min(scale.burst).get();
    at.verdict(number, used, scale, used.saturating_add(cost) > scale.burst.get())
}

/// Counts `cost` requests whether the period has them or not; it owes at most a second quota, which ends with it.
pub(super) fn owe(word: &AtomicU64, at: &At, scale: Scale, cost: NonZeroU32) -> Verdict {
    let most = scale.burst.get().saturating_mul(2);
    let owed = |seen: u64| {
        let (number, used) = at.read(seen);
        (number, used.saturating_add(cost.get()).min(most.max(used)))
    };
    let write = |seen: u64| {
        let (number, used) = owed(seen);
        Some(At::write(number, used))
    };
    let before = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, write);
    let (number, used) = owed(before.unwrap_or_else(|seen| seen));
    at.verdict(number, used, scale, false)
}

/// Undoes a [`take`] in the period of a number, if that still runs.
pub(super) fn give_back(word: &AtomicU64, number: u32, scale: Scale, cost: NonZeroU32) {
    let cost = cost.min(scale.burst).get();
    let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| {
        ((seen >> 32) as u32 == number).then(|| At::write(number, (seen as u32).saturating_sub(cost)))
    });
}

/// Whether dropping a count changes no decision: nothing was used, or its period is over for good.
pub(super) const fn is_over(word: u64, refill: Refill, unix_millis: u64) -> bool {
    word as u32 == 0 || refill.number_at(unix_millis.saturating_sub(SET_BACK_MILLIS)) > (word >> 32) as u32
}

/// Days in the 400 years after which the Gregorian calendar repeats itself.
const ERA_DAYS: u64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const SHIFT_DAYS: u64 = 719_468;

/// The month, counted from January 1970, of a day, counted from 1970-01-01 (the days of a year that begins in March
/// follow a straight line: H. Hinnant, "chrono-compatible low-level date algorithms").
const fn month_of(day: u64) -> u32 {
    let shifted = day + SHIFT_DAYS;
    let (era, of_era) = (shifted / ERA_DAYS, shifted % ERA_DAYS);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    // March of year 0 is the first month of the shifted count; January 1970 is month 1970 × 12 − 2 of it.
    ((era * 400 + year) * 12 + from_march + 2 - 1_970 * 12) as u32
}

/// The first day, counted from 1970-01-01, of a month, counted from January 1970.
const fn first_day(month: u32) -> u64 {
    let shifted = month as u64 + 1_970 * 12 - 2;
    let (year, from_march) = (shifted / 12, shifted % 12);
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * from_march + 2) / 5;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - SHIFT_DAYS
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const DAY_MILLIS: u64 = 86_400_000;
    /// Noon of 2024-02-28.
    const NOON: u64 = 1_709_121_600_000;

    fn scale(requests: u32) -> Scale {
        Scale::of(&Quota::new(NonZeroU32::new(requests).unwrap(), 86_400))
    }

    const fn at(refill: Refill, unix_millis: u64) -> At {
        At { refill, now: 3_600_000_000_000, unix_millis }
    }

    #[test]
    fn months_are_those_of_http_dates() {
        let mut month = 0;
        let mut before = "Jan".to_owned();
        for day in 0..200_000_u64 {
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(day * DAY_SECONDS));
            if date[8..11] != *before {
                month += 1;
                date[8..11].clone_into(&mut before);
                assert_eq!(first_day(month), day, "{date}");
            }
            assert_eq!(month_of(day), month, "{date}");
        }
        assert_eq!(Refill::Monthly.seconds(649), 29 * 86_400, "February 2024");
        assert_eq!(Refill::Monthly.seconds(637), 28 * 86_400, "February 2023");
    }

    #[test]
    fn a_period_admits_its_quota_and_not_one_more() {
        let (word, two) = (AtomicU64::new(0), NonZeroU32::new(2).unwrap());
        let today = at(Refill::Daily, NOON);
        for left in [5, 3, 1] {
            let verdict = take(&word, &today, scale(7), two);
            assert_eq!((verdict.wait_nanos, verdict.counted.unwrap().left), (None, left));
        }
        let refused = take(&word, &today, scale(7), two);
        assert_eq!(refused.wait_nanos, Some(12 * 3_600 * 1_000_000_000), "until midnight");
        assert_eq!(refused.wait_nanos, peek(word.load(Ordering::SeqCst), &today, scale(7), two).wait_nanos);
        let last = at(Refill::Daily, NOON + DAY_MILLIS / 2 - 1);
        assert!(take(&word, &last, scale(7), two).wait_nanos.is_some());
        let next = at(Refill::Daily, NOON + DAY_MILLIS / 2);
        assert_eq!(take(&word, &next, scale(7), two).counted.unwrap().left, 5);
    }

    #[test]
    fn a_clock_that_is_set_back_hands_out_nothing_twice() {
        let (word, one) = (AtomicU64::new(0), NonZeroU32::MIN);
        let midnight = NOON + DAY_MILLIS / 2;
        for _ in 0..3 {
            assert!(take(&word, &at(Refill::Daily, midnight + 10), scale(3), one).wait_nanos.is_none());
        }
        let back = take(&word, &at(Refill::Daily, midnight - 1_000), scale(3), one);
        assert_eq!(back.wait_nanos, Some((86_400 + 1) * 1_000_000_000), "the new day is used up");
        assert!(take(&word, &at(Refill::Daily, midnight + 20), scale(3), one).wait_nanos.is_some());
        let far = take(&word, &at(Refill::Daily, midnight - 30 * DAY_MILLIS), scale(3), one);
        assert_eq!(far.wait_nanos, Some(86_400 * 1_000_000_000), "used in that day, and no longer than it");
        assert!(!is_over(word.load(Ordering::SeqCst), Refill::Daily, midnight + 3_599_999));
        assert!(is_over(word.load(Ordering::SeqCst), Refill::Daily, midnight + DAY_MILLIS + 3_600_000));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_in_that_period_only() {
        let (word, one) = (AtomicU64::new(0), NonZeroU32::MIN);
        let today = at(Refill::Monthly, NOON);
        let number = take(&word, &today, scale(1), one).counted.unwrap().number;
        give_back(&word, number, scale(1), one);
        assert!(take(&word, &today, scale(1), one).wait_nanos.is_none());
        give_back(&word, number - 1, scale(1), one);
        assert!(take(&word, &today, scale(1), one).wait_nanos.is_some());
        let owed = owe(&word, &today, scale(4), NonZeroU32::new(100).unwrap());
        assert_eq!(owed.counted.unwrap().left, 0);
        assert_eq!(word.load(Ordering::SeqCst) as u32, 8, "at most a second quota");
    }
}
