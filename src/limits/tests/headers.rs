//! H1–H5: what is written can be read, describes the limit that decided, and can be relied on.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::world::{ASK, Ask, World};
use crate::limits::Strictest;

/// One item of a Structured Fields list: its string and its parameters as they stand.
type Item = (String, BTreeMap<String, String>);

/// Reads a list of strings with parameters (RFC 9651), strictly.
fn list(mut text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    loop {
        let (name, rest) = text.strip_prefix('"').unwrap().split_once('"').unwrap();
        assert!(name.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'\\'));
        let end = rest.find(',').unwrap_or(rest.len());
        let mut parameters = BTreeMap::new();
        for parameter in rest[..end].split(';').skip(1) {
            let (key, value) = parameter.split_once('=').unwrap();
            let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(key.starts_with(|first: char| first.is_ascii_lowercase()) && key.bytes().all(letters));
            let string = value.starts_with('"') && value.ends_with('"') && value.len() > 1;
            let integer =
                !value.is_empty() && value.len() <= 15 && value.bytes().all(|byte| byte.is_ascii_digit());
            assert!(string || integer, "{value}");
            assert!(parameters.insert(key.to_owned(), value.to_owned()).is_none(), "{key} twice");
        }
        items.push((name.to_owned(), parameters));
        if end == rest.len() {
            return items;
        }
        text = rest[end..].strip_prefix(", ").unwrap();
    }
}

fn fields(lines: &[u8]) -> BTreeMap<String, String> {
    let text = str::from_utf8(lines).unwrap();
    assert!(text.is_empty() || text.ends_with("\r\n"));
    let mut fields = BTreeMap::new();
    for line in text.split_terminator("\r\n") {
        let (name, value) = line.split_once(": ").unwrap();
        assert!(fields.insert(name.to_owned(), value.to_owned()).is_none(), "{name} twice");
    }
    fields
}

fn number(item: &Item, key: &str) -> u64 {
    item.1[key].parse().unwrap()
}

impl World {
    /// The fields of the next answer, whatever it is.
    fn told(&self, ask: &Ask) -> BTreeMap<String, String> {
        let mut lines = Vec::new();
        match self.ask(ask) {
            Ok(admission) => admission.write_headers(&mut lines, self.now(), Strictest::Ours),
            Err(exceeded) => {
                exceeded.write_headers(&mut lines, self.now());
                let mut told = fields(&lines);
                told.extend(
                    exceeded.retry_after_seconds().map(|wait| ("Retry-After".to_owned(), wait.to_string())),
                );
                return told;
            }
        }
        fields(&lines)
    }

    fn lines(&self, ask: &Ask) -> String {
        let mut lines = Vec::new();
        self.ask(ask).unwrap().write_headers(&mut lines, self.now(), Strictest::Ours);
        String::from_utf8(lines).unwrap()
    }
}

#[test]
fn an_answer_byte_for_byte() {
    let world = World::new("");
    assert_eq!(
        world.lines(&ASK),
        "RateLimit-Policy: \"default\";q=6000;w=60\r\n\
         RateLimit: \"default\";r=5999;t=1\r\n\
         X-RateLimit-Consumed: 1\r\n\
         X-RateLimit-Remaining: 5999\r\n\
         X-RateLimit-Reset: Tue, 14 Nov 2023 22:13:21 GMT\r\n"
    );
    assert_eq!(
        world.lines(&Ask::of("createLabel")),
        "RateLimit-Policy: \"createLabel\";q=60;w=60, \"default\";q=6000;w=60\r\n\
         RateLimit: \"createLabel\";r=59;t=1, \"default\";r=5998;t=1\r\n\
         X-RateLimit-Consumed: 1\r\n\
         X-RateLimit-Remaining: 59\r\n\
         X-RateLimit-Reset: Tue, 14 Nov 2023 22:13:21 GMT\r\n"
    );
}

#[test]
fn a_refusal_describes_the_limit_that_refused() {
    let world = World::new(
        r#"policies = [
          { name = "minutely", per = ["token"], quota = "2000 per minute" },
          { name = "hourly", per = ["token"], quota = "2 per hour" },
          { name = "daily", per = ["workspace"], quota = "5000 per day" },
        ]"#,
    );
    assert_eq!(world.admitted(&ASK), 2);
    let told = world.told(&ASK);
    let left = list(&told["RateLimit"]);
    assert_eq!((left[0].0.as_str(), number(&left[0], "r"), number(&left[0], "t")), ("hourly", 0, 1_800));
    assert_eq!(left.len(), 3);
    let policies = list(&told["RateLimit-Policy"]);
    assert_eq!((policies[0].0.as_str(), number(&policies[0], "q")), ("hourly", 2));
    assert_eq!(told["Retry-After"], "1800");
    assert_eq!((told["X-RateLimit-Consumed"].as_str(), told["X-RateLimit-Remaining"].as_str()), ("2", "0"));
}

#[test]
fn a_wait_above_the_ceiling_is_left_out() {
    let world = World::new(
        r#"
        retry_after_ceiling_seconds = 60
        policies = [{ name = "slow", per = ["token"], quota = "1 per hour" }]"#,
    );
    assert!(!world.told(&ASK).contains_key("Retry-After"));
    assert!(!world.told(&ASK).contains_key("Retry-After"));
    assert_eq!(world.refused(&ASK).retry_after_seconds(), None);
    world.wait(Duration::from_mins(59));
    assert_eq!(world.told(&ASK)["Retry-After"], "60");
    world.wait(Duration::from_millis(59_999));
    assert_eq!(world.told(&ASK)["Retry-After"], "1", "rounded up, never 0");
}

#[test]
fn hidden_policies_are_not_shown() {
    let world = World::new(
        r#"policies = [
          { name = "shown", per = ["token"], quota = "60 per minute" },
          { name = "hidden", per = ["token"], quota = "2 per minute", expose = false },
          { name = "tried", per = ["token"], quota = "1 per minute", mode = "shadow" },
        ]"#,
    );
    assert!(!world.lines(&ASK).contains("hidden"));
    let told = world.told(&ASK);
    assert_eq!(list(&told["RateLimit"]).len(), 1);
    assert_eq!(told["X-RateLimit-Remaining"], "58");
    let exceeded = world.refused(&ASK);
    assert_eq!((&*exceeded.name, exceeded.exposed_policy()), ("hidden", None));
    let told = world.told(&ASK);
    assert_eq!(told["Retry-After"], "30");
    assert!(told.values().all(|value| !value.contains("hidden") && !value.contains("tried")));
    let world =
        World::new(r#"policies = [{ name = "a", per = ["token"], quota = "1 per minute", expose = false }]"#);
    assert!(world.told(&ASK).is_empty());
    assert_eq!(world.told(&ASK).into_keys().collect::<Vec<_>>(), ["Retry-After"]);
}

#[test]
fn a_burst_other_than_the_quota_is_told() {
    let world = World::new(
        r#"policies = [{ name = "smooth", per = ["token"], quota = "60 per minute", burst = 5 }]"#,
    );
    let told = world.told(&ASK);
    assert_eq!(told["RateLimit-Policy"], "\"smooth\";q=60;w=60;tollgate-burst=5");
    assert_eq!(told["RateLimit"], "\"smooth\";r=4;t=1");
    assert_eq!((told["X-RateLimit-Consumed"].as_str(), told["X-RateLimit-Remaining"].as_str()), ("1", "4"));
}

#[test]
fn a_limit_of_ones_own_is_told() {
    let world = World::new("");
    let tiny = Ask { own_limit: Some(super::world::quota("5 per minute")), ..ASK };
    assert_eq!(world.told(&tiny)["RateLimit-Policy"], "\"token\";q=5;w=60");
}

#[test]
fn requests_in_flight_are_told() {
    let world = World::new("in_flight = { per_token = 1 }");
    let held = world.ask(&ASK).unwrap();
    let told = world.told(&ASK);
    assert_eq!(told["RateLimit-Policy"], "\"in_flight_token\";q=1;qu=\"concurrent-requests\"");
    assert_eq!(list(&told["RateLimit"])[0].0, "in_flight_token");
    assert_eq!(told["Retry-After"], "1");
    drop(held);
}

#[test]
fn the_stricter_of_upstream_and_gateway_speaks() {
    let world = World::new("");
    let admission = world.ask(&Ask::of("createLabel")).unwrap();
    assert_eq!(admission.strictest(None), Strictest::Ours);
    for ours in ["59", "60", "110000", "", "-1", "many", "1e3"] {
        assert_eq!(admission.strictest(Some(ours.as_bytes())), Strictest::Ours, "{ours}");
    }
    for theirs in ["58", "0", " 3 "] {
        assert_eq!(admission.strictest(Some(theirs.as_bytes())), Strictest::Upstream, "{theirs}");
    }
    let mut lines = Vec::new();
    admission.write_headers(&mut lines, world.now(), Strictest::Upstream);
    assert_eq!(fields(&lines).into_keys().collect::<Vec<_>>(), ["RateLimit", "RateLimit-Policy"]);
}

#[test]
fn the_reset_never_moves_back_within_a_debt() {
    let world = World::new("");
    let seconds = |date: &str| {
        httpdate::parse_http_date(date).unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    };
    let mut last = 0;
    for step in 0..1_000 {
        let reset = seconds(&world.told(&ASK)["X-RateLimit-Reset"]);
        assert!(reset >= last, "step {step}");
        assert!(reset >= world.now().unix_seconds());
        last = reset;
        world.wait(Duration::from_millis(step % 9));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// A client that waits for what `Retry-After` says is admitted, and one that comes a second earlier is not;
    /// whatever the policies are, by the calendar too.
    #[test]
    fn retry_after_can_be_relied_on(
        policies in prop::collection::vec(
            (1_u32..40, prop::sample::select(vec!["second", "minute", "hour", "day"]), prop::bool::ANY), 1..5,
        ),
        pauses in prop::collection::vec(0_u64..100_000, 1..30),
    ) {
        let written: Vec<String> = policies
            .iter()
            .enumerate()
            .map(|(at, (requests, period, by_calendar))| {
                let window = if *by_calendar && *period == "day" { "calendar" } else { "rolling" };
                format!(r#"{{ name = "p{at}", per = ["token"], quota = "{requests} per {period}", window = "{window}" }}"#)
            })
            .collect();
        let world = World::new(&format!("retry_after_ceiling_seconds = 100000\npolicies = [{}]", written.join(",")));
        let mut last_reset = 0;
        for pause in pauses {
            world.wait(Duration::from_millis(pause));
            while world.ask(&ASK).is_ok() {}
            let exceeded = world.refused(&ASK);
            let seconds = exceeded.retry_after_seconds().unwrap();
            let described = exceeded.headrooms().next().unwrap();
            let reset = u64::try_from(described.until_full().as_nanos()).unwrap() + world.now().monotonic_nanos;
            prop_assert!(exceeded.wait <= Duration::from_secs(seconds));
            prop_assert!(reset >= last_reset || policies.len() > 1, "the reset moved back");
            last_reset = reset;
            world.wait(Duration::from_secs(seconds - 1));
            prop_assert!(world.ask(&ASK).is_err(), "a second early");
            world.wait(Duration::from_secs(1));
            prop_assert!(world.ask(&ASK).is_ok(), "after {} s", seconds);
        }
    }

    #[test]
    fn whatever_is_written_reads_back(
        policies in prop::collection::vec(
            (1_u32..10_000, prop::sample::select(vec!["second", "minute", "hour", "day", "month"]), 1_u32..100),
            1..12,
        ),
        pauses in prop::collection::vec(0_u64..5_000, 1..40),
    ) {
        let written: Vec<String> = policies
            .iter()
            .enumerate()
            .map(|(at, (requests, period, burst))| {
                format!(r#"{{ name = "p_{at}-x", per = ["token"], quota = "{requests} per {period}", burst = {burst} }}"#)
            })
            .collect();
        let world = World::new(&format!("policies = [{}]", written.join(",")));
        for pause in pauses {
            world.wait(Duration::from_millis(pause));
            let told = world.told(&ASK);
            let (announced, left) = (list(&told["RateLimit-Policy"]), list(&told["RateLimit"]));
            prop_assert_eq!(announced.len(), policies.len());
            prop_assert_eq!(left.len(), policies.len());
            let refused = told.get("Retry-After").map(|value| value.parse::<u64>().unwrap());
            for (place, (policy, left)) in announced.iter().zip(&left).enumerate() {
                prop_assert_eq!(&policy.0, &left.0);
                let burst = policy.1.get("tollgate-burst").map_or(number(policy, "q"), |text| text.parse().unwrap());
                prop_assert!(number(left, "r") <= burst);
                prop_assert!(number(policy, "w") > 0);
                if let (0, Some(wait)) = (place, refused) {
                    prop_assert_eq!(number(left, "r"), 0);
                    prop_assert_eq!(number(left, "t"), wait);
                }
            }
            let (consumed, remaining) = (&told["X-RateLimit-Consumed"], &told["X-RateLimit-Remaining"]);
            prop_assert!(consumed.parse::<u32>().is_ok() && remaining.parse::<u32>().is_ok());
            prop_assert!(httpdate::parse_http_date(&told["X-RateLimit-Reset"]).is_ok());
        }
    }
}
