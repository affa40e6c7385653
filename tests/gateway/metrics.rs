//! One request, one answer, one record, one outcome: the same word everywhere, and no secret anywhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::support::{Answer, Behaviour, Gateway, H2, Upstream, config, raw, request, run_json, until};

const LIMITS: &str = r#"
[[limits.policies]]
name = "default"
per = ["token"]
quota = "100 per day"
[[limits.policies]]
name = "watch"
per = ["token"]
quota = "1 per day"
mode = "shadow"
"#;

/// What was asked and what came of it, by outcome.
#[derive(Default)]
struct Tally {
    by_outcome: BTreeMap<String, u64>,
    request_ids: Vec<String>,
}

impl Tally {
    fn note(&mut self, answer: &Answer) {
        let reason = answer.reason();
        let outcome = match (reason.is_empty(), answer.field("x-sample-region")) {
            (false, _) => reason,
            (true, Some(_)) => "forwarded".to_owned(),
            (true, None) => "answered".to_owned(),
        };
        *self.by_outcome.entry(outcome).or_default() += 1;
        self.request_ids.push(answer.field("x-request-id").unwrap().to_owned());
    }

    fn total(&self) -> u64 {
        self.by_outcome.values().sum()
    }
}

/// A gateway, a good token, a revoked one, and one of a suspended workspace.
struct World {
    gateway: Gateway,
    upstream: Upstream,
    good: String,
    bad: Vec<String>,
}

impl World {
    fn new() -> Self {
        let upstream = Upstream::start(Behaviour::status(200, "us"));
        let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), LIMITS));
        let file = gateway.file.to_str().unwrap().to_owned();
        let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
        let create = |workspace: &str| {
            run_json(&["token", "--config", &file, "create", "--json", "--workspace", workspace])
        };
        let (good, revoked, suspended) = (create("ws-us"), create("ws-us"), create("ws-eu"));
        run_json(&["token", "--config", &file, "revoke", &text(&revoked, "id"), "--json"]);
        run_json(&["workspace", "--config", &file, "set", "ws-eu", "--state", "suspended", "--json"]);
        let world = Self {
            gateway,
            upstream,
            good: text(&good, "token"),
            bad: vec![text(&revoked, "token"), text(&suspended, "token")],
        };
        // A new process, so that nothing that was asked until now is counted.
        let config = std::fs::read_to_string(&world.gateway.file).unwrap();
        let Self { gateway, upstream, good, bad } = world;
        let gateway = Gateway::start_in(gateway.into_folder(), &config);
        Self { gateway, upstream, good, bad }
    }

    fn mix(&self) -> Tally {
        let mut tally = Tally::default();
        let mut h1 = self.gateway.connect();
        let mut h2 = H2::connect(self.gateway.address);
        for target in ["/sources", "/sources?x=1", "/no/such", "/warehouses"] {
            tally.note(&h1.send(&request("GET", target, &self.good, "")));
            tally.note(&h2.ask("GET", target, &self.good));
        }
        for token in self.bad.iter().map(String::as_str).chain(["nobody", "a.b.c"]) {
            tally.note(&h1.send(&request("POST", "/sources", token, "")));
            tally.note(&h2.ask("POST", "/sources", token));
        }
        for target in ["/tollgate/v1/whoami", "/tollgate/v1/limits", "/tollgate/none", "/a//b"] {
            tally.note(&h1.send(&request("GET", target, &self.good, "")));
        }
        tally.note(&h1.send(&raw("GET", "/sources", "", b"")));
        let preflight = "Origin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n";
        tally.note(&h1.send(&raw("OPTIONS", "/sources", preflight, b"")));
        tally.note(&h1.send(&raw("GET", &format!("/sources?access_token={}", self.good), "", b"")));
        for bytes in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET /\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: a\r\n\r\n",
        ] {
            tally.note(&self.gateway.connect().send(bytes.as_bytes()));
        }
        self.upstream.behave(Behaviour::Close);
        tally.note(&h1.send(&request("POST", "/sources", &self.good, "")));
        self.upstream.behave(Behaviour::status(200, "us"));
        tally
    }

    fn lines(&self) -> Vec<Value> {
        let text = self.gateway.process.stdout.text();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }
}

#[test]
fn every_request_has_one_answer_one_record_and_one_outcome() {
    let world = World::new();
    let tally = world.mix();
    let total = tally.total();
    let metrics = until("every record", || {
        let metrics = world.gateway.metrics();
        (metrics.count("tollgate_requests_total", &[]) >= total).then_some(metrics)
    });
    assert_eq!(metrics.count("tollgate_requests_total", &[]), total);
    for (outcome, count) in &tally.by_outcome {
        let pairs = [("outcome", outcome.as_str())];
        assert_eq!(metrics.count("tollgate_requests_total", &pairs), *count, "{outcome}");
        let is_served = ["forwarded", "answered"].contains(&outcome.as_str());
        let refused = metrics.count("tollgate_refusals_total", &[("reason", outcome)]);
        assert_eq!(refused, if is_served { 0 } else { *count }, "{outcome}");
    }
    assert_eq!(metrics.count("tollgate_request_seconds_count", &[]), total);
    let sent_on = tally.by_outcome["forwarded"] + tally.by_outcome["upstream_broken"];
    let admitted = [("policy", "default"), ("decision", "admit"), ("mode", "enforce")];
    assert_eq!(metrics.count("tollgate_limit_decisions_total", &admitted), sent_on);
    let watched = |decision| {
        let pairs = [("policy", "watch"), ("decision", decision), ("mode", "shadow")];
        metrics.count("tollgate_limit_decisions_total", &pairs)
    };
    assert_eq!(
        (watched("admit"), watched("refuse")),
        (1, sent_on - 1),
        "a shadow policy counts and lets pass"
    );
    assert_eq!(metrics.count("tollgate_in_flight", &[]), 0);
    assert!(metrics.count("tollgate_request_bytes_total", &[]) > 0);
    assert!(metrics.count("tollgate_response_bytes_total", &[]) > 0);

    let lines = until("every line of the log", || {
        let lines = world.lines();
        (lines.len() as u64 >= total).then_some(lines)
    });
    let mut by_outcome = BTreeMap::new();
    for line in &lines {
        *by_outcome.entry(line["outcome"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(by_outcome, tally.by_outcome, "the log's outcomes are the bodies' reasons");
    let mut logged: Vec<_> = lines.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    let mut told: Vec<_> = tally.request_ids.iter().map(String::as_str).collect();
    logged.sort_unstable();
    told.sort_unstable();
    assert_eq!(logged, told);
    told.dedup();
    assert_eq!(told.len() as u64, total, "ids are unique");
}

#[test]
fn metrics_are_those_of_the_design() {
    let world = World::new();
    world.mix();
    let metrics = world.gateway.metrics();
    for name in [
        "tollgate_requests_total",
        "tollgate_request_seconds_bucket",
        "tollgate_overhead_seconds_count",
        "tollgate_upstream_seconds_sum",
        "tollgate_refusals_total",
        "tollgate_limit_decisions_total",
        "tollgate_limit_path_total",
        "tollgate_connections",
        "tollgate_in_flight",
        "tollgate_tokens",
        "tollgate_registry_staleness_seconds",
        "tollgate_upstream_healthy",
        "tollgate_config_generation",
        "tollgate_build_info",
    ] {
        assert!(metrics.with(name, &[]).next().is_some(), "no {name}");
        let family = name.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum");
        assert!(metrics.text.contains(&format!("# TYPE {family} ")), "{family}");
        assert!(metrics.text.contains(&format!("# HELP {family} ")), "{family}");
    }
    assert_eq!(metrics.count("tollgate_tokens", &[]), 3);
    assert!(metrics.sum("tollgate_registry_staleness_seconds", &[]) < 1.0);
    // No label that a client can invent.
    assert!(!metrics.text.contains("a.example") && !metrics.text.contains("no/such"));
}

#[test]
fn no_secret_is_written_anywhere() {
    let world = World::new();
    world.mix();
    let secrets: Vec<&str> = world.bad.iter().map(String::as_str).chain([world.good.as_str()]).collect();
    let mut said = String::new();
    let ask = |bytes: &[u8], said: &mut String| {
        let answer = world.gateway.connect().send(bytes);
        write!(said, "{:?}{}", answer.fields, String::from_utf8_lossy(&answer.body)).unwrap();
    };
    for token in &secrets {
        let bearer = format!("Authorization: Bearer {token}\r\n");
        for (target, fields) in [
            (format!("/sources/{token}"), String::new()),
            (format!("/sources/{token}"), bearer.clone()),
            (format!("/tollgate/{token}"), bearer.clone()),
            (format!("/sources//{token}"), bearer.clone()),
            (format!("/sources?x={token}&access_token={token}"), String::new()),
            ("/sources".to_owned(), format!("{bearer}User-Agent: script {token}\r\n")),
            ("/sources".to_owned(), format!("{bearer}X-Request-Id: {token}\r\n")),
            ("/sources".to_owned(), format!("{bearer}Accept: application/vnd.segment.{token}+json\r\n")),
            ("/sources".to_owned(), format!("{bearer}Expect: {token}\r\n")),
            ("/sources".to_owned(), format!("Authorization: Token {token}\r\n")),
            ("/sources".to_owned(), format!("Authorization: Bearer {token} {token}\r\n")),
            ("/sources".to_owned(), format!("{bearer}{bearer}")),
            (
                "/sources".to_owned(),
                format!("Origin: https://{token}\r\nAccess-Control-Request-Method: GET\r\n"),
            ),
        ] {
            ask(&raw("GET", &target, &fields, b""), &mut said);
            ask(&raw("OPTIONS", &target, &fields, b""), &mut said);
        }
        ask(
            format!("GET /{token} HTTP/1.1\r\nHost: {token}\r\nbroken {token}\r\n\r\n").as_bytes(),
            &mut said,
        );
    }
    for path in ["/metrics", "/", "/readyz", "/status.json"] {
        said += &String::from_utf8_lossy(&world.gateway.operate("GET", path, "").body);
    }
    let arrived = world.upstream.text();
    until("the log to be written", || {
        let settled = world.gateway.process.output();
        settled.contains("several_credentials").then_some(())
    });
    let mut gateway = world.gateway;
    gateway.process.signal("TERM");
    gateway.process.wait();
    let output = gateway.process.output();
    for secret in secrets {
        // Neither the whole nor its random part.
        let part = &secret[6..40];
        assert!(!output.contains(part), "in the process's output");
        let at = said.find(part).unwrap_or(0);
        assert!(at == 0, "in an answer: {}", &said[at.saturating_sub(400)..at]);
        assert!(
            !arrived.contains(&format!("Bearer {secret}"))
                && !arrived.to_lowercase().contains("authorization:")
        );
    }
    let folder = gateway.into_folder();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let stored = String::from_utf8_lossy(&bytes);
        for secret in &world.bad {
            assert!(!stored.contains(&secret[6..40]), "at rest");
        }
    }
}

#[test]
fn a_client_that_goes_away_has_its_record() {
    let world = World::new();
    world.upstream.behave(Behaviour::Hang);
    for _ in 0..3 {
        let mut client = world.gateway.connect();
        client.write(&request("GET", "/sources", &world.good, ""));
        until("the request upstream", || world.upstream.text().contains("GET /sources").then_some(()));
        drop(client);
    }
    until("the records", || {
        let gone = [("outcome", "client_gone")];
        (world.gateway.metrics().count("tollgate_requests_total", &gone) == 3).then_some(())
    });
    until("nothing in flight", || {
        (world.gateway.metrics().count("tollgate_in_flight", &[]) == 0).then_some(())
    });
}
