//! Changes inside one writing transaction, each with its log entry.

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::rows::{self, json as json_list, pepper_number, quota_text, signed};
use super::{Failure, head};
use crate::domain::WorkspaceState;
use crate::tokens::record::TokenState;
use crate::tokens::store::{Act, ChangeKind, LogEntry, NewToken, NewWorkspace, Replacement, WorkspaceChange};
use crate::tokens::{Error, TokenRecord, WorkspaceRecord};

/// A transaction that holds the write lock, with the end of the log that it extends.
pub(super) struct Writing<'t> {
    pub(super) on: &'t Connection,
    act: Act<'t>,
    seq: u64,
    hash: [u8; 32],
    began_at: u64,
}

/// Where a new token comes from.
pub(super) struct Origin<'o> {
    pub(super) kind: ChangeKind,
    /// Family and its number; a token without starts its own.
    pub(super) family: Option<(&'o str, u64)>,
}

impl<'t> Writing<'t> {
    pub(super) fn begin(on: &'t Connection, act: Act<'t>) -> Result<Self, Failure> {
        let (seq, hash) = head(on)?;
        Ok(Self { on, act, seq, hash, began_at: seq })
    }

    /// Writes the new end of the log.
    pub(super) fn end(self) -> Result<(), Failure> {
        if self.seq != self.began_at {
            self.on
                .prepare_cached("UPDATE head SET seq = ?1, hash = ?2")?
                .execute(params![signed(self.seq), self.hash])?;
        }
        Ok(())
    }

    pub(super) fn seconds(&self) -> u64 {
        self.act.now.unix_seconds()
    }

    pub(super) fn millis(&self) -> u64 {
        self.act.now.unix_millis
    }

    /// Number and hash of the entry that was appended last.
    pub(super) const fn last(&self) -> (u64, [u8; 32]) {
        (self.seq, self.hash)
    }

    /// The number that the next log entry gets.
    const fn next(&self) -> u64 {
        self.seq + 1
    }

    pub(super) fn append(&mut self, kind: ChangeKind, subject: &str, body: &Value) -> Result<(), Failure> {
        let mut entry = LogEntry {
            seq: self.next(),
            previous: self.hash,
            hash: [0; 32],
            at_unix_millis: self.act.now.unix_millis,
            actor: self.act.actor.to_owned(),
            kind: kind.name().to_owned(),
            subject: subject.to_owned(),
            body: body.to_string(),
        };
        entry.hash = entry.hash_after(&self.hash);
        self.on.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(
            params![
                signed(entry.seq),
                entry.previous,
                entry.hash,
                signed(entry.at_unix_millis),
                entry.actor,
                entry.kind,
                entry.subject,
                entry.body
            ],
        )?;
        (self.seq, self.hash) = (entry.seq, entry.hash);
        Ok(())
    }

    pub(super) fn create_workspace(&mut self, new: &NewWorkspace) -> Result<WorkspaceRecord, Failure> {
        if rows::workspace_by_id(self.on, &new.id)?.is_some() {
            return Err(Error::WorkspaceExists(new.id.clone()).into());
        }
        let record = WorkspaceRecord {
            id: new.id.clone(),
            number: self.next(),
            region: new.region.clone(),
            plan: new.plan,
            features: sorted(&new.features),
            state: WorkspaceState::Active,
            contacts: sorted(&new.contacts),
            created_at_unix_seconds: self.seconds(),
            overrides: Vec::new(),
        };
        self.put_workspace(&record)?;
        self.append(ChangeKind::WorkspaceCreated, &record.id, &workspace_body(&record))?;
        Ok(record)
    }

    pub(super) fn set_workspace(
        &mut self,
        id: &str,
        change: &WorkspaceChange,
    ) -> Result<WorkspaceRecord, Failure> {
        let before =
            rows::workspace_by_id(self.on, id)?.ok_or_else(|| Error::WorkspaceUnknown(id.to_owned()))?;
        let after = WorkspaceRecord {
            region: change.region.clone().unwrap_or_else(|| before.region.clone()),
            plan: change.plan.unwrap_or(before.plan),
            state: change.state.unwrap_or(before.state),
            features: merged(&before.features, &change.enable, &change.disable),
            contacts: merged(&before.contacts, &change.add_contacts, &change.remove_contacts),
            ..before.clone()
        };
        if after == before {
            return Ok(after);
        }
        self.put_workspace(&after)?;
        let body = json!({"before": workspace_body(&before), "after": workspace_body(&after)});
        self.append(ChangeKind::WorkspaceModified, id, &body)?;
        if after.state == WorkspaceState::Deleted && before.state != WorkspaceState::Deleted {
            self.revoke_all_of(id)?;
        }
        Ok(after)
    }

    fn put_workspace(&self, record: &WorkspaceRecord) -> Result<(), Failure> {
        let sql = "INSERT INTO workspace VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO UPDATE SET \
                   region = ?3, plan = ?4, features = ?5, state = ?6, contacts = ?7";
        self.on.prepare_cached(sql)?.execute(params![
            record.id,
            signed(record.number),
            record.region,
            record.plan.name(),
            json_list(&record.features),
            record.state.name(),
            json_list(&record.contacts),
            signed(record.created_at_unix_seconds),
        ])?;
        Ok(())
    }

    pub(super) fn create_token(&mut self, new: &NewToken, cap: u32) -> Result<TokenRecord, Failure> {
        let workspace = rows::workspace_by_id(self.on, &new.workspace)?
            .ok_or_else(|| Error::WorkspaceUnknown(new.workspace.clone()))?;
        if workspace.state == WorkspaceState::Deleted {
            return Err(Error::WorkspaceDeleted(workspace.id).into());
        }
        let working: u32 = self
            .on
            .prepare_cached(
                "SELECT count(*) FROM token WHERE workspace = ?1 AND revoked_at IS NULL \
                 AND (expires_at IS NULL OR expires_at > ?2) AND (overlap_until IS NULL OR overlap_until > ?2)",
            )?
            .query_row(params![new.workspace, signed(self.seconds())], |row| row.get(0))?;
        if working >= cap {
            return Err(Error::TooManyTokens { workspace: workspace.id, cap }.into());
        }
        self.put_token(new, &Origin { kind: ChangeKind::TokenCreated, family: None })
    }

    /// Adds a token without further checks, and its log entry.
    pub(super) fn put_token(&mut self, new: &NewToken, origin: &Origin<'_>) -> Result<TokenRecord, Failure> {
        let (family, number) = origin.family.unwrap_or((&new.id, self.next()));
        let record = TokenRecord {
            id: new.id.clone(),
            family: family.to_owned(),
            number,
            workspace: new.workspace.clone(),
            name: new.name.clone(),
            scopes: new.scopes.clone(),
            role: new.role,
            own_limit: new.own_limit,
            overrides: Vec::new(),
            created_at_unix_seconds: self.seconds(),
            expires_at_unix_seconds: new.expires_at_unix_seconds,
            revoked_at_unix_seconds: None,
            revoked_reason: None,
            overlap_until_unix_seconds: None,
            replaced_by: None,
            last_used_unix_seconds: None,
        };
        let sql = "INSERT INTO token (id, family, number, workspace, name, scopes, role, own_limit, created_at, \
                   expires_at, pepper, digest, is_foreign) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        self.on.prepare_cached(sql)?.execute(params![
            record.id,
            record.family,
            signed(record.number),
            record.workspace,
            record.name,
            json_list(&record.scopes),
            record.role.name(),
            record.own_limit.map(quota_text),
            signed(record.created_at_unix_seconds),
            record.expires_at_unix_seconds.map(signed),
            pepper_number(new.digest.scheme),
            new.digest.bytes,
            new.foreign,
        ])?;
        self.append(origin.kind, &record.id, &token_body(&record))?;
        Ok(record)
    }

    pub(super) fn rotate_token(&mut self, id: &str, by: &Replacement) -> Result<TokenRecord, Failure> {
        let old = rows::token_by_id(self.on, id)?.ok_or_else(|| Error::TokenUnknown(id.to_owned()))?.record;
        if let Some(successor) = old.replaced_by {
            return Err(Error::AlreadyRotated { id: old.id, successor }.into());
        }
        let state = old.state_at(self.seconds());
        if state != TokenState::Active {
            return Err(Error::NotActive { id: old.id, state: state.name() }.into());
        }
        let lifetime = old.expires_at_unix_seconds.map(|end| end.saturating_sub(old.created_at_unix_seconds));
        let new = NewToken {
            id: by.id.clone(),
            workspace: old.workspace.clone(),
            name: old.name.clone(),
            scopes: old.scopes.clone(),
            role: old.role,
            own_limit: old.own_limit,
            expires_at_unix_seconds: by
                .expires_at_unix_seconds
                .or_else(|| lifetime.map(|lifetime| self.seconds().saturating_add(lifetime))),
            digest: by.digest,
            foreign: false,
        };
        let origin = Origin { kind: ChangeKind::TokenCreated, family: Some((&old.family, old.number)) };
        let record = TokenRecord { overrides: old.overrides, ..self.put_token(&new, &origin)? };
        let until = self.seconds().saturating_add(by.overlap_seconds);
        self.on
            .prepare_cached("UPDATE token SET overlap_until = ?2, replaced_by = ?3 WHERE id = ?1")?
            .execute(params![id, signed(until), record.id])?;
        let body = json!({"workspace": old.workspace, "name": old.name, "replaced_by": record.id,
                          "overlap_until_unix_seconds": until});
        self.append(ChangeKind::TokenRotated, id, &body)?;
        if by.overlap_seconds == 0 {
            self.mark_revoked(&old.id, &old.workspace, &old.name, "rotated")?;
        }
        Ok(record)
    }

    pub(super) fn revoke_token(&mut self, id: &str, reason: &str) -> Result<TokenRecord, Failure> {
        let unknown = || Error::TokenUnknown(id.to_owned());
        let token = rows::token_by_id(self.on, id)?.ok_or_else(unknown)?.record;
        if token.revoked_at_unix_seconds.is_none() {
            self.mark_revoked(&token.id, &token.workspace, &token.name, reason)?;
        }
        let mut successor = token.id;
        while let Some(predecessor) = self.predecessor_of(&successor)? {
            if predecessor.state_at(self.seconds()) == TokenState::Active {
                let reason = format!("{reason} (its successor {id} was revoked)");
                self.mark_revoked(&predecessor.id, &predecessor.workspace, &predecessor.name, &reason)?;
            }
            successor = predecessor.id;
        }
        Ok(rows::token_by_id(self.on, id)?.ok_or_else(unknown)?.record)
    }

    fn predecessor_of(&self, successor: &str) -> Result<Option<TokenRecord>, Failure> {
        let sql = format!("{} WHERE t.replaced_by = ?1", rows::TOKEN);
        let mut statement = self.on.prepare_cached(&sql)?;
        let mut found = statement.query_map([successor], rows::token)?;
        Ok(found.next().transpose()?.map(|stored| stored.record))
    }

    fn revoke_all_of(&mut self, workspace: &str) -> Result<(), Failure> {
        let live: Vec<(String, String)> = self
            .on
            .prepare_cached(
                "SELECT id, name FROM token WHERE workspace = ?1 AND revoked_at IS NULL ORDER BY id",
            )?
            .query_map([workspace], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (id, name) in live {
            self.mark_revoked(&id, workspace, &name, "workspace deleted")?;
        }
        Ok(())
    }

    pub(super) fn set_revoked(&self, id: &str, reason: &str) -> Result<(), Failure> {
        self.on
            .prepare_cached("UPDATE token SET revoked_at = ?2, revoked_reason = ?3 WHERE id = ?1")?
            .execute(params![id, signed(self.seconds()), reason])?;
        Ok(())
    }

    pub(super) fn mark_revoked(
        &mut self,
        id: &str,
        workspace: &str,
        name: &str,
        reason: &str,
    ) -> Result<(), Failure> {
        self.set_revoked(id, reason)?;
        let body = json!({"workspace": workspace, "name": name, "reason": reason});
        self.append(ChangeKind::TokenRevoked, id, &body)
    }

    pub(super) fn add_fingerprint(&mut self, version: u16, fingerprint: &[u8; 32]) -> Result<(), Failure> {
        let added = self
            .on
            .prepare_cached("INSERT INTO pepper VALUES (?1, ?2) ON CONFLICT (version) DO NOTHING")?
            .execute(params![version, fingerprint])?;
        if added > 0 {
            self.append(ChangeKind::PepperAdded, &version.to_string(), &json!({}))?;
        }
        Ok(())
    }
}

fn workspace_body(record: &WorkspaceRecord) -> Value {
    json!({"region": record.region, "plan": record.plan.name(), "state": record.state.name(),
           "features": record.features, "contacts": record.contacts.len()})
}

fn token_body(record: &TokenRecord) -> Value {
    json!({"workspace": record.workspace, "name": record.name, "family": record.family,
           "scopes": record.scopes, "role": record.role.name(),
           "own_limit": record.own_limit.map(|quota| quota.to_string()),
           "expires_at_unix_seconds": record.expires_at_unix_seconds})
}

fn sorted(words: &[String]) -> Vec<String> {
    merged(&[], words, &[])
}

fn merged(before: &[String], add: &[String], remove: &[String]) -> Vec<String> {
    let mut words: Vec<String> =
        before.iter().chain(add).filter(|word| !remove.contains(word)).cloned().collect();
    words.sort_unstable();
    words.dedup();
    words
}
