//! What a replica admits of a bucket while the store does not answer.
//!
//! Each of N replicas admits an Nth of the rate, up to an Nth of the burst, and begins an outage with one request, whatever
//! that costs.
//!
//! Bound with a whole outage anywhere inside the window: `admitted ≤ burst + rate × W + N` (N c tokens, where a request
//! costs c). For the shares admit at most
//! N and the rate together while it lasts, and the store carries what was left at its begin over to its end
//! ([`OutageAgo`](super::OutageAgo)), so that nothing is refilled twice. With several outages inside it, what each replica
//! begins one with comes back at the share's own rate between them: that is N for each, and at most the rate for the time
//! between. With k of N replicas cut off for D while the
//! others have all: `admitted ≤ burst + rate × W + k + k / N × rate × D`; that also holds for the time by which replicas
//! differ about an outage's end.

use super::cell::carried_over;
use super::plan::Plan;
use crate::limits::bucket::{Scale, Verdict};

/// One bucket's share.
#[derive(Debug, Default)]
pub(super) struct Share {
    tat: u64,
    /// Which outage it is counted for, by its begin.
    outage: u64,
}

impl Share {
    /// Decides a request of `cost` at `now`. `outage` is the begin of the store's outage; [`None`] if the store is merely
    /// slow, and the share then never has room for more than one request. `take` counts the request.
    ///
    /// Tokens come back at the share's own rate only, so that a store that comes and goes hands out nothing.
    pub(super) fn decide(
        &mut self,
        plan: &Plan,
        cost: u32,
        outage: Option<u64>,
        now: u64,
        take: bool,
    ) -> Verdict {
        let interval = plan.share_interval_nanos();
        let price = interval.saturating_mul(u64::from(cost));
        let most = plan.scale.fill_nanos().max(price);
        let mut tat = self.tat.max(now);
        if outage != Some(self.outage) {
            tat = tat.max(now.saturating_add(most).saturating_sub(price));
        }
        let after = tat.saturating_add(price);
        let wait = after.saturating_sub(now.saturating_add(most));
        let tat = if wait == 0 { after } else { tat };
        if take {
            (self.tat, self.outage) = (tat, outage.unwrap_or(0));
        }
        let burst = u64::from(plan.scale.burst.get());
        let left = (now.saturating_add(most).saturating_sub(tat) / interval.max(1)).min(burst);
        let tat = now + plan.scale.interval_nanos * (burst - left);
        Verdict { tat, wait_nanos: (wait > 0).then_some(wait), scale: plan.scale, counted: None }
    }

    /// Another quota: the same part of it is used.
    pub(super) fn rescale(&mut self, old: Scale, new: Scale, now: u64) {
        self.tat = carried_over(self.tat, old, new, now);
    }

    /// Whether it still owes.
    pub(super) const fn counts(&self, now: u64) -> bool {
        self.tat > now
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::limits::shared::plan::Sharing;

    #[test]
    fn one_admitted_in_doubt_is_the_first_of_the_outage_that_follows() {
        let scale = Scale { interval_nanos: 1_000, burst: NonZeroU32::new(100).unwrap() };
        let plan = Plan::of(scale, Sharing::Auto, 8);
        let (mut share, begin) = (Share::default(), 1_000_000);
        let mut admits = |outage, now: u64| share.decide(&plan, 1, outage, now, true).wait_nanos.is_none();
        assert!(admits(None, begin));
        assert!(!admits(None, begin));
        assert!(!admits(Some(begin - 500), begin + 1));
        assert!(!admits(Some(begin - 500), begin + 7_999));
        assert!(admits(Some(begin - 500), begin + 8_000));
        assert!(!admits(Some(begin + 8_000), begin + 8_001), "another outage");
    }
}
