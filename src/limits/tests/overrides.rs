//! Overrides: a quota in place of a policy's, for one token or workspace, until a date.

use std::time::Duration;

use super::world::{ASK, Ask, World, endpoints, quota};
use crate::domain::{LimitOverride, OverrideHolder, Plan, Quota};
use crate::limits::{Audience, NotOverridable};

const START: u64 = 1_700_000_000;

const POLICIES: &str = r#"policies = [
  { name = "default", per = ["token"], quota = "10 per hour" },
  { name = "workspace", per = ["workspace"], quota = "1000 per hour" },
  { name = "plan", per = ["plan"], quota = "100000 per hour" },
  { name = "points", per = ["token"], quota = "100 per hour", cost = 5, endpoints = ["echo"] },
]"#;

fn until(policy: &str, text: &str, seconds_from_start: u64) -> LimitOverride {
    let until_unix_seconds = START + seconds_from_start;
    LimitOverride { policy: policy.into(), quota: quota(text), until_unix_seconds }
}

fn of_token(policy: &str, text: &str) -> Ask {
    Ask { token_overrides: vec![until(policy, text, 60)], ..ASK }
}

fn of_workspace(policy: &str, text: &str) -> Ask {
    Ask { workspace_overrides: vec![until(policy, text, 60)], ..ASK }
}

#[test]
fn an_override_of_what_cannot_be_overridden_is_refused() {
    let rules = super::world::checked(POLICIES, &endpoints()).unwrap();
    let token = OverrideHolder::Token("tok_1".into());
    let workspace = OverrideHolder::Workspace("ws".into());
    let own = Some(quota("5 per minute"));
    let check = |holder: &OverrideHolder, policy: &str, text: &str, own: Option<Quota>| {
        rules.check_override(holder, policy, quota(text), own).map_err(|refused| refused.to_string())
    };
    for (holder, policy, text, own, said) in [
        (&token, "defualt", "5 per hour", None, "did you mean `default`?"),
        (&token, "nothing-like-it", "5 per hour", None, "name one of `limits.policies`"),
        (&token, "workspace", "5 per hour", None, "name --workspace"),
        (&workspace, "plan", "5 per hour", None, "counts several workspaces together"),
        (&token, "plan", "5 per hour", None, "counts several workspaces together"),
        (&workspace, "token", "5 per hour", None, "name --token"),
        (&token, "in_flight_total", "5 per hour", None, "change it in `[limits]`"),
        (&token, "default", "5 per hour", own, "--policy token"),
        (&token, "points", "4 per hour", None, "write --burst 5"),
        (&token, "default", "999999 per month", None, ""),
    ] {
        match check(holder, policy, text, own) {
            Ok(()) => assert_eq!(said, "", "{policy} {text}"),
            Err(refused) => assert!(!said.is_empty() && refused.contains(said), "{refused}"),
        }
    }
    let slow = quota("1 per month").with_burst(1_000.try_into().unwrap());
    let refused = rules.check_override(&token, "default", slow, None);
    assert!(matches!(refused, Err(NotOverridable::RefillsTooSlowly { burst: 1_000, .. })));
    for (holder, policy) in
        [(&token, "default"), (&workspace, "default"), (&workspace, "workspace"), (&token, "createLabel")]
    {
        check(holder, policy, "50 per hour", None).unwrap();
    }
    check(&token, "token", "50 per hour", own).unwrap();
}

#[test]
fn a_ceiling_that_would_still_bind_is_told() {
    let rules = super::world::checked(POLICIES, &endpoints()).unwrap();
    let ceilings = |policy: &str, text: &str, in_place: Option<Quota>| -> Vec<String> {
        let found =
            rules.ceilings(policy, quota(text), Plan::Team, |name| in_place.filter(|_| name == "workspace"));
        found.iter().map(|ceiling| format!("{} {}", ceiling.policy, ceiling.quota)).collect()
    };
    assert_eq!(ceilings("default", "2000 per hour", None), ["workspace 1000 per hour"]);
    assert_eq!(ceilings("token", "2000 per hour", None), ["workspace 1000 per hour"]);
    assert_eq!(ceilings("createLabel", "2000 per hour", None), ["workspace 1000 per hour"]);
    assert!(ceilings("default", "1000 per hour", None).is_empty());
    assert!(ceilings("workspace", "2000 per hour", None).is_empty(), "it is the ceiling itself");
    assert!(ceilings("default", "2000 per hour", Some(quota("5000 per hour"))).is_empty());
}

#[test]
fn a_token_is_counted_by_its_override_and_others_are_not() {
    let world = World::new(POLICIES);
    assert_eq!(world.admitted(&of_token("default", "25 per hour")), 25);
    assert_eq!(world.admitted(&Ask::by(2)), 10);
    assert_eq!(world.admitted(&Ask { token: Some(3), ..of_token("default", "3 per hour") }), 3);
    let both = Ask {
        token: Some(4),
        workspace_overrides: vec![until("default", "20 per hour", 60)],
        ..of_token("default", "30 per hour")
    };
    assert_eq!(world.admitted(&both), 30, "the token's wins over its workspace's");
}

#[test]
fn a_workspaces_override_is_for_each_token_or_for_all_as_the_policy_counts() {
    let world = World::new(POLICIES);
    for token in 1..4 {
        let ask = Ask { token: Some(token), ..of_workspace("default", "12 per hour") };
        assert_eq!(world.admitted(&ask), 12);
    }
    let all = Ask { workspace: 2_000, ..of_workspace("workspace", "15 per hour") };
    assert_eq!(world.admitted(&Ask { token: Some(7), ..all.clone() }), 10);
    assert_eq!(world.admitted(&Ask { token: Some(8), ..all }), 5, "15 over both tokens");
}

#[test]
fn an_override_that_does_not_fit_the_policy_changes_nothing() {
    let world = World::new(POLICIES);
    let mut asks = vec![of_token("workspace", "1 per hour"), of_token("no-such", "1 per hour")];
    asks.push(of_workspace("plan", "1 per hour"));
    asks.push(of_workspace("token", "1 per hour"));
    for (token, ask) in (10..).zip(asks) {
        assert_eq!(world.admitted(&Ask { token: Some(token), ..ask }), 10);
    }
}

#[test]
fn it_ends_at_its_date_without_a_fresh_bucket() {
    let world = World::new(POLICIES);
    let ask = of_token("default", "25 per hour");
    assert_eq!(world.admitted(&ask), 25);
    world.wait(Duration::from_secs(59));
    assert!(world.ask(&ask).is_err());
    world.wait(Duration::from_secs(1));
    assert_eq!(world.admitted(&ask), 0, "10 of 10 are used");
    let wait = world.refused(&ask).wait;
    assert!(wait <= Duration::from_mins(6), "nobody waits longer than one more request takes: {wait:?}");
    world.wait(wait);
    assert!(world.ask(&ask).is_ok());
}

#[test]
fn setting_and_removing_it_hands_out_nothing() {
    let world = World::new(POLICIES);
    (0..5).for_each(|_| drop(world.ask(&ASK).unwrap()));
    let wider = of_token("default", "16 per hour");
    assert_eq!(world.admitted(&wider), 8, "half was used");
    for _ in 0..10 {
        assert!(world.ask(&ASK).is_err());
        assert!(world.ask(&wider).is_err());
    }
    let narrower = of_token("default", "2 per hour");
    assert_eq!(world.refused(&narrower).wait, Duration::from_mins(30), "one of two is enough");
}

#[test]
fn it_is_told_at_once_and_everywhere() {
    let world = World::new(POLICIES);
    drop(world.ask(&ASK).unwrap());
    let ask = of_token("default", "25 per hour");
    let mut lines = Vec::new();
    let admission = world.ask(&ask).unwrap();
    admission.write_headers(&mut lines, world.now(), crate::limits::Strictest::Ours);
    let lines = String::from_utf8(lines).unwrap();
    // A tenth was used, which is two and a half of 25, and one more.
    assert!(lines.starts_with("RateLimit-Policy: \"default\";q=25;w=3600, \"workspace\""), "{lines}");
    assert!(lines.contains("\"default\";r=21;"), "{lines}");
    let caller = ask.caller().unwrap();
    let standing = world.limits.standing(&caller, ask.address(), world.now(), Audience::Caller);
    let row = standing.iter().find(|row| &*row.name == "default").unwrap();
    assert_eq!((row.quota, row.headroom.unwrap().remaining()), (quota("25 per hour"), 21));
}

#[test]
fn an_override_of_the_own_limit_is_a_limit_of_its_own_for_a_time() {
    let world = World::new(POLICIES);
    let given = of_token("token", "4 per hour");
    assert_eq!(world.admitted(&given), 4);
    assert_eq!(&*world.refused(&given).name, "token");
    let has = Ask { token: Some(2), own_limit: Some(quota("3 per hour")), ..of_token("token", "6 per hour") };
    assert_eq!(world.admitted(&has), 6);
    world.wait(Duration::from_mins(1));
    assert_eq!(world.refused(&has).burst, 3, "its own again");
}

#[test]
fn an_endpoints_own_limit_and_shadow_policies_can_be_overridden() {
    let world = World::new(
        r#"policies = [{ name = "tried", per = ["token"], quota = "2 per hour", mode = "shadow" }]"#,
    );
    let ask = Ask { operation: Some("getWarehouseSyncs"), ..of_token("getWarehouseSyncs", "4 per minute") };
    assert_eq!(world.admitted(&ask), 4);
    let tried = Ask { token: Some(2), ..of_token("tried", "3 per hour") };
    let over = |ask: &Ask| {
        world
            .ask(ask)
            .unwrap()
            .decisions()
            .any(|(_, decision)| decision == crate::limits::Decision::WouldRefuse)
    };
    assert_eq!([over(&tried), over(&tried), over(&tried), over(&tried)], [false, false, false, true]);
}
