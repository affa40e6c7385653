//! Limits as callers see them: counted exactly, told on every answer, and nothing consumed by a refusal.

use serde_json::Value;

use crate::support::{Answer, Behaviour, Client, Gateway, Upstream, config, raw, request};

const POLICIES: &str = r#"
[[limits.policies]]
name = "small"
per = ["token"]
quota = "5 per day"
[[limits.policies]]
name = "large"
per = ["workspace"]
quota = "100 per day"
"#;

struct World {
    upstream: Upstream,
    gateway: Gateway,
    token: String,
}

impl World {
    fn new(more: &str) -> Self {
        let upstream = Upstream::start(Behaviour::status(200, "us"));
        let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), more));
        let (_, token) = gateway.token("ws-us", &["--role", "owner"]);
        Self { upstream, gateway, token }
    }

    fn ask(&self, method: &str, target: &str) -> Answer {
        self.gateway.connect().send(&request(method, target, &self.token, ""))
    }

    /// What is left of a policy, by our own page.
    fn left(&self, policy: &str) -> u64 {
        self.limit(policy)["remaining"].as_u64().unwrap()
    }

    fn limit(&self, policy: &str) -> Value {
        let page = self.ask("GET", "/tollgate/v1/limits").json();
        let rows = page["data"]["limits"].as_array().unwrap();
        rows.iter()
            .find(|row| row["policy"] == policy)
            .unwrap_or_else(|| panic!("no {policy}: {page}"))
            .clone()
    }
}

#[test]
fn a_refused_request_consumes_nothing() {
    let world = World::new(POLICIES);
    for left in (0..5).rev() {
        let answer = world.ask("GET", "/sources");
        assert_eq!((answer.status, answer.field("x-ratelimit-remaining")), (200, Some(&*left.to_string())));
    }
    for _ in 0..20 {
        let answer = world.ask("GET", "/sources");
        assert_eq!(answer.said(), (429, "quota_exceeded".to_owned()));
        assert_eq!(answer.error()["data"]["policy"], "small");
    }
    assert_eq!((world.left("small"), world.left("large")), (0, 95), "neither of the two");
    assert_eq!(world.upstream.text().matches("GET /sources").count(), 5);
}

#[test]
fn callers_that_are_refused_for_other_reasons_consume_nothing() {
    let world = World::new(POLICIES);
    let audience = "/spaces/s/audiences";
    for (method, target, reason) in [
        ("GET", audience, "feature_required"),
        ("GET", "/sources//x", "ambiguous_path"),
        ("GET", "/tollgate/none", "not_found"),
    ] {
        for _ in 0..3 {
            assert_eq!(world.ask(method, target).reason(), reason, "{target}");
        }
    }
    let wrong_version = "Accept: application/vnd.segment.v9+json\r\n";
    let answer = world.gateway.connect().send(&request("GET", "/sources", &world.token, wrong_version));
    assert_eq!(answer.said(), (406, "version_unsupported".to_owned()));
    assert_eq!((world.left("small"), world.left("large")), (5, 100));
}

#[test]
fn our_own_pages_are_not_charged() {
    let world = World::new(POLICIES);
    for _ in 0..10 {
        assert_eq!(world.ask("GET", "/tollgate/v1/whoami").status, 200);
        assert_eq!(world.left("small"), 5);
    }
    let small = world.limit("small");
    assert_eq!([&small["quota"], &small["windowSeconds"], &small["burst"]], [5, 86_400, 5]);
    assert_eq!(small["per"], "token");
}

#[test]
fn every_answer_that_was_admitted_tells_the_limits() {
    let world = World::new(POLICIES);
    for (status, left) in [(200, 4), (404, 3), (503, 2)] {
        world.upstream.behave(Behaviour::status(status, "us"));
        let answer = world.ask("GET", "/sources");
        assert_eq!(answer.status, status);
        tells(&answer, left);
    }
    world.upstream.behave(Behaviour::Close);
    let answer = world.ask("POST", "/sources");
    assert_eq!(answer.said(), (502, "upstream_broken".to_owned()));
    tells(&answer, 1);
    let refused = World::new(POLICIES);
    for fields in ["", "Authorization: Bearer nobody\r\n"] {
        let answer = refused.gateway.connect().send(&raw("GET", "/sources", fields, b""));
        assert!(
            !answer.fields.iter().any(|(name, _)| name.to_lowercase().contains("ratelimit")),
            "{answer:?}"
        );
    }
}

fn tells(answer: &Answer, left: u64) {
    let policies = answer.field("ratelimit-policy").unwrap();
    assert!(
        policies.contains("\"small\";q=5;w=86400") && policies.contains("\"large\";q=100;w=86400"),
        "{policies}"
    );
    let lefts = answer.field("ratelimit").unwrap();
    assert!(lefts.starts_with(&format!("\"small\";r={left}")), "{lefts}");
    assert_eq!(answer.field("x-ratelimit-remaining"), Some(left.to_string().as_str()));
    assert_eq!(answer.field("x-ratelimit-consumed"), Some((5 - left).to_string().as_str()));
    let reset = httpdate::parse_http_date(answer.field("x-ratelimit-reset").unwrap()).unwrap();
    assert!(reset > std::time::SystemTime::now());
}

#[test]
fn a_stricter_upstream_wins() {
    let world = World::new(POLICIES);
    let saying = |remaining: &str| {
        Behaviour::Answer(format!(
            "HTTP/1.1 200 OK\r\nX-RateLimit-Consumed: 77\r\nx-ratelimit-remaining: {remaining}\r\n\
             X-RateLimit-Reset: Thu, 01 Jan 2099 00:00:00 GMT\r\nContent-Length: 2\r\n\r\n{{}}"
        ))
    };
    let values = |answer: &Answer, name: &str| -> Vec<String> {
        let all = answer.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        all.map(|(_, value)| value.clone()).collect()
    };
    world.upstream.behave(saying("1"));
    let answer = world.ask("GET", "/sources");
    assert_eq!(values(&answer, "x-ratelimit-remaining"), ["1"], "{answer:?}");
    assert_eq!(values(&answer, "x-ratelimit-consumed"), ["77"]);
    assert_eq!(values(&answer, "x-ratelimit-reset"), ["Thu, 01 Jan 2099 00:00:00 GMT"]);
    assert!(answer.field("ratelimit").unwrap().starts_with("\"small\";r=4"), "ours are told as well");
    for looser in ["50", "plenty"] {
        world.upstream.behave(saying(looser));
        let answer = world.ask("GET", "/sources");
        assert_eq!(values(&answer, "x-ratelimit-remaining").len(), 1, "{answer:?}");
        assert_ne!(values(&answer, "x-ratelimit-consumed"), ["77"], "{looser}");
    }
}

#[test]
fn an_endpoints_own_limit_is_named() {
    let world = World::new("");
    let syncs = "/warehouses/w1/syncs";
    assert_eq!(world.ask("GET", syncs).status, 200);
    let second = world.ask("HEAD", "/warehouses/%77other/syncs");
    assert_eq!(
        (second.status, second.field("x-ratelimit-remaining")),
        (200, Some("0")),
        "HEAD counts as GET"
    );
    let refused = world.ask("GET", syncs);
    assert_eq!(refused.said(), (429, "rate_limited".to_owned()));
    assert_eq!(refused.error()["data"]["policy"], "listSyncsFromWarehouse");
    assert_eq!(refused.field("retry-after"), Some("30"));
    assert!(refused.field("ratelimit-policy").unwrap().starts_with("\"listSyncsFromWarehouse\";q=2;w=60"));
    assert_eq!(world.ask("GET", "/warehouses").status, 200, "another endpoint");
    let (_, other) = world.gateway.token("ws-us", &[]);
    assert_eq!(world.gateway.ask(&other, syncs).status, 200, "another token");
}

#[test]
fn failed_authentications_are_budgeted_by_address_and_never_cost_a_valid_caller() {
    let world = World::new("");
    let (id, revoked) = world.gateway.token("ws-us", &[]);
    let file = world.gateway.file.to_str().unwrap();
    assert!(crate::support::run(&["token", "--config", file, "revoke", &id]).status.success());
    let World { upstream, gateway, token } = world;
    let budget = "[limits.failed_authentications]\nquota = \"5 per hour\"\n";
    let text = config(&upstream.url(), &upstream.url(), budget);
    let gateway = Gateway::start_in(gateway.into_folder(), &text);
    let world = World { upstream, gateway, token };
    let with = |fields: &str| world.gateway.connect().send(&raw("GET", "/sources", fields, b""));
    for fields in [
        "Authorization: Bearer nobody\r\n",
        "Authorization: Basic eDp5\r\n",
        "Authorization: Bearer a.b.c\r\n",
    ] {
        assert_eq!(with(fields).status, 401);
    }
    // A genuine token that has ended is no attack, and neither is none.
    for _ in 0..10 {
        assert_eq!(world.gateway.ask(&revoked, "/sources").said(), (401, "token_revoked".to_owned()));
        assert_eq!(with("").said(), (401, "credential_missing".to_owned()));
    }
    assert_eq!(with("Authorization: Bearer nobody\r\n").status, 401);
    assert_eq!(with("Authorization: Bearer nobody\r\n").status, 401);
    for _ in 0..3 {
        let answer = with("Authorization: Bearer nobody\r\n");
        assert_eq!(answer.said(), (429, "rate_limited".to_owned()));
        assert_eq!(answer.error()["data"]["policy"], "failed_authentications");
        assert!(answer.field("retry-after").is_some());
    }
    for _ in 0..5 {
        assert_eq!(world.ask("GET", "/sources").status, 200, "a valid credential from that address");
    }
    assert_eq!(world.gateway.ask(&revoked, "/sources").said(), (401, "token_revoked".to_owned()));
    assert_eq!(with("").said(), (401, "credential_missing".to_owned()));
}

#[test]
fn a_limit_holds_over_all_connections_and_cores() {
    let world =
        World::new("[[limits.policies]]\nname = \"all\"\nper = [\"workspace\"]\nquota = \"50 per day\"\n");
    let bytes = request("GET", "/sources", &world.token, "");
    let address = world.gateway.address;
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let bytes = bytes.clone();
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                (0..20).filter(|_| client.send(&bytes).status == 200).count()
            })
        })
        .collect();
    let admitted: usize = asking.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(admitted, 50);
    assert_eq!(world.upstream.text().matches("GET /sources").count(), 50);
}

#[test]
fn the_apis_own_word_and_a_streamed_body_cost_what_they_are_worth() {
    let policy = "[[limits.policies]]\nname = \"points\"\nper = [\"token\"]\nquota = \"100 per day\"\n\
                  body_kilobytes_per_cost = 1\ncost_from_header = \"X-Cost\"\n";
    let world = World::new(policy);
    let saying = |cost: &str| {
        Behaviour::Answer(format!("HTTP/1.1 200 OK\r\nX-Cost: {cost}\r\nContent-Length: 2\r\n\r\n{{}}"))
    };
    world.upstream.behave(saying("20"));
    let answer = world.ask("GET", "/sources");
    assert_eq!((answer.status, answer.field("x-ratelimit-remaining")), (200, Some("80")), "told at once");
    world.upstream.behave(saying("a lot"));
    assert_eq!(world.ask("GET", "/sources").field("x-ratelimit-remaining"), Some("79"));
    world.upstream.behave(Behaviour::status(200, "us"));
    let body = vec![b'x'; 9_000];
    let announced = request("POST", "/sources", &world.token, "Content-Length: 9000\r\n");
    let answer = world.gateway.connect().send(&[&announced[..], &body].concat());
    assert_eq!(answer.field("x-ratelimit-remaining"), Some("69"), "one, and nine started kilobytes");
    let streamed = request("POST", "/sources", &world.token, "Transfer-Encoding: chunked\r\n");
    world.gateway.connect().send(&[&streamed[..], b"2328\r\n", &body, b"\r\n0\r\n\r\n"].concat());
    assert_eq!(world.left("points"), 59, "the same when it streams");
    world.upstream.behave(saying("99999999999999999999"));
    assert_eq!(world.ask("GET", "/sources").status, 200, "what is admitted is served");
    let refused = world.ask("GET", "/sources");
    assert_eq!(refused.said(), (429, "quota_exceeded".to_owned()));
    assert_eq!(refused.error()["data"]["policy"], "points");
}

#[test]
fn a_hidden_limit_is_told_nowhere() {
    let policies = r#"
[[limits.policies]]
name = "shown"
per = ["token"]
quota = "1000 per day"
[[limits.policies]]
name = "secret-quota"
per = ["workspace"]
quota = "37 per day"
expose = false
[[limits.policies]]
name = "tried-quota"
per = ["token"]
quota = "41 per day"
mode = "shadow"
"#;
    let world = World::new(policies);
    let problem = "Accept: application/problem+json\r\n";
    let mut answers: Vec<Answer> = (0..38).map(|_| world.ask("GET", "/sources")).collect();
    answers.push(world.gateway.connect().send(&request("GET", "/sources", &world.token, problem)));
    answers.push(world.ask("GET", "/tollgate/v1/limits"));
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!((&statuses[..37], &statuses[37..]), (&[200; 37][..], &[429, 429, 200][..]));
    for answer in &answers {
        let text = format!("{:?} {}", answer.fields, String::from_utf8_lossy(&answer.body));
        for secret in ["secret-quota", "tried-quota", "q=37", "q=41", ":37,", ":37}", ":41,", ":41}"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    let refused = answers[37].error();
    assert_eq!(refused["data"]["policy"], "hidden");
    assert!(refused["data"]["msBeforeNext"].as_u64() > Some(1_000), "when to come back is told: {refused}");
    assert!(answers[37].field("ratelimit").unwrap().starts_with("\"shown\";r=963"), "{:?}", answers[37]);
    let operators = world.gateway.metrics();
    let refusals = [("policy", "secret-quota"), ("decision", "refuse"), ("mode", "enforce")];
    assert!(operators.count("tollgate_limit_decisions_total", &refusals) >= 2, "operators see it");
}
