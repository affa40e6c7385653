use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::authentication::fixture::{Key, START, key_set};
use crate::authentication::jwt::{Algorithm, KeyIgnored};
use crate::clock::Clock;

fn read(text: &str) -> (Option<usize>, Vec<(usize, KeyIgnored)>) {
    let mut ignored = Vec::new();
    let set =
        KeySet::parse(text.as_bytes(), &Algorithm::ALL, None, |place, reason| ignored.push((place, reason)));
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
    let many: Vec<_> = (0..70)
        .map(|number| {
            let mut jwk = key.jwk.clone();
            jwk["kid"] = number.to_string().into();
            jwk
        })
        .collect();
    let (kept, ignored) = read(&json!({ "keys": many }).to_string());
    assert_eq!((kept, ignored.len()), (Some(64), 6));
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
    };
    let (keys, refresher) =
        IssuerKeys::new("issuer".into(), Source::File(path.clone()), Algorithm::ALL.into(), pace);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let task = tokio::spawn(refresher.run(clock.clone()));
        while !keys.last_load_failed() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        std::fs::write(&path, key_set(&[&Key::es256("a")]).unwrap()).unwrap();
        let knows = |kid: &str| {
            let header = crate::authentication::jwt::Header {
                algorithm: Some(Algorithm::Es256),
                kid: Some(kid.to_owned()),
                typ: None,
            };
            let (_, set) = keys.current(clock.now());
            set.is_some_and(|set| matches!(set.select(&header), Selection::Key(_)))
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

#[test]
fn keys_that_stay_keep_their_identity() {
    let (one, two) = (Key::es256("a"), Key::es256("b"));
    let parse = |keys: &[&Key], previous: Option<&KeySet>| {
        let text = key_set(keys).unwrap();
        KeySet::parse(text.as_bytes(), &Algorithm::ALL, previous, |_, _| {}).unwrap()
    };
    let first = parse(&[&one], None);
    let second = parse(&[&two, &one], Some(&first));
    let header = |kid: &str| crate::authentication::jwt::Header {
        algorithm: Some(Algorithm::Es256),
        kid: Some(kid.to_owned()),
        typ: None,
    };
    let key = |set: &KeySet, kid: &str| match set.select(&header(kid)) {
        Selection::Key(key) => Arc::clone(key),
        Selection::Unknown | Selection::Ambiguous => panic!("{kid}"),
    };
    assert!(second.holds(&key(&first, "a")));
    assert!(!first.holds(&key(&second, "b")));
    assert!(!parse(&[&Key::es256("a")], Some(&first)).holds(&key(&first, "a")));
}
