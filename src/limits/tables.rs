//! Where cells are kept: hash tables of one size, of which there are more as there are more cells.
//!
//! A table that doubles needs both sizes for a moment, leaves a hole that nothing else fits in, and is half empty
//! afterwards. Here no table is ever larger than [`TABLE_BYTES`]. Whenever they are about half full, the next one in
//! turn gives half of its cells to a new one (linear hashing: Litwin, VLDB 1980), so that memory grows with the cells
//! by small steps of one size, up to the bound; from there on the tables fill up.
//!
//! Invariants: there are never more tables than the bound has room for, and none is enlarged beyond its size; a key's
//! cell is in the one table where [`Tables::place`] puts it, and moves only while both tables are locked. A guard
//! never leaves a function of this file.

use std::hash::BuildHasher;
use std::mem;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use dashmap::{DashMap, SharedValue};

use super::cell::Cell;
use super::key::{Key, Spread};

/// What one cell takes where the bound is reached, its part of the room in between included.
///
/// Tables of [`TABLE_BYTES`] divided by it are all that there ever are, which comes to the bound, and what the allocator
/// adds was measured: keys offered by the million until all tables are full, as `tests/memory.rs` does, make the process's
/// anonymous memory grow by 100.5 % of a bound of 32 MiB, 100.4 % of 100 MiB, 100.4 % of 400 MiB and of 512 MiB, while
/// 99.7 % of the cells that the bound allows are made. The tests hold it to a tenth.
pub(super) const CELL_BYTES: usize = 50;

type Entry = (Key, SharedValue<Cell>);
/// Of two halves, each under a lock of its own.
type Table = DashMap<Key, Cell, Spread>;

const HALVES: usize = 2;
/// Places of half a table; hashbrown uses seven of eight.
const PLACES: usize = 2_048;
const HALF_ROOM: usize = PLACES / 8 * 7;
/// The rooms that half a table has one after the other, while there are only the first ones: so few, because each leaves a
/// hole behind.
const ROOMS: [usize; 4] = [7, 56, 448, HALF_ROOM];
/// A table with room for 3,584 cells: for each place a cell and a byte, and what stands around.
const TABLE_BYTES: usize = HALVES * (PLACES * (size_of::<Entry>() + 1) + 32 + 128);
/// Cells of a table on average where the bound is reached: a little room is left, because no two are equally full.
const CELLS_AT_BOUND: usize = TABLE_BYTES.div_ceil(CELL_BYTES);
/// Cells of a table on average from which on there is a further one: those whose turn has not come have up to twice as
/// many.
const CELLS_TO_GROW: usize = HALVES * HALF_ROOM * 44 / 100;

/// Times that the number of tables may double.
const DOUBLINGS: usize = 13;
const DOUBLING_SHIFT: u32 = 48;

/// The tables.
pub(super) struct Tables {
    /// The first tables; then those of the first doubling, of the second, and so on.
    made: [OnceLock<Box<[Table]>>; DOUBLINGS + 1],
    /// How many tables there are at first.
    base: usize,
    /// How often all have doubled, and how many have since.
    grown: AtomicU64,
    most: AtomicUsize,
    growing: Mutex<()>,
    spread: Spread,
}

/// A table: how many doublings' rounds after one of the first it stands, and after which.
type Place = (usize, usize);

impl Tables {
    /// No cells. The fullest use of memory is made where the bound becomes that of `cells`.
    pub(super) fn new(spread: Spread, cells: usize) -> Self {
        let most = most_tables(cells);
        let base = most >> (most / 32).checked_ilog2().unwrap_or(0).min(DOUBLINGS as u32);
        let tables = Self {
            made: [const { OnceLock::new() }; DOUBLINGS + 1],
            base,
            grown: AtomicU64::new(0),
            most: AtomicUsize::new(most),
            growing: Mutex::default(),
            spread,
        };
        tables.make(0, base);
        tables
    }

    /// Bounds the tables, by the number of cells that they are to hold. Tables that there are stay.
    pub(super) fn set_room(&self, cells: usize) {
        self.most.store(most_tables(cells).min(self.base << DOUBLINGS), Ordering::Relaxed);
    }

    /// How many tables there are.
    pub(super) fn count(&self) -> usize {
        let (doublings, since) = read(self.grown.load(Ordering::Acquire));
        (self.base << doublings) + since
    }

    /// Does something with a key's cell, if there is one.
    pub(super) fn find<R>(&self, key: Key, work: impl FnOnce(&Cell) -> R) -> Option<R> {
        let hash = self.spread.hash_one(key);
        loop {
            let place = self.place(hash, self.grown.load(Ordering::Acquire));
            let table = self.table(place)?;
            let half = table.shards()[table.determine_shard(hash as usize)].read();
            if let Some((_, cell)) = half.get(hash, |(known, _)| *known == key) {
                return Some(work(cell.get()));
            }
            // Under the lock it is certain whether it has moved meanwhile.
            if self.place(hash, self.grown.load(Ordering::Acquire)) == place {
                return None;
            }
        }
    }

    /// Does something with a key's cell while nobody else does, making it if need be; [`None`] if there is no room for it
    /// or `make` makes none.
    pub(super) fn find_or_make<R>(
        &self,
        key: Key,
        make: impl FnOnce() -> Option<Cell>,
        work: impl FnOnce(&mut Cell) -> R,
    ) -> Option<R> {
        let hash = self.spread.hash_one(key);
        loop {
            let place = self.place(hash, self.grown.load(Ordering::Acquire));
            let table = self.table(place)?;
            let mut half = table.shards()[table.determine_shard(hash as usize)].write();
            if self.place(hash, self.grown.load(Ordering::Acquire)) != place {
                continue;
            }
            if let Some((_, cell)) = half.get_mut(hash, |(known, _)| *known == key) {
                return Some(work(cell.get_mut()));
            }
            let hasher = |(key, _): &Entry| self.spread.hash_one(key);
            let (held, places) = (half.len(), half.buckets());
            if held >= half.capacity() {
                let least = if self.count() > self.base { HALF_ROOM } else { 0 };
                let is_next = |room: &usize| *room > held && *room >= least && places < PLACES;
                let room = ROOMS.into_iter().find(is_next)?;
                half.reserve(room - held, hasher);
            }
            let entry = (key, SharedValue::new(make()?));
            let (_, cell) = half.insert_entry(hash, entry, hasher);
            return Some(work(cell.get_mut()));
        }
    }

    /// Adds a table if that many cells need one more. To be called for each cell that may become one more.
    pub(super) fn grow(&self, cells: usize) {
        let is_due = || {
            let count = self.count();
            cells >= count * CELLS_TO_GROW && count < self.most.load(Ordering::Relaxed)
        };
        if is_due()
            && let Ok(_growing) = self.growing.try_lock()
            && is_due()
        {
            self.halve_next(self.grown.load(Ordering::Acquire));
        }
    }

    /// Gives half of the cells of the table whose turn it is to a new one.
    #[cold]
    fn halve_next(&self, grown: u64) {
        let (doublings, since) = read(grown);
        let old = (since / self.base, since % self.base);
        let new = (old.0 + (1 << doublings), old.1);
        self.make(doublings + 1, self.base << doublings);
        let (Some(from), Some(to)) = (self.table(old), self.table(new)) else { return };
        let next = if since + 1 == self.base << doublings {
            (doublings as u64 + 1) << DOUBLING_SHIFT
        } else {
            grown + 1
        };
        let hash = |(key, _): &Entry| self.spread.hash_one(key);
        let mut from: Vec<_> = from.shards().iter().map(|half| half.write()).collect();
        for (from, to) in from.iter_mut().zip(to.shards()) {
            let mut to = to.write();
            let cells = mem::take(&mut **from);
            from.reserve(HALF_ROOM, hash);
            to.reserve(HALF_ROOM, hash);
            for entry in cells {
                let stays = self.place(hash(&entry), next) == old;
                let half = if stays { &mut **from } else { &mut *to };
                half.insert_entry(hash(&entry), entry, hash);
            }
        }
        // Before the locks are released, so that whoever waits for them looks where the cells are now.
        self.grown.store(next, Ordering::Release);
    }

    /// Drops cells of every so many tables, from one on, one table locked at a time.
    pub(super) fn retain(&self, from: usize, each: usize, mut keep: impl FnMut(&Key, &mut Cell) -> bool) {
        for number in (from..self.count()).step_by(each) {
            let Some(table) = self.numbered(number) else { continue };
            let mut dropped = false;
            table.retain(|key, cell| {
                let kept = keep(key, cell);
                dropped |= !kept;
                kept
            });
            if dropped {
                self.tidy(table);
            }
        }
    }

    /// Makes the places of dropped cells usable again, which hashbrown only does by moving all others, and gives back the
    /// memory of half a table that is empty.
    fn tidy(&self, table: &Table) {
        let hash = |(key, _): &Entry| self.spread.hash_one(key);
        for half in table.shards() {
            let mut half = half.write();
            let room = half.buckets() / 8 * 7;
            let needed = if half.is_empty() { 0 } else { room };
            if half.capacity() == needed {
                continue;
            }
            let cells = mem::take(&mut *half);
            half.reserve(needed, hash);
            for entry in cells {
                half.insert_entry(hash(&entry), entry, hash);
            }
        }
    }

    /// Shows every cell of a table. Tables have numbers from 0 on; a cell that moves goes to a later one.
    pub(super) fn each(&self, number: usize, mut show: impl FnMut(Key, &Cell)) {
        if let Some(table) = self.numbered(number) {
            table.iter().for_each(|entry| show(*entry.key(), &entry));
        }
    }

    fn make(&self, doublings: usize, tables: usize) {
        let table = |_| DashMap::with_capacity_and_hasher_and_shard_amount(0, self.spread, HALVES);
        if let Some(made) = self.made.get(doublings) {
            made.get_or_init(|| (0..tables).map(table).collect());
        }
    }

    fn numbered(&self, number: usize) -> Option<&Table> {
        self.table((number / self.base, number % self.base))
    }

    fn table(&self, (round, first): Place) -> Option<&Table> {
        let doublings = (usize::BITS - round.leading_zeros()) as usize;
        let before = (1 << doublings) >> 1;
        self.made.get(doublings)?.get()?.get((round - before) * self.base + first)
    }

    /// The table of a hash. hashbrown uses the lowest 11 and the highest 7 bits, dashmap the one below these.
    fn place(&self, hash: u64, grown: u64) -> Place {
        let (doublings, since) = read(grown);
        let first = ((hash >> 11 & u64::from(u32::MAX)) as usize * self.base) >> 32;
        let round = (hash >> 43) as usize & ((1 << DOUBLINGS) - 1);
        let doubled = round & ((2 << doublings) - 1);
        if doubled * self.base + first < (self.base << doublings) + since {
            (doubled, first)
        } else {
            (round & ((1 << doublings) - 1), first)
        }
    }
}

/// How often all tables have doubled, and how many have since.
const fn read(grown: u64) -> (usize, usize) {
    ((grown >> DOUBLING_SHIFT) as usize, (grown & ((1 << DOUBLING_SHIFT) - 1)) as usize)
}

const fn most_tables(cells: usize) -> usize {
    let most = cells / CELLS_AT_BOUND;
    if most == 0 { 1 } else { most }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::domain::Subject;
    use crate::limits::bucket::Scale;
    use crate::limits::calendar::Refill;
    use crate::limits::cell::Measure;
    use crate::limits::key::Parts;

    fn key(number: u64) -> Key {
        Key::packed(&Parts { subject: Some(Subject(number)), ..Parts::of_policy(0) })
    }

    fn cell(word: u64) -> Cell {
        let scale = Scale { interval_nanos: 1, burst: NonZeroU32::MIN };
        Cell::new(word, Measure { scale, refill: Refill::Gradual }, 1)
    }

    fn tables(cells: usize) -> Tables {
        Tables::new(Spread::new(&[7; 32]), cells)
    }

    #[test]
    fn every_cell_stays_its_keys_while_tables_become_more() {
        let tables = tables(600_000);
        let first = tables.count();
        for number in 0..500_000 {
            tables.grow(number as usize);
            assert_eq!(
                tables.find_or_make(key(number), || Some(cell(number)), |cell| cell.word()),
                Some(number)
            );
        }
        assert!(tables.count() > first && tables.count() <= most_tables(600_000), "{}", tables.count());
        for number in 0..500_000 {
            assert_eq!(tables.find(key(number), Cell::word), Some(number));
            assert_eq!(tables.find(key(number + 1_000_000), Cell::word), None);
        }
        let mut shown = 0;
        (0..tables.count()).for_each(|number| tables.each(number, |_, _| shown += 1));
        assert_eq!(shown, 500_000);
    }

    #[test]
    fn no_table_is_enlarged_whatever_comes_and_goes() {
        let tables = tables(20_000);
        let most = tables.count() * HALVES * HALF_ROOM;
        let mut next = 0;
        for round in 0..20 {
            let kept = (0..40_000).filter(|_| {
                next += 1;
                tables.find_or_make(key(next), || Some(cell(round)), |_| ()).is_some()
            });
            let kept = kept.count();
            assert!(kept * 10 > most * 7, "round {round}: {kept} of {most}");
            for number in 0..tables.count() {
                let table = tables.numbered(number).unwrap();
                assert!(table.shards().iter().all(|half| half.read().buckets() <= PLACES));
            }
            // Three of four leave, so that the next round finds places that were used before.
            let mut left = 0;
            tables.retain(0, 1, |_, _| {
                left += 1;
                left % 4 == 0
            });
        }
    }

    #[test]
    fn a_cell_is_found_while_its_table_is_halved() {
        let tables = tables(400_000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..300_000 {
                    tables.grow(number as usize);
                    tables.find_or_make(key(number), || Some(cell(number)), |_| ());
                }
            });
            for thread in 0..2_u64 {
                let tables = &tables;
                scope.spawn(move || {
                    let known = 1_000_000 + thread;
                    tables.find_or_make(key(known), || Some(cell(known)), |_| ());
                    while tables.count() < 90 {
                        assert_eq!(tables.find(key(known), Cell::word), Some(known));
                        let again = tables.find_or_make(key(known), || None, |cell| cell.word());
                        assert_eq!(again, Some(known), "nobody makes it anew");
                    }
                });
            }
        });
        assert!(tables.count() > 90);
    }
}
