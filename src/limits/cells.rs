//! The buckets of everybody, bounded.
//!
//! Invariants: there are never more cells than the cap (beside one shared overflow cell a policy); a key that
//! finds no room is counted in the overflow cell and, when it gets a cell of its own, starts with the overflow
//! cell's debt, so that a flood of keys wins nobody a fresh bucket; a cell leaves only when it is full. A
//! map's guard never leaves a function of this file.

use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};

use super::bucket::{Scale, Verdict};
use super::calendar::Refill;
use super::cell::{Cell, Measure, Moment};
use super::key::{Key, Kind, Spread};
use super::saved::SavedCell;
use crate::clock::Now;

/// Independent maps, so that a sweep holds up a small part of the cells at a time.
pub(super) const SEGMENTS: usize = 512;

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
    segments: Box<[DashMap<Key, Cell, Spread>]>,
    spread: Spread,
    cap: AtomicUsize,
    tenants: AtomicUsize,
    anonymous: AtomicUsize,
    overflow_until: AtomicU64,
    overflowed: AtomicU64,
    next_sweep: AtomicUsize,
    /// When the newest rules came into force.
    changed_at: AtomicU64,
}

impl Cells {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        let spread = Spread::new(secret);
        let segment = |_| DashMap::with_capacity_and_hasher_and_shard_amount(0, spread, 2);
        Self {
            segments: (0..SEGMENTS).map(segment).collect(),
            spread,
            cap: AtomicUsize::new(usize::MAX),
            tenants: AtomicUsize::new(0),
            anonymous: AtomicUsize::new(0),
            overflow_until: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
            next_sweep: AtomicUsize::new(0),
            changed_at: AtomicU64::new(u64::MAX),
        }
    }

    /// Sets how many cells there may be. Existing ones stay until they are full.
    pub(super) fn set_cap(&self, cap: usize) {
        self.cap.store(cap, Ordering::Relaxed);
    }

    /// Says that other rules are in force from now on.
    pub(super) fn change(&self, now: u64) {
        self.changed_at.store(now, Ordering::Release);
    }

    /// How many cells there are, the shared overflow cells aside.
    pub(super) fn len(&self) -> usize {
        self.tenants.load(Ordering::Relaxed) + self.anonymous.load(Ordering::Relaxed)
    }

    /// How many decisions were made on a shared cell because there was no room for another.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// Takes from the bucket of `key`, making it if need be.
    pub(super) fn take(&self, key: Key, debit: &Debit, now: u64) -> Taken {
        if let Some(cell) = self.segment(key).get(&key)
            && let Some(by) = cell.agreed(debit.measure(), debit.revision)
        {
            return Taken { key, verdict: cell.take(by, debit.cost, now, debit.unix_millis) };
        }
        self.take_exclusively(key, debit, now)
    }

    /// What [`Cells::take`] would say; changes nothing.
    pub(super) fn peek(&self, key: Key, debit: &Debit, now: u64) -> Verdict {
        let seen = self.segment(key).get(&key).map(|cell| self.seen_by(&cell, debit, now));
        let (word, by) = seen.unwrap_or_else(|| (self.overflow_word(key, debit, now), debit.measure()));
        by.peek(word, debit.cost, now, debit.unix_millis)
    }

    /// Adds to the debt of a bucket that was taken from, up to one fill beyond empty.
    pub(super) fn owe(&self, key: Key, debit: &Debit, now: u64) -> Verdict {
        if let Some(cell) = self.segment(key).get(&key) {
            return cell.owe(debit.cost, now, debit.unix_millis);
        }
        // A bucket that has left was full, so all of it can be taken.
        self.take(key, debit, now).verdict
    }

    /// Returns what a [`Cells::take`] took, where that is still known to be exact.
    pub(super) fn give_back(&self, taken: &Taken, cost: NonZeroU32) {
        if let Some(cell) = self.segment(taken.key).get(&taken.key) {
            cell.give_back(&taken.verdict, cost);
        }
    }

    /// Drops the full cells of one segment. Meant to be called every 20 ms or so, which makes a pass over all
    /// cells take some ten seconds; at most one 512th of them is locked at a time.
    pub(super) fn sweep(&self, now: Now) -> Swept {
        let at = self.next_sweep.fetch_add(1, Ordering::Relaxed) % SEGMENTS;
        let segment = &self.segments[at];
        let (mut tenants, mut anonymous) = (0, 0);
        segment.retain(|key, cell| {
            let keep = !cell.is_full(now.monotonic_nanos, now.unix_millis, GRACE_NANOS);
            match key.kind() {
                Kind::Tenant => tenants += usize::from(!keep),
                Kind::Anonymous => anonymous += usize::from(!keep),
                Kind::Overflow => {}
            }
            keep
        });
        self.tenants.fetch_sub(tenants, Ordering::Relaxed);
        self.anonymous.fetch_sub(anonymous, Ordering::Relaxed);
        if tenants + anonymous > 0 && segment.capacity() > 4 * segment.len() + 64 {
            segment.shrink_to_fit();
        }
        Swept { removed: tenants + anonymous, pass_ended: at + 1 == SEGMENTS }
    }

    /// Copies what is saved of one map's cells, for which requests that need a new cell there wait.
    pub(super) fn copy_segment(&self, segment: usize, now: Now, into: &mut Vec<SavedCell>) {
        into.extend(self.segments[segment].iter().filter_map(|entry| entry.saved(*entry.key(), now)));
    }

    /// Puts a saved cell in force again; false if there is no room.
    pub(super) fn put_back(&self, key: Key, cell: Cell, now: Now) -> bool {
        let Entry::Vacant(vacant) = self.segment(key).entry(key) else { return false };
        if !self.reserve(key) {
            return false;
        }
        if key.kind() == Kind::Overflow {
            let told =
                cell.measure().peek(cell.word(), NonZeroU32::MIN, now.monotonic_nanos, now.unix_millis);
            self.overflow_until.fetch_max(told.tat, Ordering::AcqRel);
        }
        vacant.insert(cell);
        true
    }

    /// The map of a key. Of two random numbers the greater one is taken, so that the maps differ in size and do not
    /// all double their memory at the same count.
    fn segment(&self, key: Key) -> &DashMap<Key, Cell, Spread> {
        // dashmap takes the bits above these for its shards, hashbrown the lowest and the highest.
        let bits = (self.spread.hash_one(key) >> 38) as usize;
        &self.segments[(bits % SEGMENTS).max(bits / SEGMENTS % SEGMENTS)]
    }

    fn take_exclusively(&self, key: Key, debit: &Debit, now: u64) -> Taken {
        let inherited = self.overflow_word(key, debit, now);
        match self.segment(key).entry(key) {
            Entry::Occupied(mut occupied) => {
                let cell = occupied.get_mut();
                let moment = self.moment(cell, debit, now);
                let by = cell.settle(debit.measure(), debit.revision, &moment);
                return Taken { key, verdict: cell.take(by, debit.cost, now, debit.unix_millis) };
            }
            Entry::Vacant(vacant) => {
                if self.reserve(key) {
                    let by = debit.measure();
                    let cell = vacant.insert(Cell::new(inherited, by, debit.revision));
                    return Taken { key, verdict: cell.take(by, debit.cost, now, debit.unix_millis) };
                }
            }
        }
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        let taken = self.take(key.overflow(debit.own.then_some(debit.scale)), debit, now);
        self.overflow_until.fetch_max(taken.verdict.tat, Ordering::AcqRel);
        taken
    }

    /// Makes room for one more cell. Callers without a credential get an eighth of the cap beside the tenants',
    /// and can never take a tenant's place.
    fn reserve(&self, key: Key) -> bool {
        let cap = self.cap.load(Ordering::Relaxed);
        let (count, cap) = match key.kind() {
            Kind::Tenant => (&self.tenants, cap - cap / 8),
            Kind::Anonymous => (&self.anonymous, cap / 8),
            Kind::Overflow => return true,
        };
        let more = |count: usize| (count < cap).then_some(count + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// What a key without a cell of its own is counted from.
    fn overflow_word(&self, key: Key, debit: &Debit, now: u64) -> u64 {
        if self.overflow_until.load(Ordering::Acquire) <= now || key.kind() == Kind::Overflow {
            return 0;
        }
        let key = key.overflow(debit.own.then_some(debit.scale));
        let moment = Moment { since: now, now, unix_millis: debit.unix_millis };
        let carried = |cell: &Cell| debit.measure().carry_over(cell.word(), cell.measure(), &moment);
        self.segment(key).get(&key).map_or(0, |cell| carried(&cell))
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
        let of = |segment: &DashMap<Key, Cell, Spread>| {
            let tat = |entry: dashmap::mapref::multiple::RefMulti<'_, Key, Cell>| {
                (format!("{:?}", entry.key()), entry.word())
            };
            segment.iter().map(tat).collect::<Vec<_>>()
        };
        self.segments.iter().flat_map(of).collect()
    }
}
