//! What every store does with overrides of limits.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::tokens::store::log::verify;

proofs! { prove_overrides:
    an_override_of_nobody_is_refused,
    overrides_are_set_replaced_and_removed,
    overrides_are_changes_of_the_log,
    an_override_is_its_familys,
    overrides_are_bounded_and_ended_ones_go,
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
    clock.advance(Duration::from_secs(1));
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
    clock.advance(Duration::from_mins(1));
    store.set_override(act(&clock), &ws, &more).unwrap();
    assert_eq!(store.workspace("ws").unwrap().unwrap().overrides.len(), 1, "ended ones are gone");
}
