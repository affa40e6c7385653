//! Changes inside one writing transaction, each with its log entry, whatever database keeps the rows.
//!
//! What is checked, what is changed and what the log says of it is decided here, once for every store; a store
//! brings the statements ([`Tables`]).

mod idempotency;
mod import;
mod jwt_revocations;
mod leaks;
mod operators;
pub(super) mod outbox;
mod overrides;
mod peppers;
mod sightings;
mod tables;
mod token_changes;

use serde_json::{Value, json};

use super::columns::pepper_number;
use super::failure::Failure;
use super::{
    Act, ChangeKind, LogEntry, MOST_WORDS, Made, NewToken, NewWorkspace, Replacement, StoredToken,
    WorkspaceChange,
};
use crate::domain::WorkspaceState;
use crate::tokens::{Digest, Error, TokenRecord, TokenState, WorkspaceRecord};
pub(super) use idempotency::KeyTables;
pub(super) use import::ImportTables;
pub(super) use peppers::PepperTables;
pub(super) use sightings::SightingTables;
pub(super) use tables::{NewMessage, Tables};

/// Tokens that one statement revokes, and entries that one adds: each has a deadline of its own.
const AT_ONCE: u32 = 1_000;

/// A transaction that has the log to itself, with the end of the log that it extends.
pub(super) struct Writing<'t, T> {
    pub(super) on: &'t T,
    act: Act<'t>,
    seq: u64,
    hash: [u8; 32],
    /// What is to be added to the log.
    entries: Vec<LogEntry>,
}

/// Where a new token comes from.
pub(super) struct Origin<'o> {
    pub(super) kind: ChangeKind,
    /// Family and its number; a token without starts its own.
    pub(super) family: Option<(&'o str, u64)>,
}

impl<'t, T: Tables> Writing<'t, T> {
    pub(super) fn begin(on: &'t T, act: Act<'t>) -> Result<Self, Failure> {
        let (seq, hash) = on.lock_head()?;
        Ok(Self { on, act, seq, hash, entries: Vec::new() })
    }

    /// Writes what was appended to the log, and answers with its last entry's number and hash; [`None`] if
    /// nothing was.
    pub(super) fn end(self) -> Result<Option<(u64, [u8; 32])>, Failure> {
        if self.entries.is_empty() {
            return Ok(None);
        }
        self.entries.chunks(AT_ONCE as usize).try_for_each(|some| self.on.append(some))?;
        Ok(Some((self.seq, self.hash)))
    }

    pub(super) fn seconds(&self) -> u64 {
        self.act.now.unix_seconds()
    }

    fn millis(&self) -> u64 {
        self.act.now.unix_millis
    }

    /// The number that the next log entry gets.
    const fn next(&self) -> u64 {
        self.seq + 1
    }

    pub(super) fn append(&mut self, kind: ChangeKind, subject: &str, body: &Value) {
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
        (self.seq, self.hash) = (entry.seq, entry.hash);
        self.entries.push(entry);
    }

    pub(super) fn create_workspace(&mut self, new: &NewWorkspace) -> Result<WorkspaceRecord, Failure> {
        if self.on.workspace(&new.id)?.is_some() {
            return Err(Error::WorkspaceExists(new.id.clone()).into());
        }
        let record = self.add_workspace(new)?;
        self.keep_answer(Made::Workspace(&record))?;
        Ok(record)
    }

    /// Adds a workspace that is known not to be there, and its log entry.
    fn add_workspace(&mut self, new: &NewWorkspace) -> Result<WorkspaceRecord, Failure> {
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
        self.on.put_workspace(&record)?;
        self.append(ChangeKind::WorkspaceCreated, &record.id, &workspace_body(&record));
        Ok(record)
    }

    pub(super) fn set_workspace(
        &mut self,
        id: &str,
        change: &WorkspaceChange,
    ) -> Result<WorkspaceRecord, Failure> {
        let before = self.on.workspace(id)?.ok_or_else(|| Error::WorkspaceUnknown(id.to_owned()))?;
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
        check_grown("feature", &before.features, &after.features)?;
        check_grown("contact", &before.contacts, &after.contacts)?;
        self.on.put_workspace(&after)?;
        let body = json!({"before": workspace_body(&before), "after": workspace_body(&after)});
        self.append(ChangeKind::WorkspaceModified, id, &body);
        if after.state == WorkspaceState::Deleted && before.state != WorkspaceState::Deleted {
            self.revoke_all_of(id)?;
        }
        Ok(after)
    }

    pub(super) fn create_token(&mut self, new: &NewToken, cap: u32) -> Result<TokenRecord, Failure> {
        let workspace = self
            .on
            .workspace(&new.workspace)?
            .ok_or_else(|| Error::WorkspaceUnknown(new.workspace.clone()))?;
        if workspace.state == WorkspaceState::Deleted {
            return Err(Error::WorkspaceDeleted(workspace.id).into());
        }
        if self.on.working_tokens(&new.workspace, self.seconds())? >= u64::from(cap) {
            return Err(Error::TooManyTokens { workspace: workspace.id, cap }.into());
        }
        let record = self.put_token(new, &Origin { kind: ChangeKind::TokenCreated, family: None })?;
        self.keep_answer(Made::Token(&record))?;
        Ok(record)
    }

    /// Adds a token without further checks, and its log entry.
    fn put_token(&mut self, new: &NewToken, origin: &Origin<'_>) -> Result<TokenRecord, Failure> {
        let added = self.added(new, origin);
        self.on.insert_tokens(std::slice::from_ref(&added))?;
        Ok(added.record)
    }

    /// A token that is to be inserted, and its log entry.
    fn added(&mut self, new: &NewToken, origin: &Origin<'_>) -> StoredToken {
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
            allowed_networks: new.allowed_networks.clone(),
            is_decoy: new.is_decoy,
            overrides: Vec::new(),
            created_at_unix_seconds: self.seconds(),
            expires_at_unix_seconds: new.expires_at_unix_seconds,
            revoked_at_unix_seconds: None,
            revoked_reason: None,
            overlap_until_unix_seconds: None,
            replaced_by: None,
            last_used_unix_seconds: None,
        };
        self.append(origin.kind, &record.id, &token_body(&record));
        StoredToken { record, digest: new.digest, foreign: new.foreign, former: Vec::new() }
    }

    pub(super) fn rotate_token(&mut self, id: &str, by: &Replacement) -> Result<TokenRecord, Failure> {
        let old = self.on.token(id)?.ok_or_else(|| Error::TokenUnknown(id.to_owned()))?.record;
        if let Some(successor) = old.replaced_by {
            return Err(Error::AlreadyRotated { id: old.id, successor }.into());
        }
        let state = old.state_at(self.seconds());
        if state != TokenState::Active {
            return Err(Error::NotActive { id: old.id, state: state.name() }.into());
        }
        if by.overlap_seconds > 0 {
            let most = by.cap.saturating_mul(2);
            if self.on.working_tokens(&old.workspace, self.seconds())? >= u64::from(most) {
                return Err(Error::TooManyOverlaps { workspace: old.workspace, most }.into());
            }
        }
        let lifetime = old.expires_at_unix_seconds.map(|end| end.saturating_sub(old.created_at_unix_seconds));
        let new = NewToken {
            id: by.id.clone(),
            workspace: old.workspace.clone(),
            name: old.name.clone(),
            scopes: old.scopes.clone(),
            role: old.role,
            own_limit: old.own_limit,
            allowed_networks: old.allowed_networks.clone(),
            is_decoy: old.is_decoy,
            expires_at_unix_seconds: by
                .expires_at_unix_seconds
                .or_else(|| lifetime.map(|lifetime| self.seconds().saturating_add(lifetime))),
            digest: by.digest,
            foreign: false,
        };
        let origin = Origin { kind: ChangeKind::TokenCreated, family: Some((&old.family, old.number)) };
        let record = TokenRecord { overrides: old.overrides, ..self.put_token(&new, &origin)? };
        let until = self.seconds().saturating_add(by.overlap_seconds);
        self.on.set_replaced(id, until, &record.id)?;
        let body = json!({"workspace": old.workspace, "name": old.name, "replaced_by": record.id,
                          "overlap_until_unix_seconds": until});
        self.append(ChangeKind::TokenRotated, id, &body);
        if by.overlap_seconds == 0 {
            self.mark_revoked(&old.id, &old.workspace, &old.name, "rotated")?;
        }
        self.keep_answer(Made::Token(&record))?;
        Ok(record)
    }

    pub(super) fn revoke_token(&mut self, id: &str, reason: &str) -> Result<TokenRecord, Failure> {
        let unknown = || Error::TokenUnknown(id.to_owned());
        let token = self.on.token(id)?.ok_or_else(unknown)?.record;
        if token.revoked_at_unix_seconds.is_none() {
            self.mark_revoked(&token.id, &token.workspace, &token.name, reason)?;
        }
        for predecessor in self.on.working_predecessors(id, self.seconds())? {
            let reason = format!("{reason} (its successor {id} was revoked)");
            self.mark_revoked(&predecessor.id, &predecessor.workspace, &predecessor.name, &reason)?;
        }
        Ok(self.on.token(id)?.ok_or_else(unknown)?.record)
    }

    fn revoke_all_of(&mut self, workspace: &str) -> Result<(), Failure> {
        const REASON: &str = "workspace deleted";
        loop {
            let mut revoked = self.on.revoke_some_of(workspace, (self.seconds(), REASON), AT_ONCE)?;
            if revoked.is_empty() {
                return Ok(());
            }
            revoked.sort_unstable();
            for (id, name) in revoked {
                self.log_revoked(&id, workspace, &name, REASON);
            }
        }
    }

    pub(super) fn set_revoked(&self, id: &str, reason: &str) -> Result<(), Failure> {
        self.on.set_revoked(id, self.seconds(), reason)
    }

    pub(super) fn mark_revoked(
        &mut self,
        id: &str,
        workspace: &str,
        name: &str,
        reason: &str,
    ) -> Result<(), Failure> {
        self.set_revoked(id, reason)?;
        self.log_revoked(id, workspace, name, reason);
        Ok(())
    }

    fn log_revoked(&mut self, id: &str, workspace: &str, name: &str, reason: &str) {
        let body = json!({"workspace": workspace, "name": name, "reason": reason});
        self.append(ChangeKind::TokenRevoked, id, &body);
    }

    pub(super) fn add_fingerprints(&mut self, fingerprints: &[Digest]) -> Result<(), Failure> {
        for fingerprint in fingerprints {
            let version = pepper_number(fingerprint.scheme);
            if self.on.insert_fingerprint(version, &fingerprint.bytes)? {
                self.append(ChangeKind::PepperAdded, &version.to_string(), &json!({}));
            }
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
           "allowed_networks": record.allowed_networks, "decoy": record.is_decoy,
           "expires_at_unix_seconds": record.expires_at_unix_seconds})
}

fn sorted(words: &[String]) -> Vec<String> {
    merged(&[], words, &[])
}

/// Refuses a list that a change makes longer than one may be.
fn check_grown(what: &'static str, before: &[String], after: &[String]) -> Result<(), Error> {
    if after.len() <= MOST_WORDS.max(before.len()) {
        return Ok(());
    }
    let value = format!("{} of them", after.len());
    Err(Error::Invalid { what, value, fix: "a workspace has at most 64; remove some with the same change" })
}

fn merged(before: &[String], add: &[String], remove: &[String]) -> Vec<String> {
    let mut words: Vec<String> =
        before.iter().chain(add).filter(|word| !remove.contains(word)).cloned().collect();
    words.sort_unstable();
    words.dedup();
    words
}
