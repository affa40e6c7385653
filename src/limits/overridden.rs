//! Which quota a caller whose limits are overridden is counted by.
//!
//! A token's override holds for policies that count its requests apart and wins over its workspace's; a
//! workspace's holds for policies whose buckets no other workspace shares. Both are counted in the policy's own
//! cell, which is carried over when they begin and end: no fresh bucket, and nobody waits longer than a fill. A
//! policy that counts by the calendar counts an override by it as well, if that has its periods.

use super::claims::{Asked, OWN_LIMIT};
use super::policy::Policy;
use super::rules::RESERVED;
use crate::authentication::Caller;
use crate::clock::Now;
use crate::domain::Quota;

/// A caller with at least one override, ended ones included, at the time of its request.
#[derive(Clone, Copy)]
pub(super) struct Overridden<'a> {
    caller: &'a Caller,
    unix_seconds: u64,
}

impl<'a> Overridden<'a> {
    /// [`None`] for a caller without any, which nearly all are.
    pub(super) fn of(caller: Option<&'a Caller>, now: Now) -> Option<Self> {
        let caller = caller.filter(|caller| caller.has_overrides())?;
        Some(Self { caller, unix_seconds: now.unix_seconds() })
    }

    /// The quota in place of a policy's.
    pub(super) fn quota(self, policy: &Policy) -> Option<Quota> {
        let of_token = || self.caller.token_override(&policy.name, self.unix_seconds);
        let of_workspace = || self.caller.workspace_override(&policy.name, self.unix_seconds);
        let token = policy.counts_tokens_apart().then(of_token).flatten();
        let own = token.or_else(|| policy.counts_workspaces_apart().then(of_workspace).flatten())?;
        Some(own.in_window(policy.quota.window))
    }
}

impl Asked<'_, '_> {
    /// The limit of the caller's own: for a time by an override of [`OWN_LIMIT`], else as its token has it.
    pub(super) fn own_limit(&self) -> Option<Quota> {
        let own = RESERVED[OWN_LIMIT];
        self.overridden
            .and_then(|overridden| overridden.caller.token_override(own, overridden.unix_seconds))
            .or_else(|| self.caller.and_then(Caller::own_limit))
    }
}
