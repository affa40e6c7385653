//! What every store's outbox does.

use std::collections::HashSet;
use std::time::Duration;

use super::leaks::leaked;
use super::*;
use crate::tokens::store::log::verify;
use crate::tokens::store::outbox::GATHERED_AFTER_MILLIS;
use crate::tokens::store::{Attempt, Backlog, Delivery, Recipient};

proofs! { prove_outbox:
    a_message_is_leased_and_due_again_when_the_lease_is_over,
    two_never_hold_one_message_at_a_time,
    a_failed_attempt_is_due_when_it_says,
    a_settled_message_is_never_due,
    an_attempt_that_lost_its_message_says_nothing,
    what_waits_is_counted,
    settled_messages_are_forgotten,
    what_was_altered_keeps_no_other_message_back,
    a_leak_whose_workspace_was_altered_is_told_to_the_operator,
}

const LEASE: Duration = Duration::from_mins(1);

fn owe(store: &dyn Store, clock: &Clock, messages: u64) {
    for number in 0..messages {
        let ws = format!("ws{number}");
        store.create_workspace(act(clock), &workspace(&ws)).unwrap();
        store.create_token(act(clock), &token(&format!("t{number}"), &ws, number), 1_000).unwrap();
    }
    let batch: Vec<_> = (0..messages).map(|number| leaked(&format!("t{number}"))).collect();
    store.revoke_leaked(act(clock), &batch).unwrap();
    clock.advance(Duration::from_millis(GATHERED_AFTER_MILLIS));
}

fn claim(store: &dyn Store, clock: &Clock) -> Vec<Delivery> {
    store.claim(clock.now(), LEASE, 1_000).unwrap()
}

pub(crate) fn a_message_is_leased_and_due_again_when_the_lease_is_over(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    assert!(claim(&*store, &clock).is_empty());
    owe(&*store, &clock, 3);
    let first = store.claim(clock.now(), LEASE, 2).unwrap();
    let tokens: Vec<&str> = first.iter().map(|one| &*one.entries[0].subject).collect();
    assert_eq!(tokens, ["t0", "t1"]);
    assert_eq!(claim(&*fixture.open(), &clock).len(), 1, "only the third is left");
    clock.advance(Duration::from_secs(59));
    assert!(claim(&*store, &clock).is_empty());
    clock.advance(Duration::from_secs(1));
    let again = claim(&*store, &clock);
    assert_eq!(again.len(), 3);
    assert_eq!(again[0], Delivery { attempt: 2, ..first[0].clone() });
}

pub(crate) fn two_never_hold_one_message_at_a_time(fixture: &dyn Fixture) {
    const MESSAGES: u64 = 120;
    let (store, clock) = (fixture.open(), clock());
    owe(&*store, &clock, MESSAGES);
    let held = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let other = fixture.open();
            let (clock, held) = (&clock, &held);
            scope.spawn(move || {
                loop {
                    let claimed = other.claim(clock.now(), LEASE, 7).unwrap();
                    if claimed.is_empty() {
                        break;
                    }
                    held.lock().unwrap().extend(claimed.into_iter().map(|one| one.id));
                }
            });
        }
    });
    let held = held.into_inner().unwrap();
    assert_eq!(held.len() as u64, MESSAGES);
    assert_eq!(held.into_iter().collect::<HashSet<_>>().len() as u64, MESSAGES);
}

pub(crate) fn a_failed_attempt_is_due_when_it_says(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    owe(&*store, &clock, 1);
    let one = claim(&*store, &clock).remove(0);
    let due_at_unix_millis = clock.now().unix_millis + 300_000;
    let end = Attempt::Failed { due_at_unix_millis, why: "ü".repeat(1_000) };
    store.settle(clock.now(), &one.id, one.attempt, &end).unwrap();
    clock.advance(Duration::from_secs(299));
    assert!(claim(&*store, &clock).is_empty());
    clock.advance(Duration::from_secs(1));
    assert_eq!(claim(&*store, &clock)[0].attempt, 2);
}

pub(crate) fn a_settled_message_is_never_due(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    owe(&*store, &clock, 2);
    let claimed = claim(&*store, &clock);
    let ends = [Attempt::Delivered, Attempt::GivenUp { why: "410 Gone".into() }];
    for (one, end) in claimed.iter().zip(&ends) {
        store.settle(clock.now(), &one.id, one.attempt, end).unwrap();
        store.settle(clock.now(), &one.id, one.attempt, end).unwrap();
        let late = Attempt::Failed { due_at_unix_millis: 0, why: String::new() };
        store.settle(clock.now(), &one.id, one.attempt, &late).unwrap();
    }
    store.settle(clock.now(), "msg_unknown", 1, &Attempt::Delivered).unwrap();
    store.settle(clock.now(), "msg_unknown", 1, &Attempt::GivenUp { why: String::new() }).unwrap();
    let log = store.log(0, 100).unwrap();
    let given_up: Vec<_> = log.iter().filter(|entry| entry.kind == "token.leak_untold").collect();
    assert_eq!((given_up.len(), &*given_up[0].subject), (1, "t1"), "once, however often it is told");
    let body: serde_json::Value = serde_json::from_str(&given_up[0].body).unwrap();
    assert_eq!((&body["workspace"], &body["reason"]), (&"ws1".into(), &"410 Gone".into()));
    assert!(verify(store.as_ref(), &mut |_| {}).is_ok());
    clock.advance(Duration::from_secs(1_000_000));
    assert!(claim(&*store, &clock).is_empty());
}

pub(crate) fn an_attempt_that_lost_its_message_says_nothing(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    owe(&*store, &clock, 1);
    let slow = claim(&*store, &clock).remove(0);
    clock.advance(LEASE);
    let other = claim(&*store, &clock).remove(0);
    for end in [
        Attempt::Failed { due_at_unix_millis: 0, why: "slow".into() },
        Attempt::GivenUp { why: "slow".into() },
    ] {
        store.settle(clock.now(), &slow.id, slow.attempt, &end).unwrap();
        assert!(claim(&*store, &clock).is_empty(), "the other still has it");
        assert_eq!(store.backlog().unwrap().messages, 1);
    }
    store.settle(clock.now(), &slow.id, slow.attempt, &Attempt::Delivered).unwrap();
    store.settle(clock.now(), &other.id, other.attempt, &Attempt::GivenUp { why: "x".into() }).unwrap();
    assert_eq!(store.backlog().unwrap(), Backlog::default());
}

pub(crate) fn what_waits_is_counted(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    assert_eq!(store.backlog().unwrap(), Backlog::default());
    owe(&*store, &clock, 3);
    let waiting = Backlog { messages: 3, oldest_unix_millis: Some(START * 1_000) };
    assert_eq!(store.backlog().unwrap(), waiting);
    let one = claim(&*store, &clock).remove(0);
    assert_eq!(store.backlog().unwrap(), waiting, "a message in delivery waits");
    store.settle(clock.now(), &one.id, one.attempt, &Attempt::Delivered).unwrap();
    assert_eq!(store.backlog().unwrap().messages, 2);
}

/// What is in the way is left out of the claim for the time of a lease, and taken when somebody has put it right.
pub(crate) fn what_was_altered_keeps_no_other_message_back(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    owe(&*store, &clock, 5);
    let all = claim(&*store, &clock);
    let entry = |place: usize| all[place].entries[0].seq;
    let [negative, late, first] = [0, 1, 2].map(|place: usize| &all[place].id);
    fixture.alter(&format!(
        "UPDATE outbox SET attempts = -7 WHERE id = '{negative}'; \
         UPDATE outbox SET enqueued_at_unix_millis = -1 WHERE id = '{late}'; \
         UPDATE log SET at_unix_millis = -1 WHERE seq = {}; DELETE FROM log WHERE seq = {}",
        entry(2),
        entry(3)
    ));
    clock.advance(LEASE);
    let left = claim(&*store, &clock);
    let told: Vec<(&str, usize)> = left.iter().map(|one| (&*one.id, one.entries.len())).collect();
    assert_eq!(told, [(&**first, 0), (&*all[3].id, 0), (&*all[4].id, 1)]);
    for one in &left[..2] {
        let end = Attempt::GivenUp { why: "the log does not have what it tells of".into() };
        store.settle(clock.now(), &one.id, one.attempt, &end).unwrap();
    }
    assert_eq!(store.backlog().unwrap().messages, 3);
    fixture.alter(&format!(
        "UPDATE outbox SET attempts = 2147483647 WHERE id = '{negative}'; \
         UPDATE outbox SET enqueued_at_unix_millis = 1 WHERE id = '{late}'"
    ));
    clock.advance(LEASE);
    let left = claim(&*store, &clock);
    let told: HashSet<&str> = left.iter().map(|one| &*one.id).collect();
    assert_eq!(told, HashSet::from([&**negative, &**late, &*all[4].id]));
}

/// The entries that are left are told of, and whom the message is for is not known any more.
pub(crate) fn a_leak_whose_workspace_was_altered_is_told_to_the_operator(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    for ws in ["ws0", "ws1"] {
        let contacts = vec!["owner@example.com".to_owned()];
        store.create_workspace(act(&clock), &NewWorkspace { contacts, ..workspace(ws) }).unwrap();
    }
    for (number, ws) in (0..).zip(["ws0", "ws0", "ws1"]) {
        store.create_token(act(&clock), &token(&format!("t{number}"), ws, number), 1_000).unwrap();
    }
    store.revoke_leaked(act(&clock), &["t0", "t1", "t2"].map(leaked)).unwrap();
    let first = store.head().unwrap().0 - 2;
    fixture.alter(&format!(
        "UPDATE workspace SET plan = 'x' WHERE id = 'ws0'; DELETE FROM log WHERE seq = {first}"
    ));
    clock.advance(Duration::from_millis(GATHERED_AFTER_MILLIS));
    let told = claim(&*store, &clock);
    let of = |ws: &str| {
        let is_of = |one: &&Delivery| one.entries.iter().any(|entry| entry.body.contains(ws));
        told.iter().find(is_of).unwrap()
    };
    assert_eq!((told.len(), &of("ws0").recipient), (2, &Recipient::Operator));
    assert_eq!((of("ws0").entries.len(), of("ws0").leaks), (1, 2));
    assert_eq!(of("ws1").recipient, Recipient::Contact("owner@example.com".into()));
}

pub(crate) fn settled_messages_are_forgotten(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    owe(&*store, &clock, 3);
    let claimed = claim(&*store, &clock);
    for one in &claimed[..2] {
        store.settle(clock.now(), &one.id, one.attempt, &Attempt::Delivered).unwrap();
    }
    let settled_at = clock.now().unix_millis;
    assert_eq!(store.forget_settled(settled_at, 10).unwrap(), 0);
    assert_eq!(store.forget_settled(settled_at + 1, 1).unwrap(), 1);
    assert_eq!(store.forget_settled(settled_at + 1, 10).unwrap(), 1);
    assert_eq!(store.forget_settled(u64::MAX, 10).unwrap(), 0, "one still waits");
    assert_eq!(store.backlog().unwrap().messages, 1);
}
