//! What every store must do when tokens move to another pepper.

use super::*;
use crate::clock::Clock;
use crate::tokens::store::contract::{CAP, Fixture, START, act, digest, imported, proofs, token, workspace};
use crate::tokens::store::log::verify;
use crate::tokens::store::operators::NewOperator;
use crate::tokens::store::{Imported, ImportedToken, NewToken, Row, Store, StoredToken};

proofs! { prove_peppers:
    what_is_stored_under_each_pepper_is_counted,
    a_pepper_that_is_needed_is_retired_only_by_force,
    a_token_moves_once_and_is_found_by_its_new_digest_alone,
    a_move_tells_what_stood_for_the_token_before,
    a_hash_that_was_moved_is_imported_once,
    an_operators_token_moves_too,
    tokens_are_listed_by_their_pepper,
    many_moves_are_read_in_portions,
}

const fn under(version: u16, of: Digest) -> Digest {
    Digest { scheme: Scheme::of(version), ..of }
}

fn moved(number: u64, to: u16) -> Rehash {
    Rehash { from: digest(number), to: under(to, digest(number + 1_000)) }
}

fn start(store: &dyn Store, clock: &Clock) {
    store.create_workspace(act(clock), &workspace("ws")).unwrap();
    store.create_token(act(clock), &token("a", "ws", 1), CAP).unwrap();
    store.create_token(act(clock), &token("b", "ws", 2), CAP).unwrap();
    store.add_fingerprints(act(clock), &[digest(90), under(2, digest(91))]).unwrap();
}

fn token_rows(store: &dyn Store, after: u64) -> Vec<StoredToken> {
    let rows = store.changes(after, 100).unwrap().rows;
    let tokens = rows.into_iter().filter_map(|row| match row {
        Row::Token(stored) => Some(*stored),
        Row::Workspace(_) | Row::Operator(_) | Row::JwtRevocation(_) => None,
    });
    tokens.collect()
}

pub(crate) fn what_is_stored_under_each_pepper_is_counted(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    start(&*store, &clock);
    let hashed = NewToken { digest: under(0, digest(3)), foreign: true, ..token("c", "ws", 3) };
    store.import(act(&clock), &[ImportedToken { token: hashed, ..imported("c", "ws", 3) }]).unwrap();
    store.revoke_token(act(&clock), "b", "x").unwrap();
    let operator = NewOperator { name: "ana".into(), expires_at_unix_seconds: None, digest: digest(50) };
    store.create_operator(act(&clock), &operator).unwrap();
    let uses = store.under_peppers(clock.now()).unwrap();
    let counts: Vec<_> = uses
        .iter()
        .map(|one| (one.scheme, one.working_tokens, one.ended_tokens, one.working_operators))
        .collect();
    assert_eq!(counts, [(Scheme::Sha256, 1, 0, 0), (Scheme::Hmac(1), 1, 1, 1), (Scheme::Hmac(2), 0, 0, 0)]);
}

pub(crate) fn a_pepper_that_is_needed_is_retired_only_by_force(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    start(&*store, &clock);
    let head = store.head().unwrap();
    let refused = store.retire_pepper(act(&clock), 1, false);
    assert!(matches!(refused, Err(Error::PepperNeeded { version: 1, tokens: 2, operators: 0 })));
    assert!(matches!(store.retire_pepper(act(&clock), 9, true), Err(Error::PepperUnknown(9))));
    assert_eq!(store.head().unwrap(), head);
    assert!(store.retired_peppers().unwrap().is_empty());
    store.rehash(act(&clock), &[moved(1, 2), moved(2, 2)]).unwrap();
    let retired = store.retire_pepper(act(&clock), 1, false).unwrap();
    assert_eq!((retired.working_tokens, retired.retired_at_unix_seconds), (0, Some(START)));
    assert_eq!(store.retired_peppers().unwrap(), [1]);
    assert_eq!(store.fingerprints().unwrap().len(), 2, "the version could be given to another pepper");
    let head = store.head().unwrap();
    store.retire_pepper(act(&clock), 1, true).unwrap();
    assert_eq!(store.head().unwrap(), head, "it was retired twice");
    assert_eq!(store.retire_pepper(act(&clock), 2, true).unwrap().working_tokens, 2);
    verify(&*store, &mut |_| {}).unwrap();
}

pub(crate) fn a_token_moves_once_and_is_found_by_its_new_digest_alone(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    start(&*store, &clock);
    let (seq, _) = store.head().unwrap();
    let before = store.token("a").unwrap();
    assert_eq!(store.rehash(act(&clock), &[moved(1, 2), moved(7, 2)]).unwrap(), 1);
    assert_eq!(fixture.open().rehash(act(&clock), &[moved(1, 2)]).unwrap(), 0, "moved by another gateway");
    let found = |digest| store.token_by_digest(&[digest]).unwrap().map(|token| token.id);
    assert_eq!(found(under(2, digest(1_001))).as_deref(), Some("a"));
    assert_eq!(found(digest(1)), None);
    assert_eq!(store.token("a").unwrap(), before, "something else changed");
    let log = store.log(seq, 10).unwrap();
    assert_eq!((log.len(), &*log[0].kind, &*log[0].subject), (1, "pepper.moved", "2"));
    assert!(!log[0].body.contains("abab"), "a digest is in the log");
    // Another token that stands there already keeps its place.
    let same = Rehash { from: digest(2), to: under(2, digest(1_001)) };
    assert_eq!(store.rehash(act(&clock), &[same]).unwrap(), 0);
    verify(&*store, &mut |_| {}).unwrap();
}

pub(crate) fn a_move_tells_what_stood_for_the_token_before(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    start(&*store, &clock);
    let (seq, _) = store.head().unwrap();
    store.rehash(act(&clock), &[moved(1, 2)]).unwrap();
    let again = Rehash { from: under(2, digest(1_001)), to: under(3, digest(2_001)) };
    store.rehash(act(&clock), &[again]).unwrap();
    store.revoke_token(act(&clock), "a", "x").unwrap();
    let rows = token_rows(&*store, seq);
    let [row] = &rows[..] else { panic!("{rows:?}") };
    let mut former = row.former.clone();
    former.sort_unstable_by_key(|digest| digest.scheme);
    assert_eq!(former, [digest(1), under(2, digest(1_001))]);
    assert_eq!((&*row.record.id, row.digest), ("a", under(3, digest(2_001))));
}

pub(crate) fn a_hash_that_was_moved_is_imported_once(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    start(&*store, &clock);
    let hash = under(0, digest(5));
    let hashed = || ImportedToken {
        token: NewToken { digest: hash, foreign: true, ..token("c", "ws", 5) },
        known_as: vec![hash],
        ..imported("c", "ws", 5)
    };
    assert_eq!(store.import(act(&clock), &[hashed()]).unwrap(), [Imported::Added]);
    let to = under(2, digest(55));
    assert_eq!(store.rehash(act(&clock), &[Rehash { from: hash, to }]).unwrap(), 1);
    store.revoke_token(act(&clock), "c", "leaked").unwrap();
    assert_eq!(store.import(act(&clock), &[hashed()]).unwrap(), [Imported::Known], "it came back to life");
}

pub(crate) fn an_operators_token_moves_too(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    start(&*store, &clock);
    let operator = NewOperator { name: "ana".into(), expires_at_unix_seconds: None, digest: digest(50) };
    store.create_operator(act(&clock), &operator).unwrap();
    let (seq, _) = store.head().unwrap();
    assert_eq!(store.rehash(act(&clock), &[moved(50, 2)]).unwrap(), 1);
    let rows = store.changes(seq, 10).unwrap().rows;
    let moved_to = under(2, digest(1_050));
    assert!(matches!(&rows[..], [Row::Operator(stored)] if stored.digest == moved_to), "{rows:?}");
}

pub(crate) fn tokens_are_listed_by_their_pepper(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    start(&*store, &clock);
    store.rehash(act(&clock), &[moved(2, 2)]).unwrap();
    let ids = |version, after: &str| -> Vec<String> {
        let found = store.tokens_under(Scheme::of(version), after, 10).unwrap();
        found.into_iter().map(|token| token.id).collect()
    };
    assert_eq!((ids(1, ""), ids(2, "")), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert!(ids(2, "b").is_empty() && ids(0, "").is_empty());
}

pub(crate) fn many_moves_are_read_in_portions(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), Clock::manual(START));
    start(&*store, &clock);
    let many: Vec<_> = (100..145).map(|n| imported(&format!("t{n}"), "ws", n)).collect();
    store.import(act(&clock), &many).unwrap();
    let (seq, _) = store.head().unwrap();
    for first in [100, 115, 130] {
        let moves: Vec<_> = (first..first + 15).map(|n| moved(n, 2)).collect();
        assert_eq!(store.rehash(act(&clock), &moves).unwrap(), 15);
    }
    let some = store.changes(seq, 3).unwrap();
    assert_eq!((some.head, &some.seqs[..], some.rows.len()), (seq + 3, &[seq + 1, seq + 2][..], 30));
    let rest = store.changes(seq + 2, 3).unwrap();
    assert_eq!((&rest.seqs[..], rest.rows.len()), (&[seq + 3][..], 15));
    assert_eq!(rest.hash_before, some.hash_after);
}
