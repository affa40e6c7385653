//! Overrides of limits as they are stored and shown, and the checks before they reach the store.
//!
//! Whether a policy of that name exists and can be overridden is the limits' matter, not the store's.

use std::sync::Arc;

use serde::Serialize;

use super::mint::{LONGEST_LIFETIME_SECONDS, check_text, invalid};
use super::store::Act;
use super::{Error, Mint, Moment};
use crate::domain::{LimitOverride, OverrideHolder, Quota};

/// An override as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideRecord {
    /// The name of the policy whose quota it stands in place of.
    pub policy: String,
    /// How much instead.
    pub quota: Quota,
    /// When it ends by itself.
    pub until_unix_seconds: u64,
    /// Why it was set.
    pub reason: String,
    /// When it was set.
    pub set_at_unix_seconds: u64,
}

/// An override to be set, in place of an earlier one of the same holder and policy.
#[derive(Clone, Debug)]
pub struct NewOverride {
    /// The name of the policy.
    pub policy: String,
    /// How much instead.
    pub quota: Quota,
    /// When it ends by itself.
    pub until_unix_seconds: u64,
    /// Why, up to 256 characters; goes into the audit trail.
    pub reason: String,
}

/// An override with its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOverride {
    /// Whose; a token's family by the id of its first token.
    pub holder: OverrideHolder,
    /// The override.
    pub record: OverrideRecord,
}

/// An override as the command line and the admin API write it.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[schemars(rename = "Override")]
#[expect(missing_docs, reason = "the fields are those of `OverrideRecord`")]
pub struct OverrideView<'r> {
    pub policy: &'r str,
    pub quota: String,
    pub burst: u32,
    pub until: Moment,
    pub reason: &'r str,
    pub set_at: Moment,
}

impl OverrideRecord {
    /// Whether it is in force at a time.
    pub const fn is_in_force(&self, unix_seconds: u64) -> bool {
        unix_seconds < self.until_unix_seconds
    }

    /// As a request meets it.
    pub fn as_met(&self) -> LimitOverride {
        LimitOverride {
            policy: Arc::from(self.policy.as_str()),
            quota: self.quota,
            until_unix_seconds: self.until_unix_seconds,
        }
    }

    /// A holder's overrides as a request meets them.
    pub fn all_as_met(overrides: &[Self]) -> Arc<[LimitOverride]> {
        overrides.iter().map(Self::as_met).collect()
    }

    /// What people and programs are shown of it.
    pub fn view(&self) -> OverrideView<'_> {
        OverrideView {
            policy: &self.policy,
            quota: self.quota.to_string(),
            burst: self.quota.burst.get(),
            until: Moment(self.until_unix_seconds),
            reason: &self.reason,
            set_at: Moment(self.set_at_unix_seconds),
        }
    }
}

impl Mint {
    /// Sets an override; [`Error::TokenUnknown`], [`Error::WorkspaceUnknown`], [`Error::TooManyOverrides`]. It is
    /// in force in every process within one look at the log.
    pub fn set_override(
        &self,
        act: Act<'_>,
        holder: &OverrideHolder,
        new: &NewOverride,
    ) -> Result<OverrideRecord, Error> {
        check_text("policy", &new.policy, 256)?;
        check_text("reason", &new.reason, 256)?;
        let (now, until) = (act.now.unix_seconds(), new.until_unix_seconds);
        if until <= now {
            return Err(invalid("end", &Moment(until).to_string(), "write a time that is still to come"));
        }
        if until > now + LONGEST_LIFETIME_SECONDS {
            return Err(invalid("end", &Moment(until).to_string(), "write a time within 100 years"));
        }
        self.store.set_override(act, holder, new)
    }

    /// Removes an override; [`Error::OverrideUnknown`].
    pub fn remove_override(
        &self,
        act: Act<'_>,
        holder: &OverrideHolder,
        policy: &str,
    ) -> Result<OverrideRecord, Error> {
        self.store.remove_override(act, holder, policy)
    }
}
