//! One replica's client of the store.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{DEADLINE, MILLI, Weather};
use crate::limits::shared::{Asking, CentralStore, Outage, Question};

/// A replica's client of the store, as far as limits see it.
pub(super) struct Client {
    replicas: NonZeroU32,
    pub(super) is_up: AtomicBool,
    pub(super) outage: Mutex<Option<Outage>>,
    /// The longest that an answer took, by what it knows.
    pub(super) round_trip: AtomicU64,
}

impl Client {
    /// One of so many.
    pub(super) fn of(replicas: u32) -> Self {
        Self {
            replicas: NonZeroU32::new(replicas).unwrap(),
            is_up: AtomicBool::new(true),
            outage: Mutex::new(None),
            round_trip: AtomicU64::new(Weather::default().round_trip()),
        }
    }
}

impl CentralStore for Client {
    fn ask(&self, _: Question) -> Asking {
        unreachable!("the simulator carries the questions itself")
    }

    fn is_up(&self) -> bool {
        self.is_up.load(Ordering::SeqCst)
    }

    fn last_outage(&self) -> Option<Outage> {
        *self.outage.lock().unwrap()
    }

    fn deadline_nanos(&self) -> u64 {
        DEADLINE
    }

    fn round_trip_nanos(&self) -> u64 {
        self.round_trip.load(Ordering::SeqCst)
    }

    fn patience_nanos(&self) -> u64 {
        5 * MILLI
    }

    fn replicas(&self) -> NonZeroU32 {
        self.replicas
    }
}
