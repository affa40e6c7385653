//! Overrides of limits inside a writing transaction.

use serde_json::{Value, json};

use super::{Failure, Tables, Writing};
use crate::domain::OverrideHolder;
use crate::tokens::store::{ChangeKind, MOST_OVERRIDES};
use crate::tokens::{Error, Moment, NewOverride, OverrideRecord};

/// A holder as the store keeps it.
struct Holder {
    /// The token's family or the workspace.
    stored: OverrideHolder,
    workspace: String,
    overrides: Vec<OverrideRecord>,
}

impl<T: Tables> Writing<'_, T> {
    pub(in crate::tokens::store) fn set_override(
        &mut self,
        named: &OverrideHolder,
        new: &NewOverride,
    ) -> Result<OverrideRecord, Failure> {
        let holder = self.holder(named)?;
        let before = holder.overrides.iter().find(|one| one.policy == new.policy);
        let after = OverrideRecord {
            policy: new.policy.clone(),
            quota: new.quota,
            until_unix_seconds: new.until_unix_seconds,
            reason: new.reason.clone(),
            set_at_unix_seconds: self.seconds(),
        };
        if let Some(before) = before
            && (OverrideRecord { set_at_unix_seconds: before.set_at_unix_seconds, ..after.clone() })
                == *before
        {
            return Ok(before.clone());
        }
        let others = holder.overrides.iter().filter(|one| one.policy != new.policy);
        if others.filter(|one| one.is_in_force(self.seconds())).count() >= MOST_OVERRIDES {
            return Err(Error::TooManyOverrides { holder: named.clone(), cap: MOST_OVERRIDES }.into());
        }
        // Those that have ended have no effect; the log keeps them.
        self.on.delete_ended_overrides(&holder.stored, self.seconds())?;
        self.on.put_override(&holder.stored, &after)?;
        self.log_override(named, &holder, before, Some(&after));
        Ok(after)
    }

    pub(in crate::tokens::store) fn remove_override(
        &mut self,
        named: &OverrideHolder,
        policy: &str,
    ) -> Result<OverrideRecord, Failure> {
        let holder = self.holder(named)?;
        let unknown = || Error::OverrideUnknown { holder: named.clone(), policy: policy.to_owned() };
        let before = holder.overrides.iter().find(|one| one.policy == policy).ok_or_else(unknown)?;
        self.on.delete_override(&holder.stored, policy)?;
        self.log_override(named, &holder, Some(before), None);
        Ok(before.clone())
    }

    fn holder(&self, named: &OverrideHolder) -> Result<Holder, Failure> {
        match named {
            OverrideHolder::Token(id) => {
                let token = self.on.token(id)?.ok_or_else(|| Error::TokenUnknown(id.clone()))?;
                let record = token.record;
                let stored = OverrideHolder::Token(record.family);
                Ok(Holder { stored, workspace: record.workspace, overrides: record.overrides })
            }
            OverrideHolder::Workspace(id) => {
                let unknown = || Error::WorkspaceUnknown(id.clone());
                let record = self.on.workspace(id)?.ok_or_else(unknown)?;
                Ok(Holder { stored: named.clone(), workspace: record.id, overrides: record.overrides })
            }
        }
    }

    fn log_override(
        &mut self,
        named: &OverrideHolder,
        holder: &Holder,
        before: Option<&OverrideRecord>,
        after: Option<&OverrideRecord>,
    ) {
        let policy = after.or(before).map(|one| one.policy.as_str());
        let body = json!({"workspace": holder.workspace, "policy": policy,
                          "before": before.map(body), "after": after.map(body)});
        let kind = match (named, after) {
            (OverrideHolder::Token(_), Some(_)) => ChangeKind::TokenLimitSet,
            (OverrideHolder::Token(_), None) => ChangeKind::TokenLimitRemoved,
            (OverrideHolder::Workspace(_), Some(_)) => ChangeKind::WorkspaceLimitSet,
            (OverrideHolder::Workspace(_), None) => ChangeKind::WorkspaceLimitRemoved,
        };
        // A token's override is its family's, so the entry names the family: every token of it has changed.
        self.append(kind, holder.stored.id(), &body);
    }
}

fn body(record: &OverrideRecord) -> Value {
    json!({"quota": record.quota.to_string(), "burst": record.quota.burst,
           "until": Moment(record.until_unix_seconds), "reason": record.reason})
}
