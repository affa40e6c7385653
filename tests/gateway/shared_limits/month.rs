//! 700 a month for each space: one quota for the fleet, over restarts of every gateway and of a Redis that keeps what it
//! is told (`appendonly yes`).

use super::server::Server as Redis;
use super::{Fleet, PATIENT};
use crate::support::{Client, request};

const REPLICAS: usize = 2;
const QUOTA: usize = 700;

/// The endpoint table's row, less its limit of 5 a minute.
fn previews(window: &str) -> String {
    format!(
        "quota = \"6000 per second\"\n[[endpoints.extra]]\noperation = \"createAudiencePreview\"\nmethod = \"POST\"\n\
         path = \"/spaces/{{spaceId}}/audiences/previews\"\n\
         limits = [{{ quota = \"700 per month\", per = \"path.spaceId\"{window} }}]\n"
    )
}

/// Asks for previews of a space until one is refused, at most so many, at each gateway in turn; how many were admitted.
fn admitted(fleet: &Fleet, tokens: &[String; 2], space: &str, most: usize) -> usize {
    let mut clients: Vec<Client> = fleet.addresses().into_iter().map(Client::connect).collect();
    let is_admitted = |number: &usize| {
        // Tokens of one workspace share a space's quota.
        let token = &tokens[number / REPLICAS % tokens.len()];
        let target = format!("/spaces/{space}/audiences/previews");
        let answer = clients[number % REPLICAS].send(&request("POST", &target, token, ""));
        assert!(matches!(answer.said(), (200 | 429, _)), "{answer:?}");
        answer.status == 200
    };
    (0..most).take_while(is_admitted).count()
}

fn a_month_is_a_month(window: &str, more: usize) {
    let redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut fleet = Fleet::on(redis, REPLICAS, &previews(window), PATIENT);
    let tokens = [fleet.token(), fleet.token()];
    assert_eq!(admitted(&fleet, &tokens, "sp1", 300), 300);
    fleet.restart_all();
    fleet.redis.kill();
    fleet.until_breakers(2);
    fleet.redis.go();
    fleet.until_breakers(0);
    assert_eq!(admitted(&fleet, &tokens, "sp2", 5), 5, "another space has its own");
    let mut all = 300 + admitted(&fleet, &tokens, "sp1", 300);
    assert_eq!(all, 600);
    fleet.redis.kill();
    fleet.until_breakers(2);
    fleet.redis.go();
    fleet.until_breakers(0);
    fleet.restart_all();
    all += admitted(&fleet, &tokens, "sp1", QUOTA);
    // A restart counts as an outage of a moment, which takes a part of a token from whole ones; what a gateway held as it
    // ended is lost, and comes back where the quota refills.
    assert!((QUOTA - more..=QUOTA).contains(&all), "{all}");
    fleet.restart_all();
    assert_eq!(admitted(&fleet, &tokens, "sp1", 5), 0, "no restart hands out anything");
}

#[test]
fn seven_hundred_a_month_outlive_gateways_and_redis() {
    a_month_is_a_month("", 2 * REPLICAS);
}

#[test]
fn seven_hundred_in_a_month_of_the_calendar_outlive_gateways_and_redis() {
    // A gateway holds an Nth of a fourth of what is left at most, three times.
    a_month_is_a_month(", window = \"calendar\"", 3 * QUOTA / 4);
}
