//! A genuine token as a request meets it.

use std::sync::Arc;

use crate::domain::{LimitOverride, Network, Quota, Role, Subject, TokenId, Workspace};

/// What many tokens have in common; shared between them.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Grants {
    pub(super) scopes: Arc<[Arc<str>]>,
    pub(super) role: Role,
    pub(super) own_limit: Option<Quota>,
    pub(super) overrides: Option<Arc<[LimitOverride]>>,
    /// [`None`] for a token that may be used from everywhere.
    pub(super) allowed_networks: Option<Arc<[Network]>>,
    pub(super) is_decoy: bool,
}

/// A genuine token with its workspace as it was at the look-up.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) id: TokenId,
    pub(super) subject: Subject,
    pub(super) end: Option<u64>,
    pub(super) grants: Arc<Grants>,
    pub(super) workspace: Arc<Workspace>,
}

impl Entry {
    /// The token's public id.
    pub const fn token_id(&self) -> &TokenId {
        &self.id
    }

    /// What the limits of its family are counted under; rotation keeps it.
    pub const fn subject(&self) -> Subject {
        self.subject
    }

    /// Its workspace.
    pub const fn workspace(&self) -> &Arc<Workspace> {
        &self.workspace
    }

    /// The scopes that it holds.
    pub fn scopes(&self) -> &Arc<[Arc<str>]> {
        &self.grants.scopes
    }

    /// Its role in the workspace.
    pub fn role(&self) -> Role {
        self.grants.role
    }

    /// A limit of its own.
    pub fn own_limit(&self) -> Option<Quota> {
        self.grants.own_limit
    }

    /// Limits in place of policies' for its family; [`None`] for none.
    pub fn overrides(&self) -> Option<Arc<[LimitOverride]>> {
        self.grants.overrides.clone()
    }

    /// Where it may be used from; [`None`] for everywhere.
    pub fn allowed_networks(&self) -> Option<Arc<[Network]>> {
        self.grants.allowed_networks.clone()
    }

    /// When it stops working, by expiry or because it was rotated, whichever comes first.
    pub const fn expires_at_unix_seconds(&self) -> Option<u64> {
        self.end
    }
}
