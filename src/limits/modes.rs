//! How limits that gateways share are decided at the moment, for operators.

use super::Limits;
use super::shared::{Sharing, mode_of};
use crate::domain::RegionId;

/// How a policy's limit is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedMode {
    /// By tokens that are leased ahead of requests.
    Lease,
    /// By asking the central store for each request.
    Strict,
    /// By a share, because the store does not answer.
    Share,
    /// Not at all, because the store does not answer.
    Open,
    /// Refused where no lease is left, because the store does not answer.
    Closed,
}

impl SharedMode {
    /// Every mode.
    pub const ALL: [Self; 5] = [Self::Lease, Self::Strict, Self::Share, Self::Open, Self::Closed];

    /// The word in metrics, status and log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Strict => "strict",
            Self::Share => "share",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

impl Limits {
    /// How many policies are decided in each mode, in the order of [`SharedMode::ALL`], of those that are counted in a
    /// region's central store; none where it has no store.
    pub fn shared_modes(&self, region: RegionId) -> [usize; SharedMode::ALL.len()] {
        let mut counts = [0; SharedMode::ALL.len()];
        let Some(store) = self.stores.of(region) else { return counts };
        for policy in self.rules.policies() {
            let is_here = policy.counts_workspaces_apart() || region == self.stores.own;
            if is_here && policy.shared.sharing != Sharing::Off {
                counts[mode_of(policy.scale, policy.refill, policy.shared, &**store) as usize] += 1;
            }
        }
        counts
    }
}
