//! What every store must do with idempotency keys.

use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::tokens::store::contract::{Fixture, START, proofs};

proofs! { prove_idempotency:
    a_key_is_for_one_request_of_one_operator,
    an_answer_is_kept_for_a_day,
    a_request_that_changed_nothing_is_forgotten,
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
