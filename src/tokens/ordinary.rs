//! What tests ask for where nothing about it matters.

use super::{NewWorkspace, TokenRequest};
use crate::domain::{Plan, Role};

impl NewWorkspace {
    /// A team's workspace without features and contacts.
    pub(crate) fn ordinary(id: &str, region: &str) -> Self {
        Self { id: id.into(), region: region.into(), plan: Plan::Team, features: vec![], contacts: vec![] }
    }
}

impl TokenRequest {
    /// A restricted token for ever, from everywhere.
    pub(crate) fn ordinary(workspace: &str) -> Self {
        Self {
            workspace: workspace.into(),
            name: "ci".into(),
            scopes: vec![],
            role: Role::Restricted,
            own_limit: None,
            lifetime_seconds: None,
            allowed_networks: vec![],
            decoy: false,
        }
    }
}
