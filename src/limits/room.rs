//! How many buckets there may be, and whose.
//!
//! Invariants: there are never more than the cap; callers without a credential have an eighth of it to themselves, and can
//! never take a tenant's place.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::key::{Key, Kind};

/// Places for buckets, the overflow buckets aside.
pub(super) struct Room {
    cap: AtomicUsize,
    tenants: AtomicUsize,
    anonymous: AtomicUsize,
}

impl Room {
    /// So many places, all free.
    pub(super) const fn new(cap: usize) -> Self {
        Self { cap: AtomicUsize::new(cap), tenants: AtomicUsize::new(0), anonymous: AtomicUsize::new(0) }
    }

    /// Sets how many there are. Those that are taken stay so.
    pub(super) fn set_cap(&self, cap: usize) {
        self.cap.store(cap, Ordering::Relaxed);
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.tenants.load(Ordering::Relaxed) + self.anonymous.load(Ordering::Relaxed)
    }

    /// Takes a place for a key's bucket; false if there is none.
    pub(super) fn take(&self, key: Key) -> bool {
        let cap = self.cap.load(Ordering::Relaxed);
        let (count, cap) = match key.kind() {
            Kind::Tenant => (&self.tenants, cap - cap / 8),
            Kind::Anonymous => (&self.anonymous, cap / 8),
            Kind::Overflow => return true,
        };
        let more = |count: usize| (count < cap).then_some(count + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Frees the places of buckets that left.
    pub(super) fn free(&self, left: &Left) {
        self.tenants.fetch_sub(left.tenants, Ordering::Relaxed);
        self.anonymous.fetch_sub(left.anonymous, Ordering::Relaxed);
    }
}

/// Buckets that left.
#[derive(Default)]
pub(super) struct Left {
    tenants: usize,
    anonymous: usize,
}

impl Left {
    pub(super) const fn add(&mut self, key: Key) {
        match key.kind() {
            Kind::Tenant => self.tenants += 1,
            Kind::Anonymous => self.anonymous += 1,
            Kind::Overflow => {}
        }
    }

    pub(super) const fn count(&self) -> usize {
        self.tenants + self.anonymous
    }
}
