//! What operators are shown of alerts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::answer::Label;

/// How alerts ended and what their tokens were, since the process began.
#[derive(Debug, Default)]
pub struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    true_positive: AtomicU64,
    false_positive: AtomicU64,
    elsewhere: AtomicU64,
    unconfigured_region: AtomicU64,
    revoked: AtomicU64,
}

/// How one alert ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AlertEnd {
    /// Its tokens were dealt with.
    Accepted,
    /// It was not GitHub's, or no alert.
    Refused,
    /// We could not deal with it.
    Failed,
}

impl Counts {
    pub(super) fn alert(&self, end: AlertEnd) {
        let cell = match end {
            AlertEnd::Accepted => &self.accepted,
            AlertEnd::Refused => &self.refused,
            AlertEnd::Failed => &self.failed,
        };
        cell.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn token(&self, label: Label) {
        let cell = match label {
            Label::TruePositive => &self.true_positive,
            Label::FalsePositive => &self.false_positive,
            Label::Elsewhere => &self.elsewhere,
            Label::UnconfiguredRegion => &self.unconfigured_region,
        };
        cell.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn revoked(&self, tokens: usize) {
        self.revoked.fetch_add(tokens as u64, Ordering::Relaxed);
    }

    /// Alerts by how they ended.
    pub fn alerts(&self) -> [(&'static str, u64); 3] {
        [
            ("accepted", self.accepted.load(Ordering::Relaxed)),
            ("refused", self.refused.load(Ordering::Relaxed)),
            ("failed", self.failed.load(Ordering::Relaxed)),
        ]
    }

    /// Tokens of accepted alerts by what they were.
    pub fn tokens(&self) -> [(&'static str, u64); 4] {
        [
            (Label::TruePositive.name(), self.true_positive.load(Ordering::Relaxed)),
            (Label::FalsePositive.name(), self.false_positive.load(Ordering::Relaxed)),
            (Label::Elsewhere.name(), self.elsewhere.load(Ordering::Relaxed)),
            (Label::UnconfiguredRegion.name(), self.unconfigured_region.load(Ordering::Relaxed)),
        ]
    }

    /// Tokens that worked until an alert, those of their families included.
    pub fn revocations(&self) -> u64 {
        self.revoked.load(Ordering::Relaxed)
    }
}

/// How GitHub's keys are.
#[derive(Clone, Debug)]
pub struct KeysStatus {
    /// Time since they were loaded or confirmed; [`None`] before the first load.
    pub age: Option<Duration>,
    /// How many are in use.
    pub keys: usize,
    /// Why the last load failed, if it did.
    pub last_failure: Option<Arc<String>>,
}
