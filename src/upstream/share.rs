//! How many places of a region one workspace may hold.
//!
//! A workspace may take another place while it holds fewer than are free, times a factor: the dynamic threshold
//! of shared-memory switches (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet
//! switches", 1998). One workspace alone so gets half of all places, two that want everything get a third each,
//! and there is always room for one who comes. No list of workspaces is kept: each is counted in two cells of a
//! fixed table (as a count-min sketch), and the smaller count stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::domain::Subject;

const CELLS: usize = 4_096;

/// The places that workspaces hold in one region.
#[derive(Debug)]
pub(super) struct Share {
    rows: [Box<[AtomicU32]>; 2],
}

/// A place that is held; given back on drop.
#[derive(Debug)]
#[must_use = "a place that is dropped no longer counts"]
pub struct Place {
    share: Arc<Share>,
    cells: [u16; 2],
}

impl Drop for Place {
    fn drop(&mut self) {
        for (row, cell) in self.share.rows.iter().zip(self.cells) {
            row[usize::from(cell)].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Default for Share {
    fn default() -> Self {
        let row = || (0..CELLS).map(|_| AtomicU32::new(0)).collect();
        Self { rows: [row(), row()] }
    }
}

impl Share {
    /// How many places a workspace holds, or a few more.
    pub(super) fn held(&self, workspace: Subject) -> u32 {
        let [one, other] = cells(workspace);
        let count = |row: &[AtomicU32], cell: u16| row[usize::from(cell)].load(Ordering::Relaxed);
        count(&self.rows[0], one).min(count(&self.rows[1], other))
    }

    /// Whether it may take another one while so many are free; how many it may hold if not.
    pub(super) fn may_take(&self, workspace: Subject, free: u32, percent: u32) -> Result<(), u32> {
        let most = u64::from(free) * u64::from(percent) / 100;
        let held = self.held(workspace);
        if u64::from(held) < most { Ok(()) } else { Err(held) }
    }

    /// Takes a place.
    pub(super) fn take(self: &Arc<Self>, workspace: Subject) -> Place {
        let cells = cells(workspace);
        for (row, cell) in self.rows.iter().zip(cells) {
            row[usize::from(cell)].fetch_add(1, Ordering::Relaxed);
        }
        Place { share: Arc::clone(self), cells }
    }
}

/// A workspace's cells: two independent pieces of one mixed number.
const fn cells(workspace: Subject) -> [u16; 2] {
    let mixed = (workspace.0 ^ workspace.0 >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mask = CELLS as u64 - 1;
    [(mixed >> 52) as u16, (mixed >> 32 & mask) as u16]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lets every workspace of a list take what it gets, in turns, until none gets more.
    fn greedy(capacity: u32, workspaces: &[u64], percent: u32) -> Vec<u32> {
        let share = Arc::new(Share::default());
        let mut places = Vec::new();
        loop {
            let before = places.len();
            for workspace in workspaces {
                let free = capacity - places.len() as u32;
                if free > 0 && share.may_take(Subject(*workspace), free, percent).is_ok() {
                    places.push(share.take(Subject(*workspace)));
                }
            }
            if places.len() == before {
                return workspaces.iter().map(|workspace| share.held(Subject(*workspace))).collect();
            }
        }
    }

    #[test]
    fn the_greedy_share_and_something_is_left_for_who_comes() {
        assert_eq!(greedy(100, &[1], 100), [50]);
        assert_eq!(greedy(99, &[1, 2], 100), [33, 33]);
        assert_eq!(greedy(1, &[1], 100), [1]);
        assert_eq!(greedy(90, &[1], 200), [60]);
        assert!(greedy(1_000, &[1, 2, 3, 4], 100).iter().all(|held| *held >= 190));
    }

    #[test]
    fn places_come_back() {
        let share = Arc::new(Share::default());
        let places: Vec<Place> = (0..5).map(|_| share.take(Subject(7))).collect();
        assert_eq!((share.held(Subject(7)), share.held(Subject(8))), (5, 0));
        drop(places);
        assert!(share.rows.iter().flatten().all(|cell| cell.load(Ordering::Relaxed) == 0));
    }

    proptest! {
        #[test]
        fn a_newcomer_always_finds_room(capacity in 10..2_000_u32, others in 1..8_u64) {
            let others: Vec<u64> = (1..=others).map(|number| number * 7_919).collect();
            let taken: u32 = greedy(capacity, &others, 100).iter().sum();
            prop_assert!(taken < capacity);
        }
    }
}
