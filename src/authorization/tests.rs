use std::sync::Arc;

use super::*;
use crate::domain::{Quota, RegionId, Subject, Workspace};

fn workspace() -> Workspace {
    Workspace {
        id: "ws_1".into(),
        subject: Subject(1),
        region: RegionId(0),
        plan: Plan::Business,
        features: Arc::from(vec![Arc::from("Audience")]),
        state: WorkspaceState::Active,
        overrides: Arc::default(),
    }
}

fn endpoint() -> Endpoint {
    Endpoint {
        index: 0,
        operation: "listSources".into(),
        method: None,
        template: "/sources".into(),
        versions: Vec::new(),
        scope: Some("public_api:read_write".into()),
        plans: vec![Plan::Team, Plan::Business],
        feature: Some("Audience".into()),
        role: Some(Role::Owner),
        cost: std::num::NonZeroU32::MIN,
        limits: Vec::new(),
        public: false,
    }
}

fn unmatched() -> UnmatchedNeeds {
    UnmatchedNeeds { scope: Some("public_api:read_write".into()), plans: vec![Plan::Team, Plan::Business] }
}

fn denied(workspace: Workspace, caller: impl FnOnce(Caller) -> Caller, endpoint: &Endpoint) -> Denied {
    permit(Some(caller(Caller::for_test(7, workspace))), Some(endpoint), None, &unmatched()).unwrap_err()
}

#[test]
fn every_reason_is_refused_in_order() {
    let no_quota: Option<Quota> = None;
    let plain = |caller| caller;
    let suspended = Workspace { state: WorkspaceState::Suspended, plan: Plan::Free, ..workspace() };
    assert_eq!(denied(suspended, plain, &endpoint()), Denied::WorkspaceSuspended(WorkspaceState::Suspended));
    let deleted = Workspace { state: WorkspaceState::Deleted, ..workspace() };
    assert_eq!(denied(deleted, plain, &endpoint()), Denied::WorkspaceSuspended(WorkspaceState::Deleted));
    let free = Workspace { plan: Plan::Free, ..workspace() };
    assert!(matches!(denied(free, plain, &endpoint()), Denied::PlanRequired { has: Plan::Free, .. }));
    let bare = Workspace { features: Arc::from(Vec::new()), ..workspace() };
    assert_eq!(denied(bare, plain, &endpoint()), Denied::FeatureRequired("Audience".into()));
    let scopeless = |caller: Caller| caller.with(Role::Owner, &["other"], no_quota);
    assert_eq!(
        denied(workspace(), scopeless, &endpoint()),
        Denied::ScopeMissing("public_api:read_write".into())
    );
    let restricted = |caller: Caller| caller.with(Role::Restricted, &["public_api:read_write"], no_quota);
    assert_eq!(denied(workspace(), restricted, &endpoint()), Denied::RoleRequired(Role::Owner));
    assert_eq!(permit(None, Some(&endpoint()), None, &unmatched()).unwrap_err(), Denied::CredentialMissing);
    assert_eq!(permit(None, None, None, &unmatched()).unwrap_err(), Denied::CredentialMissing);
}

#[test]
fn an_unmatched_path_asks_for_the_default_scope_and_plan() {
    let scopeless = Caller::for_test(7, workspace()).with(Role::Owner, &[], None);
    assert!(matches!(permit(Some(scopeless), None, None, &unmatched()), Err(Denied::ScopeMissing(_))));
    let free = Caller::for_test(7, Workspace { plan: Plan::Free, ..workspace() });
    assert!(matches!(permit(Some(free), None, None, &unmatched()), Err(Denied::PlanRequired { .. })));
}

#[test]
fn a_good_caller_and_a_public_endpoint_pass() {
    let caller = Caller::for_test(7, workspace());
    assert!(permit(Some(caller), Some(&endpoint()), None, &unmatched()).is_ok());
    let public = Endpoint { public: true, ..endpoint() };
    assert!(permit(None, Some(&public), None, &unmatched()).unwrap().caller().is_none());
}
