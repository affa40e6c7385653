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

/// The issue's words: what any scanner's rule for such tokens finds.
#[test]
fn ten_thousand_tokens_all_match_the_scanners_rule() {
    let format = Format::new("sgp_");
    let rule = regex::Regex::new(r"\bsgp_[a-zA-Z0-9]{64}\b").unwrap();
    let own = regex::Regex::new(&format!(r"\b{}\b", format.pattern())).unwrap();
    let dice = Dice::new(10);
    for index in 0..10_000 {
        let token = format.mint(if index % 2 == 0 { 'u' } else { 'e' }, &dice).unwrap().into_exposed();
        let text = format!("API_TOKEN=\"{token}\" # {index}");
        for rule in [&rule, &own] {
            assert_eq!(rule.find(&text).map(|found| found.as_str()), Some(&*token));
        }
    }
}

#[test]
fn what_scanners_are_given_finds_tokens() {
    let (format, token) = (Format::new("sgp_"), token(11, 'u'));
    let rules: toml::Table = toml::from_str(&format.gitleaks_rule()).unwrap();
    let rule = &rules["rules"][0];
    assert!(regex::Regex::new(rule["regex"].as_str().unwrap()).unwrap().is_match(&token));
    assert!(token.contains(rule["keywords"][0].as_str().unwrap()));
    let fields = format.github_custom_pattern();
    let whole = format!("({})({})({})", fields[2].1, fields[1].1, fields[3].1);
    let github = regex::Regex::new(&whole).unwrap();
    assert_eq!(&github.captures(&format!("x={token};")).unwrap()[2], token);
    assert!(!github.is_match(&format!("x{token}")) && !github.is_match(&format!("{token}0")));
}

#[test]
fn a_shown_token_cannot_be_used() {
    let (format, token) = (Format::new("sgp_"), token(12, 'e'));
    let shown = format.redacted(token.as_bytes());
    assert_eq!(shown, format!("{}…", &token[..9]));
    assert!(format.recognise(shown.as_bytes()).is_none());
}

#[test]
fn finds_every_token_of_a_text() {
    let (format, first, second) = (Format::new("sgp_"), token(13, 'u'), token(14, 'e'));
    let text = format!("sgp_ {first}{second} {}", &first[..67]);
    let found: Vec<_> = format.find_all(text.as_bytes()).collect();
    assert_eq!(found, [(5, first.as_bytes()), (73, second.as_bytes())]);
}
