//! What every store must do with changes of a token.

use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::tokens::store::contract::{CAP, Fixture, START, act, proofs, replacement, token, workspace};
use crate::tokens::store::log::verify;
use crate::tokens::store::{NewToken, Row};

proofs! { prove_token_changes:
    a_change_of_no_working_token_is_refused,
    networks_are_kept_changed_and_logged,
    a_rotated_token_keeps_its_networks,
    a_decoy_is_kept_as_one,
}

fn networks(texts: &[&str]) -> Vec<Network> {
    texts.iter().map(|text| Network::parse(text).unwrap()).collect()
}

fn bound_to(texts: &[&str]) -> TokenChange {
    TokenChange { name: None, allowed_networks: Some(networks(texts)) }
}

pub(crate) fn a_change_of_no_working_token_is_refused(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    let change = bound_to(&["10.0.0.0/8"]);
    assert!(matches!(store.set_token(act(&clock), "t", &change), Err(Error::TokenUnknown(_))));
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("revoked", "ws", 1), CAP).unwrap();
    store.revoke_token(act(&clock), "revoked", "x").unwrap();
    let short = NewToken { expires_at_unix_seconds: Some(START + 1), ..token("expired", "ws", 2) };
    store.create_token(act(&clock), &short, CAP).unwrap();
    clock.advance(Duration::from_secs(1));
    let head = store.head().unwrap();
    for id in ["revoked", "expired"] {
        let refused = store.set_token(act(&clock), id, &change);
        assert!(matches!(refused, Err(Error::Ended { state, .. }) if state == id));
    }
    assert_eq!(store.head().unwrap(), head);
}

pub(crate) fn networks_are_kept_changed_and_logged(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    let first = networks(&["10.0.0.0/8", "2001:db8::/32"]);
    let new = NewToken { allowed_networks: first.clone(), ..token("t", "ws", 1) };
    assert_eq!(store.create_token(act(&clock), &new, CAP).unwrap().allowed_networks, first);
    assert_eq!(fixture.open().token("t").unwrap().unwrap().allowed_networks, first);
    let (seq, _) = store.head().unwrap();
    let after = store.set_token(act(&clock), "t", &bound_to(&["192.0.2.0/24"])).unwrap();
    assert_eq!(after, store.token("t").unwrap().unwrap());
    assert_eq!(after.allowed_networks, networks(&["192.0.2.0/24"]));
    store.set_token(act(&clock), "t", &bound_to(&["192.0.2.0/24"])).unwrap();
    store.set_token(act(&clock), "t", &TokenChange::default()).unwrap();
    assert_eq!(store.head().unwrap().0, seq + 1, "a change that changes nothing was logged");
    let changes = store.changes(seq, 10).unwrap();
    assert!(matches!(&changes.rows[..], [Row::Token(stored)] if stored.record == after), "{changes:?}");
    let entry = store.log(seq, 1).unwrap().remove(0);
    assert_eq!((&*entry.kind, &*entry.subject), ("token.modified", "t"));
    let body: serde_json::Value = serde_json::from_str(&entry.body).unwrap();
    assert_eq!(body["before"]["allowed_networks"][1], "2001:db8::/32");
    assert_eq!(body["after"]["allowed_networks"][0], "192.0.2.0/24");
    let renamed = TokenChange { name: Some("deploy".into()), allowed_networks: Some(Vec::new()) };
    let free = store.set_token(act(&clock), "t", &renamed).unwrap();
    assert_eq!((&*free.name, free.allowed_networks.len()), ("deploy", 0));
    verify(&*store, &mut |_| {}).unwrap();
}

pub(crate) fn a_rotated_token_keeps_its_networks(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    let new = NewToken { allowed_networks: networks(&["10.0.0.0/8"]), ..token("t", "ws", 1) };
    store.create_token(act(&clock), &new, CAP).unwrap();
    let successor = store.rotate_token(act(&clock), "t", &replacement("u", 2, 60)).unwrap();
    assert_eq!(successor.allowed_networks, networks(&["10.0.0.0/8"]));
    assert_eq!(store.token("u").unwrap().unwrap(), successor);
}

pub(crate) fn a_decoy_is_kept_as_one(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    let new = NewToken { is_decoy: true, ..token("t", "ws", 1) };
    assert!(store.create_token(act(&clock), &new, CAP).unwrap().is_decoy);
    let successor = store.rotate_token(act(&clock), "t", &replacement("u", 2, 60)).unwrap();
    assert!(successor.is_decoy && store.token("t").unwrap().unwrap().is_decoy);
    let mut decoys = 0;
    let count = &mut |row| decoys += u32::from(matches!(row, Row::Token(stored) if stored.record.is_decoy));
    store.snapshot(count).unwrap();
    assert_eq!(decoys, 2);
}
