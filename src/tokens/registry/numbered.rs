//! What many tokens have in common, by numbers that fit into a record.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

const FIRST_BLOCK: u32 = 64;
/// Blocks double, so that these are as many as 32 bits can number.
const BLOCKS: usize = 27;

type Block<T> = Box<[ArcSwapOption<T>]>;

/// Values by number: read without a lock, each replaced while it is read.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    blocks: [OnceLock<Block<T>>; BLOCKS],
}

impl<T> Numbered<T> {
    pub(super) fn new() -> Self {
        Self { blocks: [const { OnceLock::new() }; BLOCKS] }
    }

    /// The value of a number, if it has one.
    pub(super) fn get(&self, number: u32) -> Option<Arc<T>> {
        let (block, place) = place_of(number);
        self.blocks.get(block)?.get()?.get(place)?.load_full()
    }

    /// Gives a number a value, or takes it.
    pub(super) fn set(&self, number: u32, value: Option<Arc<T>>) {
        let (block, place) = place_of(number);
        let Some(block_of) = self.blocks.get(block) else { return };
        let made = block_of.get_or_init(|| {
            let size = (FIRST_BLOCK as usize) << block;
            (0..size).map(|_| ArcSwapOption::empty()).collect()
        });
        if let Some(held) = made.get(place) {
            held.store(value);
        }
    }
}

const fn place_of(number: u32) -> (usize, usize) {
    let at = number as u64 + FIRST_BLOCK as u64;
    let block = at.ilog2() - FIRST_BLOCK.ilog2();
    (block as usize, (at - ((FIRST_BLOCK as u64) << block)) as usize)
}

/// Equal values under one number each, as long as somebody holds it.
#[derive(Debug)]
pub(super) struct Interner<T> {
    known: HashMap<Arc<T>, (u32, u32)>,
    free: Vec<u32>,
    next: u32,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), free: Vec::new(), next: 0 }
    }
}

impl<T: Hash + Eq> Interner<T> {
    /// The number of a value, which one more holds from now on.
    pub(super) fn hold(&mut self, value: T, values: &Numbered<T>) -> u32 {
        if let Some((number, holders)) = self.known.get_mut(&value) {
            *holders += 1;
            return *number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let value = Arc::new(value);
        values.set(number, Some(Arc::clone(&value)));
        self.known.insert(value, (number, 1));
        number
    }

    /// One more holds a number.
    pub(super) fn hold_again(&mut self, number: u32, values: &Numbered<T>) {
        if let Some((_, holders)) = values.get(number).and_then(|value| self.known.get_mut(&value)) {
            *holders += 1;
        }
    }

    /// One less holds a number; the last takes its value along. Whoever looks a number up that it read from a
    /// record must read the record again afterwards: the number may stand for another value by then.
    pub(super) fn release(&mut self, number: u32, values: &Numbered<T>) {
        let Some(value) = values.get(number) else { return };
        let Some((_, holders)) = self.known.get_mut(&value) else { return };
        *holders -= 1;
        if *holders == 0 {
            self.known.remove(&value);
            values.set(number, None);
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_places_of_their_own() {
        assert_eq!((place_of(0), place_of(63), place_of(64)), ((0, 0), (0, 63), (1, 0)));
        assert_eq!((place_of(191), place_of(192)), ((1, 127), (2, 0)));
        let (block, place) = place_of(u32::MAX);
        assert!(block < BLOCKS && place < (FIRST_BLOCK as usize) << block);
    }

    #[test]
    fn a_value_that_nobody_holds_is_forgotten() {
        let (mut interner, values) = (Interner::default(), Numbered::new());
        let (a, b) = (interner.hold("a", &values), interner.hold("b", &values));
        assert_eq!((interner.hold("a", &values), a == b), (a, false));
        interner.release(a, &values);
        assert_eq!(values.get(a).as_deref(), Some(&"a"));
        interner.release(a, &values);
        assert_eq!(values.get(a), None);
        interner.release(a, &values);
        assert_eq!(interner.hold("c", &values), a, "the number was not used again");
        assert_eq!((values.get(a).as_deref(), values.get(b).as_deref()), (Some(&"c"), Some(&"b")));
        assert_eq!(values.get(1_000_000), None);
    }
}
