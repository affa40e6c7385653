//! What every store must do with revoked JWTs.

use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::tokens::store::contract::{Fixture, START, act, proofs};
use crate::tokens::store::log::verify;
use crate::tokens::store::{Row, Store};

proofs! { prove_jwt_revocations:
    revocations_are_written_and_listed,
    revoking_again_keeps_the_later_times,
    revocations_are_changes_of_the_log,
    ended_revocations_go,
}

fn by_jti(id: &str, jti: &str, ends_at: u64) -> NewJwtRevocation {
    let jwts = JwtsRevoked::Token { issuer: "https://issuer.example".into(), jti: jti.into() };
    NewJwtRevocation { id: id.into(), jwts, reason: "leaked".into(), ends_at_unix_seconds: ends_at }
}

fn by_subject(id: &str, issued_before: u64, ends_at: u64) -> NewJwtRevocation {
    let (issuer, subject) = ("https://issuer.example".into(), "ana".into());
    let jwts = JwtsRevoked::Subject { issuer, subject, issued_before_unix_seconds: issued_before };
    NewJwtRevocation { jwts, ..by_jti(id, "", ends_at) }
}

fn ids(store: &dyn Store) -> Vec<String> {
    store.jwt_revocations("", 100).unwrap().into_iter().map(|revocation| revocation.id).collect()
}

pub(crate) fn revocations_are_written_and_listed(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    let jwts = JwtsRevoked::Workspace { workspace: "ws".into(), issued_before_unix_seconds: START };
    let by_workspace = NewJwtRevocation { jwts, ..by_jti("c", "", START + 60) };
    for new in [by_jti("b", "1", START + 60), by_workspace, by_subject("a", START, START + 60)] {
        let made = store.revoke_jwts(act(&clock), &new).unwrap();
        assert_eq!((&*made.id, &made.jwts, &*made.reason), (&*new.id, &new.jwts, "leaked"));
        assert_eq!((made.revoked_at_unix_seconds, made.ends_at_unix_seconds), (START, START + 60));
    }
    let other = fixture.open();
    assert_eq!(ids(&*other), ["a", "b", "c"]);
    let page = other.jwt_revocations("a", 1).unwrap();
    assert_eq!((page.len(), &*page[0].id), (1, "b"));
}

pub(crate) fn revoking_again_keeps_the_later_times(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    let first = store.revoke_jwts(act(&clock), &by_subject("a", START, START + 60)).unwrap();
    let head = store.head().unwrap();
    let same = store.revoke_jwts(act(&clock), &by_subject("b", START - 10, START + 50)).unwrap();
    assert_eq!(same, first);
    assert_eq!(store.head().unwrap(), head, "a revocation that revokes nothing more was logged");
    let more = store.revoke_jwts(act(&clock), &by_subject("b", START + 10, START + 70)).unwrap();
    assert_eq!((&*more.id, more.ends_at_unix_seconds), ("a", START + 70));
    assert!(matches!(
        more.jwts,
        JwtsRevoked::Subject { issued_before_unix_seconds, .. } if issued_before_unix_seconds == START + 10
    ));
    assert_eq!(ids(&*store), ["a"]);
}

pub(crate) fn revocations_are_changes_of_the_log(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    let made = store.revoke_jwts(act(&clock), &by_jti("a", "1", START + 60)).unwrap();
    let log = store.log(0, 10).unwrap();
    assert_eq!((log.len(), &*log[0].kind, &*log[0].subject), (1, "jwt.revoked", "a"));
    let body: serde_json::Value = serde_json::from_str(&log[0].body).unwrap();
    assert_eq!((&body["jti"], &body["reason"]), (&"1".into(), &"leaked".into()));
    let rows = store.changes(0, 10).unwrap().rows;
    assert!(matches!(&rows[..], [Row::JwtRevocation(seen)] if *seen == made), "{rows:?}");
    let mut snapshot = Vec::new();
    store.snapshot(&mut |row| snapshot.push(row)).unwrap();
    assert!(matches!(&snapshot[..], [Row::JwtRevocation(seen)] if *seen == made), "{snapshot:?}");
    verify(&*store, &mut |_| {}).unwrap();
}

pub(crate) fn ended_revocations_go(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    store.revoke_jwts(act(&clock), &by_jti("a", "1", START + 60)).unwrap();
    store.revoke_jwts(act(&clock), &by_jti("b", "2", START + 61)).unwrap();
    clock.advance(Duration::from_mins(1));
    store.revoke_jwts(act(&clock), &by_jti("c", "3", START + 90)).unwrap();
    assert_eq!(ids(&*store), ["a", "b", "c"], "a clock that is ahead for a while loses revocations");
    clock.advance(Duration::from_secs(ENDED_KEPT_SECONDS));
    store.revoke_jwts(act(&clock), &by_jti("c", "3", START + ENDED_KEPT_SECONDS + 90)).unwrap();
    assert_eq!(ids(&*store), ["b", "c"]);
    let rows = store.changes(0, 10).unwrap().rows;
    assert_eq!(rows.len(), 2, "a row that is gone is no change");
}
