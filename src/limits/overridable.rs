//! Whether a policy may be overridden for a holder, and what would still bind. For those who set overrides;
//! requests never ask.

use std::sync::Arc;

use super::bucket::LONGEST_FILL_NANOS;
use super::check::meant;
use super::claims::OWN_LIMIT;
use super::policy::{ENDPOINT, PLAN, Policy, WORKSPACE};
use super::rules::{RESERVED, Rules};
use super::settings::Mode;
use crate::domain::{OverrideHolder, Plan, Quota, Window};

/// Why an override is not to be set. Each message says what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOverridable {
    /// The configuration has no such policy.
    #[error("the configuration has no policy `{policy}`; {fix}")]
    Unknown {
        /// The name asked for.
        policy: String,
        /// "did you mean", or where the names are.
        fix: String,
    },
    /// A cap on requests in flight or the budget of failed authentications.
    #[error("`{0}` is not counted by a quota of a token or workspace; change it in `[limits]`")]
    Reserved(String),
    /// A token's override of a policy that counts a workspace's tokens together.
    #[error(
        "`{0}` does not count tokens apart, so that one cannot have a quota of its own; name --workspace"
    )]
    NotByToken(String),
    /// A policy whose buckets several workspaces share.
    #[error("`{0}` counts several workspaces together, so that none can have a quota of its own")]
    NotByWorkspace(String),
    /// A workspace has no limit of its own.
    #[error("`token` is the limit of one token; name --token, or the policy that counts by token")]
    OwnLimitOfWorkspace,
    /// The token's own limit stands in place of the policy.
    #[error("the token has a limit of its own in place of `{0}`; override that: --policy token")]
    OwnLimitInPlace(String),
    /// One request of the policy could never be admitted.
    #[error(
        "one request counts as {cost} in `{policy}`, more than a burst of {burst}; write --burst {cost} or more"
    )]
    BurstBelowCost {
        /// The policy.
        policy: String,
        /// What a request counts as.
        cost: u32,
        /// The burst asked for.
        burst: u32,
    },
    /// A quota that the calendar of its policy does not have.
    #[error(
        "`{policy}` counts by the calendar: name a quota per day or per month and no --burst, not {quota} with a burst of {burst}"
    )]
    NotOfTheCalendar {
        /// The policy.
        policy: String,
        /// The quota asked for.
        quota: String,
        /// The burst asked for.
        burst: u32,
    },
    /// A bucket that would refill too slowly.
    #[error(
        "a burst of {burst} would take more than ten years to refill at {quota}; write a smaller --burst"
    )]
    RefillsTooSlowly {
        /// The burst asked for.
        burst: u32,
        /// The quota asked for.
        quota: String,
    },
}

/// A policy over a whole workspace that admits less than an override of one of its tokens would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Its name.
    pub policy: Arc<str>,
    /// How much it admits over all tokens of the workspace.
    pub quota: Quota,
}

impl Rules {
    /// Whether a quota may stand in place of a policy's. `own_limit` is that of the token, if the holder is one.
    pub fn check_override(
        &self,
        holder: &OverrideHolder,
        policy: &str,
        quota: Quota,
        own_limit: Option<Quota>,
    ) -> Result<(), NotOverridable> {
        let is_token = matches!(holder, OverrideHolder::Token(_));
        let burst = quota.burst.get();
        let fill = u64::from(burst).checked_mul(quota.emission_interval_nanos());
        if fill.is_none_or(|fill| fill > LONGEST_FILL_NANOS) {
            return Err(NotOverridable::RefillsTooSlowly { burst, quota: quota.to_string() });
        }
        if policy == RESERVED[OWN_LIMIT] {
            return if is_token { Ok(()) } else { Err(NotOverridable::OwnLimitOfWorkspace) };
        }
        let named = || policy.to_owned();
        let Some(rule) = self.policies().iter().find(|rule| *rule.name == *policy) else {
            if RESERVED.contains(&policy) {
                return Err(NotOverridable::Reserved(named()));
            }
            let fix = meant(policy, self.names().iter().map(|name| &**name))
                .unwrap_or_else(|| "name one of `limits.policies` or of the endpoint table".to_owned());
            return Err(NotOverridable::Unknown { policy: named(), fix });
        };
        match (is_token, rule.counts_tokens_apart(), rule.counts_workspaces_apart()) {
            (true, false, true) => return Err(NotOverridable::NotByToken(named())),
            (_, _, false) => return Err(NotOverridable::NotByWorkspace(named())),
            (true | false, _, true) => {}
        }
        if own_limit.is_some() && rule.yields_to_own_limit() {
            return Err(NotOverridable::OwnLimitInPlace(named()));
        }
        let by_calendar = rule.quota.window == Window::Calendar;
        if by_calendar && !(quota.is_of_the_calendar() && quota.burst == quota.requests) {
            let quota = quota.to_string();
            return Err(NotOverridable::NotOfTheCalendar { policy: named(), quota, burst });
        }
        let cost = rule.cost.get();
        if cost > burst {
            return Err(NotOverridable::BurstBelowCost { policy: named(), cost, burst });
        }
        Ok(())
    }

    /// A policy in whose place a token's own limit would stand and than which it would admit more, at once or over time,
    /// with its quota.
    pub fn widened_by_own_limit(&self, quota: Quota) -> Option<(&Arc<str>, Quota)> {
        let admits_more = |policy: &&Policy| {
            quota.emission_interval_nanos() < policy.quota.emission_interval_nanos()
                || quota.burst > policy.quota.burst
        };
        let widened =
            self.policies().iter().filter(|policy| policy.yields_to_own_limit()).find(admits_more)?;
        Some((&widened.name, widened.quota))
    }

    /// The enforcing policies over the whole workspace, of a plan, that admit less than `quota` for one of its
    /// tokens; `in_place` is the workspace's own override of a policy.
    pub fn ceilings(
        &self,
        policy: &str,
        quota: Quota,
        plan: Plan,
        in_place: impl Fn(&str) -> Option<Quota>,
    ) -> Vec<Ceiling> {
        let rule = self.policies().iter().find(|rule| *rule.name == *policy);
        let operations = rule.map_or(&[][..], |rule| &rule.endpoints);
        let covers = |ceiling: &Policy| {
            let named = |operation| ceiling.endpoints.contains(operation);
            let apart = ceiling.mask & ENDPOINT != 0;
            (ceiling.endpoints.is_empty() || (!operations.is_empty() && operations.iter().all(named)))
                && (!apart || operations.len() == 1)
        };
        if rule.is_some_and(|rule| !rule.counts_tokens_apart()) {
            return Vec::new();
        }
        self.policies()
            .iter()
            .filter(|ceiling| ceiling.mode == Mode::Enforce)
            .filter(|ceiling| ceiling.mask & !(PLAN | ENDPOINT) == WORKSPACE && covers(ceiling))
            .filter(|ceiling| ceiling.plans.is_empty() || ceiling.plans.contains(&plan))
            .filter(|ceiling| ceiling.versions.is_empty())
            .map(|ceiling| Ceiling {
                policy: Arc::clone(&ceiling.name),
                quota: in_place(&ceiling.name).unwrap_or(ceiling.quota),
            })
            .filter(|ceiling| ceiling.quota.emission_interval_nanos() > quota.emission_interval_nanos())
            .collect()
    }
}
