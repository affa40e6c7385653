//! Overrides of limits inside a writing transaction, and as rows.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use super::Failure;
use super::rows::{self, quota_text, signed, unsigned};
use super::write::Writing;
use crate::domain::OverrideHolder;
use crate::tokens::store::{ChangeKind, MOST_OVERRIDES};
use crate::tokens::{Error, HeldOverride, Moment, NewOverride, OverrideRecord};

/// A JSON array of a holder's overrides, as a column: an array for each.
macro_rules! overrides_of {
    ($kind:literal, $holder:literal) => {
        concat!(
            "(SELECT json_group_array(json_array(policy, quota, until, reason, set_at)) FROM limit_override \
             WHERE kind = '",
            $kind,
            "' AND holder = ",
            $holder,
            ")"
        )
    };
}
pub(super) use overrides_of;

/// Reads a column of `overrides_of`, by policy.
pub(super) fn column(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<OverrideRecord>> {
    let text = row.get_ref(column)?.as_str()?;
    if text == "[]" {
        return Ok(Vec::new());
    }
    let unreadable = || {
        let why = "the overrides were not written by tollgate";
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into())
    };
    let written: Vec<(String, String, u64, String, u64)> =
        serde_json::from_str(text).map_err(|_| unreadable())?;
    let record =
        |(policy, quota, until_unix_seconds, reason, set_at_unix_seconds): (String, String, _, _, _)| {
            let quota = rows::quota(&quota).ok_or_else(unreadable)?;
            Ok(OverrideRecord { policy, quota, until_unix_seconds, reason, set_at_unix_seconds })
        };
    let mut all: Vec<OverrideRecord> = written.into_iter().map(record).collect::<rusqlite::Result<_>>()?;
    all.sort_unstable_by(|left, right| left.policy.cmp(&right.policy));
    Ok(all)
}

/// Up to `count` overrides after one of a holder and policy, by kind of holder, holder and policy.
pub(super) fn listed(
    on: &Connection,
    after: Option<(&OverrideHolder, &str)>,
    count: u32,
) -> rusqlite::Result<Vec<HeldOverride>> {
    let (kind, holder, policy) =
        after.map_or(("", "", ""), |(holder, policy)| (holder.kind(), holder.id(), policy));
    let sql = "SELECT kind, holder, policy, quota, until, reason, set_at FROM limit_override \
               WHERE (kind, holder, policy) > (?1, ?2, ?3) ORDER BY kind, holder, policy LIMIT ?4";
    on.prepare_cached(sql)?.query_map(params![kind, holder, policy, count], held)?.collect()
}

fn held(row: &Row<'_>) -> rusqlite::Result<HeldOverride> {
    let kind: String = row.get(0)?;
    let quota: String = row.get(3)?;
    Ok(HeldOverride {
        holder: OverrideHolder::of(&kind, row.get(1)?).ok_or_else(|| rows::unreadable(0))?,
        record: OverrideRecord {
            policy: row.get(2)?,
            quota: rows::quota(&quota).ok_or_else(|| rows::unreadable(3))?,
            until_unix_seconds: unsigned(row, 4)?,
            reason: row.get(5)?,
            set_at_unix_seconds: unsigned(row, 6)?,
        },
    })
}

/// A holder as the store keeps it.
struct Holder {
    /// The token's family or the workspace.
    stored: OverrideHolder,
    workspace: String,
    overrides: Vec<OverrideRecord>,
}

impl Writing<'_> {
    pub(super) fn set_override(
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
        self.forget_ended(&holder)?;
        let sql = "INSERT INTO limit_override VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
                   ON CONFLICT DO UPDATE SET quota = ?4, until = ?5, reason = ?6, set_at = ?7";
        self.on.prepare_cached(sql)?.execute(params![
            holder.stored.kind(),
            holder.stored.id(),
            after.policy,
            quota_text(after.quota),
            signed(after.until_unix_seconds),
            after.reason,
            signed(after.set_at_unix_seconds),
        ])?;
        self.log_override(named, &holder, before, Some(&after))?;
        Ok(after)
    }

    pub(super) fn remove_override(
        &mut self,
        named: &OverrideHolder,
        policy: &str,
    ) -> Result<OverrideRecord, Failure> {
        let holder = self.holder(named)?;
        let unknown = || Error::OverrideUnknown { holder: named.clone(), policy: policy.to_owned() };
        let before = holder.overrides.iter().find(|one| one.policy == policy).ok_or_else(unknown)?;
        self.on
            .prepare_cached("DELETE FROM limit_override WHERE kind = ?1 AND holder = ?2 AND policy = ?3")?
            .execute(params![holder.stored.kind(), holder.stored.id(), policy])?;
        self.log_override(named, &holder, Some(before), None)?;
        Ok(before.clone())
    }

    fn holder(&self, named: &OverrideHolder) -> Result<Holder, Failure> {
        match named {
            OverrideHolder::Token(id) => {
                let token = rows::token_by_id(self.on, id)?.ok_or_else(|| Error::TokenUnknown(id.clone()))?;
                let record = token.record;
                let stored = OverrideHolder::Token(record.family);
                Ok(Holder { stored, workspace: record.workspace, overrides: record.overrides })
            }
            OverrideHolder::Workspace(id) => {
                let unknown = || Error::WorkspaceUnknown(id.clone());
                let record = rows::workspace_by_id(self.on, id)?.ok_or_else(unknown)?;
                Ok(Holder { stored: named.clone(), workspace: record.id, overrides: record.overrides })
            }
        }
    }

    /// Those that have ended have no effect; the log keeps them.
    fn forget_ended(&self, holder: &Holder) -> Result<(), Failure> {
        self.on
            .prepare_cached("DELETE FROM limit_override WHERE kind = ?1 AND holder = ?2 AND until <= ?3")?
            .execute(params![holder.stored.kind(), holder.stored.id(), signed(self.seconds())])?;
        Ok(())
    }

    fn log_override(
        &mut self,
        named: &OverrideHolder,
        holder: &Holder,
        before: Option<&OverrideRecord>,
        after: Option<&OverrideRecord>,
    ) -> Result<(), Failure> {
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
        self.append(kind, holder.stored.id(), &body)
    }
}

fn body(record: &OverrideRecord) -> Value {
    json!({"quota": record.quota.to_string(), "burst": record.quota.burst,
           "until": Moment(record.until_unix_seconds), "reason": record.reason})
}
