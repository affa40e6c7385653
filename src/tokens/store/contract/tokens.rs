//! What every store does with tokens.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;

proofs! { prove_tokens:
    refuses_what_does_not_fit,
    makes_and_lists_tokens,
    the_cap_counts_working_tokens_only,
    rotation_makes_at_most_twice_as_many,
    rotation_keeps_the_family_and_the_lifetime,
    rotation_without_overlap_revokes_at_once,
    revoking_is_idempotent_and_takes_predecessors_along,
    last_used_never_goes_back,
}

pub(crate) fn refuses_what_does_not_fit(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    let now = clock.now();
    let act = Act::by("test", now);
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
    clock.advance(Duration::from_secs(1));
    let later = Act { now: clock.now(), ..act };
    assert!(matches!(
        store.rotate_token(later, "x", &replacement("w", 4, 60)),
        Err(Error::NotActive { state: "expired", .. })
    ));
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

pub(crate) fn rotation_makes_at_most_twice_as_many(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("t0", "ws", 0), 2).unwrap();
    store.create_token(act(&clock), &token("other", "ws", 9), 2).unwrap();
    let rotate = |number: u64, overlap_seconds| {
        let new =
            Replacement { cap: 2, ..replacement(&format!("t{}", number + 1), number + 1, overlap_seconds) };
        store.rotate_token(act(&clock), &format!("t{number}"), &new)
    };
    rotate(0, 60).unwrap();
    rotate(1, 60).unwrap();
    let head = store.head().unwrap();
    assert!(matches!(rotate(2, 1), Err(Error::TooManyOverlaps { most: 4, .. })), "four work");
    assert_eq!(store.head().unwrap(), head);
    rotate(2, 0).unwrap();
    clock.advance(Duration::from_mins(1));
    rotate(3, 60).unwrap();
}

pub(crate) fn rotation_keeps_the_family_and_the_lifetime(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    let first = NewToken { expires_at_unix_seconds: Some(START + 1_000), ..token("a", "ws", 1) };
    let first = store.create_token(act(&clock), &first, CAP).unwrap();
    clock.advance(Duration::from_secs(100));
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
    clock.advance(Duration::from_secs(10));
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
