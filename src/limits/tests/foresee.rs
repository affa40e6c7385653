//! What is foreseen is what is decided, and foreseeing changes nothing.

use std::borrow::Cow;
use std::time::Duration;

use super::world::{ASK, Ask, Dice, SCOPE, World};
use crate::authorization::{UnmatchedNeeds, permit};
use crate::domain::{ApiVersion, Plan};
use crate::limits::{Charge, Foreseen, Limits};

const RULES: &str = r#"
in_flight = { per_token = 3, per_workspace = 5, total = 6 }
failed_authentications = { quota = "3 per minute" }
policies = [
  { name = "default", per = ["token"], quota = "6 per hour" },
  { name = "workspace", per = ["workspace"], quota = "10 per hour", burst = 4 },
  { name = "dear", per = ["token", "version"], quota = "20 per hour", cost = 3, versions = ["v1"] },
  { name = "trial", per = ["address"], quota = "2 per hour", mode = "shadow" },
]
"#;

pub(super) fn foresee(world: &World, limits: &Limits, ask: &Ask) -> Foreseen {
    let endpoint =
        ask.operation.map(|name| world.endpoints.iter().find(|row| &*row.operation == name).unwrap());
    let version = ask.version.map(|name| ApiVersion::by_name(name).unwrap());
    let needs = UnmatchedNeeds { scope: Some(SCOPE.into()), plans: Plan::ALL.to_vec() };
    let permit = permit(ask.caller(), endpoint, version, &needs).unwrap();
    let value = |_: &str| Some(Cow::Borrowed(ask.path_value));
    limits.foresee(
        &permit,
        &Charge { address: ask.address(), path_parameter: &value, body_bytes: 0 },
        world.now(),
    )
}

#[test]
fn what_is_foreseen_is_what_is_decided() {
    let world = World::new(RULES);
    let mut dice = Dice(7);
    let mut held = Vec::new();
    let operations = [None, Some("listSources"), Some("getWarehouseSyncs"), Some("createAudiencePreview")];
    let (mut admitted, mut refused) = (0, 0);
    for _ in 0..5_000 {
        let token = 1 + dice.below(4);
        let ask = Ask {
            token: Some(token),
            workspace: 1_000 + token % 2,
            own_limit: (token == 3).then(|| "4 per hour".parse().unwrap()),
            operation: operations[dice.below(4) as usize],
            version: [None, Some("v1"), Some("v1beta")][dice.below(3) as usize],
            path_value: [b"a", b"b"][dice.below(2) as usize],
            ..ASK
        };
        let foreseen = foresee(&world, &world.limits, &ask);
        let again = foresee(&world, &world.limits, &ask);
        assert_eq!(format!("{foreseen:?}"), format!("{again:?}"), "foreseeing changes nothing");
        match (world.ask(&ask), foreseen.refused) {
            (Ok(admission), None) => {
                admitted += 1;
                let decided: Vec<_> = admission.decisions().collect();
                let met = foreseen.met.iter().map(|met| (met.headroom.policy, met.headroom.decision));
                let met: Vec<_> = met.collect();
                assert_eq!(decided.len(), met.len());
                assert!(decided.iter().all(|decision| met.contains(decision)), "{decided:?} {met:?}");
                held.push(admission);
            }
            (Err(exceeded), Some(foreseen)) => {
                refused += 1;
                assert_eq!(
                    (exceeded.policy, exceeded.kind, exceeded.wait, exceeded.remaining),
                    (foreseen.policy, foreseen.kind, foreseen.wait, foreseen.remaining)
                );
            }
            (decided, foreseen) => panic!("{:?} but {foreseen:?}", decided.err()),
        }
        while held.len() as u64 > dice.below(8) {
            drop(held.swap_remove(dice.below(held.len() as u64) as usize));
        }
        world.wait(Duration::from_secs(dice.below(200)));
    }
    assert!(admitted > 500 && refused > 500, "{admitted} admitted, {refused} refused");
}

#[test]
fn each_limit_is_shown_with_its_key_and_worst_window() {
    let world = World::new(RULES);
    let ask = Ask { version: Some("v1"), path_value: b"space 1", ..Ask::of("createAudiencePreview") };
    let met = foresee(&world, &world.limits, &ask).met;
    let shown: Vec<_> = met
        .iter()
        .map(|met| {
            let key: Vec<_> = met.key.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {} {}", met.name, key.join(" "), met.worst_window_requests())
        })
        .collect();
    let id = ask.caller().unwrap().token_id().to_string();
    for row in [
        format!("default token={id} 12"),
        "workspace workspace=ws 14".to_owned(),
        format!("dear token={id} version=v1 13"),
        "trial address=192.0.2.1 4".to_owned(),
        format!("createAudiencePreview token={id} endpoint=createAudiencePreview 10"),
    ] {
        assert!(shown.contains(&row), "{row} is not among {shown:#?}");
    }
    assert!(shown.iter().any(|row| row.contains("path.spaceId=space 1")), "{shown:#?}");
}

#[test]
fn a_site_is_shown_as_its_network() {
    let world = World::new(r#"policies = [{ name = "site", per = ["site"], quota = "7 per hour" }]"#);
    for (address, shown) in [
        ("2001:db8:7:1::1", "2001:db8:7::/48"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
    ] {
        let met = foresee(&world, &world.limits, &Ask { address, ..ASK }).met;
        assert_eq!(met[0].key, [("site".to_owned(), shown.to_owned())]);
    }
}

#[test]
fn a_budget_of_failures_is_foreseen() {
    let world = World::new(RULES);
    let address = ASK.address();
    for _ in 0..3 {
        assert!(world.limits.foresee_failure(address, world.now()).is_none());
        assert!(world.limits.charge_failure(address, world.now()).is_ok());
    }
    let foreseen = world.limits.foresee_failure(address, world.now()).unwrap();
    let exceeded = world.limits.charge_failure(address, world.now()).unwrap_err();
    assert_eq!((foreseen.policy, foreseen.wait), (exceeded.policy, exceeded.wait));
    assert!(world.limits.foresee_failure("192.0.2.77".parse().unwrap(), world.now()).is_none());
    world.wait(foreseen.wait);
    assert!(world.limits.foresee_failure(address, world.now()).is_none());
}
