//! What every store must do with uses that somebody is told of.

use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::tokens::store::contract::{CAP, Fixture, START, act, proofs, replacement, token, workspace};
use crate::tokens::store::log::verify;
use crate::tokens::store::{NewToken, NewWorkspace, Recipient, Store};

proofs! { prove_sightings:
    nobody_is_told_of_what_is_no_decoy,
    a_decoys_use_is_told_to_contacts_and_operator,
    a_decoys_uses_are_told_once_an_hour,
    a_clock_that_was_ahead_silences_no_decoy,
    a_leaked_decoy_stays_one,
    the_first_network_is_learnt_and_the_next_is_told,
    networks_are_a_familys,
    networks_are_bounded_and_old_ones_make_room,
    a_fleet_tells_of_a_network_once,
}

const DAY: Duration = Duration::from_hours(24);
const LEARNING: u64 = 86_400;

fn seen(id: &str, address: &str) -> Sighting {
    Sighting {
        token_id: id.into(),
        address: address.parse().unwrap(),
        user_agent: "curl/8\r\nBcc: x".into(),
        request_id: "req-1".into(),
        at_unix_seconds: START,
    }
}

fn used(id: &str, count: u64) -> DecoyUses {
    DecoyUses { last: seen(id, "192.0.2.7"), count, first_at_unix_seconds: START - 5 }
}

fn told(store: &dyn Store, clock: &Clock) -> Vec<Recipient> {
    let claimed = store.claim(clock.now(), Duration::from_hours(9_000), 1_000).unwrap();
    claimed.into_iter().map(|delivery| delivery.recipient).collect()
}

fn with_decoy(store: &dyn Store, clock: &Clock) {
    store.create_workspace(act(clock), &workspace("ws")).unwrap();
    let decoy = NewToken { is_decoy: true, ..token("decoy", "ws", 1) };
    store.create_token(act(clock), &decoy, CAP).unwrap();
    store.create_token(act(clock), &token("real", "ws", 2), CAP).unwrap();
}

pub(crate) fn nobody_is_told_of_what_is_no_decoy(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    with_decoy(&*store, &clock);
    store.revoke_token(act(&clock), "decoy", "found").unwrap();
    let head = store.head().unwrap();
    let uses = [used("nobody", 1), used("real", 1), used("decoy", 1)];
    assert_eq!(store.decoys_used(act(&clock), &uses).unwrap(), [DecoyTold::Unknown; 3]);
    assert_eq!(store.head().unwrap(), head);
    assert!(told(&*store, &clock).is_empty());
}

pub(crate) fn a_decoys_use_is_told_to_contacts_and_operator(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    with_decoy(&*store, &clock);
    let (seq, _) = store.head().unwrap();
    assert_eq!(store.decoys_used(act(&clock), &[used("decoy", 3)]).unwrap(), [DecoyTold::Told]);
    let entry = store.log(seq, 10).unwrap().remove(0);
    assert_eq!((&*entry.kind, &*entry.subject), ("token.decoy_used", "decoy"));
    let body: serde_json::Value = serde_json::from_str(&entry.body).unwrap();
    assert_eq!((&body["count"], &body["address"]), (&3.into(), &"192.0.2.7".into()));
    assert_eq!(body["user_agent"], "curl/8  Bcc: x", "a stranger's line break");
    let contact = Recipient::Contact("owner@example.com".into());
    let recipients = told(&*store, &clock);
    assert!(
        recipients.len() == 2 && recipients.contains(&contact) && recipients.contains(&Recipient::Operator)
    );
    verify(&*store, &mut |_| {}).unwrap();
}

pub(crate) fn a_decoys_uses_are_told_once_an_hour(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    with_decoy(&*store, &clock);
    store.decoys_used(act(&clock), &[used("decoy", 1)]).unwrap();
    told(&*store, &clock);
    clock.advance(Duration::from_mins(59));
    let later = DecoyTold::NotBefore { unix_seconds: START + 3_600 };
    assert_eq!(fixture.open().decoys_used(act(&clock), &[used("decoy", 1)]).unwrap(), [later]);
    assert!(told(&*store, &clock).is_empty());
    clock.advance(Duration::from_mins(1));
    assert_eq!(store.decoys_used(act(&clock), &[used("decoy", 500)]).unwrap(), [DecoyTold::Told]);
    assert_eq!(told(&*store, &clock).len(), 2);
}

pub(crate) fn a_clock_that_was_ahead_silences_no_decoy(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    with_decoy(&*store, &clock);
    store.decoys_used(act(&Clock::manual(START + 86_400)), &[used("decoy", 1)]).unwrap();
    assert_eq!(store.decoys_used(act(&clock), &[used("decoy", 1)]).unwrap(), [DecoyTold::Told]);
}

pub(crate) fn a_leaked_decoy_stays_one(fixture: &dyn Fixture) {
    use crate::tokens::store::contract::leaks::leaked;
    let (store, clock) = (fixture.open(), Clock::manual(START));
    with_decoy(&*store, &clock);
    let (seq, _) = store.head().unwrap();
    let found = store.revoke_leaked(act(&clock), &[leaked("decoy")]).unwrap();
    assert_eq!(found, [crate::tokens::LeakRevocation::Decoy]);
    assert!(store.token("decoy").unwrap().unwrap().revoked_at_unix_seconds.is_none());
    let entry = store.log(seq, 10).unwrap().remove(0);
    assert!(entry.kind == "token.decoy_found" && entry.body.contains("github.com"), "{entry:?}");
    assert!(told(&*store, &clock).is_empty(), "nothing leaked");
    let again = store.revoke_leaked(act(&clock), &[leaked("decoy")]).unwrap();
    assert_eq!(again, [crate::tokens::LeakRevocation::Decoy]);
    assert_eq!(store.head().unwrap().0, seq + 1, "a replayed alert was logged again");
}

fn note(store: &dyn Store, clock: &Clock, id: &str, address: &str) -> NetworkNoted {
    store.note_networks(act(clock), &[seen(id, address)], LEARNING).unwrap()[0]
}

pub(crate) fn the_first_network_is_learnt_and_the_next_is_told(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    assert_eq!(note(&*store, &clock, "real", "192.0.2.7"), NetworkNoted::Unknown);
    with_decoy(&*store, &clock);
    let (seq, _) = store.head().unwrap();
    assert_eq!(note(&*store, &clock, "real", "192.0.2.7"), NetworkNoted::Learnt);
    assert_eq!(note(&*store, &clock, "real", "::ffff:192.0.2.99"), NetworkNoted::Known);
    clock.advance(Duration::from_secs(LEARNING - 1));
    assert_eq!(note(&*store, &clock, "real", "2001:db8::1"), NetworkNoted::Learnt);
    assert_eq!(store.head().unwrap().0, seq, "what was learnt is in the log");
    clock.advance(Duration::from_secs(1));
    assert_eq!(note(&*store, &clock, "real", "198.51.100.1"), NetworkNoted::Told);
    assert_eq!(note(&*store, &clock, "real", "203.0.113.1"), NetworkNoted::Told);
    assert_eq!(told(&*store, &clock).len(), 1, "a second message in the same hour");
    let log = store.log(seq, 10).unwrap();
    assert!(log.len() == 2 && log.iter().all(|entry| entry.kind == "token.new_network"));
    let body: serde_json::Value = serde_json::from_str(&log[0].body).unwrap();
    assert_eq!((&body["network"], &body["known"][0]), (&"198.51.100.0/24".into(), &"192.0.2.0/24".into()));
    clock.advance(Duration::from_hours(1));
    assert_eq!(note(&*store, &clock, "real", "203.0.114.1"), NetworkNoted::Told);
    assert_eq!(told(&*store, &clock).len(), 1);
    verify(&*store, &mut |_| {}).unwrap();
}

pub(crate) fn networks_are_a_familys(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    with_decoy(&*store, &clock);
    note(&*store, &clock, "real", "192.0.2.7");
    store.rotate_token(act(&clock), "real", &replacement("next", 3, 60)).unwrap();
    clock.advance(DAY);
    assert_eq!(note(&*store, &clock, "next", "192.0.2.8"), NetworkNoted::Known);
    assert_eq!(note(&*store, &clock, "next", "198.51.100.1"), NetworkNoted::Told);
    let known = store.known_networks("real").unwrap();
    assert_eq!(known.len(), 2);
    assert_eq!(known.iter().map(|one| one.seen_unix_seconds).min(), Some(START + 86_400), "seen again");
    assert_eq!(known.iter().map(|one| one.first_seen_unix_seconds).min(), Some(START));
    assert!(matches!(store.known_networks("nobody"), Err(Error::TokenUnknown(_))));
}

pub(crate) fn networks_are_bounded_and_old_ones_make_room(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    with_decoy(&*store, &clock);
    for n in 0..MOST_KNOWN_NETWORKS {
        assert_eq!(note(&*store, &clock, "real", &format!("10.0.{n}.1")), NetworkNoted::Learnt);
    }
    clock.advance(DAY);
    assert_eq!(note(&*store, &clock, "real", "192.0.2.1"), NetworkNoted::Roaming);
    clock.advance(89 * DAY);
    assert_eq!(note(&*store, &clock, "real", "192.0.2.1"), NetworkNoted::Told);
    assert_eq!(store.known_networks("real").unwrap().len(), MOST_KNOWN_NETWORKS);
}

pub(crate) fn a_fleet_tells_of_a_network_once(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    let nobody = NewWorkspace { contacts: vec![], ..workspace("ws") };
    store.create_workspace(act(&clock), &nobody).unwrap();
    store.create_token(act(&clock), &token("t", "ws", 1), CAP).unwrap();
    note(&*store, &clock, "t", "192.0.2.7");
    clock.advance(DAY);
    let all: Vec<NetworkNoted> = std::thread::scope(|scope| {
        let gateways = (0..4).map(|_| {
            let (store, clock) = (fixture.open(), clock.clone());
            scope.spawn(move || note(&*store, &clock, "t", "198.51.100.1"))
        });
        gateways.collect::<Vec<_>>().into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(all.iter().filter(|one| **one == NetworkNoted::Told).count(), 1, "{all:?}");
    assert_eq!(told(&*store, &clock), [Recipient::Operator]);
}
