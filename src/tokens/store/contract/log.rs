//! What every store does with the change log.

use std::collections::HashSet;

use super::*;
use crate::tokens::store::log::verify;

proofs! { prove_log:
    the_log_is_gapless_with_concurrent_writers,
    changes_carry_the_rows_of_one_moment,
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
