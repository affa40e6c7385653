//! May they: scopes, plan, feature, role and the workspace's state.
//!
//! Decides from a proven [`Caller`] and a matched [`Endpoint`] alone, synchronously. Invariant: a [`Permit`]
//! exists only for a request that passed every check here. It refuses to know how the caller was proven, how
//! the endpoint was found, and what is counted.

use std::sync::Arc;

use crate::authentication::Caller;
use crate::domain::{ApiVersion, Endpoint, Plan, Role, WorkspaceState};

/// The second ticket: a request that may be served, not yet counted. Only [`permit`] makes one.
#[derive(Debug)]
pub struct Permit<'r> {
    caller: Option<Caller>,
    endpoint: Option<&'r Endpoint>,
    version: Option<ApiVersion>,
}

/// Why a proven caller may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No credential where one is needed.
    #[error("the endpoint needs a credential")]
    CredentialMissing,
    /// The workspace is suspended or deleted.
    #[error("the workspace is {}", .0.name())]
    WorkspaceSuspended(WorkspaceState),
    /// The workspace's plan is not among the endpoint's.
    #[error("the workspace's plan is {}", .has.name())]
    PlanRequired {
        /// Its plan.
        has: Plan,
        /// The plans that would do.
        needs: Vec<Plan>,
    },
    /// The credential lacks a scope.
    #[error("scope {0} is missing")]
    ScopeMissing(Arc<str>),
    /// The workspace lacks a feature.
    #[error("feature {0} is not enabled")]
    FeatureRequired(Arc<str>),
    /// The credential lacks a role.
    #[error("role {} is missing", .0.name())]
    RoleRequired(Role),
}

/// What is asked of a caller whose request matched no endpoint and is forwarded all the same.
#[derive(Clone, Debug)]
pub struct UnmatchedNeeds {
    /// The scope it must hold.
    pub scope: Option<Arc<str>>,
    /// The plans that may.
    pub plans: Vec<Plan>,
}

impl<'r> Permit<'r> {
    /// The proven caller; [`None`] only on a public endpoint.
    pub const fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// The matched endpoint; [`None`] where an unknown path is forwarded.
    pub const fn endpoint(&self) -> Option<&'r Endpoint> {
        self.endpoint
    }

    /// The version that was asked for or chosen.
    pub const fn version(&self) -> Option<ApiVersion> {
        self.version
    }
}

/// Decides whether `caller` may call `endpoint`.
///
/// The order is from the workspace to the detail, so that the caller learns first what it cannot mend by
/// another token: state, plan, feature, then scope and role.
pub fn permit<'r>(
    caller: Option<Caller>,
    endpoint: Option<&'r Endpoint>,
    version: Option<ApiVersion>,
    unmatched: &UnmatchedNeeds,
) -> Result<Permit<'r>, Denied> {
    if endpoint.is_some_and(|endpoint| endpoint.public) {
        return Ok(Permit { caller, endpoint, version });
    }
    let Some(caller) = caller else { return Err(Denied::CredentialMissing) };
    let workspace = caller.workspace();
    if workspace.state != WorkspaceState::Active {
        return Err(Denied::WorkspaceSuspended(workspace.state));
    }
    let (plans, scope) = match endpoint {
        Some(endpoint) => (&endpoint.plans, &endpoint.scope),
        None => (&unmatched.plans, &unmatched.scope),
    };
    if !plans.contains(&workspace.plan) {
        return Err(Denied::PlanRequired { has: workspace.plan, needs: plans.clone() });
    }
    if let Some(feature) = endpoint.and_then(|endpoint| endpoint.feature.as_ref())
        && !workspace.has_feature(feature)
    {
        return Err(Denied::FeatureRequired(Arc::clone(feature)));
    }
    if let Some(scope) = scope
        && !caller.scopes().contains(scope)
    {
        return Err(Denied::ScopeMissing(Arc::clone(scope)));
    }
    if let Some(role) = endpoint.and_then(|endpoint| endpoint.role)
        && role == Role::Owner
        && caller.role() != Role::Owner
    {
        return Err(Denied::RoleRequired(role));
    }
    Ok(Permit { caller: Some(caller), endpoint, version })
}

#[cfg(test)]
mod tests;
