//! What one token costs in memory: under 200 bytes with its place in the map.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwapOption;

use crate::clock::Now;
use crate::domain::{LimitOverride, Quota, Role, Subject, Workspace};
use crate::tokens::{TokenRecord, TokenState};

/// Stands for a time that never comes, and for the end of 32-bit seconds (2106).
const NEVER: u32 = u32::MAX;

/// What many tokens have in common; shared between them.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Grants {
    pub(super) scopes: Arc<[Arc<str>]>,
    pub(super) role: Role,
    pub(super) own_limit: Option<Quota>,
    pub(super) overrides: Option<Arc<[LimitOverride]>>,
}

/// A workspace whose present description can be replaced while requests read it; empty while the
/// configuration does not have its region.
pub(super) type WorkspaceCell = ArcSwapOption<Workspace>;

/// A token in memory. Times are 32-bit seconds since 1970.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: Arc<str>,
    pub(super) grants: Arc<Grants>,
    pub(super) workspace: Arc<WorkspaceCell>,
    pub(super) subject: Subject,
    expires: u32,
    /// 0 if revoked, the end of the overlap if rotated.
    ends: u32,
    /// Minutes since 1970.
    used_minute: AtomicU32,
    written_minute: AtomicU32,
}

impl Held {
    pub(super) fn new(record: &TokenRecord, grants: Arc<Grants>, workspace: Arc<WorkspaceCell>) -> Self {
        let seconds = |time: Option<u64>| time.map_or(NEVER, |time| u32::try_from(time).unwrap_or(NEVER));
        let revoked = record.revoked_at_unix_seconds.is_some();
        Self {
            id: record.id.as_str().into(),
            grants,
            workspace,
            subject: record.subject(),
            expires: seconds(record.expires_at_unix_seconds),
            ends: if revoked { 0 } else { seconds(record.overlap_until_unix_seconds) },
            used_minute: AtomicU32::new(0),
            written_minute: AtomicU32::new(0),
        }
    }

    /// Takes over when the token was used from what it replaces in memory.
    pub(super) fn continue_from(&self, before: &Self) {
        self.used_minute.store(before.used_minute.load(Ordering::Relaxed), Ordering::Relaxed);
        self.written_minute.store(before.written_minute.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(super) fn state_at(&self, now: Now) -> TokenState {
        let over = |end: u32| end != NEVER && u64::from(end) <= now.unix_seconds();
        if over(self.ends) {
            TokenState::Revoked
        } else if over(self.expires) {
            TokenState::Expired
        } else {
            TokenState::Active
        }
    }

    /// Notes a use. Writes memory once a minute, so that cores do not fight over a busy token.
    pub(super) fn touch(&self, now: Now) {
        let minute = (now.unix_seconds() / 60) as u32;
        if self.used_minute.load(Ordering::Relaxed) != minute {
            self.used_minute.store(minute, Ordering::Relaxed);
        }
    }

    /// When it was used, in seconds since 1970, if that was not yet written back.
    pub(super) fn unwritten_use(&self) -> Option<u64> {
        let used = self.used_minute.load(Ordering::Relaxed);
        (used != self.written_minute.load(Ordering::Relaxed)).then(|| u64::from(used) * 60)
    }

    /// Notes that a use was written back.
    pub(super) fn written(&self, unix_seconds: u64) {
        self.written_minute.store((unix_seconds / 60) as u32, Ordering::Relaxed);
    }
}

/// A genuine token with its workspace as it was at the look-up.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) held: Arc<Held>,
    pub(super) workspace: Arc<Workspace>,
}

impl Entry {
    /// The token's public id.
    pub fn token_id(&self) -> &Arc<str> {
        &self.held.id
    }

    /// What the limits of its family are counted under; rotation keeps it.
    pub fn subject(&self) -> Subject {
        self.held.subject
    }

    /// Its workspace.
    pub const fn workspace(&self) -> &Arc<Workspace> {
        &self.workspace
    }

    /// The scopes that it holds.
    pub fn scopes(&self) -> &Arc<[Arc<str>]> {
        &self.held.grants.scopes
    }

    /// Its role in the workspace.
    pub fn role(&self) -> Role {
        self.held.grants.role
    }

    /// A limit of its own.
    pub fn own_limit(&self) -> Option<Quota> {
        self.held.grants.own_limit
    }

    /// Limits in place of policies' for its family; [`None`] for none.
    pub fn overrides(&self) -> Option<Arc<[LimitOverride]>> {
        self.held.grants.overrides.clone()
    }

    /// When it stops working, by expiry or because it was rotated, whichever comes first.
    pub fn expires_at_unix_seconds(&self) -> Option<u64> {
        let end = self.held.expires.min(self.held.ends);
        (end != NEVER).then_some(u64::from(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 16 bytes of counts before the entry, 8 of the allocator after it, 48 for the id, and 25 for key,
    /// pointer and control byte in a table that may be as empty as 44 %.
    #[test]
    fn a_token_costs_less_than_200_bytes() {
        let entry = (16 + size_of::<Held>() + 8).next_multiple_of(16);
        let (id, place) = (48, 25 * 100 / 44);
        assert!(entry + id + place < 200, "{}", size_of::<Held>());
    }
}
