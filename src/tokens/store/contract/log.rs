//! What every store does with the change log.

use std::collections::HashSet;

use super::*;
use crate::tokens::store::log::verify;

proofs! { prove_log:
    the_log_is_gapless_with_concurrent_writers,
    changes_carry_the_rows_of_one_moment,
    every_row_reaches_every_reader_whole,
    the_log_is_chained_and_holds_no_secret,
    fingerprints_stay,
}

pub(crate) fn the_log_is_gapless_with_concurrent_writers(fixture: &dyn Fixture) {
    const WRITERS: u64 = 6;
    const EACH: u64 = 10;
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, clock) = (fixture.open(), clock.clone());
            scope.spawn(move || {
                for n in 0..EACH {
                    let new = token(&format!("t{writer}-{n}"), "ws", writer * EACH + n);
                    store.create_token(act(&clock), &new, 1_000).unwrap();
                }
            });
        }
        let reader = fixture.open();
        scope.spawn(move || {
            let mut last = 0;
            while last < 1 + WRITERS * EACH {
                for seq in reader.changes(last, 7).unwrap().seqs {
                    assert_eq!(seq, last + 1);
                    last = seq;
                }
            }
        });
    });
    assert_eq!(verify(&*store, &mut |_| {}).unwrap(), 1 + WRITERS * EACH);
    let numbers: HashSet<u64> =
        store.tokens(None, "", 1_000).unwrap().iter().map(|token| token.number).collect();
    assert_eq!(numbers.len() as u64, WRITERS * EACH);
}

pub(crate) fn changes_carry_the_rows_of_one_moment(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("t", "ws", 1), CAP).unwrap();
    store.revoke_token(act(&clock), "t", "leaked").unwrap();
    let changes = store.changes(0, 2).unwrap();
    assert_eq!((changes.head, changes.seqs), (3, vec![1, 2]));
    let [Row::Workspace(workspace), Row::Token(token)] = &changes.rows[..] else {
        panic!("{changes:?}", changes = changes.rows)
    };
    assert_eq!((&*workspace.id, token.digest, token.foreign), ("ws", digest(1), false));
    assert!(token.record.revoked_at_unix_seconds.is_some());
    let hash_of = |seq: u64| store.log(seq - 1, 1).unwrap()[0].hash;
    assert_eq!((changes.hash_before, changes.hash_after), ([0; 32], hash_of(2)));
    let rest = store.changes(2, 10).unwrap();
    assert_eq!((rest.hash_before, rest.hash_after, rest.seqs), (hash_of(2), hash_of(3), vec![3]));
    let nothing = store.changes(3, 10).unwrap();
    assert!(nothing.seqs.is_empty() && nothing.rows.is_empty());
    assert_eq!((nothing.hash_before, nothing.hash_after), (hash_of(3), hash_of(3)));
    let mut rows = Vec::new();
    assert_eq!(store.snapshot(&mut |row| rows.push(row)).unwrap(), (3, hash_of(3)));
    assert!(matches!(&rows[..], [Row::Workspace(_), Row::Token(_)]));
}

/// The kinds of rows: a new one has to be made below, or this does not compile.
const fn kind(row: &Row) -> usize {
    match row {
        Row::Workspace(_) => 0,
        Row::Token(_) => 1,
        Row::Operator(_) => 2,
        Row::JwtRevocation(_) => 3,
    }
}
const KINDS: usize = 4;

/// One row of each kind, with nothing in it as it is by default.
fn make_each(store: &dyn Store, clock: &Clock) {
    let act = act(clock);
    store.create_workspace(act, &workspace("ws")).unwrap();
    // No field is left out, so that a new one is thought of here.
    let token = NewToken {
        id: "t".into(),
        workspace: "ws".into(),
        name: "ci".into(),
        scopes: vec!["public_api:read".into()],
        role: Role::Owner,
        own_limit: Some("5 per minute".parse().unwrap()),
        allowed_networks: vec![Network::parse("10.0.0.0/8").unwrap()],
        is_decoy: true,
        expires_at_unix_seconds: Some(START + 1_000),
        digest: digest(1),
        foreign: true,
    };
    store.create_token(act, &token, CAP).unwrap();
    let quota = "7 per minute".parse().unwrap();
    let new =
        NewOverride { policy: "default".into(), quota, until_unix_seconds: START + 60, reason: "x".into() };
    store.set_override(act, &OverrideHolder::Token("t".into()), &new).unwrap();
    store.set_override(act, &OverrideHolder::Workspace("ws".into()), &new).unwrap();
    store.rotate_token(act, "t", &replacement("u", 2, 60)).unwrap();
    store.record_uses(&[("t", START)]).unwrap();
    let (name, expires_at_unix_seconds) = ("ana".into(), Some(START + 60));
    let operator = operators::NewOperator { name, expires_at_unix_seconds, digest: digest(3) };
    store.create_operator(act, &operator).unwrap();
    let jwts = crate::tokens::JwtsRevoked::Token { issuer: "https://i.example".into(), jti: "j".into() };
    let revocation = jwt_revocations::NewJwtRevocation {
        id: "jwr_1".into(),
        jwts,
        reason: "leaked".into(),
        ends_at_unix_seconds: START + 60,
    };
    store.revoke_jwts(act, &revocation).unwrap();
}

pub(crate) fn every_row_reaches_every_reader_whole(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    make_each(&*store, &clock);
    let told = |rows: &[Row]| {
        let mut told: Vec<String> = rows.iter().map(|row| format!("{} {row:?}", kind(row))).collect();
        told.sort_unstable();
        told
    };
    let (mut all, mut few) = (Vec::new(), Vec::new());
    let head = store.snapshot(&mut |row| all.push(row)).unwrap();
    store.few(&mut |row| few.push(row)).unwrap();
    let kinds: HashSet<usize> = all.iter().map(kind).collect();
    assert_eq!(kinds.len(), KINDS, "a kind is made by nobody here, or is missing in the snapshot");
    assert_eq!(told(&store.changes(0, 100).unwrap().rows), told(&all), "the log tells other rows");
    assert_eq!(store.changes(0, 100).unwrap().head, head.0);
    // What a saved registry does not have, the others.
    all.retain(|row| !matches!(row, Row::Workspace(_) | Row::Token(_)));
    assert_eq!(told(&few), told(&all));
    let mut records = Vec::new();
    store
        .snapshot(&mut |row| match row {
            Row::Token(stored) => records.push(stored.record),
            Row::Workspace(_) | Row::Operator(_) | Row::JwtRevocation(_) => {}
        })
        .unwrap();
    for record in records {
        assert_eq!(store.token(&record.id).unwrap().unwrap(), record);
        assert!(record.is_decoy && record.allowed_networks.len() == 1 && record.overrides.len() == 1);
    }
}

pub(crate) fn the_log_is_chained_and_holds_no_secret(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    store.create_token(act(&clock), &token("t", "ws", 1), CAP).unwrap();
    store.rotate_token(act(&clock), "t", &replacement("u", 2, 60)).unwrap();
    store.revoke_token(act(&clock), "u", "leaked").unwrap();
    store.add_fingerprints(act(&clock), &[digest(9)]).unwrap();
    assert_eq!(verify(&*store, &mut |_| {}).unwrap(), 7);
    let log = store.log(0, 100).unwrap();
    let kinds: Vec<&str> = log.iter().map(|entry| &*entry.kind).collect();
    assert_eq!(
        kinds,
        [
            "workspace.created",
            "token.created",
            "token.created",
            "token.rotated",
            "token.revoked",
            "token.revoked",
            "pepper.added"
        ]
    );
    assert_eq!(store.log(2, 1).unwrap()[0], log[2]);
    assert_eq!(log[0].actor, "test");
    let secret = "ab".repeat(24);
    for entry in &log {
        assert!(ChangeKind::by_name(&entry.kind).is_some());
        assert!(!entry.body.contains("owner@example.com") && !entry.body.to_lowercase().contains(&secret));
        let forged = LogEntry { actor: "someone".into(), ..entry.clone() };
        assert_ne!(forged.hash_after(&entry.previous), entry.hash);
    }
}

pub(crate) fn fingerprints_stay(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    assert!(store.fingerprints().unwrap().is_empty());
    store.add_fingerprints(act(&clock), &[digest(1)]).unwrap();
    store.add_fingerprints(act(&clock), &[digest(2)]).unwrap();
    assert_eq!(store.fingerprints().unwrap(), [digest(1)], "a fingerprint was exchanged");
}
