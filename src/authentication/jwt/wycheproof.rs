//! Wycheproof's JWS and JWK vectors (`tests/vectors/SOURCE.md`) as the judge of this room's verification.

use serde_json::Value;

use super::super::jwks::{KeySet, Selection};
use super::{Algorithm, Jws};

const SIGNATURES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/json_web_signature_test.json"));
const KEY_SETS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/json_web_key_test.json"));

/// Whether a token verifies with a key set, as the request path does it.
fn verifies(jws: &str, set: &str) -> bool {
    let Ok(set) = KeySet::parse(set.as_bytes(), &Algorithm::ALL, |_, _| {}) else { return false };
    let Ok(jws) = Jws::parse(jws.as_bytes()) else { return false };
    match set.select(&jws.header, 0) {
        Selection::Key(key) => jws.verify(key).is_ok(),
        Selection::Unknown | Selection::Ambiguous => false,
    }
}

fn cases(file: &str) -> Vec<(Value, Value)> {
    let file: Value = serde_json::from_str(file).unwrap();
    let groups = file["testGroups"].as_array().unwrap().iter();
    let cases: Vec<_> = groups
        .flat_map(|group| {
            let key = if group["public"].is_null() { &group["private"] } else { &group["public"] };
            group["tests"].as_array().unwrap().iter().map(move |test| (key.clone(), test.clone()))
        })
        .collect();
    assert_eq!(cases.len() as u64, file["numberOfTests"].as_u64().unwrap());
    cases
}

#[test]
fn every_invalid_signature_is_refused_and_every_valid_one_of_ours_verifies() {
    let (mut invalid, mut ours, mut not_ours) = (0, 0, 0);
    for (key, test) in cases(SIGNATURES) {
        let (jws, id) = (test["jws"].as_str().unwrap(), &test["tcId"]);
        let verified = verifies(jws, &serde_json::json!({ "keys": [key] }).to_string());
        if test["result"] == "invalid" {
            assert!(!verified, "case {id}: {}", test["comment"]);
            invalid += 1;
            continue;
        }
        let key_algorithm = key["alg"].as_str().unwrap();
        let header_algorithm = || base64_json(jws.split('.').next().unwrap())["alg"].clone();
        let is_ours = Algorithm::by_name(key_algorithm).is_some() && header_algorithm() == *key_algorithm;
        assert_eq!(verified, is_ours, "case {id}: {}", test["comment"]);
        if is_ours { ours += 1 } else { not_ours += 1 }
    }
    // The 14 that are valid and refused: 10 HMAC, 2 "ES521", 2 signed with PS384 under a key for PS256.
    assert_eq!((invalid, ours, not_ours), (355, 32, 14));
}

#[test]
fn hostile_key_sets_verify_nothing() {
    let mut verified = Vec::new();
    for (set, test) in cases(KEY_SETS) {
        let passed = verifies(test["jws"].as_str().unwrap(), &set.to_string());
        assert!(!passed || test["result"] == "valid", "case {}: {}", test["tcId"], test["comment"]);
        if passed {
            verified.push(test["tcId"].as_u64().unwrap());
        }
    }
    // Case 5 is the one valid set without HMAC.
    assert_eq!(verified, [5]);
}

fn base64_json(part: &str) -> Value {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}
