//! What every store must do. A store proves it with [`prove_store!`] or [`all_proofs`].

pub(crate) mod leaks;
pub(crate) mod outbox;

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::log::verify;
use super::*;
use crate::clock::Clock;
use crate::tokens::{Scheme, TokenState};

/// A database of a test's own.
pub(crate) trait Fixture {
    /// A new connection to it.
    fn open(&self) -> Arc<dyn Store>;
}

/// Names the proofs of a module: `$prove!(fixture)` makes a test of each, for a store whose databases cost nothing;
/// `PROOFS` has them for a store that proves them one after the other.
macro_rules! proofs {
    ($prove:ident: $($name:ident,)+) => {
        macro_rules! $prove {
            ($fixture:expr) => {
                $(#[test] fn $name() { $crate::tokens::store::contract::prove(stringify!($name), &$fixture); })+
            };
        }
        pub(crate) use $prove;

        pub(crate) const PROOFS: &[$crate::tokens::store::contract::Proof] =
            &[$((stringify!($name), $name),)+];
    };
}
pub(crate) use proofs;

/// A proof with its name.
pub(crate) type Proof = (&'static str, fn(&dyn Fixture));

/// Everything that a store must prove.
pub(crate) fn all_proofs() -> Vec<Proof> {
    let beside =
        [idempotency::contract::PROOFS, jwt_revocations::contract::PROOFS, operators::contract::PROOFS];
    [&[PROOFS, leaks::PROOFS, outbox::PROOFS][..], &beside].concat().concat()
}

/// Proves one thing of a store.
pub(crate) fn prove(name: &str, fixture: &dyn Fixture) {
    let (_, proof) = all_proofs().into_iter().find(|(known, _)| *known == name).unwrap();
    proof(fixture);
}

/// Makes a test of each proof.
macro_rules! prove_store {
    ($fixture:expr) => {
        $crate::tokens::store::contract::prove_changes!($fixture);
        $crate::tokens::store::contract::leaks::prove_leaks!($fixture);
        $crate::tokens::store::contract::outbox::prove_outbox!($fixture);
        $crate::tokens::store::idempotency::contract::prove_idempotency!($fixture);
        $crate::tokens::store::jwt_revocations::contract::prove_jwt_revocations!($fixture);
        $crate::tokens::store::operators::contract::prove_operators!($fixture);
    };
}
pub(crate) use prove_store;

proofs! { prove_changes:
    refuses_what_does_not_fit,
    makes_and_lists_workspaces,
    changes_of_a_workspace_merge,
    makes_and_lists_tokens,
    the_cap_counts_working_tokens_only,
    rotation_keeps_the_family_and_the_lifetime,
    rotation_without_overlap_revokes_at_once,
    revoking_is_idempotent_and_takes_predecessors_along,
    deleting_a_workspace_revokes_its_tokens,
    an_override_of_nobody_is_refused,
    overrides_are_set_replaced_and_removed,
    overrides_are_changes_of_the_log,
    an_override_is_its_familys,
    overrides_are_bounded_and_ended_ones_go,
    importing_is_idempotent,
    a_refused_change_leaves_nothing,
    the_log_is_gapless_with_concurrent_writers,
    changes_carry_the_rows_of_one_moment,
    the_log_is_chained_and_holds_no_secret,
    last_used_never_goes_back,
    fingerprints_stay,
}

pub(crate) const START: u64 = 1_700_000_000;

pub(crate) fn act(clock: &Clock) -> Act<'static> {
    Act { actor: "test", now: clock.now() }
}

fn clock() -> Clock {
    Clock::manual(START)
}

pub(crate) fn workspace(id: &str) -> NewWorkspace {
    NewWorkspace {
        id: id.into(),
        region: "eu".into(),
        plan: Plan::Business,
        features: vec!["b".into(), "a".into(), "b".into()],
        contacts: vec!["owner@example.com".into()],
    }
}

fn digest(number: u64) -> Digest {
    let mut bytes = [0xAB; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Digest { scheme: Scheme::Hmac(1), bytes }
}

pub(crate) fn token(id: &str, workspace: &str, number: u64) -> NewToken {
    NewToken {
        id: id.into(),
        workspace: workspace.into(),
        name: "ci".into(),
        scopes: vec!["public_api:read_write".into()],
        role: Role::Restricted,
        own_limit: None,
        expires_at_unix_seconds: None,
        digest: digest(number),
        foreign: false,
    }
}

fn replacement(id: &str, number: u64, overlap_seconds: u64) -> Replacement {
    Replacement { id: id.into(), digest: digest(number), expires_at_unix_seconds: None, overlap_seconds }
}

fn imported(id: &str, workspace: &str, number: u64) -> ImportedToken {
    ImportedToken {
        token: token(id, workspace, number),
        known_as: vec![digest(number)],
        region: Some("eu".into()),
        default_region: None,
        plan: Plan::Business,
    }
}

const CAP: u32 = 100;

pub(crate) fn refuses_what_does_not_fit(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    let now = clock.now();
    let act = Act { actor: "test", now };
    assert!(matches!(store.create_token(act, &token("t", "ws", 1), CAP), Err(Error::WorkspaceUnknown(_))));
    assert!(matches!(
        store.set_workspace(act, "ws", &WorkspaceChange::default()),
        Err(Error::WorkspaceUnknown(_))
    ));
    assert!(matches!(store.rotate_token(act, "t", &replacement("u", 2, 0)), Err(Error::TokenUnknown(_))));
    assert!(matches!(store.revoke_token(act, "t", "x"), Err(Error::TokenUnknown(_))));
    store.create_workspace(act, &workspace("ws")).unwrap();
    assert!(matches!(store.create_workspace(act, &workspace("ws")), Err(Error::WorkspaceExists(_))));
    store.create_token(act, &token("t", "ws", 1), CAP).unwrap();
    assert!(matches!(store.create_token(act, &token("t", "ws", 2), CAP), Err(Error::Store { .. })));
    assert!(matches!(store.create_token(act, &token("u", "ws", 1), CAP), Err(Error::Store { .. })));
    store.rotate_token(act, "t", &replacement("v", 3, 60)).unwrap();
    assert!(matches!(
        store.rotate_token(act, "t", &replacement("w", 4, 60)),
        Err(Error::AlreadyRotated { successor, .. }) if successor == "v"
    ));
    store.revoke_token(act, "v", "x").unwrap();
    assert!(matches!(
        store.rotate_token(act, "v", &replacement("w", 4, 60)),
        Err(Error::NotActive { state: "revoked", .. })
    ));
    let short = NewToken { expires_at_unix_seconds: Some(START + 1), ..token("x", "ws", 5) };
    store.create_token(act, &short, CAP).unwrap();
    clock.advance(std::time::Duration::from_secs(1));
    let later = Act { now: clock.now(), ..act };
    assert!(matches!(
        store.rotate_token(later, "x", &replacement("w", 4, 60)),
        Err(Error::NotActive { state: "expired", .. })
    ));
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

pub(crate) fn makes_and_lists_tokens(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_workspace(act(&clock), &workspace("other")).unwrap();
    let quota = "5 per minute".parse::<Quota>().unwrap().with_burst(NonZeroU32::new(9).unwrap());
    let new = NewToken {
        own_limit: Some(quota),
        expires_at_unix_seconds: Some(START + 60),
        role: Role::Owner,
        ..token("b", "ws", 1)
    };
    let made = store.create_token(act(&clock), &new, CAP).unwrap();
    assert_eq!(made, fixture.open().token("b").unwrap().unwrap());
    assert_eq!((&*made.family, made.own_limit, made.role), ("b", Some(quota), Role::Owner));
    store.create_token(act(&clock), &token("a", "ws", 2), CAP).unwrap();
    store.create_token(act(&clock), &token("c", "other", 3), CAP).unwrap();
    let ids = |workspace, after, count| -> Vec<String> {
        store.tokens(workspace, after, count).unwrap().into_iter().map(|token| token.id).collect()
    };
    assert_eq!(ids(None, "", 10), ["a", "b", "c"]);
    assert_eq!(ids(Some("ws"), "", 10), ["a", "b"]);
    assert_eq!(ids(Some("ws"), "a", 1), ["b"]);
    let by_digest = |number| store.token_by_digest(&[digest(99), digest(number)]).unwrap();
    assert_eq!(by_digest(3).unwrap().id, "c");
    assert!(by_digest(4).is_none());
    let plain = Digest { scheme: Scheme::Sha256, ..digest(3) };
    assert!(store.token_by_digest(&[plain]).unwrap().is_none(), "schemes were mixed up");
}

pub(crate) fn the_cap_counts_working_tokens_only(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("a", "ws", 1), 2).unwrap();
    store.create_token(act(&clock), &token("b", "ws", 2), 2).unwrap();
    let third = token("c", "ws", 3);
    assert!(matches!(store.create_token(act(&clock), &third, 2), Err(Error::TooManyTokens { cap: 2, .. })));
    store.revoke_token(act(&clock), "a", "unused").unwrap();
    store.create_token(act(&clock), &third, 2).unwrap();
}

pub(crate) fn rotation_keeps_the_family_and_the_lifetime(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    let first = NewToken { expires_at_unix_seconds: Some(START + 1_000), ..token("a", "ws", 1) };
    let first = store.create_token(act(&clock), &first, CAP).unwrap();
    clock.advance(std::time::Duration::from_secs(100));
    let second = store.rotate_token(act(&clock), "a", &replacement("b", 2, 50)).unwrap();
    let third = store.rotate_token(act(&clock), "b", &replacement("c", 3, 50)).unwrap();
    assert_eq!((&*third.family, third.subject(), &*third.name), ("a", first.subject(), "ci"));
    assert_eq!(second.expires_at_unix_seconds, Some(START + 1_100));
    let old = store.token("a").unwrap().unwrap();
    assert_eq!(old.replaced_by.as_deref(), Some("b"));
    assert_eq!(old.state_at(START + 149), TokenState::Active);
    assert_eq!(old.state_at(START + 150), TokenState::Revoked);
}

pub(crate) fn rotation_without_overlap_revokes_at_once(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("a", "ws", 1), CAP).unwrap();
    store.rotate_token(act(&clock), "a", &replacement("b", 2, 0)).unwrap();
    let old = store.token("a").unwrap().unwrap();
    assert_eq!(old.revoked_at_unix_seconds, Some(START));
    assert_eq!(old.revoked_reason.as_deref(), Some("rotated"));
}

pub(crate) fn revoking_is_idempotent_and_takes_predecessors_along(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("a", "ws", 1), CAP).unwrap();
    for (old, new, number) in [("a", "b", 2), ("b", "c", 3), ("c", "d", 4)] {
        store.rotate_token(act(&clock), old, &replacement(new, number, 3_600)).unwrap();
    }
    let first = store.revoke_token(act(&clock), "c", "leaked").unwrap();
    assert_eq!(first.revoked_reason.as_deref(), Some("leaked"));
    let head = store.head().unwrap();
    clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(store.revoke_token(act(&clock), "c", "again").unwrap(), first);
    assert_eq!(store.head().unwrap(), head);
    let now = clock.now().unix_seconds();
    for (id, state) in [
        ("a", TokenState::Revoked),
        ("b", TokenState::Revoked),
        ("c", TokenState::Revoked),
        ("d", TokenState::Active),
    ] {
        assert_eq!(store.token(id).unwrap().unwrap().state_at(now), state, "{id}");
    }
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

fn given(policy: &str, quota: &str, until: u64) -> NewOverride {
    NewOverride {
        policy: policy.into(),
        quota: quota.parse().unwrap(),
        until_unix_seconds: until,
        reason: "migration".into(),
    }
}

pub(crate) fn an_override_of_nobody_is_refused(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    let new = given("default", "5 per minute", START + 60);
    let (token, ws) = (OverrideHolder::Token("t".into()), OverrideHolder::Workspace("ws".into()));
    assert!(matches!(store.set_override(act(&clock), &token, &new), Err(Error::TokenUnknown(_))));
    assert!(matches!(store.set_override(act(&clock), &ws, &new), Err(Error::WorkspaceUnknown(_))));
    assert!(matches!(store.remove_override(act(&clock), &token, "default"), Err(Error::TokenUnknown(_))));
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    let head = store.head().unwrap();
    let refused = store.remove_override(act(&clock), &ws, "default");
    assert!(matches!(refused, Err(Error::OverrideUnknown { policy, .. }) if policy == "default"));
    assert_eq!(store.head().unwrap(), head);
}

pub(crate) fn overrides_are_set_replaced_and_removed(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("t", "ws", 1), CAP).unwrap();
    let (of_token, of_ws) = (OverrideHolder::Token("t".into()), OverrideHolder::Workspace("ws".into()));
    let quota = "5 per minute".parse::<Quota>().unwrap().with_burst(NonZeroU32::new(9).unwrap());
    let wide = NewOverride { quota, ..given("default", "1 per day", START + 60) };
    let set = store.set_override(act(&clock), &of_ws, &wide).unwrap();
    assert_eq!((set.quota, set.set_at_unix_seconds, &*set.reason), (quota, START, "migration"));
    store.set_override(act(&clock), &of_token, &given("b", "2 per day", START + 60)).unwrap();
    store.set_override(act(&clock), &of_token, &given("a", "3 per day", START + 60)).unwrap();
    let policies = |store: &dyn Store| -> Vec<String> {
        store.token("t").unwrap().unwrap().overrides.into_iter().map(|one| one.policy).collect()
    };
    assert_eq!(policies(&*fixture.open()), ["a", "b"]);
    assert_eq!(store.workspace("ws").unwrap().unwrap().overrides, [set]);
    let all = store.overrides(None, 2).unwrap();
    assert_eq!((all.len(), &all[0].holder, &*all[0].record.policy), (2, &of_token, "a"));
    let rest = store.overrides(Some((&all[1].holder, &all[1].record.policy)), 10).unwrap();
    assert_eq!((rest.len(), &rest[0].holder), (1, &of_ws));
    clock.advance(std::time::Duration::from_secs(1));
    let again = store.set_override(act(&clock), &of_token, &given("a", "4 per day", START + 90)).unwrap();
    assert_eq!(again.set_at_unix_seconds, START + 1);
    assert_eq!(store.token("t").unwrap().unwrap().overrides[0], again);
    assert_eq!(store.remove_override(act(&clock), &of_token, "a").unwrap(), again);
    assert_eq!(policies(&*store), ["b"]);
}

pub(crate) fn overrides_are_changes_of_the_log(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("t", "ws", 1), CAP).unwrap();
    let (of_token, of_ws) = (OverrideHolder::Token("t".into()), OverrideHolder::Workspace("ws".into()));
    store.set_override(act(&clock), &of_token, &given("default", "5 per minute", START + 60)).unwrap();
    let head = store.head().unwrap();
    store.set_override(act(&clock), &of_token, &given("default", "5 per minute", START + 60)).unwrap();
    assert_eq!(store.head().unwrap(), head, "the same override again was logged");
    store.set_override(act(&clock), &of_token, &given("default", "6 per minute", START + 60)).unwrap();
    store.set_override(act(&clock), &of_ws, &given("default", "7 per minute", START + 60)).unwrap();
    store.remove_override(act(&clock), &of_token, "default").unwrap();
    store.remove_override(act(&clock), &of_ws, "default").unwrap();
    let log = store.log(2, 100).unwrap();
    let kinds: Vec<&str> = log.iter().map(|entry| &*entry.kind).collect();
    let expected = [
        "token.limit_set",
        "token.limit_set",
        "workspace.limit_set",
        "token.limit_removed",
        "workspace.limit_removed",
    ];
    assert_eq!(kinds, expected);
    let body: serde_json::Value = serde_json::from_str(&log[1].body).unwrap();
    assert_eq!((&*log[1].subject, &*log[1].actor), ("t", "test"));
    assert_eq!(
        (&body["before"]["quota"], &body["after"]["quota"]),
        (&"5 per minute".into(), &"6 per minute".into())
    );
    assert_eq!((&body["workspace"], &body["policy"]), (&"ws".into(), &"default".into()));
    let body: serde_json::Value = serde_json::from_str(&log[3].body).unwrap();
    assert!(body["after"].is_null() && body["before"]["until"].is_string());
    let rows = store.changes(4, 1).unwrap().rows;
    assert!(matches!(&rows[..], [Row::Workspace(record)] if record.id == "ws"), "{rows:?}");
    verify(&*store, &mut |_| {}).unwrap();
}

pub(crate) fn an_override_is_its_familys(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("a", "ws", 1), CAP).unwrap();
    let first = store.rotate_token(act(&clock), "a", &replacement("b", 2, 60)).unwrap();
    assert!(first.overrides.is_empty());
    let (head, _) = store.head().unwrap();
    let of = |id: &str| OverrideHolder::Token(id.into());
    store.set_override(act(&clock), &of("b"), &given("default", "5 per minute", START + 60)).unwrap();
    let rows = store.changes(head, 10).unwrap().rows;
    let all = |id: &str| {
        rows.iter().any(|row| match row {
            Row::Token(stored) => stored.record.id == id && stored.record.overrides.len() == 1,
            Row::Workspace(_) | Row::Operator(_) | Row::JwtRevocation(_) => false,
        })
    };
    assert!(rows.len() == 2 && all("a") && all("b"), "both tokens of the family have changed: {rows:?}");
    let third = store.rotate_token(act(&clock), "b", &replacement("c", 3, 60)).unwrap();
    assert_eq!(third.overrides.len(), 1, "rotation keeps it");
    store.remove_override(act(&clock), &of("a"), "default").unwrap();
    assert!(store.token("c").unwrap().unwrap().overrides.is_empty());
}

pub(crate) fn overrides_are_bounded_and_ended_ones_go(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    let ws = OverrideHolder::Workspace("ws".into());
    for n in 0..MOST_OVERRIDES {
        let new = given(&format!("p{n}"), "5 per minute", START + 60);
        store.set_override(act(&clock), &ws, &new).unwrap();
    }
    let more = given("more", "5 per minute", START + 90);
    let refused = store.set_override(act(&clock), &ws, &more);
    assert!(matches!(refused, Err(Error::TooManyOverrides { cap: MOST_OVERRIDES, .. })));
    store.set_override(act(&clock), &ws, &given("p0", "6 per minute", START + 60)).unwrap();
    clock.advance(std::time::Duration::from_mins(1));
    store.set_override(act(&clock), &ws, &more).unwrap();
    assert_eq!(store.workspace("ws").unwrap().unwrap().overrides.len(), 1, "ended ones are gone");
}

pub(crate) fn importing_is_idempotent(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    let batch = [imported("a", "ws", 1), imported("b", "ws", 2), imported("c", "ws", 1)];
    let results = store.import(act(&clock), &batch).unwrap();
    assert_eq!(results, [Imported::Added, Imported::Added, Imported::Known]);
    store.revoke_token(act(&clock), "a", "leaked").unwrap();
    let head = store.head().unwrap();
    assert_eq!(store.import(act(&clock), &batch).unwrap(), vec![Imported::Known; 3]);
    assert_eq!(store.head().unwrap(), head);
    assert!(
        store.token("a").unwrap().unwrap().revoked_at_unix_seconds.is_some(),
        "an import revived a token"
    );
    let other = ImportedToken { region: Some("us".into()), ..imported("d", "ws", 4) };
    let elsewhere =
        ImportedToken { region: None, default_region: Some("us".into()), ..imported("f", "ws", 6) };
    assert_eq!(store.import(act(&clock), &[elsewhere]).unwrap(), [Imported::Added]);
    let nowhere = ImportedToken { region: None, ..imported("e", "new", 5) };
    assert_eq!(
        store.import(act(&clock), &[imported("x", "other", 1), other, nowhere]).unwrap(),
        [Imported::ElsewhereIn("ws".into()), Imported::OtherRegion("eu".into()), Imported::NoWorkspace]
    );
    assert_eq!(store.workspace("ws").unwrap().unwrap().plan, Plan::Business);
}

pub(crate) fn a_refused_change_leaves_nothing(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    let same_id = [imported("a", "ws", 1), imported("a", "ws", 2)];
    assert!(store.import(act(&clock), &same_id).is_err());
    assert_eq!(store.head().unwrap(), (0, [0; 32]));
    assert!(store.workspace("ws").unwrap().is_none());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    assert_eq!(store.head().unwrap().0, 1);
}

pub(crate) fn the_log_is_gapless_with_concurrent_writers(fixture: &dyn Fixture) {
    const WRITERS: u64 = 6;
    const EACH: u64 = 10;
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, clock) = (fixture.open(), clock.clone());
            scope.spawn(move || {
                for n in 0..EACH {
                    let new = token(&format!("t{writer}-{n}"), "ws", writer * EACH + n);
                    store.create_token(act(&clock), &new, 1_000).unwrap();
                }
            });
        }
        let reader = fixture.open();
        scope.spawn(move || {
            let mut last = 0;
            while last < 1 + WRITERS * EACH {
                for seq in reader.changes(last, 7).unwrap().seqs {
                    assert_eq!(seq, last + 1);
                    last = seq;
                }
            }
        });
    });
    assert_eq!(verify(&*store, &mut |_| {}).unwrap(), 1 + WRITERS * EACH);
    let numbers: HashSet<u64> =
        store.tokens(None, "", 1_000).unwrap().iter().map(|token| token.number).collect();
    assert_eq!(numbers.len() as u64, WRITERS * EACH);
}

pub(crate) fn changes_carry_the_rows_of_one_moment(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("t", "ws", 1), CAP).unwrap();
    store.revoke_token(act(&clock), "t", "leaked").unwrap();
    let changes = store.changes(0, 2).unwrap();
    assert_eq!((changes.head, changes.seqs), (3, vec![1, 2]));
    let [Row::Workspace(workspace), Row::Token(token)] = &changes.rows[..] else {
        panic!("{changes:?}", changes = changes.rows)
    };
    assert_eq!((&*workspace.id, token.digest, token.foreign), ("ws", digest(1), false));
    assert!(token.record.revoked_at_unix_seconds.is_some());
    let nothing = store.changes(3, 10).unwrap();
    assert!(nothing.seqs.is_empty() && nothing.rows.is_empty());
    let mut rows = Vec::new();
    assert_eq!(store.snapshot(&mut |row| rows.push(row)).unwrap(), 3);
    assert!(matches!(&rows[..], [Row::Workspace(_), Row::Token(_)]));
}

pub(crate) fn the_log_is_chained_and_holds_no_secret(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("t", "ws", 1), CAP).unwrap();
    store.rotate_token(act(&clock), "t", &replacement("u", 2, 60)).unwrap();
    store.revoke_token(act(&clock), "u", "leaked").unwrap();
    store.add_fingerprints(act(&clock), &[digest(9)]).unwrap();
    assert_eq!(verify(&*store, &mut |_| {}).unwrap(), 7);
    let log = store.log(0, 100).unwrap();
    let kinds: Vec<&str> = log.iter().map(|entry| &*entry.kind).collect();
    assert_eq!(
        kinds,
        [
            "workspace.created",
            "token.created",
            "token.created",
            "token.rotated",
            "token.revoked",
            "token.revoked",
            "pepper.added"
        ]
    );
    assert_eq!(store.log(2, 1).unwrap()[0], log[2]);
    assert_eq!(log[0].actor, "test");
    let secret = "ab".repeat(24);
    for entry in &log {
        assert!(ChangeKind::by_name(&entry.kind).is_some());
        assert!(!entry.body.contains("owner@example.com") && !entry.body.to_lowercase().contains(&secret));
        let forged = LogEntry { actor: "someone".into(), ..entry.clone() };
        assert_ne!(forged.hash_after(&entry.previous), entry.hash);
    }
}

pub(crate) fn last_used_never_goes_back(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("t", "ws", 1), CAP).unwrap();
    let head = store.head().unwrap();
    store.record_uses(&[("t", 600), ("gone", 600)]).unwrap();
    store.record_uses(&[("t", 540)]).unwrap();
    assert_eq!(store.token("t").unwrap().unwrap().last_used_unix_seconds, Some(600));
    assert_eq!(store.head().unwrap(), head, "a use was logged as a change");
}

pub(crate) fn fingerprints_stay(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    assert!(store.fingerprints().unwrap().is_empty());
    store.add_fingerprints(act(&clock), &[digest(1)]).unwrap();
    store.add_fingerprints(act(&clock), &[digest(2)]).unwrap();
    assert_eq!(store.fingerprints().unwrap(), [digest(1)], "a fingerprint was exchanged");
}
