//! One cell: the bucket or count of one key, and the quota that it was written under.
//!
//! Under another quota the same share of it stays used: whoever had used up half still has half to wait for. So
//! nobody gets a fresh bucket by a change, there and back again is where it was, and nobody waits longer than the
//! new quota needs to fill (twice that, who owes beyond empty already).

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bucket::{self, Scale, Verdict};
use super::calendar::{self, At, Counted, Refill};
use super::key::Key;
use super::saved::SavedCell;
use crate::clock::Now;

/// Where a cell's [`Refill`] stands, above its emission interval, which needs 59 bits.
const REFILL_SHIFT: u32 = 62;

/// A quota as a cell counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measure {
    pub(super) scale: Scale,
    pub(super) refill: Refill,
}

/// The clocks of a decision, and since when the quota that decides is in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) since: u64,
    pub(super) now: u64,
    pub(super) unix_millis: u64,
}

impl Measure {
    /// The word under this measure of a cell that was counted under `old`, rounded against the caller.
    pub(super) fn carry_over(self, word: u64, old: Self, moment: &Moment) -> u64 {
        if self == old {
            return word;
        }
        let (used, whole, from) = old.used(word, moment);
        if used == 0 {
            return if self.refill == Refill::Gradual && old.refill == Refill::Gradual { word } else { 0 };
        }
        let share_of = |all: u64| {
            let part = (u128::from(used) * u128::from(all)).div_ceil(u128::from(whole));
            u64::try_from(part).unwrap_or(u64::MAX).min(all.saturating_mul(2))
        };
        match self.refill {
            Refill::Gradual => from + share_of(self.scale.fill_nanos()),
            Refill::Daily | Refill::Monthly => {
                let used = share_of(u64::from(self.scale.burst.get()));
                let number = self.refill.number_at(moment.unix_millis);
                At::write(number, u32::try_from(used).unwrap_or(u32::MAX))
            }
        }
    }

    /// How much of how much is used, and from when on the new quota counts.
    fn used(self, word: u64, moment: &Moment) -> (u64, u64, u64) {
        match self.refill {
            Refill::Gradual => {
                let fill = self.scale.fill_nanos();
                // More than a bucket shows that the former quota was still taken from after it had ended.
                let since = moment.since.min(moment.now);
                let from = if word.saturating_sub(since) <= fill { since } else { moment.now };
                (word.saturating_sub(from), fill, from)
            }
            Refill::Daily | Refill::Monthly => {
                let (_, used) = self.at(moment.now, moment.unix_millis).read(word);
                (u64::from(used), u64::from(self.scale.burst.get()), moment.now)
            }
        }
    }

    const fn at(self, now: u64, unix_millis: u64) -> At {
        At { refill: self.refill, now, unix_millis }
    }

    /// What [`Cell::take`] would say of a word; writes nothing.
    pub(super) fn peek(self, word: u64, cost: NonZeroU32, now: u64, unix_millis: u64) -> Verdict {
        match self.refill {
            Refill::Gradual => bucket::peek(word, self.scale, cost, now),
            Refill::Daily | Refill::Monthly => {
                calendar::peek(word, &self.at(now, unix_millis), self.scale, cost)
            }
        }
    }
}

/// One cell.
#[derive(Debug)]
pub(super) struct Cell {
    /// The TAT, or the period and what was used in it.
    word: AtomicU64,
    rate: u64,
    burst: NonZeroU32,
    revision: u32,
}

impl Cell {
    pub(super) const fn new(word: u64, measure: Measure, revision: u32) -> Self {
        let rate = (measure.refill as u64) << REFILL_SHIFT | measure.scale.interval_nanos;
        Self { word: AtomicU64::new(word), rate, burst: measure.scale.burst, revision }
    }

    pub(super) fn word(&self) -> u64 {
        self.word.load(Ordering::Acquire)
    }

    /// The quota that its word is written under.
    pub(super) const fn measure(&self) -> Measure {
        let refill = match self.rate >> REFILL_SHIFT {
            0 => Refill::Gradual,
            1 => Refill::Daily,
            _ => Refill::Monthly,
        };
        let interval_nanos = self.rate & ((1 << REFILL_SHIFT) - 1);
        Measure { scale: Scale { interval_nanos, burst: self.burst }, refill }
    }

    /// The measure to decide by under rules of a revision, unless the cell has to be carried over first.
    pub(super) fn agreed(&self, measure: Measure, revision: u32) -> Option<Measure> {
        let own = self.measure();
        (own == measure || self.revision > revision).then_some(own)
    }

    /// The revision of the rules that wrote it last.
    pub(super) const fn revision(&self) -> u32 {
        self.revision
    }

    /// Carries the cell over to a measure, which is why nobody else may hold it.
    pub(super) fn settle(&mut self, measure: Measure, revision: u32, moment: &Moment) -> Measure {
        if self.agreed(measure, revision).is_none() {
            let word = measure.carry_over(*self.word.get_mut(), self.measure(), moment);
            *self = Self::new(word, measure, self.revision);
        }
        self.revision = self.revision.max(revision);
        self.measure()
    }

    /// Takes `cost` requests, or nothing.
    pub(super) fn take(&self, by: Measure, cost: NonZeroU32, now: u64, unix_millis: u64) -> Verdict {
        match by.refill {
            Refill::Gradual => bucket::take(&self.word, by.scale, cost, now),
            Refill::Daily | Refill::Monthly => {
                calendar::take(&self.word, &by.at(now, unix_millis), by.scale, cost)
            }
        }
    }

    /// Takes `cost` requests whether they are there or not.
    pub(super) fn owe(&self, cost: NonZeroU32, now: u64, unix_millis: u64) -> Verdict {
        let by = self.measure();
        match by.refill {
            Refill::Gradual => bucket::owe(&self.word, by.scale, cost, now),
            Refill::Daily | Refill::Monthly => {
                calendar::owe(&self.word, &by.at(now, unix_millis), by.scale, cost)
            }
        }
    }

    /// Undoes a take that said `verdict`, where that is still known to be exact.
    pub(super) fn give_back(&self, verdict: &Verdict, cost: NonZeroU32) {
        let Measure { scale, refill } = self.measure();
        match verdict.counted {
            _ if scale != verdict.scale => {}
            None if refill == Refill::Gradual => bucket::give_back(&self.word, verdict.tat, scale, cost),
            Some(Counted { refill: took, number, .. }) if took == refill => {
                calendar::give_back(&self.word, number, scale, cost);
            }
            None | Some(_) => {}
        }
    }

    /// What is saved of it; [`None`] where nothing is used.
    pub(super) fn saved(&self, key: Key, now: Now) -> Option<SavedCell> {
        let (word, measure) = (self.word(), self.measure());
        let word = match measure.refill {
            Refill::Gradual => word.checked_sub(now.monotonic_nanos).filter(|debt| *debt > 0)?,
            refill => Some(word).filter(|word| !calendar::is_over(*word, refill, now.unix_millis))?,
        };
        Some(SavedCell { key, word, measure })
    }

    /// Whether dropping it changes no decision, nor one that was begun up to `grace_nanos` ago.
    pub(super) fn is_full(&mut self, now: u64, unix_millis: u64, grace_nanos: u64) -> bool {
        let refill = self.measure().refill;
        let word = *self.word.get_mut();
        match refill {
            Refill::Gradual => word.saturating_add(grace_nanos) <= now,
            Refill::Daily | Refill::Monthly => calendar::is_over(word, refill, unix_millis),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Quota, Window};

    const START: u64 = 3_600_000_000_000;
    /// 2024-01-16.
    const MID_JANUARY: u64 = 1_705_363_200_000;
    const NOW: Moment = Moment { since: START, now: START, unix_millis: MID_JANUARY };

    fn measure(text: &str, window: Window) -> Measure {
        let quota = text.parse::<Quota>().unwrap().in_window(window);
        Measure { scale: Scale::of(&quota), refill: Refill::of(&quota) }
    }

    #[test]
    fn a_cell_is_40_bytes_with_its_key() {
        assert_eq!(size_of::<(Key, Cell)>(), 40);
        for window in [Window::Rolling, Window::Calendar] {
            for text in ["7 per day", "9 per month", "1 per month", "4294967295 per second"] {
                let measure = measure(text, window);
                assert_eq!(Cell::new(5, measure, 3).measure(), measure);
            }
        }
    }

    #[test]
    fn the_used_share_stays_between_every_two_kinds() {
        let all = [
            measure("10 per minute", Window::Rolling),
            measure("100 per hour", Window::Rolling),
            measure("20 per day", Window::Calendar),
            measure("1000 per month", Window::Calendar),
        ];
        let left = |cell: &Cell, by: Measure| {
            let verdict = by.peek(cell.word(), NonZeroU32::MIN, START, MID_JANUARY);
            verdict.counted.map_or_else(|| by.scale.remaining(verdict.tat.saturating_sub(START)), |c| c.left)
        };
        for old in all {
            for new in all {
                for tenths in 0..=10 {
                    let mut cell = Cell::new(0, old, 1);
                    for _ in 0..old.scale.burst.get() * tenths / 10 {
                        cell.take(old, NonZeroU32::MIN, START, MID_JANUARY);
                    }
                    let decided = cell.settle(new, 2, &NOW);
                    assert_eq!(decided, new);
                    assert_eq!(
                        left(&cell, new),
                        new.scale.burst.get() * (10 - tenths) / 10,
                        "{old:?} {new:?}"
                    );
                    cell.settle(old, 3, &NOW);
                    assert_eq!(left(&cell, old), old.scale.burst.get() * (10 - tenths) / 10, "and back");
                }
            }
        }
    }

    #[test]
    fn what_runs_out_before_a_change_runs_out_by_the_former_quota() {
        let (minute, hour) =
            (measure("60 per minute", Window::Rolling), measure("60 per hour", Window::Rolling));
        let empty = START + minute.scale.fill_nanos();
        let second = 1_000_000_000;
        // Half of a minute passes under the one, and a minute under the other, of whose fill it is a sixtieth.
        let moment = Moment { since: START + 30 * second, now: START + 90 * second, unix_millis: 0 };
        let tat = hour.carry_over(empty, minute, &moment);
        assert_eq!(tat - moment.now, (1_800 - 60) * second);
        let late = Moment { since: START, now: START + 90 * second, unix_millis: 0 };
        assert_eq!(
            hour.carry_over(late.now + minute.scale.fill_nanos(), minute, &late),
            late.now + 3_600 * second
        );
    }

    proptest! {
        #[test]
        fn no_change_gives_anything_or_locks_anybody_out(
            old in (1_u32..10_000, 1_u32..10_000), new in (1_u32..10_000, 1_u32..10_000), used in 0_u64..=1_000
        ) {
            let scale = |(requests, burst): (u32, u32), seconds| {
                let number = |number| NonZeroU32::new(number).unwrap();
                Scale::of(&Quota::new(number(requests), seconds).with_burst(number(burst)))
            };
            let gradual = |scale| Measure { scale, refill: Refill::Gradual };
            let (old, new) = (gradual(scale(old, 60)), gradual(scale(new, 3_600)));
            let debt = old.scale.fill_nanos() / 1_000 * used;
            let word = new.carry_over(START + debt, old, &NOW);
            let carried = word.saturating_sub(START);
            prop_assert!(carried <= new.scale.fill_nanos());
            let product = |left: u64, right: u64| u128::from(left) * u128::from(right);
            prop_assert!(product(carried, old.scale.fill_nanos()) >= product(debt, new.scale.fill_nanos()));
            let back = old.carry_over(word, new, &NOW).saturating_sub(START);
            prop_assert!(back >= debt && back - debt <= 1 + old.scale.fill_nanos() / new.scale.fill_nanos());
        }
    }
}
