//! What every store must do with operators.

use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::tokens::store::Row;
use crate::tokens::store::contract::{Fixture, START, act, proofs};
use crate::tokens::store::log::verify;
use crate::tokens::{Scheme, TokenState};

proofs! { prove_operators:
    operators_that_do_not_fit_are_refused,
    operators_are_made_listed_and_revoked,
    operators_are_changes_of_the_log,
}

fn operator(name: &str, number: u8) -> NewOperator {
    let digest = Digest { scheme: Scheme::Hmac(1), bytes: [number; 32] };
    NewOperator { name: name.into(), expires_at_unix_seconds: None, digest }
}

pub(crate) fn operators_that_do_not_fit_are_refused(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    assert!(matches!(store.revoke_operator(act(&clock), "ana"), Err(Error::OperatorUnknown(_))));
    store.create_operator(act(&clock), &operator("ana", 1)).unwrap();
    let again = store.create_operator(act(&clock), &operator("ana", 2));
    assert!(matches!(again, Err(Error::OperatorExists(_))));
    store.revoke_operator(act(&clock), "ana").unwrap();
    let again = store.create_operator(act(&clock), &operator("ana", 2));
    assert!(matches!(again, Err(Error::OperatorExists(_))), "a revoked operator's name was given again");
    let (head, _) = store.head().unwrap();
    assert!(matches!(store.create_operator(act(&clock), &operator("ben", 1)), Err(Error::Store { .. })));
    assert_eq!(store.head().unwrap().0, head);
}

pub(crate) fn operators_are_made_listed_and_revoked(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    let ends = NewOperator { expires_at_unix_seconds: Some(START + 60), ..operator("ben", 2) };
    store.create_operator(act(&clock), &ends).unwrap();
    store.create_operator(act(&clock), &operator("ana", 1)).unwrap();
    let all = fixture.open().operators().unwrap();
    let names: Vec<&str> = all.iter().map(|operator| &*operator.name).collect();
    assert_eq!(names, ["ana", "ben"]);
    assert_eq!(all[1].state_at(START + 59), TokenState::Active);
    assert_eq!(all[1].state_at(START + 60), TokenState::Expired);
    clock.advance(Duration::from_secs(5));
    let revoked = store.revoke_operator(act(&clock), "ana").unwrap();
    assert_eq!((revoked.revoked_at_unix_seconds, revoked.created_at_unix_seconds), (Some(START + 5), START));
    let head = store.head().unwrap();
    clock.advance(Duration::from_secs(5));
    assert_eq!(store.revoke_operator(act(&clock), "ana").unwrap(), revoked);
    assert_eq!(store.head().unwrap(), head, "revoking again was logged");
}

pub(crate) fn operators_are_changes_of_the_log(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    store.create_operator(act(&clock), &operator("ana", 1)).unwrap();
    store.revoke_operator(act(&clock), "ana").unwrap();
    let log = store.log(0, 10).unwrap();
    let kinds: Vec<(&str, &str)> = log.iter().map(|entry| (&*entry.kind, &*entry.subject)).collect();
    assert_eq!(kinds, [("operator.created", "ana"), ("operator.revoked", "ana")]);
    let rows = store.changes(0, 1).unwrap().rows;
    let seen = |row: &Row| match row {
        Row::Operator(stored) => (stored.record.revoked_at_unix_seconds, stored.digest.bytes[0]),
        other => panic!("{other:?}"),
    };
    assert_eq!(rows.iter().map(seen).collect::<Vec<_>>(), [(Some(START), 1)]);
    let mut snapshot = Vec::new();
    store.snapshot(&mut |row| snapshot.push(row)).unwrap();
    assert_eq!(snapshot.iter().map(seen).collect::<Vec<_>>(), [(Some(START), 1)]);
    verify(&*store, &mut |_| {}).unwrap();
}
