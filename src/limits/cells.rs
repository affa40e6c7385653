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

use super::bucket::{self, Scale, Verdict};
use super::key::{Key, Kind, Spread};

/// Independent maps, so that a sweep holds up one 256th of the cells at a time.
const SEGMENTS: usize = 256;

/// How long a cell stays after it is full: longer than a request may take from its arrival to being counted,
/// because such a request still decides by its arrival's clock reading.
const GRACE_NANOS: u64 = 10_000_000_000;

/// One bucket and the scale that its TAT was written under.
#[derive(Debug)]
struct Cell {
    tat: AtomicU64,
    scale: Scale,
    revision: u32,
}

/// How one request is charged to one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Debit {
    /// The quota.
    pub(super) scale: Scale,
    /// How many requests it counts as.
    pub(super) cost: NonZeroU32,
    /// Which rules say so; a cell that later rules wrote is decided by theirs.
    pub(super) revision: u32,
    /// Whether the quota is the caller's own rather than the policy's.
    pub(super) own: bool,
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
        }
    }

    /// Sets how many cells there may be. Existing ones stay until they are full.
    pub(super) fn set_cap(&self, cap: usize) {
        self.cap.store(cap, Ordering::Relaxed);
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
            && let Some(scale) = cell.agreed(debit)
        {
            return Taken { key, verdict: bucket::take(&cell.tat, scale, debit.cost, now) };
        }
        self.take_exclusively(key, debit, now)
    }

    /// What [`Cells::take`] would say; changes nothing.
    pub(super) fn peek(&self, key: Key, debit: &Debit, now: u64) -> Verdict {
        let seen = self.segment(key).get(&key).map(|cell| cell.seen_by(debit, now));
        let (tat, scale) = seen.unwrap_or_else(|| (self.overflow_tat(key, debit, now), debit.scale));
        bucket::peek(tat, scale, debit.cost, now)
    }

    /// Adds to the debt of a bucket that was taken from, up to one fill beyond empty, and answers with its TAT.
    pub(super) fn owe(&self, key: Key, debit: &Debit, now: u64) -> u64 {
        if let Some(cell) = self.segment(key).get(&key) {
            return bucket::owe(&cell.tat, cell.scale, debit.cost, now);
        }
        // A bucket that has left was full, so all of it can be taken.
        self.take(key, debit, now).verdict.tat
    }

    /// Returns what a [`Cells::take`] took, where that is still known to be exact.
    pub(super) fn give_back(&self, taken: &Taken, cost: NonZeroU32) {
        if let Some(cell) = self.segment(taken.key).get(&taken.key)
            && cell.scale == taken.verdict.scale
        {
            bucket::give_back(&cell.tat, taken.verdict.tat, cell.scale, cost);
        }
    }

    /// Drops the full cells of one segment. Meant to be called every 10 ms or so, which makes a pass over all
    /// cells take a few seconds; at most one 512th of them is locked at a time.
    pub(super) fn sweep(&self, now_nanos: u64) -> Swept {
        let at = self.next_sweep.fetch_add(1, Ordering::Relaxed) % SEGMENTS;
        let segment = &self.segments[at];
        let (mut tenants, mut anonymous) = (0, 0);
        segment.retain(|key, cell| {
            let keep = cell.tat.get_mut().saturating_add(GRACE_NANOS) > now_nanos;
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

    fn segment(&self, key: Key) -> &DashMap<Key, Cell, Spread> {
        // dashmap takes the bits above these for its shards, hashbrown the lowest and the highest.
        &self.segments[(self.spread.hash_one(key) >> 40) as usize % SEGMENTS]
    }

    fn take_exclusively(&self, key: Key, debit: &Debit, now: u64) -> Taken {
        let inherited = self.overflow_tat(key, debit, now);
        match self.segment(key).entry(key) {
            Entry::Occupied(mut occupied) => {
                let cell = occupied.get_mut();
                let scale = cell.settle(debit, now);
                return Taken { key, verdict: bucket::take(&cell.tat, scale, debit.cost, now) };
            }
            Entry::Vacant(vacant) => {
                if self.reserve(key) {
                    let tat = AtomicU64::new(inherited);
                    let cell = vacant.insert(Cell { tat, scale: debit.scale, revision: debit.revision });
                    return Taken { key, verdict: bucket::take(&cell.tat, debit.scale, debit.cost, now) };
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

    /// The TAT that a key without a cell of its own is counted from.
    fn overflow_tat(&self, key: Key, debit: &Debit, now: u64) -> u64 {
        if self.overflow_until.load(Ordering::Acquire) <= now || key.kind() == Kind::Overflow {
            return 0;
        }
        let key = key.overflow(debit.own.then_some(debit.scale));
        self.segment(key)
            .get(&key)
            .map_or(0, |cell| debit.scale.rescale(cell.tat.load(Ordering::Acquire), cell.scale, now))
    }
}

impl Cell {
    /// The scale to decide by, unless the cell has to be rescaled first.
    fn agreed(&self, debit: &Debit) -> Option<Scale> {
        (self.scale == debit.scale || self.revision > debit.revision).then_some(self.scale)
    }

    /// TAT and scale that a decision would be made by, were the cell rescaled.
    fn seen_by(&self, debit: &Debit, now: u64) -> (u64, Scale) {
        let tat = self.tat.load(Ordering::Acquire);
        match self.agreed(debit) {
            Some(scale) => (tat, scale),
            None => (debit.scale.rescale(tat, self.scale, now), debit.scale),
        }
    }

    /// Rescales the cell, which is why nobody else may hold it.
    fn settle(&mut self, debit: &Debit, now: u64) -> Scale {
        if self.agreed(debit).is_none() {
            let tat = self.tat.get_mut();
            *tat = debit.scale.rescale(*tat, self.scale, now);
            self.scale = debit.scale;
        }
        self.revision = self.revision.max(debit.revision);
        self.scale
    }
}

#[cfg(test)]
impl Cells {
    /// TATs by key, for tests that compare everything before and after.
    pub(super) fn tats(&self) -> std::collections::BTreeMap<String, u64> {
        let of = |segment: &DashMap<Key, Cell, Spread>| {
            let tat = |entry: dashmap::mapref::multiple::RefMulti<'_, Key, Cell>| {
                (format!("{:?}", entry.key()), entry.tat.load(Ordering::SeqCst))
            };
            segment.iter().map(tat).collect::<Vec<_>>()
        };
        self.segments.iter().flat_map(of).collect()
    }
}
