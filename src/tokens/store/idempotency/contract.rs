//! What every store must do with idempotency keys.

use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::tokens::store::Act;
use crate::tokens::store::contract::{CAP, Fixture, START, act, proofs, replacement, token, workspace};

proofs! { prove_idempotency:
    a_key_is_for_one_request_of_one_operator,
    an_answer_is_kept_for_a_day,
    a_request_that_changed_nothing_is_forgotten,
    a_change_and_its_answer_are_one,
}

fn key(operator: &str, key: u8, fingerprint: u8) -> IdempotencyKey {
    IdempotencyKey { operator: operator.into(), key: [key; 32], fingerprint: [fingerprint; 32] }
}

fn answer() -> KeptAnswer {
    KeptAnswer { status: 201, body: "{}".into() }
}

pub(crate) fn a_key_is_for_one_request_of_one_operator(fixture: &dyn Fixture) {
    let (store, now) = (fixture.open(), Clock::manual(START).now());
    assert_eq!(store.begin_request(now, &key("ana", 1, 1)).unwrap(), Begun::First);
    assert_eq!(fixture.open().begin_request(now, &key("ana", 1, 1)).unwrap(), Begun::Unanswered);
    assert_eq!(store.begin_request(now, &key("ana", 1, 2)).unwrap(), Begun::OtherRequest);
    assert_eq!(store.begin_request(now, &key("ben", 1, 2)).unwrap(), Begun::First);
    assert_eq!(store.head().unwrap().0, 0, "a key is no change");
}

pub(crate) fn an_answer_is_kept_for_a_day(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    store.begin_request(clock.now(), &key("ana", 1, 1)).unwrap();
    store.answer_request(&key("ana", 1, 1), &answer()).unwrap();
    clock.advance(Duration::from_secs(KEY_LIFE_SECONDS - 1));
    let other = fixture.open();
    assert_eq!(other.begin_request(clock.now(), &key("ana", 1, 1)).unwrap(), Begun::Answered(answer()));
    assert_eq!(other.begin_request(clock.now(), &key("ana", 1, 2)).unwrap(), Begun::OtherRequest);
    clock.advance(Duration::from_secs(1));
    assert_eq!(store.begin_request(clock.now(), &key("ana", 1, 2)).unwrap(), Begun::First);
}

pub(crate) fn a_request_that_changed_nothing_is_forgotten(fixture: &dyn Fixture) {
    let (store, now) = (fixture.open(), Clock::manual(START).now());
    store.begin_request(now, &key("ana", 1, 1)).unwrap();
    store.forget_request(&key("ana", 1, 1)).unwrap();
    assert_eq!(store.begin_request(now, &key("ana", 1, 2)).unwrap(), Begun::First);
}

/// Told by the id of what was made; nothing of what has none.
fn told(made: Made<'_>, now: Now) -> Option<KeptAnswer> {
    let id = match made {
        Made::Workspace(record) => &record.id,
        Made::Token(record) => &record.id,
    };
    let body = format!("{id} at {}", now.unix_seconds());
    (!id.is_empty()).then_some(KeptAnswer { status: 201, body })
}

pub(crate) fn a_change_and_its_answer_are_one(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    let keys: Vec<IdempotencyKey> = (1..=3).map(|number| key("ana", number, number)).collect();
    let asked = |key| Act { request: Some(KeyedRequest { key, answer: told }), ..act(&clock) };
    let body = |key| store.answered_request(key).unwrap().map(|answer| answer.body);
    for key in &keys {
        assert_eq!(store.begin_request(clock.now(), key).unwrap(), Begun::First);
    }
    store.create_workspace(asked(&keys[0]), &workspace("ws")).unwrap();
    store.create_token(asked(&keys[1]), &token("a", "ws", 1), CAP).unwrap();
    store.rotate_token(asked(&keys[2]), "a", &replacement("b", 2, 60)).unwrap();
    let head = store.head().unwrap();
    for (key, id) in keys.iter().zip(["ws", "a", "b"]) {
        assert_eq!(body(key), Some(format!("{id} at {START}")));
        store.forget_request(key).unwrap();
        store.answer_request(key, &answer()).unwrap();
        assert_eq!(body(key), Some(format!("{id} at {START}")), "an answer is kept as it is");
    }
    // Whoever carries it out again makes nothing.
    let again = store.create_token(asked(&keys[1]), &token("c", "ws", 3), CAP);
    assert!(matches!(again, Err(Error::RequestAnswered)), "{again:?}");
    assert!(store.token("c").unwrap().is_none());
    assert_eq!(store.head().unwrap(), head);
    // What was refused has no answer.
    let (refused, unknown) = (key("ana", 4, 4), key("ana", 5, 5));
    store.begin_request(clock.now(), &refused).unwrap();
    assert!(store.create_token(asked(&refused), &token("d", "nowhere", 4), CAP).is_err());
    assert_eq!(body(&refused), None);
    assert!(matches!(
        store.create_token(asked(&unknown), &token("d", "ws", 4), CAP),
        Err(Error::RequestAnswered)
    ));
}
