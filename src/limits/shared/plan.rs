//! What follows from a quota for how it is shared: how long a lease lives, how large it is, when to ask again.

use std::time::Duration;

use super::lease::UNIT_NANOS;
use super::store::CentralStore;
use crate::limits::bucket::Scale;
use crate::limits::calendar::Refill;
use crate::limits::modes::SharedMode;

/// Whether tokens are leased ahead of requests.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Leased where a lease's time brings at least two tokens for each replica, else asked for each request.
    #[default]
    Auto,
    /// The central store is asked for every request.
    Strict,
    /// Leased, however few tokens there are.
    Lease,
    /// Not shared: every replica counts by itself.
    Off,
}

/// What becomes of requests that no lease admits while the central store does not answer.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreFailure {
    /// Each of N replicas admits an Nth of the rate.
    #[default]
    Share,
    /// All are admitted.
    Open,
    /// All are refused with 503.
    Closed,
}

/// How one policy is shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// Whether tokens are leased ahead.
    pub sharing: Sharing,
    /// What is done while the store does not answer.
    pub on_store_failure: OnStoreFailure,
}

/// Questions about one bucket are at least so far apart on a replica.
pub(super) const LEAST_GAP_NANOS: u64 = 5_000_000;
/// A request waits so long for its turn to ask.
pub(super) const TURN_NANOS: u64 = 5_000_000;
/// Timers wake so much late.
pub(super) const LATE_NANOS: u64 = 2_000_000;

const LONGEST_LEASE_NANOS: u64 = 5_000_000_000;
/// Tokens that were asked for requests are for those that came before they were asked for, give or take a lease's unit.
const STRICT_LEASE_NANOS: u64 = UNIT_NANOS;
/// Leases that would be shorter are not worth it.
const LEAST_LEASE_NANOS: u64 = 50_000_000;
const MOST_PAUSE_NANOS: u64 = 100_000_000;
/// What a bucket that nobody knows yet is asked for at most.
const FIRST_TOKENS: u32 = 8;
/// A replica takes at most an Nth of this part of what a count by the calendar has left, so that little of it lies idle
/// at replicas that are not asked any more.
const COUNTED_PARTS: u32 = 4;
/// Twice a slow round trip: a lease is renewed when it will be spent within this, at the latest.
const AHEAD_SECONDS: f64 = 0.004;
/// Calls without an answer after which the store is given up.
pub const CALLS_IN_VAIN: u32 = 3;
/// A lease is renewed earlier to outlast those, while most of it is spent: three quarters, or half of a small one.
const AHEAD_PARTS: f64 = 4.0;
const AHEAD_PARTS_OF_SMALL: f64 = 2.0;

/// How a bucket is asked for, by its scale and the number of replicas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) scale: Scale,
    pub(super) replicas: u32,
    pub(super) lease_nanos: u64,
    pub(super) is_strict: bool,
    /// Whether it is a count by the calendar, whose tokens come all at once and live as long as its period.
    pub(super) is_counted: bool,
}

impl Plan {
    /// A lease lives for three tenths of the bucket's fill, at most 5 s. Longer ones would let what is held keep a busy
    /// bucket from refilling by more than that part of its burst.
    pub(super) fn of(scale: Scale, sharing: Sharing, replicas: u32) -> Self {
        let lease = (scale.fill_nanos() / 10 * 3).min(LONGEST_LEASE_NANOS);
        let few = lease / scale.interval_nanos < 2 * u64::from(replicas) || lease < LEAST_LEASE_NANOS;
        let is_strict = match sharing {
            Sharing::Auto | Sharing::Off => few,
            Sharing::Strict => true,
            Sharing::Lease => lease < LEAST_LEASE_NANOS,
        };
        let lease_nanos = if is_strict { STRICT_LEASE_NANOS } else { lease };
        Self { scale, replicas, lease_nanos, is_strict, is_counted: false }
    }

    /// Of a count by the calendar what demand takes in a lease's time is held, so that a request which comes rarely takes
    /// one token, and one that comes often does not ask.
    pub(super) fn of_count(scale: Scale, sharing: Sharing, replicas: u32) -> Self {
        let is_strict = sharing == Sharing::Strict;
        Self { scale, replicas, lease_nanos: LONGEST_LEASE_NANOS, is_strict, is_counted: true }
    }

    /// The time over which demand is averaged.
    pub(super) fn memory_seconds(&self) -> f64 {
        seconds(self.lease_nanos * 2).max(1.0)
    }

    /// Tokens worth having at a demand of so many a second, when `left` of the bucket were left: for a time that shrinks
    /// from two thirds of a lease to a twentieth as the bucket empties, so that near the limit nothing lies idle.
    pub(super) fn tokens_ahead(&self, per_second: f64, left: u32) -> f64 {
        if self.is_strict {
            return 0.0;
        }
        if self.is_counted {
            let most = left / self.replicas.saturating_mul(COUNTED_PARTS);
            return (per_second * seconds(self.lease_nanos) * 0.65).min(f64::from(most));
        }
        let full = f64::from(left) / f64::from(self.scale.burst.get());
        let part = ((full - 0.25) / 0.5).clamp(0.0, 1.0);
        let lease = seconds(self.lease_nanos);
        per_second * lease * (0.05 + part * 0.6)
    }

    /// What to ask of a bucket that this replica knows nothing of.
    pub(super) fn tokens_first(&self) -> u32 {
        if self.is_strict || self.is_counted {
            return 1;
        }
        self.scale.burst.get().div_ceil(self.replicas.saturating_mul(16)).min(FIRST_TOKENS)
    }

    /// A lease with fewer tokens than this is renewed in the background; 0 for never, where it would mostly be wasted.
    ///
    /// Where it is large enough, what is left then lasts until a store that has ceased to answer is given up: three calls
    /// take their deadline each, and each is begun by a request that spends a token. So nobody waits for it.
    pub(super) fn renew_below(&self, per_second: f64, left: u32, deadline_nanos: u64) -> u32 {
        if self.is_strict || per_second * seconds(self.lease_nanos) < 4.0 {
            return 0;
        }
        let (calls, ahead) = (f64::from(CALLS_IN_VAIN), self.tokens_ahead(per_second, left));
        let in_vain = seconds(deadline_nanos.saturating_add(LEAST_GAP_NANOS)) * calls;
        let outlasts = (per_second * in_vain + calls).min(ahead / AHEAD_PARTS);
        let begins_calls = if ahead < calls * AHEAD_PARTS_OF_SMALL { 0 } else { CALLS_IN_VAIN };
        whole(outlasts).max(begins_calls).max(whole(per_second * AHEAD_SECONDS) + 1)
    }

    /// How long to wait before asking again of a bucket that had nothing: until each replica can expect a token, within
    /// 5 and 100 ms, give or take a quarter by `dice` so that replicas do not march in step.
    pub(super) fn pause_nanos(&self, dice: u64) -> u64 {
        let pause = self.scale.interval_nanos.saturating_mul(u64::from(self.replicas));
        let pause = pause.clamp(LEAST_GAP_NANOS, MOST_PAUSE_NANOS);
        pause * 3 / 4 + dice % (pause / 2)
    }

    /// An Nth of the rate.
    pub(super) fn fair_per_second(&self) -> f64 {
        1.0 / seconds(self.share_interval_nanos())
    }

    /// Time in which one token of this replica's share comes back: an Nth of the rate.
    pub(super) fn share_interval_nanos(&self) -> u64 {
        self.scale.interval_nanos.saturating_mul(u64::from(self.replicas))
    }
}

/// How long a request waits in all: for its turn to ask, which comes after 5 ms or the answer to the question before, and
/// for one answer that takes as long as the longest of lately.
pub(super) fn longest_wait_nanos(store: &dyn CentralStore) -> u64 {
    let round_trip = store.round_trip_nanos();
    let turn = store.patience_nanos().max(TURN_NANOS).max(round_trip);
    turn.saturating_add(LATE_NANOS).saturating_add(round_trip)
}

/// How a policy is decided while the store stands as it does.
pub(in crate::limits) fn mode_of(
    scale: Scale,
    refill: Refill,
    shared: Shared,
    store: &dyn CentralStore,
) -> SharedMode {
    if !store.is_up() {
        return match shared.on_store_failure {
            OnStoreFailure::Share => SharedMode::Share,
            OnStoreFailure::Open => SharedMode::Open,
            OnStoreFailure::Closed => SharedMode::Closed,
        };
    }
    let plan = if refill == Refill::Gradual { Plan::of } else { Plan::of_count };
    let plan = plan(scale, shared.sharing, store.replicas().get());
    if plan.is_strict { SharedMode::Strict } else { SharedMode::Lease }
}

/// Whole tokens; of a negative number none.
#[expect(clippy::cast_sign_loss, reason = "a cast from a float saturates")]
pub(super) fn whole(tokens: f64) -> u32 {
    tokens as u32
}

pub(super) fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}
