//! What every store does with leaked tokens.

use std::time::Duration;

use super::*;
use crate::tokens::store::log::verify;
use crate::tokens::store::outbox::{GATHERED_AFTER_MILLIS, GATHERED_WITHIN_MILLIS, MOST_LISTED};
use crate::tokens::store::{Attempt, Backlog, Delivery, Leak, LeakRevocation, LeakedToken, Recipient};

proofs! { prove_leaks:
    a_leak_of_an_unknown_token_changes_nothing,
    a_leak_of_a_token_that_does_not_work_changes_nothing,
    a_leak_revokes_the_family_and_says_where,
    a_leak_is_told_to_every_contact_once,
    a_leak_without_contacts_is_told_to_the_operator,
    a_batch_of_leaks_is_answered_in_its_order,
    what_comes_together_is_told_in_one_message_to_each_contact,
    what_does_not_stop_coming_is_told_all_the_same,
    leaks_that_were_told_are_forgotten_with_their_message,
}

pub(crate) fn leaked(id: &str) -> LeakedToken {
    let url = "https://github.com/o/r/blob/main/.env";
    let leak = Leak::new("github-secret-scanning", "tollgate_token", url, "commit", START);
    LeakedToken { token_id: id.into(), leak }
}

/// What is told once it was gathered.
fn claim(store: &dyn Store, clock: &Clock) -> Vec<Delivery> {
    clock.advance(Duration::from_millis(GATHERED_AFTER_MILLIS));
    store.claim(clock.now(), Duration::from_mins(1), 1_000).unwrap()
}

fn told(store: &dyn Store, clock: &Clock) -> Vec<Recipient> {
    claim(store, clock).into_iter().map(|delivery| delivery.recipient).collect()
}

/// A workspace with tokens `{id}0`, `{id}1`, ….
fn workspace_of(
    store: &dyn Store,
    clock: &Clock,
    id: &str,
    tokens: std::ops::Range<u64>,
) -> Vec<LeakedToken> {
    store.create_workspace(act(clock), &workspace(id)).unwrap();
    let make = |number: u64| {
        let name = format!("{id}{number}");
        store.create_token(act(clock), &token(&name, id, number), 1_000).unwrap();
        leaked(&name)
    };
    tokens.map(make).collect()
}

pub(crate) fn a_leak_of_an_unknown_token_changes_nothing(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    assert_eq!(store.revoke_leaked(act(&clock), &[leaked("t")]).unwrap(), [LeakRevocation::Unknown]);
    assert!(store.revoke_leaked(act(&clock), &[]).unwrap().is_empty());
    assert_eq!(store.head().unwrap().0, 0);
    assert!(told(&*store, &clock).is_empty());
}

pub(crate) fn a_leak_of_a_token_that_does_not_work_changes_nothing(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    let short = NewToken { expires_at_unix_seconds: Some(START + 60), ..token("expired", "ws", 1) };
    store.create_token(act(&clock), &short, CAP).unwrap();
    store.create_token(act(&clock), &token("revoked", "ws", 2), CAP).unwrap();
    store.create_token(act(&clock), &token("rotated", "ws", 3), CAP).unwrap();
    store.revoke_token(act(&clock), "revoked", "unused").unwrap();
    store.rotate_token(act(&clock), "rotated", &replacement("successor", 4, 60)).unwrap();
    clock.advance(Duration::from_mins(1));
    let head = store.head().unwrap();
    for (id, state) in
        [("expired", TokenState::Expired), ("revoked", TokenState::Revoked), ("rotated", TokenState::Revoked)]
    {
        let answer = store.revoke_leaked(act(&clock), &[leaked(id)]).unwrap();
        assert_eq!(answer, [LeakRevocation::NotActive(state)], "{id}");
    }
    assert_eq!(store.head().unwrap(), head);
    assert!(told(&*store, &clock).is_empty());
    let successor = store.token("successor").unwrap().unwrap();
    assert_eq!(successor.state_at(clock.now().unix_seconds()), TokenState::Active);
}

pub(crate) fn a_leak_revokes_the_family_and_says_where(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("a", "ws", 1), CAP).unwrap();
    store.create_token(act(&clock), &token("other", "ws", 9), CAP).unwrap();
    for (old, new, number, overlap) in [("a", "b", 2, 10), ("b", "c", 3, 3_600), ("c", "d", 4, 3_600)] {
        store.rotate_token(act(&clock), old, &replacement(new, number, overlap)).unwrap();
    }
    clock.advance(Duration::from_secs(10));
    let before = store.head().unwrap().0;
    let revoked = ["c", "b", "d"].map(str::to_owned).to_vec();
    let answer = store.revoke_leaked(act(&clock), &[leaked("c")]).unwrap();
    assert_eq!(answer, [LeakRevocation::Revoked(revoked.clone())]);
    for id in &revoked {
        let token = fixture.open().token(id).unwrap().unwrap();
        assert_eq!(token.revoked_at_unix_seconds, Some(START + 10), "{id}");
        assert!(token.revoked_reason.unwrap().starts_with("leaked"), "{id}");
    }
    assert!(store.token("a").unwrap().unwrap().revoked_at_unix_seconds.is_none(), "its overlap was over");
    assert!(store.token("other").unwrap().unwrap().revoked_at_unix_seconds.is_none());
    let log = store.log(before, 10).unwrap();
    let subjects: Vec<&str> = log.iter().map(|entry| &*entry.subject).collect();
    assert_eq!(subjects, ["c", "b", "d"]);
    let body: serde_json::Value = serde_json::from_str(&log[0].body).unwrap();
    assert_eq!(body["leak"]["url"], "https://github.com/o/r/blob/main/.env");
    assert_eq!(body["leak"]["found_by"], "github-secret-scanning");
    assert_eq!(body["also_revoked"], serde_json::json!(["b", "d"]));
    assert!(verify(&*store, &mut |_| {}).is_ok());
    let changes = store.changes(before, 10).unwrap();
    assert_eq!(changes.rows.len(), 3, "a follower sees every one of them");
}

pub(crate) fn a_leak_is_told_to_every_contact_once(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    let contacts = vec!["https://example.com/hook".to_owned(), "owner@example.com".to_owned()];
    let new = NewWorkspace { contacts: contacts.clone(), ..workspace("ws") };
    store.create_workspace(act(&clock), &new).unwrap();
    store.create_token(act(&clock), &token("t", "ws", 1), CAP).unwrap();
    store.revoke_leaked(act(&clock), &[leaked("t"), leaked("t")]).unwrap();
    let head = store.head().unwrap();
    let again = store.revoke_leaked(act(&clock), &[leaked("t")]).unwrap();
    assert_eq!(again, [LeakRevocation::NotActive(TokenState::Revoked)]);
    assert_eq!(store.head().unwrap(), head);
    let early = store.claim(clock.now(), Duration::from_mins(1), 10).unwrap();
    assert!(early.is_empty(), "others may come");
    let claimed = claim(&*fixture.open(), &clock);
    let mut told: Vec<Recipient> = Vec::new();
    for delivery in &claimed {
        let entries: Vec<_> = delivery.entries.iter().map(|entry| (&*entry.subject, entry.seq)).collect();
        assert_eq!((entries, delivery.leaks), (vec![("t", head.0)], 1));
        assert!(delivery.id.starts_with("msg_") && delivery.id.len() == 36, "{}", delivery.id);
        assert_eq!((delivery.attempt, delivery.enqueued_at_unix_millis), (1, START * 1_000));
        told.push(delivery.recipient.clone());
    }
    let missing: Vec<_> =
        contacts.into_iter().map(Recipient::Contact).filter(|one| !told.contains(one)).collect();
    assert!(missing.is_empty() && told.len() == 2, "{told:?}");
    assert_ne!(claimed[0].id, claimed[1].id);
}

pub(crate) fn a_leak_without_contacts_is_told_to_the_operator(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &NewWorkspace { contacts: vec![], ..workspace("ws") }).unwrap();
    store.create_token(act(&clock), &token("t", "ws", 1), CAP).unwrap();
    store.revoke_leaked(act(&clock), &[leaked("t")]).unwrap();
    assert_eq!(told(&*store, &clock), [Recipient::Operator]);
}

pub(crate) fn a_batch_of_leaks_is_answered_in_its_order(fixture: &dyn Fixture) {
    const MANY: u64 = 500;
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    for number in 0..MANY {
        store.create_token(act(&clock), &token(&format!("t{number}"), "ws", number), 1_000).unwrap();
    }
    let mut batch: Vec<LeakedToken> = (0..MANY).map(|number| leaked(&format!("t{number}"))).collect();
    batch.push(leaked("nobody"));
    batch.push(leaked("t7"));
    let answer = store.revoke_leaked(act(&clock), &batch).unwrap();
    assert_eq!(answer.len(), batch.len());
    for (number, one) in answer[..MANY as usize].iter().enumerate() {
        assert_eq!(*one, LeakRevocation::Revoked(vec![format!("t{number}")]));
    }
    let last = [LeakRevocation::Unknown, LeakRevocation::NotActive(TokenState::Revoked)];
    assert_eq!(answer[MANY as usize..], last);
    let claimed = claim(&*store, &clock);
    assert_eq!((claimed.len(), claimed[0].leaks), (1, MANY));
    let listed: Vec<&str> = claimed[0].entries.iter().map(|entry| &*entry.subject).collect();
    let first: Vec<String> = (0..MOST_LISTED).map(|number| format!("t{number}")).collect();
    assert_eq!(listed, first);
}

/// An alert is several transactions, and its tokens are of several workspaces.
pub(crate) fn what_comes_together_is_told_in_one_message_to_each_contact(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    let mut a = workspace_of(&*store, &clock, "a", 0..5);
    let b = workspace_of(&*store, &clock, "b", 10..12);
    let late = a.pop().unwrap();
    store.revoke_leaked(act(&clock), &[&a[..2], &b[..1]].concat()).unwrap();
    clock.advance(Duration::from_millis(GATHERED_AFTER_MILLIS - 1));
    assert!(store.claim(clock.now(), Duration::from_mins(1), 10).unwrap().is_empty());
    assert_eq!(store.backlog().unwrap().messages, 2, "what is being gathered waits");
    store.revoke_leaked(act(&clock), &a[2..]).unwrap();
    let of = |claimed: Vec<Delivery>| -> Vec<(u64, Vec<String>)> {
        let subjects = |one: Delivery| one.entries.into_iter().map(|entry| entry.subject).collect();
        claimed.into_iter().map(|one| (one.leaks, subjects(one))).collect()
    };
    clock.advance(Duration::from_millis(1));
    let first = store.claim(clock.now(), Duration::from_mins(1), 10).unwrap();
    assert_eq!(of(first), [(1, vec!["b10".to_owned()])], "nothing came to the other workspace");
    let second = claim(&*fixture.open(), &clock);
    assert_eq!(of(second), [(4, (0..4).map(|number| format!("a{number}")).collect())]);
    store.revoke_leaked(act(&clock), &[late]).unwrap();
    assert_eq!(
        of(claim(&*store, &clock)),
        [(1, vec!["a4".to_owned()])],
        "a message that was taken does not grow"
    );
}

pub(crate) fn what_does_not_stop_coming_is_told_all_the_same(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    let leaks = workspace_of(&*store, &clock, "ws", 0..100);
    let pause = Duration::from_millis(GATHERED_AFTER_MILLIS - 1);
    let mut claimed = Vec::new();
    for leak in &leaks {
        store.revoke_leaked(act(&clock), std::slice::from_ref(leak)).unwrap();
        claimed = store.claim(clock.now(), Duration::from_mins(1), 10).unwrap();
        if !claimed.is_empty() {
            break;
        }
        clock.advance(pause);
    }
    let waited = clock.now().unix_millis - START * 1_000;
    assert!((GATHERED_WITHIN_MILLIS..GATHERED_WITHIN_MILLIS + 1_000).contains(&waited), "{waited}");
    assert_eq!(claimed[0].leaks, waited / pause.as_millis() as u64 + 1);
}

pub(crate) fn leaks_that_were_told_are_forgotten_with_their_message(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    let leaks = workspace_of(&*store, &clock, "ws", 0..3);
    store.revoke_leaked(act(&clock), &leaks).unwrap();
    let one = claim(&*store, &clock).remove(0);
    assert_eq!(store.forget_settled(u64::MAX, 10).unwrap(), 0);
    let end = Attempt::Failed { due_at_unix_millis: clock.now().unix_millis, why: "x".into() };
    store.settle(clock.now(), &one.id, one.attempt, &end).unwrap();
    let again = claim(&*store, &clock).remove(0);
    assert_eq!((again.leaks, again.entries), (3, one.entries), "the same in each attempt");
    store.settle(clock.now(), &one.id, again.attempt, &Attempt::Delivered).unwrap();
    assert_eq!(store.forget_settled(u64::MAX, 10).unwrap(), 1);
    assert_eq!(store.backlog().unwrap(), Backlog::default());
}
