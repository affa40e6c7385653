//! Histograms with fixed buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of a whole request's and an upstream's time, in nanoseconds: 1 ms to 60 s.
pub(super) const WIDE: [u64; BOUNDS] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Upper bounds of the gateway's own share, in nanoseconds: 5 µs to 1 s.
pub(super) const FINE: [u64; BOUNDS] = [
    5_000,
    10_000,
    25_000,
    50_000,
    75_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
];

/// How many bounds each histogram has; one bucket more is open upwards.
pub(super) const BOUNDS: usize = 16;

/// One core's share of a histogram.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [u64; BOUNDS],
    counts: [AtomicU64; BOUNDS + 1],
    sum_nanos: AtomicU64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [u64; BOUNDS]) -> Self {
        Self { bounds, counts: Default::default(), sum_nanos: AtomicU64::new(0) }
    }

    pub(super) fn observe(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds.iter().position(|bound| nanos <= *bound).unwrap_or(BOUNDS);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// A histogram added up over the cores.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    /// Observations in each bucket, not cumulated; the last is open upwards.
    pub(super) counts: [u64; BOUNDS + 1],
    pub(super) sum_nanos: u64,
}

impl Sum {
    pub(super) fn add(&mut self, share: &Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(&share.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        self.sum_nanos = self.sum_nanos.wrapping_add(share.sum_nanos.load(Ordering::Relaxed));
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}
