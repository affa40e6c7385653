use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::tokens::random::dice::Dice;

fn token(seed: u64, letter: char) -> String {
    Format::new("sgp_").mint(letter, &Dice::new(seed)).unwrap().into_exposed()
}

#[test]
fn refuses_what_is_not_a_token() {
    let format = Format::new("sgp_");
    let good = token(1, 'u');
    let (cut, long) = (&good[..good.len() - 1], format!("{good}0"));
    let other_prefix = good.replacen("sgp_", "tgp_", 1);
    let zeros = format!("sgp_{}", "0".repeat(64));
    let not_ascii = format!("sgp_{}", "é".repeat(32));
    for text in ["", "sgp_", cut, &long, &other_prefix, &zeros, &not_ascii, &good.to_uppercase()] {
        assert_eq!(format.recognise(text.as_bytes()), None);
    }
}

#[test]
fn refuses_prefixes_that_would_not_be_found() {
    for text in ["", "_", "sgp", "sgp-", "a b_", "sgp_é_", "abcdefghijklmnopq_"] {
        assert!(!is_prefix(text), "{text}");
    }
    assert!(is_prefix("sgp_") && is_prefix("t_") && is_prefix("acme_api_"));
}

#[test]
fn a_token_is_found_by_the_rule_that_scanners_have() {
    let token = token(2, 'e');
    assert_eq!(token.len(), 68);
    assert!(token.starts_with("sgp_e"));
    assert!(token[4..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(Format::new("sgp_").pattern(), "sgp_[a-zA-Z0-9]{64}");
}

#[test]
fn every_character_is_about_equally_likely() {
    let dice = Dice::new(3);
    let mut text = String::new();
    push_base62(&mut text, 62_000, &dice).unwrap();
    let mut counts = [0_u32; 128];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    for digit in BASE62 {
        let count = counts[usize::from(*digit)];
        assert!((850..1150).contains(&count), "{} came {count} times of 1000", char::from(*digit));
    }
}

#[test]
fn no_two_tokens_are_the_same() {
    let dice = Dice::new(4);
    let format = Format::new("sgp_");
    let tokens: HashSet<String> =
        (0..1000).map(|_| format.mint('u', &dice).unwrap().into_exposed()).collect();
    assert_eq!(tokens.len(), 1000);
}

#[test]
fn a_failing_generator_makes_no_token() {
    struct Broken;
    impl Random for Broken {
        fn fill(&self, _: &mut [u8]) -> Result<(), Error> {
            Err(Error::Randomness)
        }
    }
    assert!(matches!(Format::new("sgp_").mint('u', &Broken), Err(Error::Randomness)));
}

#[test]
fn a_token_in_a_query_is_found_however_it_is_escaped() {
    let format = Format::new("sgp_");
    let token = token(5, 'u');
    for query in [
        token.clone(),
        format!("access_token={token}"),
        format!("a=1&key={token}&b=2"),
        format!("q=sgp_sgp_{token}"),
        format!("key={}", token.replace('_', "%5F")),
        format!("key={}", token.replace("sgp_", "%73g%70_")),
        format!("a=%&key={}%4", token.replace('_', "%5f")),
    ] {
        assert_eq!(format.find_in_query(query.as_bytes()).as_deref(), Some(token.as_bytes()));
    }
    for query in ["", "a=1", "key=sgp_", "a=%", "a=%5", "a=%zz", "sgp_%"] {
        assert_eq!(format.find_in_query(query.as_bytes()), None, "{query}");
    }
    assert_eq!(format.find_in_query(&token.as_bytes()[..67]), None);
}

proptest! {
    #[test]
    fn what_is_made_is_recognised(seed: u64, letter in "[0-9A-Za-z]") {
        let letter = letter.chars().next().unwrap();
        prop_assert_eq!(Format::new("sgp_").recognise(token(seed, letter).as_bytes()), Some(letter));
    }

    #[test]
    fn any_changed_character_is_caught(seed: u64, at in 0_usize..68, to: u8) {
        let mut bytes = token(seed, 'u').into_bytes();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        prop_assert_eq!(Format::new("sgp_").recognise(&bytes), None);
    }

    #[test]
    fn any_bytes_can_be_asked_about(bytes: Vec<u8>) {
        let format = Format::new("sgp_");
        prop_assert_eq!(format.recognise(&bytes), None);
        prop_assert_eq!(format.find_in_query(&bytes), None);
    }
}
