//! `explain` of a running node tells of a shared limit what the fleet used, what it would decide, and counts nothing.

use serde_json::Value;

use super::{Fleet, PATIENT};
use crate::support::{Client, Gateway, until};

/// What a replica says that it would do with a request of a token.
fn explain(fleet: &Fleet, replica: usize, token: &str) -> Value {
    let gateway = &fleet.replicas[replica];
    let text = format!(
        "GET /explain.json?method=GET&target=%2Fanything HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         X-Explain-Token: {token}\r\n\r\n",
        gateway.admin, gateway.operator
    );
    let answer = Client::connect(gateway.admin).send(text.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn shared(explanation: &Value) -> Value {
    let limits = explanation["limits"].as_array().unwrap();
    limits.iter().find(|limit| limit["policy"] == "shared").unwrap_or_else(|| panic!("{limits:?}")).clone()
}

#[test]
fn a_shared_limit_is_explained_as_it_is_decided() {
    let fleet = Fleet::of_quota(2, "quota = \"10 per day\"\n", PATIENT);
    let token = fleet.token();
    let fresh = explain(&fleet, 0, &token);
    assert_eq!(
        (&fresh["outcome"], &shared(&fresh)["remaining"]),
        (&"forwarded".into(), &10.into()),
        "{fresh}"
    );
    for number in 0..9 {
        assert_eq!(fleet.replicas[number % 2].ask(&token, "/anything").status, 200);
    }
    let calls = || -> u64 {
        let of = |replica: &Gateway| replica.metrics().count("tollgate_redis_calls_total", &[]);
        fleet.replicas.iter().map(of).sum()
    };
    let before = calls();
    // The first replica has the last answer, and the second the one before it.
    for (replica, left) in [(0, 1), (1, 2)] {
        let told = explain(&fleet, replica, &token);
        assert_eq!(
            (&told["outcome"], &shared(&told)["remaining"]),
            (&"forwarded".into(), &left.into()),
            "{told}"
        );
    }
    assert_eq!(calls(), before, "an explanation asks nobody");
    assert_eq!(fleet.replicas[0].ask(&token, "/anything").status, 200, "nor does it count");
    let refused = fleet.replicas[0].ask(&token, "/anything");
    assert_eq!(refused.status, 429);
    let told = explain(&fleet, 0, &token);
    assert_eq!(told["outcome"], refused.reason(), "{told}");
    assert_eq!(told["refusal"]["status"], 429, "{told}");
    assert!(told["refusal"].to_string().contains("shared"), "the policy is named: {told}");
}

/// While Redis is away it says what the share would decide.
#[test]
fn a_share_is_explained_as_it_is_decided() {
    let fleet = Fleet::of_quota(1, "quota = \"10 per day\"\non_store_failure = \"closed\"\n", PATIENT);
    let token = fleet.token();
    assert_eq!(fleet.replicas[0].ask(&token, "/anything").status, 200);
    fleet.redis.kill();
    fleet.until_breakers(2);
    let refused = fleet.replicas[0].ask(&token, "/anything");
    assert_eq!(refused.said(), (503, "limits_unavailable".to_owned()));
    fleet.redis.go();
    fleet.until_breakers(0);
    until("it to be served again", || {
        (fleet.replicas[0].ask(&token, "/anything").status == 200).then_some(())
    });
    assert_eq!(explain(&fleet, 0, &token)["outcome"], "forwarded");
}
