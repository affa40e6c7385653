use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::clock::Clock;

const START: u64 = 1_700_000_000;

fn key(folder: &Path) -> HeadKey {
    HeadKey::open(&folder.join("head.key")).unwrap()
}

#[test]
fn a_key_is_made_once_and_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let first = key(folder.path()).public_key();
    assert_eq!(key(folder.path()).public_key(), first);
    let file = folder.path().join("head.key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!format!("{:?}", key(folder.path())).contains("PRIVATE"));
    std::fs::write(&file, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    assert!(matches!(HeadKey::open(&file), Err(Error::HeadKeyInvalid(_))));
}

#[test]
fn a_head_that_was_altered_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let head = key.sign((7, [9; 32]), Clock::manual(START).now());
    let trusted = key.public_key();
    assert!(head.is_signed_by(&trusted));
    let other = HeadKey::open(&folder.path().join("other.key")).unwrap();
    let forged = other.sign((7, [9; 32]), Clock::manual(START).now());
    for altered in [
        SignedHead { seq: 8, ..head.clone() },
        SignedHead { hash: head.hash.replace('9', "8"), ..head.clone() },
        SignedHead { signed_at: "2023-11-14T22:13:21Z".into(), ..head.clone() },
        SignedHead { signature: "AAAA".into(), ..head.clone() },
        SignedHead { signature: "!".into(), ..head.clone() },
        SignedHead { public_key: trusted.clone(), ..forged.clone() },
        forged,
    ] {
        assert!(!altered.is_signed_by(&trusted), "{altered:?}");
    }
}

#[test]
fn a_head_is_found_in_a_line_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let head = key(folder.path()).sign((7, [9; 32]), Clock::manual(START).now());
    let alone = serde_json::to_string(&head).unwrap();
    let of_log = serde_json::json!({"level": "INFO", "fields": {"message": "x", "signed_head": alone}});
    let flat = serde_json::json!({"message": "x", "signed_head": alone});
    for line in [alone.clone(), of_log.to_string(), flat.to_string()] {
        assert_eq!(SignedHead::in_line(&line).as_ref(), Some(&head), "{line}");
    }
    for line in ["", "text", "{}", r#"{"fields":{"signed_head":"{}"}}"#, r#"{"signed_head":7}"#] {
        assert_eq!(SignedHead::in_line(line), None, "{line}");
    }
}
