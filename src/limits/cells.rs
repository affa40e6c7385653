//! The buckets of everybody, bounded.
//!
//! Invariants: there are never more cells than the cap (beside one shared overflow cell a policy), and never more memory
//! than they take there; a key that finds no room is counted in the overflow cell and, when it gets a cell of its own,
//! starts with the overflow cell's debt, so that a flood of keys wins nobody a fresh bucket; a cell leaves only when it
//! is full. A map's guard never leaves a function of this file.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;

use super::bucket::{Scale, Verdict};
use super::calendar::Refill;
use super::cell::{Cell, Measure, Moment};
use super::changes::{self, Changes};
use super::key::{Key, Kind, Spread};
use super::room::{Left, Room};
use super::saved::SavedCell;
use super::tables::Tables;
use crate::clock::Now;

/// Steps in which all cells are swept, so that a small part of them is held up at a time.
pub(super) const STEPS: usize = 512;

/// How long a cell stays after it is full: longer than a request may take from its arrival to being counted,
/// because such a request still decides by its arrival's clock reading.
const GRACE_NANOS: u64 = 10_000_000_000;

/// How one request is charged to one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Debit {
    /// The quota.
    pub(super) scale: Scale,
    /// How the quota's bucket refills.
    pub(super) refill: Refill,
    /// How many requests it counts as.
    pub(super) cost: NonZeroU32,
    /// Which rules say so; a cell that later rules wrote is decided by theirs.
    pub(super) revision: u32,
    /// Whether the quota is the caller's own rather than the policy's.
    pub(super) own: bool,
    /// The wall clock when the request came, for counts by the calendar.
    pub(super) unix_millis: u64,
}

impl Debit {
    const fn measure(&self) -> Measure {
        Measure { scale: self.scale, refill: self.refill }
    }
}

/// A verdict and the cell that it was given on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) key: Key,
    pub(super) verdict: Verdict,
}

/// What one call of [`Counters::sweep`](super::Counters::sweep) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Cells that were full and left.
    pub removed: usize,
    /// Whether the step ended a pass over all cells.
    pub pass_ended: bool,
}

/// All buckets of the process. Outlives every configuration.
pub(super) struct Cells {
    tables: Tables,
    overflow: DashMap<Key, Cell, Spread>,
    room: Room,
    /// Whether there ever was an overflow cell: until then no key is looked up there.
    has_overflowed: AtomicBool,
    overflowed: AtomicU64,
    next_sweep: AtomicUsize,
    pub(super) changes: Changes,
    /// When the newest rules came into force.
    changed_at: AtomicU64,
}

impl Cells {
    /// No cells, and room for so many.
    pub(super) fn new(secret: &[u8; 32], cap: usize) -> Self {
        let spread = Spread::new(secret);
        Self {
            tables: Tables::new(spread, cap),
            overflow: DashMap::with_capacity_and_hasher_and_shard_amount(0, spread, 4),
            room: Room::new(cap),
            has_overflowed: AtomicBool::new(false),
            overflowed: AtomicU64::new(0),
            next_sweep: AtomicUsize::new(0),
            changes: Changes::default(),
            changed_at: AtomicU64::new(u64::MAX),
        }
    }

    /// Sets how many cells there may be. Existing ones stay until they are full.
    pub(super) fn set_cap(&self, cap: usize) {
        self.room.set_cap(cap);
        self.tables.set_room(cap);
    }

    /// Says that other rules are in force from now on.
    pub(super) fn change(&self, now: u64) {
        self.changed_at.store(now, Ordering::Release);
        self.changes.change(now);
    }

    /// How many cells there are, the shared overflow cells aside.
    pub(super) fn len(&self) -> usize {
        self.room.taken()
    }

    /// How many decisions were made on a shared cell because there was no room for another.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// Takes from the bucket of `key`, making it if need be.
    pub(super) fn take(&self, key: Key, debit: &Debit, now: u64) -> Taken {
        let taken = self.find(key, |cell| {
            let by = cell.agreed(debit.measure(), debit.revision)?;
            Some(cell.take(by, debit.cost, now, debit.unix_millis))
        });
        match taken.flatten() {
            Some(verdict) => Taken { key, verdict },
            None => self.take_exclusively(key, debit, now),
        }
    }

    /// What [`Cells::take`] would say; changes nothing.
    pub(super) fn peek(&self, key: Key, debit: &Debit, now: u64) -> Verdict {
        let seen = self.find(key, |cell| self.seen_by(cell, debit, now));
        let (word, by) = seen.unwrap_or_else(|| (self.overflow_word(key, debit, now), debit.measure()));
        by.peek(word, debit.cost, now, debit.unix_millis)
    }

    /// Adds to the debt of a bucket that was taken from, up to one fill beyond empty.
    pub(super) fn owe(&self, key: Key, debit: &Debit, now: u64) -> Verdict {
        let owed = self.find(key, |cell| cell.owe(debit.cost, now, debit.unix_millis));
        owed.unwrap_or_else(|| {
            // A bucket that has left was full, so all of it can be taken; one that is shared may have less.
            let taken = self.take(key, debit, now);
            let refused = taken.verdict.wait_nanos.is_some();
            let owe = |cell: &Cell| cell.owe(debit.cost, now, debit.unix_millis);
            refused.then(|| self.find(taken.key, owe)).flatten().unwrap_or(taken.verdict)
        })
    }

    /// Returns what a [`Cells::take`] took, where that is still known to be exact.
    pub(super) fn give_back(&self, taken: &Taken, cost: NonZeroU32) {
        self.find(taken.key, |cell| cell.give_back(&taken.verdict, cost));
    }

    /// Drops the full cells of a part of the tables. Meant to be called every 20 ms or so, which makes a pass over all
    /// cells take some ten seconds; one table is locked at a time.
    pub(super) fn sweep(&self, now: Now) -> Swept {
        let step = self.next_sweep.fetch_add(1, Ordering::Relaxed) % STEPS;
        let mut left = Left::default();
        let changes = self.changes.unseen();
        let is_full = |key: Key, cell: &mut Cell| {
            changes::settle(&changes, key, cell, now);
            cell.is_full(now.monotonic_nanos, now.unix_millis, GRACE_NANOS)
        };
        self.tables.retain(step, STEPS, |key, cell| {
            let drop = is_full(*key, cell);
            if drop {
                left.add(*key);
            }
            !drop
        });
        self.room.free(&left);
        let pass_ended = step + 1 == STEPS;
        if pass_ended {
            self.overflow.retain(|key, cell| !is_full(*key, cell));
            self.changes.pass_ended();
        }
        Swept { removed: left.count(), pass_ended }
    }

    /// Into how many parts [`Cells::copy_part`] divides all cells. There come to be more, and a cell only moves to a later
    /// one.
    pub(super) fn parts(&self) -> usize {
        self.tables.count() + 1
    }

    /// Copies what is saved of one part, for which requests that need a new cell there wait.
    pub(super) fn copy_part(&self, part: usize, now: Now, into: &mut Vec<SavedCell>) {
        match part.checked_sub(1) {
            None => into.extend(self.overflow.iter().filter_map(|entry| entry.saved(*entry.key(), now))),
            Some(table) => self.tables.each(table, |key, cell| into.extend(cell.saved(key, now))),
        }
    }

    /// Puts a saved cell in force again; false if there is no room.
    pub(super) fn put_back(&self, key: Key, cell: Cell) -> bool {
        if key.kind() == Kind::Overflow {
            self.has_overflowed.store(true, Ordering::Release);
        }
        let mut is_put = false;
        let make = || {
            is_put = self.room.take(key);
            is_put.then_some(cell)
        };
        self.find_or_make(key, make, |_| ());
        is_put
    }

    fn find<R>(&self, key: Key, work: impl FnOnce(&Cell) -> R) -> Option<R> {
        match key.kind() {
            Kind::Tenant | Kind::Anonymous => self.tables.find(key, work),
            Kind::Overflow => self.overflow.get(&key).map(|cell| work(&cell)),
        }
    }

    fn find_or_make<R>(
        &self,
        key: Key,
        make: impl FnOnce() -> Option<Cell>,
        work: impl FnOnce(&mut Cell) -> R,
    ) -> Option<R> {
        match key.kind() {
            Kind::Tenant | Kind::Anonymous => {
                self.tables.grow(self.len());
                self.tables.find_or_make(key, make, work)
            }
            Kind::Overflow => {
                let entry = self.overflow.entry(key).or_try_insert_with(|| make().ok_or(()));
                entry.ok().map(|mut cell| work(&mut cell))
            }
        }
    }

    fn take_exclusively(&self, key: Key, debit: &Debit, now: u64) -> Taken {
        let inherited = self.overflow_word(key, debit, now);
        let make = || self.room.take(key).then(|| Cell::new(inherited, debit.measure(), debit.revision));
        let taken = self.find_or_make(key, make, |cell| {
            let moment = self.moment(cell, debit, now);
            let by = cell.settle(debit.measure(), debit.revision, &moment);
            cell.take(by, debit.cost, now, debit.unix_millis)
        });
        if let Some(verdict) = taken {
            return Taken { key, verdict };
        }
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        // Before anything is taken there, so that whoever finds room from then on is charged it.
        self.has_overflowed.store(true, Ordering::Release);
        self.take(key.overflow(debit.own.then_some(debit.scale)), debit, now)
    }

    /// What a key without a cell of its own is counted from: the debt of the overflow cell, of which nobody knows what part
    /// is this key's, under the quota that it is counted by now.
    fn overflow_word(&self, key: Key, debit: &Debit, now: u64) -> u64 {
        if !self.has_overflowed.load(Ordering::Acquire) || key.kind() == Kind::Overflow {
            return 0;
        }
        let carried = |cell: &Cell| {
            debit.measure().carry_over(cell.word(), cell.measure(), &self.moment(cell, debit, now))
        };
        self.find(key.overflow(debit.own.then_some(debit.scale)), carried).unwrap_or(0)
    }

    /// Word and measure that a decision would be made by, were the cell carried over.
    fn seen_by(&self, cell: &Cell, debit: &Debit, now: u64) -> (u64, Measure) {
        let measure = debit.measure();
        if let Some(by) = cell.agreed(measure, debit.revision) {
            return (cell.word(), by);
        }
        let moment = self.moment(cell, debit, now);
        (measure.carry_over(cell.word(), cell.measure(), &moment), measure)
    }

    /// From when on a cell is counted by the quota of a debit: since the rules changed, or, where a caller's own
    /// quota began or ended, from now on.
    fn moment(&self, cell: &Cell, debit: &Debit, now: u64) -> Moment {
        let is_older = debit.revision > cell.revision();
        let since = if is_older { self.changed_at.load(Ordering::Acquire) } else { now };
        Moment { since, now, unix_millis: debit.unix_millis }
    }
}

#[cfg(test)]
impl Cells {
    /// TATs and counts by key, for tests that compare everything before and after.
    pub(super) fn tats(&self) -> std::collections::BTreeMap<String, u64> {
        let mut all = std::collections::BTreeMap::new();
        let mut show = |key: Key, cell: &Cell| {
            all.insert(format!("{key:?}"), cell.word());
        };
        (0..self.tables.count()).for_each(|number| self.tables.each(number, &mut show));
        self.overflow.iter().for_each(|entry| show(*entry.key(), &entry));
        all
    }
}
