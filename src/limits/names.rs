//! Numbers for names, for as long as the process lives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Gives each name a number that no reload changes, so that a cell stays its policy's.
#[derive(Debug)]
pub(super) struct Names {
    known: Mutex<HashMap<Arc<str>, u32>>,
    most: u32,
}

impl Names {
    /// No names yet; numbers run from 0 to below `most`.
    pub(super) fn new(most: u32) -> Self {
        Self { known: Mutex::default(), most }
    }

    /// The number of a name. Once all are given out the rest share the last: they count together, which is
    /// stricter and never kinder than apart.
    pub(super) fn number(&self, name: &Arc<str>) -> u32 {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = known.get(name) {
            return *number;
        }
        let next = known.len() as u32;
        if next + 1 < self.most {
            known.insert(Arc::clone(name), next);
            return next;
        }
        self.most - 1
    }
}
