use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::authentication::fixture::{Key, START, key_set};
use crate::authentication::jwt::{Algorithm, KeyIgnored};
use crate::clock::Clock;

fn read(text: &str) -> (Option<usize>, Vec<(usize, KeyIgnored)>) {
    let mut ignored = Vec::new();
    let set = KeySet::parse(text.as_bytes(), &Algorithm::ALL, |place, reason| ignored.push((place, reason)));
    (set.ok().map(|set| set.len()), ignored)
}

#[test]
fn a_set_keeps_what_is_understood_and_says_why_it_leaves_out_the_rest() {
    let (one, two, twin) = (Key::es256("a"), Key::ed25519("b"), Key::ed25519("b"));
    let mut encryption = Key::es256("e").jwk;
    encryption["use"] = "enc".into();
    let text = json!({ "keys": [
        { "kty": "oct", "k": "AAAA", "kid": "h" }, one.jwk, "x", { "kty": "new" }, encryption, two.jwk, twin.jwk,
    ]})
    .to_string();
    let (kept, mut ignored) = read(&text);
    ignored.sort_by_key(|(place, _)| *place);
    assert_eq!(kept, Some(1));
    assert_eq!(
        ignored,
        [
            (0, KeyIgnored::Symmetric),
            (2, KeyIgnored::Malformed),
            (3, KeyIgnored::Algorithm),
            (4, KeyIgnored::NotForSignatures),
            (5, KeyIgnored::DuplicateKid),
            (6, KeyIgnored::DuplicateKid),
        ]
    );
}

#[test]
fn a_set_is_bounded() {
    let key = Key::ed25519("a");
    let many = |count: u32| {
        let numbered = (0..count).map(|number| {
            let mut jwk = key.jwk.clone();
            jwk["kid"] = number.to_string().into();
            jwk
        });
        json!({ "keys": numbered.collect::<Vec<_>>() }).to_string()
    };
    assert_eq!(read(&many(64)), (Some(64), vec![]));
    assert_eq!(read(&many(65)), (None, vec![]));
    let padded = key_set(&[&key]).unwrap() + &" ".repeat(MAX_SET_BYTES);
    assert_eq!(read(&padded).0, None);
    let twice = key_set(&[&key]).unwrap().replacen('{', r#"{"keys":[],"#, 1);
    assert_eq!(read(&twice).0, None);
}

#[test]
fn a_file_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let clock = Clock::manual(START);
    let pace = Pace {
        refresh: Duration::from_hours(1),
        cool_down: Duration::from_secs(5),
        max_stale: Duration::from_hours(1),
        removal_overlap: Duration::ZERO,
    };
    let (keys, refresher) =
        IssuerKeys::new("issuer".into(), Source::File(path.clone()), Algorithm::ALL.into(), pace, None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let task = tokio::spawn(refresher.run(clock.clone()));
        while !keys.last_load_failed() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        std::fs::write(&path, key_set(&[&Key::es256("a")]).unwrap()).unwrap();
        let knows = |kid: &str| {
            let (_, set) = keys.current(clock.now());
            set.is_some_and(|set| find(&set, kid, 0).is_some())
        };
        while !knows("a") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        std::fs::write(&path, key_set(&[&Key::es256("b")]).unwrap()).unwrap();
        while !knows("b") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(!knows("a"));
        // The task ends when nobody uses the keys any more.
        drop(keys);
        tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
    });
}

/// The key of an id that may be used at a time.
fn find(set: &KeySet, kid: &str, now_nanos: u64) -> Option<Arc<crate::authentication::jwt::VerificationKey>> {
    let kid = Some(kid.to_owned());
    let header = crate::authentication::jwt::Header { algorithm: Some(Algorithm::Es256), kid, typ: None };
    match set.select(&header, now_nanos) {
        Selection::Key(key) => Some(Arc::clone(key)),
        Selection::Unknown | Selection::Ambiguous => None,
    }
}

fn parse(keys: &[&Key]) -> KeySet {
    KeySet::parse(key_set(keys).unwrap().as_bytes(), &Algorithm::ALL, |_, _| {}).unwrap()
}

#[test]
fn keys_that_stay_keep_their_identity() {
    let (one, two) = (Key::es256("a"), Key::es256("b"));
    let first = parse(&[&one]);
    let second = parse(&[&two, &one]).succeeding(&first, 0, 0);
    assert!(second.holds(&find(&first, "a", 0).unwrap(), 0));
    assert!(!first.holds(&find(&second, "b", 0).unwrap(), 0));
    assert!(!first.is_same(&second) && first.is_same(&parse(&[&one]).succeeding(&first, 0, 0)));
    let replaced = parse(&[&Key::es256("a")]).succeeding(&first, 0, 100);
    assert!(!replaced.holds(&find(&first, "a", 0).unwrap(), 0), "its id belongs to another");
}

#[test]
fn a_key_that_left_is_used_until_its_time_and_no_longer() {
    let (one, two, three) = (Key::es256("a"), Key::es256("b"), Key::es256("c"));
    let first = parse(&[&one]);
    let key = find(&first, "a", 0).unwrap();
    let second = parse(&[&two]).succeeding(&first, 0, 100);
    assert_eq!((second.len(), second.next_retirement_nanos()), (1, 100));
    assert!(second.without_retired(99).is_none());
    // A later change does not lengthen it.
    let third = parse(&[&three]).succeeding(&second, 50, 150);
    for set in [&second, &third] {
        assert!(set.holds(&key, 99) && find(set, "a", 99).is_some());
        assert!(!set.holds(&key, 100) && find(set, "a", 100).is_none());
    }
    let later = third.without_retired(100).unwrap();
    assert!(find(&later, "a", 0).is_none() && find(&later, "b", 149).is_some());
    // It may come back, as the same key.
    let back = parse(&[&one]).succeeding(&third, 60, 160);
    assert!(back.holds(&key, 1_000));
    // At once where no overlap is wanted.
    assert!(!parse(&[&two]).succeeding(&first, 7, 7).holds(&key, 7));
}

#[test]
fn those_that_left_are_bounded() {
    let key = Key::ed25519("x");
    let mut set = parse(&[&key]);
    for number in 0..200 {
        let mut jwk = key.jwk.clone();
        jwk["kid"] = number.to_string().into();
        let text = json!({ "keys": [jwk] }).to_string();
        let next = KeySet::parse(text.as_bytes(), &Algorithm::ALL, |_, _| {}).unwrap();
        set = next.succeeding(&set, 0, 100);
    }
    let usable = (0..200).filter(|number| find(&set, &number.to_string(), 0).is_some()).collect::<Vec<_>>();
    assert_eq!(usable, (135..200).collect::<Vec<_>>(), "the current one and the 64 that left last");
}
