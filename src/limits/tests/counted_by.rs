//! What is counted together and what apart, by every word of `per` and every filter.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::store_faults::shared_by;
use super::world::{ASK, Ask, World, quota};
use crate::domain::{Outcome, Plan};
use crate::limits::shared::Question;
use crate::limits::{Attempt, Counters, ExceededKind};

fn world(policy: &str) -> World {
    World::new(&format!("policies = [{{ name = \"tested\", quota = \"3 per hour\", {policy} }}]"))
}

/// `same` share one bucket, each of `others` has one of its own.
fn counts(policy: &str, same: &[Ask], others: &[Ask]) {
    let world = world(policy);
    assert_eq!(world.admitted(&same[0]), 3, "{policy}");
    for (place, ask) in same.iter().enumerate() {
        let exceeded = world.refused(ask);
        assert_eq!(
            (&*exceeded.name, exceeded.kind),
            ("tested", ExceededKind::RateLimited),
            "{policy} {place}"
        );
    }
    for (place, ask) in others.iter().enumerate() {
        assert_eq!(world.admitted(ask), 3, "{policy}: other {place}");
    }
}

#[test]
fn by_token() {
    let same = [ASK, Ask::of("echo"), Ask { operation: None, ..ASK }, Ask { version: Some("v1beta"), ..ASK }];
    counts(r#"per = ["token"]"#, &same, &[Ask::by(2)]);
}

#[test]
fn by_workspace() {
    let same = [ASK, Ask::by(2), Ask::of("echo")];
    counts(r#"per = ["workspace"]"#, &same, &[Ask { workspace: 2_000, ..ASK }]);
}

#[test]
fn by_endpoint_with_unmatched_requests_as_one() {
    let unmatched = Ask { operation: None, ..ASK };
    counts(r#"per = ["endpoint"]"#, &[ASK, Ask::by(2)], &[Ask::of("echo"), unmatched.clone()]);
    let world = world(r#"per = ["endpoint"]"#);
    assert_eq!(world.admitted(&unmatched), 3);
    assert_eq!(world.admitted(&ASK), 3);
}

#[test]
fn by_token_and_endpoint() {
    counts(r#"per = ["token", "endpoint"]"#, &[ASK], &[Ask::by(2), Ask::of("echo")]);
}

#[test]
fn by_version() {
    let beta = Ask { version: Some("v1beta"), ..ASK };
    let stable = Ask { version: Some("v1"), ..ASK };
    let others = [stable, ASK, Ask { token: Some(2), ..beta.clone() }];
    counts(r#"per = ["token", "version"]"#, std::slice::from_ref(&beta), &others);
}

#[test]
fn by_plan() {
    counts(r#"per = ["plan"]"#, &[ASK, Ask::by(2)], &[Ask { plan: Plan::Team, ..ASK }]);
}

#[test]
fn by_address_with_an_ipv6_customer_as_one() {
    let at = |address| Ask { address, ..ASK };
    counts(r#"per = ["address"]"#, &[ASK, Ask::by(2), at("::ffff:192.0.2.1")], &[at("192.0.2.2")]);
    let same = [at("2001:db8::1"), at("2001:db8::ffff:1")];
    counts(r#"per = ["address"]"#, &same, &[at("2001:db8:0:1::1")]);
    counts(r#"per = ["token", "address"]"#, &[ASK], &[Ask::by(2), at("192.0.2.2")]);
}

#[test]
fn by_site_with_all_of_a_48_as_one() {
    let at = |address| Ask { address, ..ASK };
    let stranger = |address| Ask { token: None, ..at_echo(address) };
    let same =
        [at("2001:db8:7::1"), at("2001:db8:7:1::1"), Ask { token: Some(2), ..at("2001:db8:7:ffff::1") }];
    counts(r#"per = ["site"]"#, &same, &[at("2001:db8:8::1"), stranger("2001:db8:7::1"), ASK]);
    let same = [stranger("2001:db8:7::1"), stranger("2001:db8:7:1::1"), stranger("2001:db8:7:ffff::1")];
    counts(r#"per = ["site"]"#, &same, &[stranger("2001:db8:6:ffff::1"), stranger("192.0.2.1")]);
    counts(r#"per = ["site"]"#, &[ASK, Ask::by(2), at("::ffff:192.0.2.1")], &[at("192.0.2.2"), at("::1")]);
    let others = [Ask { token: Some(2), ..at("2001:db8:7::1") }, at("2001:db8:8::1")];
    counts(r#"per = ["token", "site"]"#, &[at("2001:db8:7::1"), at("2001:db8:7:1::1")], &others);
    // Whoever has no token is counted by address in its place, also here.
    let by_address = [stranger("2001:db8:7:1::1"), stranger("2001:db8:8::1")];
    counts(
        r#"per = ["token", "site"]"#,
        &[stranger("2001:db8:7::1"), stranger("2001:db8:7::2")],
        &by_address,
    );
}

#[test]
fn a_site_has_its_own_limit_beside_that_of_its_addresses() {
    let world = World::new(
        r#"policies = [
          { name = "address", per = ["address"], quota = "3 per hour" },
          { name = "site", per = ["site"], quota = "7 per hour" },
        ]"#,
    );
    let block = |block: u32| Ask { token: None, ..at_echo(format!("2001:db8:7:{block:x}::1").leak()) };
    let admitted: Vec<usize> = (0..100).map(|number| world.admitted(&block(number))).collect();
    assert_eq!((&admitted[..4], admitted.iter().sum()), (&[3, 3, 1, 0][..], 7));
    assert_eq!(&*world.refused(&block(0)).name, "address");
    assert_eq!(&*world.refused(&block(100)).name, "site");
    assert_eq!(world.admitted(&Ask { token: None, ..at_echo("192.0.2.9") }), 3, "of IPv4 both are one");
}

fn at_echo(address: &'static str) -> Ask {
    Ask { address, ..Ask::of("echo") }
}

/// What a stranger's first request asks a central store: the groups, and the names of the buckets in each.
fn asked_at_store(world: &World, address: &'static str) -> Vec<(String, Vec<String>)> {
    let limits = shared_by(Arc::clone(world.limits.rules()), &Counters::new([3; 32]), 2);
    let ask = Ask { token: None, ..at_echo(address) };
    let Attempt::NeedsShared(_, mut wanted) = world.attempt(&limits, &ask, world.now(), None) else {
        panic!("it asks nothing")
    };
    let of = |question: &Question| {
        let names = question.asked.iter().map(|asked| asked.name.to_string()).collect();
        (question.group.to_string(), names)
    };
    wanted.take_calls().iter().map(|call| of(call.question())).collect()
}

#[test]
fn a_site_and_its_addresses_have_buckets_of_their_own_at_the_store_asked_of_together() {
    let world = World::new(
        r#"policies = [
          { name = "address", per = ["address"], quota = "3 per hour" },
          { name = "site", per = ["site"], quota = "7 per hour" },
        ]"#,
    );
    let only = |address| {
        let mut questions = asked_at_store(&world, address);
        assert_eq!(questions.len(), 1, "all or nothing, so in one question: {questions:?}");
        questions.remove(0)
    };
    let (group, names) = only("2001:db8:7::1");
    let (sites_group, of_another_block) = only("2001:db8:7:1::1");
    let (other_group, of_another_site) = only("2001:db8:8::1");
    assert_eq!((&group, &names[1]), (&sites_group, &of_another_block[1]), "one site");
    assert_ne!(names[0], of_another_block[0], "two addresses");
    assert!(group != other_group && (0..2).all(|place| names[place] != of_another_site[place]));
    assert_eq!(only("::ffff:192.0.2.1"), only("192.0.2.1"));
    let block = |name: &str| name.rsplit_once(':').unwrap().1.to_owned();
    assert_ne!(block(&names[0]), block(&names[1]));
}

proptest! {
    /// Two blocks of one site share its bucket, those of two sites do not, whichever they are.
    #[test]
    fn whoever_has_a_48_has_one_bucket(site in 0_u64..1 << 48, blocks: (u16, u16), other in 0_u64..1 << 48) {
        prop_assume!(site != other && site != 0 && other != 0);
        let address = |site: u64, block: u16| {
            let bits = u128::from(site) << 80 | u128::from(block) << 64 | 1;
            &*std::net::Ipv6Addr::from_bits(bits).to_string().leak()
        };
        let stranger = |address| Ask { token: None, ..at_echo(address) };
        let world = world(r#"per = ["site"]"#);
        prop_assert_eq!(world.admitted(&stranger(address(site, blocks.0))), 3);
        prop_assert_eq!(world.admitted(&stranger(address(site, blocks.1))), 0);
        prop_assert_eq!(world.admitted(&stranger(address(other, blocks.0))), 3);
        prop_assert_eq!(world.limits.counters().cells(), 2);
    }
}

#[test]
fn by_path_parameter_within_the_workspace() {
    let space = |value| Ask { path_value: value, ..Ask::of("createAudiencePreview") };
    let others = [
        Ask { workspace: 2_000, token: Some(3), ..space(b"spa_1") },
        Ask { token: Some(4), ..space(b"spa_2") },
        Ask { token: Some(5), ..space(b"") },
        Ask { token: Some(6), ..space(b"spa_1\0") },
    ];
    counts(
        r#"per = ["path.spaceId"]"#,
        &[space(b"spa_1"), Ask { token: Some(2), ..space(b"spa_1") }],
        &others,
    );
    let world = world(r#"per = ["path.spaceId"]"#);
    assert_eq!(world.admitted(&Ask::of("echo")), 100_000, "it has no such parameter");
}

#[test]
fn filters_say_whom_a_policy_is_for() {
    let unlimited = |policy: &str, ask: &Ask| {
        assert!((0..10).all(|_| world(policy).ask(ask).is_ok()), "{policy}");
    };
    let endpoints = r#"per = ["token"], endpoints = ["listSources", "echo"]"#;
    counts(endpoints, &[ASK, Ask::of("echo")], &[]);
    unlimited(endpoints, &Ask::of("createRegulation"));
    unlimited(endpoints, &Ask { operation: None, ..ASK });
    let plans = r#"per = ["token"], plans = ["team"]"#;
    counts(plans, &[Ask { plan: Plan::Team, ..ASK }], &[]);
    unlimited(plans, &ASK);
    let versions = r#"per = ["token"], versions = ["v1beta"]"#;
    counts(versions, &[Ask { version: Some("v1beta"), ..ASK }], &[]);
    unlimited(versions, &Ask { version: Some("v1"), ..ASK });
    unlimited(versions, &ASK);
}

#[test]
fn strangers_are_counted_by_address_where_others_are_by_token() {
    let stranger = |address| Ask { token: None, operation: Some("echo"), address, ..ASK };
    for per in [r#"["address"]"#, r#"["token"]"#, r#"["token", "endpoint"]"#, r#"["token", "plan"]"#] {
        let others = [stranger("192.0.2.2"), Ask { address: "192.0.2.3", ..Ask::by(2) }];
        counts(&format!("per = {per}"), &[stranger("192.0.2.1")], &others);
    }
    for per in [r#"["workspace"]"#, r#"["plan"]"#, r#"["workspace", "address"]"#] {
        let world = world(&format!("per = {per}"));
        assert!((0..10).all(|_| world.ask(&stranger("192.0.2.1")).is_ok()), "{per}");
        assert_eq!(world.limits.counters().cells(), 0);
    }
    assert_eq!(World::new("").admitted(&stranger("192.0.2.1")), 6_000, "the default policy covers them");
}

#[test]
fn the_endpoint_tables_own_limits() {
    for (operation, admitted) in
        [("getWarehouseSyncs", 2), ("createLabel", 60), ("createRegulation", 600), ("listSources", 6_000)]
    {
        let world = World::new("");
        let ask = Ask::of(operation);
        assert_eq!(world.admitted(&ask), admitted, "{operation}");
        let exceeded = world.refused(&ask);
        let name = if operation == "listSources" { "default" } else { operation };
        assert_eq!((&*exceeded.name, exceeded.kind.outcome()), (name, Outcome::RateLimited));
        assert_eq!((exceeded.remaining, exceeded.consumed as usize), (0, admitted));
        if operation != "listSources" {
            assert!(world.ask(&Ask::of("echo")).is_ok(), "only that endpoint is used up");
            assert_eq!(world.admitted(&Ask { token: Some(2), ..ask }), admitted, "for that token");
        }
    }
}

#[test]
fn a_day_by_workspace() {
    let world = World::new("");
    let ask = Ask::of("createDownload");
    assert_eq!(world.admitted(&ask), 120);
    let exceeded = world.refused(&Ask { token: Some(2), ..ask.clone() });
    assert_eq!((&*exceeded.name, exceeded.kind), ("createDownload:workspace", ExceededKind::QuotaExceeded));
    assert_eq!(exceeded.wait, Duration::from_mins(12));
    assert_eq!(world.admitted(&Ask { workspace: 2_000, ..ask }), 120);
}

#[test]
fn a_month_by_space_beside_a_minute_by_token() {
    let world = World::new("");
    let mut admitted = 0;
    let asked =
        |token: u64| Ask { token: Some(token), path_value: b"spa_1", ..Ask::of("createAudiencePreview") };
    for token in 0..200 {
        admitted += world.admitted(&asked(token));
        let exceeded = world.refused(&asked(token));
        let (name, kind) = if admitted < 700 {
            ("createAudiencePreview", ExceededKind::RateLimited)
        } else {
            ("createAudiencePreview:spaceId", ExceededKind::QuotaExceeded)
        };
        assert_eq!((&*exceeded.name, exceeded.kind), (name, kind), "after {admitted}");
    }
    assert_eq!(admitted, 700);
    assert_eq!(world.refused(&asked(999)).retry_after_seconds(), Some(3_703));
    assert_eq!(world.admitted(&Ask { path_value: b"spa_2", ..asked(999) }), 5);
}

#[test]
fn a_limit_of_ones_own_is_on_everything() {
    let tiny = |operation| Ask { operation, own_limit: Some(quota("5 per minute")), ..ASK };
    let world = World::new("");
    for operation in ["listSources", "echo", "createLabel", "createRegulation"] {
        assert!(world.ask(&tiny(Some(operation))).is_ok());
    }
    assert!(world.ask(&tiny(None)).is_ok());
    for operation in [Some("listSources"), Some("createLabel"), None] {
        let exceeded = world.refused(&tiny(operation));
        assert_eq!((&*exceeded.name, exceeded.wait), ("token", Duration::from_secs(12)));
        assert_eq!(exceeded.quota, Some(quota("5 per minute")));
    }
    assert!(world.ask(&Ask::by(2)).is_ok());
}

#[test]
fn a_limit_of_ones_own_may_be_wider_and_leaves_the_other_limits() {
    let wide = |operation| Ask { own_limit: Some(quota("9000 per minute")), ..Ask::of(operation) };
    let world = World::new("");
    assert_eq!(world.admitted(&wide("getWarehouseSyncs")), 2);
    assert_eq!(world.admitted(&wide("listSources")), 8_998);
    let world = World::new("policies = []");
    assert_eq!(world.admitted(&wide("listSources")), 9_000, "where no policy counts by token");
    assert_eq!(world.admitted(&ASK), 100_000);
    let world = World::new(
        r#"policies = [
          { name = "some", per = ["token"], quota = "3 per hour", endpoints = ["echo"] },
          { name = "tried", per = ["token"], quota = "4 per hour", mode = "shadow" },
          { name = "all", per = ["workspace"], quota = "50 per hour" },
        ]"#,
    );
    assert_eq!(world.admitted(&wide("echo")), 3, "a policy for some endpoints stays");
    assert_eq!(world.admitted(&wide("listSources")), 47, "and the workspace's");
}

#[test]
fn failed_authentications_are_charged_to_the_address() {
    let world =
        World::new(r#"failed_authentications = { quota = "4 per minute", exempt = ["127.0.0.0/8", "::1"] }"#);
    let fail = |address: &str| world.limits.charge_failure(address.parse().unwrap(), world.now());
    for _ in 0..4 {
        assert!(fail("192.0.2.1").is_ok());
    }
    let exceeded = fail("192.0.2.1").unwrap_err();
    assert_eq!((&*exceeded.name, exceeded.kind), ("failed_authentications", ExceededKind::RateLimited));
    assert_eq!((exceeded.wait, exceeded.remaining), (Duration::from_secs(15), 0));
    assert!(fail("192.0.2.2").is_ok());
    assert!(world.ask(&ASK).is_ok(), "a valid credential from there is served");
    for _ in 0..100 {
        assert!(fail("127.0.0.1").is_ok());
        assert!(fail("::1").is_ok());
    }
    assert_eq!(world.limits.counters().cells(), 1);
}

#[test]
fn more_policies_than_fit_inline() {
    let policy = |number: u32| {
        format!(r#"{{ name = "p{number}", per = ["token"], quota = "{} per hour" }}"#, 30 - number)
    };
    let policies = (0..20).map(policy).collect::<Vec<_>>().join(",");
    let world = World::new(&format!("policies = [{policies}]"));
    assert_eq!(world.ask(&ASK).unwrap().headrooms().count(), 20);
    assert_eq!(world.admitted(&ASK), 10);
    assert_eq!(&*world.refused(&ASK).name, "p19");
}
