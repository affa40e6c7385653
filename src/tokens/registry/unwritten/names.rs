//! Names that are refused, each for as long as one revocation says so.

use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

/// Names with how many revocations refuse them.
#[derive(Default)]
pub(super) struct Names {
    refused: DashMap<String, u32>,
    /// How many say so in all, so that a request need not look while there are none.
    count: AtomicUsize,
}

impl Names {
    pub(super) fn hold(&self, name: &str) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.refused.contains_key(name)
    }

    pub(super) fn refuse(&self, name: &str) {
        *self.refused.entry(name.to_owned()).or_insert(0) += 1;
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn allow(&self, name: &str) {
        if let Some(mut times) = self.refused.get_mut(name) {
            *times = times.saturating_sub(1);
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
        self.refused.remove_if(name, |_, times| *times == 0);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0 && self.refused.is_empty()
    }
}
