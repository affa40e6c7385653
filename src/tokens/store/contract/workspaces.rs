//! What every store does with workspaces.

use super::*;
use crate::tokens::store::log::verify;

proofs! { prove_workspaces:
    makes_and_lists_workspaces,
    changes_of_a_workspace_merge,
    deleting_a_workspace_revokes_its_tokens,
    deleting_a_workspace_revokes_however_many,
}

pub(crate) fn makes_and_lists_workspaces(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    for id in ["c", "a", "b"] {
        store.create_workspace(act(&clock), &workspace(id)).unwrap();
    }
    let found = fixture.open().workspace("a").unwrap().unwrap();
    assert_eq!((&*found.region, found.plan, found.state), ("eu", Plan::Business, WorkspaceState::Active));
    assert_eq!((found.features, found.contacts), (vec!["a".into(), "b".into()], workspace("a").contacts));
    assert_eq!((found.number, found.created_at_unix_seconds), (2, START));
    let ids = |after, count| -> Vec<String> {
        store.workspaces(after, count).unwrap().into_iter().map(|workspace| workspace.id).collect()
    };
    assert_eq!(ids("", 2), ["a", "b"]);
    assert_eq!(ids("b", 2), ["c"]);
    assert!(store.workspace("d").unwrap().is_none());
}

pub(crate) fn changes_of_a_workspace_merge(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    let change = WorkspaceChange {
        plan: Some(Plan::Free),
        enable: vec!["z".into()],
        disable: vec!["a".into()],
        add_contacts: vec!["https://example.com/hook".into()],
        ..WorkspaceChange::default()
    };
    let after = store.set_workspace(act(&clock), "ws", &change).unwrap();
    assert_eq!(after.features, ["b", "z"]);
    assert_eq!(after.contacts.len(), 2);
    assert_eq!((&*after.region, after.plan), ("eu", Plan::Free));
    let head = store.head().unwrap();
    store.set_workspace(act(&clock), "ws", &change).unwrap();
    assert_eq!(store.head().unwrap(), head, "a change that changes nothing was logged");
}

pub(crate) fn deleting_a_workspace_revokes_however_many(fixture: &dyn Fixture) {
    const MANY: u64 = 1_100;
    let (store, clock) = (fixture.open(), clock());
    let batch: Vec<_> = (0..MANY).map(|n| imported(&format!("t{n:04}"), "ws", n)).collect();
    store.import(act(&clock), &batch).unwrap();
    store.import(act(&clock), &[imported("other", "other", MANY)]).unwrap();
    let head = store.head().unwrap().0;
    let delete = WorkspaceChange { state: Some(WorkspaceState::Deleted), ..WorkspaceChange::default() };
    store.set_workspace(act(&clock), "ws", &delete).unwrap();
    assert_eq!(store.head().unwrap().0, head + 1 + MANY);
    assert_eq!(verify(&*store, &mut |_| {}).unwrap(), head + 1 + MANY);
    let tokens = store.tokens(Some("ws"), "", 2_000).unwrap();
    assert_eq!(tokens.len() as u64, MANY);
    assert!(tokens.iter().all(|token| token.revoked_reason.as_deref() == Some("workspace deleted")));
    let log = store.log(head + 1, 2_000).unwrap();
    assert!(log.iter().zip(&tokens).all(|(entry, token)| entry.subject == token.id), "in their order");
    assert!(store.token("other").unwrap().unwrap().revoked_at_unix_seconds.is_none());
}

pub(crate) fn deleting_a_workspace_revokes_its_tokens(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    for (id, number) in [("ws", 1), ("other", 2)] {
        store.create_workspace(act(&clock), &workspace(id)).unwrap();
        store.create_token(act(&clock), &token(&format!("t-{id}"), id, number), CAP).unwrap();
    }
    let state = |state| WorkspaceChange { state: Some(state), ..WorkspaceChange::default() };
    store.set_workspace(act(&clock), "ws", &state(WorkspaceState::Suspended)).unwrap();
    assert!(store.token("t-ws").unwrap().unwrap().revoked_at_unix_seconds.is_none());
    store.set_workspace(act(&clock), "ws", &state(WorkspaceState::Deleted)).unwrap();
    let gone = store.token("t-ws").unwrap().unwrap();
    assert_eq!(gone.revoked_reason.as_deref(), Some("workspace deleted"));
    assert!(store.token("t-other").unwrap().unwrap().revoked_at_unix_seconds.is_none());
    assert!(matches!(
        store.create_token(act(&clock), &token("n", "ws", 3), CAP),
        Err(Error::WorkspaceDeleted(_))
    ));
    assert_eq!(store.import(act(&clock), &[imported("n", "ws", 4)]).unwrap(), [Imported::Deleted]);
    store.set_workspace(act(&clock), "ws", &state(WorkspaceState::Active)).unwrap();
    assert!(store.token("t-ws").unwrap().unwrap().revoked_at_unix_seconds.is_some());
}
