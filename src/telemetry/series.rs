//! Counters by packed label sets, in a table that never grows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[derive(Debug, Default)]
struct Cell {
    key: AtomicU64,
    count: AtomicU64,
}

/// An open-addressed table of counters (linear probing, keys are only added). One core writes to it and a
/// scrape reads it, without a lock; writers on other threads are counted correctly as well.
#[derive(Debug)]
pub(super) struct Series {
    cells: Box<[Cell]>,
    used: AtomicUsize,
}

impl Series {
    /// A table for about three quarters of `size` label sets; `size` is a power of two.
    pub(super) fn new(size: usize) -> Self {
        debug_assert!(size.is_power_of_two(), "the hash is cut to its upper bits");
        Self { cells: (0..size).map(|_| Cell::default()).collect(), used: AtomicUsize::new(0) }
    }

    /// Adds one under `key`, which is not 0. Where the table has become too full for another key, adds it under
    /// `overflow` instead, for which there is always room if there are few of those.
    pub(super) fn add(&self, key: u64, overflow: u64) {
        let full = self.cells.len() / 4 * 3;
        if !self.try_add(key, full) {
            self.try_add(overflow, self.cells.len());
        }
    }

    /// Adds up what is there into `sums`.
    pub(super) fn sum_into(&self, sums: &mut BTreeMap<u64, u64>) {
        for cell in &self.cells {
            let key = cell.key.load(Ordering::Acquire);
            if key != 0 {
                *sums.entry(key).or_default() += cell.count.load(Ordering::Relaxed);
            }
        }
    }

    fn try_add(&self, key: u64, most: usize) -> bool {
        let mask = self.cells.len() - 1;
        let shift = 64 - self.cells.len().trailing_zeros();
        let start = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift) as usize;
        for offset in 0..self.cells.len() {
            let cell = &self.cells[(start + offset) & mask];
            let mut found = cell.key.load(Ordering::Relaxed);
            if found == 0 {
                if self.used.load(Ordering::Relaxed) >= most {
                    return false;
                }
                found = match cell.key.compare_exchange(0, key, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => {
                        self.used.fetch_add(1, Ordering::Relaxed);
                        key
                    }
                    Err(taken) => taken,
                };
            }
            if found == key {
                cell.count.fetch_add(1, Ordering::Relaxed);
                return true;
            }
        }
        false
    }
}
