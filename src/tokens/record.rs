//! What the registry knows of a token and of a workspace, as it is stored and as it is shown.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::overrides::{OverrideRecord, OverrideView};
use crate::clock::Now;
use crate::domain::{Network, Plan, Quota, RegionId, Role, Subject, Workspace, WorkspaceState};

/// Marks a workspace's subject. Token families have numbers below it, so the two never meet; numbers from
/// 2^63 are free for callers that no registry knows, such as JWT clients.
const WORKSPACE_SUBJECT: u64 = 1 << 62;

/// The subject of a workspace's own number.
pub(super) const fn workspace_subject(number: u64) -> Subject {
    Subject(WORKSPACE_SUBJECT | number)
}

/// A workspace as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceRecord {
    /// Public id, 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub id: String,
    /// The log entry that made it; unique, never used again.
    pub number: u64,
    /// The configured name of its home region.
    pub region: String,
    /// Its plan.
    pub plan: Plan,
    /// The features that are enabled, sorted.
    pub features: Vec<String>,
    /// Whether it may be served.
    pub state: WorkspaceState,
    /// E-mail and webhook addresses of those who are told of leaks, sorted.
    pub contacts: Vec<String>,
    /// When it was made.
    pub created_at_unix_seconds: u64,
    /// Limits in place of policies', also of those that have ended, by policy.
    pub overrides: Vec<OverrideRecord>,
}

/// Whether a token works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenState {
    /// It works.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked, or rotated and its overlap is over.
    Revoked,
}

impl TokenState {
    /// The name on the command line and in the admin API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// Reads a name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Expired, Self::Revoked].into_iter().find(|state| state.name() == name)
    }
}

/// A token as stored, without what could be used in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Public id, for example `tok_4cXd…`; appears in logs and identity headers.
    pub id: String,
    /// The id of the first token of its family; rotation keeps it.
    pub family: String,
    /// The family's number: what its limits are counted under.
    pub number: u64,
    /// Its workspace's id.
    pub workspace: String,
    /// A name for people.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Its role in the workspace.
    pub role: Role,
    /// A limit of its own.
    pub own_limit: Option<Quota>,
    /// Where it may be used from, sorted; from everywhere if there are none.
    pub allowed_networks: Vec<Network>,
    /// Whether it is a decoy: never valid, and whoever uses it is told of.
    pub is_decoy: bool,
    /// Limits in place of policies' for its family, also of those that have ended, by policy.
    pub overrides: Vec<OverrideRecord>,
    /// When it was made or imported.
    pub created_at_unix_seconds: u64,
    /// When it stops working by itself.
    pub expires_at_unix_seconds: Option<u64>,
    /// When it was revoked. Holds from the moment that it is known, whatever the clock says.
    pub revoked_at_unix_seconds: Option<u64>,
    /// Why it was revoked.
    pub revoked_reason: Option<String>,
    /// When it stops working because it was rotated.
    pub overlap_until_unix_seconds: Option<u64>,
    /// The token that took its place.
    pub replaced_by: Option<String>,
    /// When it was last used, to the minute.
    pub last_used_unix_seconds: Option<u64>,
}

impl TokenRecord {
    /// What its requests are counted under.
    pub const fn subject(&self) -> Subject {
        Subject(self.number)
    }

    /// Whether it works at a time. Revoked wins over expired: it says more.
    pub fn state_at(&self, unix_seconds: u64) -> TokenState {
        let over = |end: Option<u64>| end.is_some_and(|end| end <= unix_seconds);
        if self.revoked_at_unix_seconds.is_some() || over(self.overlap_until_unix_seconds) {
            TokenState::Revoked
        } else if over(self.expires_at_unix_seconds) {
            TokenState::Expired
        } else {
            TokenState::Active
        }
    }

    /// Whether it was not used for a time that ends now; one that was never used counts from when it was made.
    pub fn is_unused_for(&self, seconds: u64, now: Now) -> bool {
        let last = self.last_used_unix_seconds.unwrap_or(self.created_at_unix_seconds);
        last.saturating_add(seconds) <= now.unix_seconds()
    }

    /// What people and programs are shown of it.
    pub fn view(&self, unix_seconds: u64) -> TokenView<'_> {
        TokenView {
            id: &self.id,
            state: self.state_at(unix_seconds),
            workspace: &self.workspace,
            name: &self.name,
            scopes: &self.scopes,
            role: self.role,
            own_limit: self.own_limit.map(|quota| quota.to_string()),
            allowed_networks: &self.allowed_networks,
            decoy: self.is_decoy,
            limit_overrides: views(&self.overrides),
            family: &self.family,
            created_at: Moment(self.created_at_unix_seconds),
            expires_at: self.expires_at_unix_seconds.map(Moment),
            revoked_at: self.revoked_at_unix_seconds.map(Moment),
            revoked_reason: self.revoked_reason.as_deref(),
            overlap_until: self.overlap_until_unix_seconds.map(Moment),
            replaced_by: self.replaced_by.as_deref(),
            last_used_at: self.last_used_unix_seconds.map(Moment),
        }
    }
}

impl WorkspaceRecord {
    /// The workspace as a request sees it, in its region.
    pub fn described(&self, region: RegionId) -> Workspace {
        Workspace {
            id: self.id.as_str().into(),
            subject: workspace_subject(self.number),
            region,
            plan: self.plan,
            features: self.features.iter().map(|feature| Arc::from(feature.as_str())).collect(),
            state: self.state,
            overrides: OverrideRecord::all_as_met(&self.overrides),
        }
    }

    /// What people and programs are shown of it.
    pub fn view(&self) -> WorkspaceView<'_> {
        WorkspaceView {
            id: &self.id,
            region: &self.region,
            plan: self.plan,
            state: self.state,
            features: &self.features,
            contacts: &self.contacts,
            limit_overrides: views(&self.overrides),
            created_at: Moment(self.created_at_unix_seconds),
        }
    }
}

fn views(overrides: &[OverrideRecord]) -> Vec<OverrideView<'_>> {
    overrides.iter().map(OverrideRecord::view).collect()
}

/// A time of the wall clock in seconds since 1970, shown as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub u64);

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match i64::try_from(self.0).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()) {
            Some(timestamp) => timestamp.fmt(f),
            None => write!(f, "{} seconds since 1970", self.0),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time"})
    }
}

/// A token as the command line and the admin API write it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Token")]
#[expect(missing_docs, reason = "the fields are those of `TokenRecord`")]
pub struct TokenView<'r> {
    pub id: &'r str,
    pub state: TokenState,
    pub workspace: &'r str,
    pub name: &'r str,
    pub scopes: &'r [String],
    pub role: Role,
    pub own_limit: Option<String>,
    pub allowed_networks: &'r [Network],
    pub decoy: bool,
    pub limit_overrides: Vec<OverrideView<'r>>,
    pub family: &'r str,
    pub created_at: Moment,
    pub expires_at: Option<Moment>,
    pub revoked_at: Option<Moment>,
    pub revoked_reason: Option<&'r str>,
    pub overlap_until: Option<Moment>,
    pub replaced_by: Option<&'r str>,
    pub last_used_at: Option<Moment>,
}

/// A workspace as the command line and the admin API write it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Workspace")]
#[expect(missing_docs, reason = "the fields are those of `WorkspaceRecord`")]
pub struct WorkspaceView<'r> {
    pub id: &'r str,
    pub region: &'r str,
    pub plan: Plan,
    pub state: WorkspaceState,
    pub features: &'r [String],
    pub contacts: &'r [String],
    pub limit_overrides: Vec<OverrideView<'r>>,
    pub created_at: Moment,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> TokenRecord {
        TokenRecord {
            id: "tok_a".into(),
            family: "tok_a".into(),
            number: 7,
            workspace: "ws".into(),
            name: "ci".into(),
            scopes: vec![],
            role: Role::Restricted,
            own_limit: None,
            allowed_networks: vec![],
            is_decoy: false,
            overrides: vec![],
            created_at_unix_seconds: 100,
            expires_at_unix_seconds: None,
            revoked_at_unix_seconds: None,
            revoked_reason: None,
            overlap_until_unix_seconds: None,
            replaced_by: None,
            last_used_unix_seconds: None,
        }
    }

    #[test]
    fn a_token_ends_at_its_expiry_not_after_it() {
        let token = TokenRecord { expires_at_unix_seconds: Some(200), ..token() };
        assert_eq!(token.state_at(199), TokenState::Active);
        assert_eq!(token.state_at(200), TokenState::Expired);
    }

    #[test]
    fn a_rotated_token_works_to_the_end_of_its_overlap() {
        let token = TokenRecord { overlap_until_unix_seconds: Some(200), ..token() };
        assert_eq!(token.state_at(199), TokenState::Active);
        assert_eq!(token.state_at(200), TokenState::Revoked);
    }

    #[test]
    fn a_revocation_holds_even_if_our_clock_is_behind() {
        let token =
            TokenRecord { revoked_at_unix_seconds: Some(500), expires_at_unix_seconds: Some(1), ..token() };
        assert_eq!(token.state_at(2), TokenState::Revoked);
    }

    #[test]
    fn subjects_of_workspaces_and_families_never_meet() {
        assert_ne!(token().subject(), workspace_subject(7));
    }

    #[test]
    fn times_are_shown_as_rfc_3339() {
        assert_eq!(Moment(1_700_000_000).to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(Moment(u64::MAX).to_string(), "18446744073709551615 seconds since 1970");
    }
}
