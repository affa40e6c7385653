//! Who is calling, proven.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Refused, Whose};
use crate::domain::{LimitOverride, Network, Quota, Role, Subject, TokenId, Workspace};

/// How the caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// An opaque token of the registry.
    Opaque,
    /// A JWT of a configured issuer.
    Jwt,
}

/// The first ticket: a proven identity. Only [`crate::authentication`] makes one, so a request without one
/// cannot be permitted, counted or forwarded.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(super) kind: CredentialKind,
    pub(super) token_id: TokenId,
    pub(super) issuer: Option<Arc<str>>,
    pub(super) subject: Subject,
    pub(super) workspace: Arc<Workspace>,
    pub(super) role: Role,
    pub(super) scopes: Arc<[Arc<str>]>,
    pub(super) own_limit: Option<Quota>,
    pub(super) overrides: Option<Arc<[LimitOverride]>>,
    pub(super) allowed_networks: Option<Arc<[Network]>>,
    pub(super) expires_at_unix_seconds: Option<u64>,
}

impl Caller {
    /// How it proved who it is.
    pub const fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// The credential's public name: the token's id, or the JWT's client. Never the credential itself.
    pub const fn token_id(&self) -> &TokenId {
        &self.token_id
    }

    /// The issuer of its JWT; [`None`] for an opaque token.
    pub const fn issuer(&self) -> Option<&Arc<str>> {
        self.issuer.as_ref()
    }

    /// What its limits are counted under; outlives rotation and renewal.
    pub const fn subject(&self) -> Subject {
        self.subject
    }

    /// Its workspace, as the registry last described it.
    pub const fn workspace(&self) -> &Arc<Workspace> {
        &self.workspace
    }

    /// Its role in that workspace.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The scopes that it holds.
    pub const fn scopes(&self) -> &Arc<[Arc<str>]> {
        &self.scopes
    }

    /// A limit of its own, which stands in place of the policies that count by token alone.
    pub const fn own_limit(&self) -> Option<Quota> {
        self.own_limit
    }

    /// Whether any limit of its token or its workspace was ever overridden.
    pub fn has_overrides(&self) -> bool {
        self.overrides.is_some() || !self.workspace.overrides.is_empty()
    }

    /// What its token's quota for a policy is overridden with at a time.
    pub fn token_override(&self, policy: &str, unix_seconds: u64) -> Option<Quota> {
        LimitOverride::in_force(self.overrides.as_deref()?, policy, unix_seconds)
    }

    /// What its workspace's quota for a policy is overridden with at a time.
    pub fn workspace_override(&self, policy: &str, unix_seconds: u64) -> Option<Quota> {
        LimitOverride::in_force(&self.workspace.overrides, policy, unix_seconds)
    }

    /// The caller, if its credential may be used from an address. Costs nothing for one that is bound to none.
    pub fn from_address(self, address: IpAddr) -> Result<Self, Refused> {
        match &self.allowed_networks {
            Some(networks) if !networks.iter().any(|network| network.contains(address)) => {
                let whose = Whose { token_id: self.token_id, workspace_id: Arc::clone(&self.workspace.id) };
                Err(Refused::AddressNotAllowed { whose, address })
            }
            Some(_) | None => Ok(self),
        }
    }

    /// When the credential ends.
    pub const fn expires_at_unix_seconds(&self) -> Option<u64> {
        self.expires_at_unix_seconds
    }

    /// A caller that no credential proved, for the tests of the rooms below.
    #[cfg(test)]
    pub(crate) fn for_test(subject: u64, workspace: Workspace) -> Self {
        Self {
            kind: CredentialKind::Opaque,
            token_id: "tok_test".into(),
            issuer: None,
            subject: Subject(subject),
            workspace: Arc::new(workspace),
            role: Role::Owner,
            scopes: Arc::from(vec![Arc::from("public_api:read_write")]),
            own_limit: None,
            overrides: None,
            allowed_networks: None,
            expires_at_unix_seconds: None,
        }
    }

    /// The same caller with another role, scopes and limit of its own, for tests.
    #[cfg(test)]
    pub(crate) fn with(mut self, role: Role, scopes: &[&str], own_limit: Option<Quota>) -> Self {
        self.role = role;
        self.scopes = scopes.iter().map(|scope| Arc::from(*scope)).collect();
        self.own_limit = own_limit;
        self
    }

    /// The same caller with overrides of its token's limits, for tests.
    #[cfg(test)]
    pub(crate) fn with_overrides(mut self, overrides: &[LimitOverride]) -> Self {
        self.overrides = (!overrides.is_empty()).then(|| overrides.into());
        self
    }
}
