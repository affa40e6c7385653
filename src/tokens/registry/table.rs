//! Every token by its digest.
//!
//! # Decision
//!
//! Records are numbered within a shard and lie in chunks, so that one more token costs one more record and no
//! copy of the others; an index of 32-bit slots leads to them by linear probing. A slot has the record's number
//! and twelve bits of the key, so that a token that is not there costs no look at a record. The index grows by a
//! quarter, shard by shard, each a 256th of the whole: a table of any size costs about 72 bytes a token, and
//! a growth holds nobody up. Readers take no lock: what they follow is replaced, never changed under them, but
//! for slots and records, which are atomic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;

use super::record::{Record, Values};

const SHARD_BITS: u32 = 8;
const SHARDS: usize = 1 << SHARD_BITS;
const CHUNK: usize = 256;
const FIRST_SLOTS: usize = 16;

const NUMBER_BITS: u32 = 20;
const NUMBER_MASK: u32 = (1 << NUMBER_BITS) - 1;
/// A slot that was never used, at which every search ends.
const EMPTY: u32 = 0;
/// A slot whose record is gone.
const GONE: u32 = NUMBER_MASK;
/// Records that a shard can have: numbers are stored from 1, and the last stands for [`GONE`].
const MOST_IN_SHARD: usize = NUMBER_MASK as usize - 1;

/// Tokens by their keys: read by many, changed through one [`TableWriter`].
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[ArcSwapOption<Shard>]>,
    len: AtomicUsize,
    /// How many records changed their key.
    moves: AtomicUsize,
}

/// What a reader follows; replaced whole when it grows.
#[derive(Debug)]
struct Shard {
    slots: Arc<[AtomicU32]>,
    chunks: Vec<Arc<[Record]>>,
}

/// What only the one who changes the table needs.
#[derive(Debug)]
pub(super) struct TableWriter {
    shards: Box<[Used]>,
    /// Places of records that were given up since the last [`TableWriter::reuse`].
    resting: Vec<(usize, u32)>,
}

#[derive(Clone, Debug, Default)]
struct Used {
    /// Records that were ever given out.
    records: u32,
    /// Slots that are not empty.
    slots: u32,
    free: Vec<u32>,
}

impl Table {
    /// An empty table and its only writer.
    pub(super) fn new() -> (Self, TableWriter) {
        let shards = (0..SHARDS).map(|_| ArcSwapOption::empty()).collect();
        let table = Self { shards, len: AtomicUsize::new(0), moves: AtomicUsize::new(0) };
        (table, TableWriter { shards: vec![Used::default(); SHARDS].into(), resting: Vec::new() })
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// How often a token's key was changed. A search for a token by several keys that found none looks again if
    /// this has changed meanwhile.
    pub(super) fn moves(&self) -> usize {
        self.moves.load(Ordering::Acquire)
    }

    /// What `take` makes of the token with a key. It may be called again, if the token changes meanwhile.
    pub(super) fn find<T>(&self, key: u128, take: impl Fn(&Record, &Values) -> T) -> Option<T> {
        let shard = self.shards.get(shard_of(key))?.load();
        let shard = shard.as_deref()?;
        for slot in shard.probe(key) {
            match slot.load(Ordering::Acquire) {
                EMPTY => return None,
                held if held & !NUMBER_MASK == tag(key) => {
                    let Some(record) = shard.record(held) else { continue };
                    let found = record.read(|values| (values.key == key).then(|| take(record, values)));
                    if found.is_some() {
                        return found;
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Calls `visit` with every token, in no order, until it fails. Not for requests.
    pub(super) fn try_for_each<E>(
        &self,
        mut visit: impl FnMut(&Record, &Values) -> Result<(), E>,
    ) -> Result<(), E> {
        for shard in &self.shards {
            let Some(shard) = shard.load_full() else { continue };
            for slot in shard.slots.iter() {
                if let Some(record) = shard.record(slot.load(Ordering::Acquire)) {
                    visit(record, &record.read(|values| *values))?;
                }
            }
        }
        Ok(())
    }

    /// Puts a token in place of the one with its key, which is the answer; uses that were noted stay.
    pub(super) fn put(
        &self,
        writer: &mut TableWriter,
        mut values: Values,
    ) -> Result<Option<Values>, TableFull> {
        let shard = self.shards[shard_of(values.key)].load();
        if let Some((_, record)) = shard.as_deref().and_then(|shard| shard.place(values.key)) {
            let before = record.read(|before| *before);
            values.continue_from(&before);
            record.write(&values);
            return Ok(Some(before));
        }
        self.insert(writer, &values)?;
        Ok(None)
    }

    /// Puts a token in place of the one with the key `old`, which is the answer; [`None`] if there is none, and
    /// then nothing is put. It can be found under one of both keys throughout.
    pub(super) fn put_over(
        &self,
        writer: &mut TableWriter,
        old: u128,
        mut values: Values,
    ) -> Result<Option<Values>, TableFull> {
        let Some(before) = self.find(old, |_, before| *before) else { return Ok(None) };
        values.continue_from(&before);
        self.insert(writer, &values)?;
        self.moves.fetch_add(1, Ordering::Release);
        self.remove(writer, old);
        Ok(Some(before))
    }

    fn insert(&self, writer: &mut TableWriter, values: &Values) -> Result<(), TableFull> {
        let at = shard_of(values.key);
        let used = &mut writer.shards[at];
        let shard = self.with_room(at, used)?;
        let number = used.free.pop().unwrap_or_else(|| {
            used.records += 1;
            used.records - 1
        });
        let held = tag(values.key) | (number + 1);
        if let Some(record) = shard.record(held) {
            record.write(values);
        }
        let free = |slot: &&AtomicU32| slot.load(Ordering::Relaxed) == EMPTY;
        if let Some(slot) = shard.probe(values.key).find(free) {
            slot.store(held, Ordering::Release);
            used.slots += 1;
        }
        self.len.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Takes a token out and answers with it, if it is there.
    pub(super) fn take(&self, writer: &mut TableWriter, key: u128) -> Option<Values> {
        let before = self.find(key, |_, before| *before)?;
        self.remove(writer, key);
        Some(before)
    }

    fn remove(&self, writer: &mut TableWriter, key: u128) {
        let at = shard_of(key);
        let shard = self.shards[at].load();
        let Some(shard) = shard.as_deref() else { return };
        if let Some((slot, _)) = shard.place(key) {
            let held = slot.swap(GONE, Ordering::AcqRel);
            writer.resting.push((at, (held & NUMBER_MASK) - 1));
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The shard, grown if it has no room for one more.
    fn with_room(&self, at: usize, used: &mut Used) -> Result<Arc<Shard>, TableFull> {
        let shard = self.shards[at].load_full();
        let (slots, chunks) =
            shard.as_deref().map_or((0, 0), |shard| (shard.slots.len(), shard.chunks.len()));
        let needs_chunk = used.free.is_empty() && used.records as usize == chunks * CHUNK;
        if needs_chunk && used.records as usize + CHUNK > MOST_IN_SHARD {
            return Err(TableFull);
        }
        let needs_slots = (used.slots as usize + 1) * 5 > slots * 4;
        if let (Some(shard), false, false) = (&shard, needs_chunk, needs_slots) {
            return Ok(Arc::clone(shard));
        }
        let mut grown = match &shard {
            Some(shard) => Shard { slots: Arc::clone(&shard.slots), chunks: shard.chunks.clone() },
            None => Shard { slots: Arc::from([]), chunks: Vec::new() },
        };
        if needs_chunk {
            grown.chunks.push((0..CHUNK).map(|_| Record::empty()).collect());
        }
        if needs_slots {
            used.slots = grown.rebuild_slots();
        }
        let grown = Arc::new(grown);
        self.shards[at].store(Some(Arc::clone(&grown)));
        Ok(grown)
    }
}

impl TableWriter {
    /// Lets the places of records be used again that were given up before the last call: nobody is still reading
    /// them.
    pub(super) fn reuse(&mut self) {
        for (shard, number) in self.resting.drain(..) {
            self.shards[shard].free.push(number);
        }
    }
}

impl Shard {
    /// The slots in the order of a search for a key, each once.
    fn probe(&self, key: u128) -> impl Iterator<Item = &AtomicU32> {
        // The 32 bits behind the shard's, spread over the slots.
        let spread = u64::from((key >> (128 - SHARD_BITS - 32)) as u32);
        let start = ((spread * self.slots.len() as u64) >> 32) as usize;
        let (before, from) = self.slots.split_at(start);
        from.iter().chain(before)
    }

    fn record(&self, held: u32) -> Option<&Record> {
        let number = ((held & NUMBER_MASK) as usize).checked_sub(1)?;
        self.chunks.get(number / CHUNK)?.get(number % CHUNK)
    }

    fn place(&self, key: u128) -> Option<(&AtomicU32, &Record)> {
        for slot in self.probe(key) {
            match slot.load(Ordering::Relaxed) {
                EMPTY => return None,
                held if held & !NUMBER_MASK == tag(key) => {
                    let record = self.record(held);
                    if let Some(record) = record.filter(|record| record.read(|values| values.key == key)) {
                        return Some((slot, record));
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Makes slots for a quarter more than there are tokens; answers with how many are used.
    fn rebuild_slots(&mut self) -> u32 {
        let held: Vec<u32> = self
            .slots
            .iter()
            .map(|slot| slot.load(Ordering::Relaxed))
            .filter(|held| *held != EMPTY && *held != GONE)
            .collect();
        let slots = (held.len() * 25 / 16 + 1).max(FIRST_SLOTS);
        self.slots = (0..slots).map(|_| AtomicU32::new(EMPTY)).collect();
        for held in &held {
            let Some(key) = self.record(*held).map(|record| record.read(|values| values.key)) else {
                continue;
            };
            let mut probe = self.probe(key);
            if let Some(slot) = probe.find(|slot| slot.load(Ordering::Relaxed) == EMPTY) {
                slot.store(*held, Ordering::Relaxed);
            }
        }
        held.len() as u32
    }
}

/// A shard has as many tokens as it can: some 268,000,000 in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TableFull;

const fn shard_of(key: u128) -> usize {
    (key >> (128 - SHARD_BITS)) as usize
}

/// The twelve lowest bits of a key, where a slot has them.
const fn tag(key: u128) -> u32 {
    (key as u32) << NUMBER_BITS
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::record::{NEVER, PackedId};
    use super::*;

    fn values(key: u128, number: u64) -> Values {
        Values {
            key,
            id: PackedId::listed(0),
            number,
            grants: 0,
            workspace: 0,
            expires: NEVER,
            ends: NEVER,
            used_minute: 0,
            written_minute: 0,
        }
    }

    fn number(table: &Table, key: u128) -> Option<u64> {
        table.find(key, |_, values| values.number)
    }

    /// Keys of one shard with one tag and one place, so that every search meets every other.
    fn colliding(n: u128) -> u128 {
        n << 40
    }

    #[test]
    fn what_was_never_put_is_not_found() {
        let (table, mut writer) = Table::new();
        assert_eq!(number(&table, 7), None);
        for n in 1..100 {
            table.put(&mut writer, values(colliding(n), n as u64)).unwrap();
        }
        assert_eq!(number(&table, colliding(100)), None);
        assert_eq!(number(&table, colliding(1) + 1), None);
    }

    #[test]
    fn a_key_that_changes_is_found_under_the_new_one_alone() {
        let (table, mut writer) = Table::new();
        for n in 1..1_000 {
            table.put(&mut writer, values(colliding(n), n as u64)).unwrap();
        }
        let moves = table.moves();
        for n in 1..1_000 {
            let new = values(u128::MAX - n, n as u64);
            assert_eq!(table.put_over(&mut writer, colliding(n), new).unwrap().unwrap().number, n as u64);
        }
        assert_eq!(table.put_over(&mut writer, colliding(1), values(5, 5)), Ok(None));
        assert_eq!(table.moves(), moves + 999);
        assert_eq!(
            (table.len(), number(&table, colliding(1)), number(&table, u128::MAX - 1)),
            (999, None, Some(1))
        );
        writer.reuse();
        for n in 1..1_000 {
            table.put(&mut writer, values(colliding(n), n as u64)).unwrap();
        }
        assert_eq!(writer.shards[0].records, 999, "places were not used again");
    }

    #[test]
    fn uses_outlive_a_change() {
        let (table, mut writer) = Table::new();
        let used = |used_minute| Values { used_minute, ..values(9, 1) };
        table.put(&mut writer, used(50)).unwrap();
        table.put(&mut writer, used(20)).unwrap();
        assert_eq!(table.find(9, |_, values| values.used_minute), Some(50));
    }

    proptest! {
        /// The table against a map of the standard library.
        #[test]
        fn agrees_with_a_map(keys in prop::collection::vec((0_u128..200, any::<bool>(), any::<bool>()), 1..600)) {
            let (table, mut writer) = Table::new();
            let mut map = HashMap::new();
            for (at, (key, collides, moves)) in keys.into_iter().enumerate() {
                let key = if collides { colliding(key) } else { key.wrapping_mul(u128::MAX / 251) };
                let old = map.keys().next().copied().filter(|old| moves && *old != key && !map.contains_key(&key));
                if let Some(old) = old {
                    table.put_over(&mut writer, old, values(key, at as u64)).unwrap();
                    map.remove(&old);
                    writer.reuse();
                } else {
                    table.put(&mut writer, values(key, at as u64)).unwrap();
                }
                map.insert(key, at as u64);
            }
            prop_assert_eq!(table.len(), map.len());
            for (key, expected) in &map {
                prop_assert_eq!(number(&table, *key), Some(*expected));
            }
            let mut seen = 0;
            let all: Result<(), ()> = table.try_for_each(|_, _| { seen += 1; Ok(()) });
            prop_assert_eq!((all, seen), (Ok(()), map.len()));
        }
    }
}
