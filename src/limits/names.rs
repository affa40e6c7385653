//! Numbers for names, for as long as the process lives, and longer where they are saved.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Gives each name a number that no reload changes, so that a cell stays its policy's.
#[derive(Debug)]
pub(super) struct Names {
    known: Mutex<Known>,
    most: u32,
}

#[derive(Debug, Default)]
struct Known {
    numbers: HashMap<Arc<str>, u32>,
    next: u32,
}

impl Names {
    /// No names yet; numbers run from 0 to below `most`.
    pub(super) fn new(most: u32) -> Self {
        Self { known: Mutex::default(), most }
    }

    /// The number of a name. Once all are given out the rest share the last: they count together, which is
    /// stricter and never kinder than apart.
    pub(super) fn number(&self, name: &Arc<str>) -> u32 {
        let mut known = self.known();
        if let Some(number) = known.numbers.get(name) {
            return *number;
        }
        let next = known.next;
        if next + 1 < self.most {
            known.numbers.insert(Arc::clone(name), next);
            known.next = next + 1;
            return next;
        }
        self.most - 1
    }

    /// The number of a name that takes another's place: the other's, unless it has one of its own already.
    pub(super) fn renamed(&self, former: &Arc<str>, name: &Arc<str>) -> u32 {
        let mut known = self.known();
        if let (false, Some(number)) = (known.numbers.contains_key(name), known.numbers.get(former).copied())
        {
            known.numbers.insert(Arc::clone(name), number);
        }
        drop(known);
        self.number(name)
    }

    /// A new number for a name, whatever it had before.
    pub(super) fn anew(&self, name: &Arc<str>) -> u32 {
        self.known().numbers.remove(name);
        self.number(name)
    }

    /// Every name with its number.
    pub(super) fn all(&self) -> Vec<(Arc<str>, u32)> {
        self.known().numbers.iter().map(|(name, number)| (Arc::clone(name), *number)).collect()
    }

    /// Knows names by the numbers that they had in another process; false if one cannot be.
    pub(super) fn restore(&self, names: Vec<(Arc<str>, u32)>) -> bool {
        let mut known = self.known();
        for (name, number) in names {
            if number + 1 >= self.most {
                return false;
            }
            known.next = known.next.max(number + 1);
            known.numbers.insert(name, number);
        }
        true
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
