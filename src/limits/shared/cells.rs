//! The shared buckets of everybody, as this replica knows them; bounded.
//!
//! Invariants: there are never more cells than the cap; past it unknown keys are counted in one bucket a policy, which
//! the fleet shares too; a cell leaves only when forgetting it changes no decision. A map's guard never leaves a function of
//! this file.
//!
//! A key that finds room again is counted in its own bucket at the store from then on, **without** the debt of the one that it
//! shared, unlike one that is counted here ([`Cells`](crate::limits::cells::Cells)). Every replica finds room at a time of its
//! own, and none knows what the others charged: each would charge the whole debt once more to the same bucket, so that a
//! newcomer who was never in the crowd would wait for as many fills as there are replicas (of a quota per day, days). What that
//! would save is little: all keys together have of the shared bucket at most its own `burst + rate × W`, however many there are.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};

use super::cell::{BucketName, Cell};
use crate::limits::bucket::Verdict;
use crate::limits::cells::Debit;
use crate::limits::key::{Key, Kind, Spread};
use crate::limits::room::{Left, Room};

const SEGMENTS: usize = 64;
/// A cell stays so long after it is idle, because a request decides by the clock reading of its arrival.
const GRACE_NANOS: u64 = 10_000_000_000;
/// How many buckets that are not shared one shared bucket takes as much memory as: 750 bytes, for a place in a map of 249,
/// of which there are up to 2.3 for each bucket after the map doubled, and some 100 for the bucket's names.
const WEIGHT: usize = 15;

/// All shared buckets of the process. Outlives every configuration.
pub(in crate::limits) struct SharedCells {
    segments: Box<[DashMap<Key, Cell, Spread>]>,
    spread: Spread,
    room: Room,
    next_sweep: AtomicUsize,
    overflowed: AtomicU64,
}

impl SharedCells {
    pub(in crate::limits) fn new(secret: &[u8; 32]) -> Self {
        let spread = Spread::new(secret);
        let segment = |_| DashMap::with_capacity_and_hasher_and_shard_amount(0, spread, 4);
        Self {
            segments: (0..SEGMENTS).map(segment).collect(),
            spread,
            room: Room::new(usize::MAX),
            next_sweep: AtomicUsize::new(0),
            overflowed: AtomicU64::new(0),
        }
    }

    /// Sets the bound, in the memory of so many cells that are not shared. Existing ones stay until they are idle.
    pub(in crate::limits) fn set_cap(&self, max_cells: usize) {
        self.room.set_cap(max_cells / WEIGHT);
    }

    pub(in crate::limits) fn len(&self) -> usize {
        self.room.taken()
    }

    pub(in crate::limits) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// Does something with a bucket that is there, under the scale that `debit` is to be counted by; [`None`] if it is not.
    pub(in crate::limits) fn with<R>(
        &self,
        key: Key,
        debit: &Debit,
        now: u64,
        work: impl FnOnce(&Cell) -> R,
    ) -> Option<R> {
        {
            let cell = self.segment(key).get(&key)?;
            if is_agreed(&cell, debit) {
                cell.sees(now, debit.unix_millis);
                return Some(work(&cell));
            }
        }
        let mut cell = self.segment(key).get_mut(&key)?;
        settle(&mut cell, debit, now);
        cell.sees(now, debit.unix_millis);
        Some(work(&cell))
    }

    /// Does something with a bucket whatever its scale, if it is there.
    pub(in crate::limits) fn with_known<R>(&self, key: Key, work: impl FnOnce(&Cell) -> R) -> Option<R> {
        self.segment(key).get(&key).map(|cell| work(&cell))
    }

    /// The key that a bucket is counted under, which is made if need be: its own, or past the cap one that it shares.
    pub(in crate::limits) fn make(
        &self,
        key: Key,
        debit: &Debit,
        now: u64,
        name: &dyn Fn(bool) -> BucketName,
    ) -> Key {
        if self.with(key, debit, now, |_| ()).is_some() {
            return key;
        }
        if let Entry::Vacant(vacant) = self.segment(key).entry(key)
            && self.room.take(key)
        {
            let dice = self.spread.hash_one(key) ^ now;
            let cell = Cell::new(debit, name(key.kind() == Kind::Overflow), dice);
            cell.sees(now, debit.unix_millis);
            vacant.insert(cell);
            return key;
        } else if self.with(key, debit, now, |_| ()).is_some() {
            return key;
        }
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        let shared = key.overflow(debit.own.then_some(debit.scale));
        self.make(shared, debit, now, name)
    }

    /// Adds to the debt of a bucket that was taken from, and says what is known of it then.
    pub(in crate::limits) fn owe(&self, key: Key, cost: u32, now: u64) -> Option<Verdict> {
        self.with_known(key, |cell| cell.owe(cost, now))
    }

    /// Drops the idle cells of one segment.
    pub(in crate::limits) fn sweep(&self, now: u64) {
        let at = self.next_sweep.fetch_add(1, Ordering::Relaxed) % SEGMENTS;
        let segment = &self.segments[at];
        let mut left = Left::default();
        segment.retain(|key, cell| {
            let keep = !cell.is_idle(now.saturating_sub(GRACE_NANOS));
            if !keep {
                left.add(*key);
            }
            keep
        });
        self.room.free(&left);
        if left.count() > 0 && segment.capacity() > 4 * segment.len() + 64 {
            segment.shrink_to_fit();
        }
    }

    fn segment(&self, key: Key) -> &DashMap<Key, Cell, Spread> {
        &self.segments[(self.spread.hash_one(key) >> 40) as usize % SEGMENTS]
    }
}

impl std::fmt::Debug for SharedCells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedCells").field("cells", &self.len()).finish_non_exhaustive()
    }
}

fn is_agreed(cell: &Cell, debit: &Debit) -> bool {
    cell.is_counted_as(debit) || cell.revision > debit.revision
}

fn settle(cell: &mut Cell, debit: &Debit, now: u64) {
    if !is_agreed(cell, debit) {
        cell.rescale(debit.scale, debit.refill, now);
    }
    cell.revision = cell.revision.max(debit.revision);
}
