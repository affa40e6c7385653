//! Workspaces, plans and roles: what the registry says of a tenant.

use std::sync::Arc;

use super::{LimitOverride, RegionId};

/// Who is counted together in limits: one number per workspace, per token family or per JWT client.
///
/// A rotated token and a renewed JWT keep their subject and so their buckets. Unique within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject(pub u64);

/// A workspace's plan. Team and Business may use the API, Free may not (the permitted plans of an endpoint
/// are configuration).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// No access to the API.
    Free,
    /// Access with opaque tokens.
    Team,
    /// Access with opaque tokens and OAuth.
    Business,
}

impl Plan {
    /// Every plan, from the narrowest to the widest.
    pub const ALL: [Self; 3] = [Self::Free, Self::Team, Self::Business];

    /// The name in configuration, claims and headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Team => "team",
            Self::Business => "business",
        }
    }

    /// Reads a name in any case.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plan| plan.name().eq_ignore_ascii_case(name))
    }
}

/// Whether a workspace may be served at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkspaceState {
    /// Served.
    Active,
    /// Refused with `workspace_suspended`.
    Suspended,
    /// Refused with `workspace_suspended`; its tokens are revoked.
    Deleted,
}

impl WorkspaceState {
    /// The name in the store, the command line and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deleted => "deleted",
        }
    }

    /// Reads a name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Suspended, Self::Deleted].into_iter().find(|state| state.name() == name)
    }
}

/// What a credential's holder may do beyond its scopes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
pub enum Role {
    /// Holds every role that an endpoint can ask for.
    #[serde(rename = "owner")]
    Owner,
    /// Holds none of them.
    #[serde(rename = "restricted")]
    Restricted,
}

impl Role {
    /// The name in the store, the command line, claims and headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Restricted => "restricted",
        }
    }

    /// Reads a name; `Workspace Owner`, as the API's own role is called, is [`Role::Owner`].
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "owner" | "Workspace Owner" => Some(Self::Owner),
            "restricted" | "Workspace Member" => Some(Self::Restricted),
            _ => None,
        }
    }
}

/// A tenant as one request sees it: an immutable copy of what the registry last said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Public id, 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub id: Arc<str>,
    /// Counted together under this number.
    pub subject: Subject,
    /// Where its data lives.
    pub region: RegionId,
    /// Its plan.
    pub plan: Plan,
    /// Names of the features that are enabled for it.
    pub features: Arc<[Arc<str>]>,
    /// Whether it may be served.
    pub state: WorkspaceState,
    /// Limits in place of policies', also of those that have ended; mostly none.
    pub overrides: Arc<[LimitOverride]>,
}

impl Workspace {
    /// Whether a feature is enabled.
    pub fn has_feature(&self, name: &str) -> bool {
        self.features.iter().any(|feature| &**feature == name)
    }
}
