//! An override made by another process: in force within a second, told at once, over by itself.

use std::time::{Duration, Instant};

use crate::support::{Behaviour, Gateway, Upstream, config, run, run_json, until};

const PROMISE: Duration = Duration::from_secs(1);

const POLICIES: &str = r#"
[[limits.policies]]
name = "default"
per = ["token"]
quota = "5 per day"
[[limits.policies]]
name = "workspace"
per = ["workspace"]
quota = "1000 per day"
"#;

struct World {
    gateway: Gateway,
    id: String,
    token: String,
    _upstream: Upstream,
}

impl World {
    fn new() -> Self {
        let upstream = Upstream::start(Behaviour::status(200, "us"));
        let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), POLICIES));
        let (id, token) = gateway.token("ws-us", &[]);
        Self { gateway, id, token, _upstream: upstream }
    }

    fn set(&self, words: &[&str]) -> std::process::Output {
        let file = self.gateway.file.to_str().unwrap();
        run(&[&["limits", "--config", file, "set"][..], words].concat())
    }

    /// The tightest policy as an answer tells it, and what is left of it.
    fn told(&self) -> (u16, String, Option<String>) {
        let answer = self.gateway.ask(&self.token, "/sources");
        let policies = answer.field("ratelimit-policy").unwrap().to_owned();
        (answer.status, policies, answer.field("x-ratelimit-remaining").map(str::to_owned))
    }

    fn until_told(&self, quota: &str) -> Duration {
        let done = Instant::now();
        until("the override", || self.told().1.starts_with(quota).then_some(()));
        done.elapsed()
    }
}

#[test]
fn an_override_that_makes_no_sense_is_refused() {
    let world = World::new();
    for (policy, said) in [("defualt", "did you mean `default`?"), ("workspace", "--workspace")] {
        let output =
            world.set(&["--token", &world.id, "--policy", policy, "--quota", "9 per day", "--until", "1d"]);
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(said), "{text}");
    }
    assert!(world.told().1.starts_with("\"default\";q=5;w=86400"));
}

#[test]
fn a_token_is_told_its_new_quota_within_a_second_and_the_used_share_stays_used() {
    let world = World::new();
    for _ in 0..4 {
        assert_eq!(world.told().0, 200);
    }
    let args = ["--token", &world.id, "--policy", "default", "--quota", "50 per day", "--until", "1d"];
    assert!(world.set(&[&args[..], &["--reason", "migration"]].concat()).status.success());
    let page = |quota: u64| {
        let page = world.gateway.ask(&world.token, "/tollgate/v1/limits").json();
        let rows = page["data"]["limits"].as_array().unwrap().clone();
        rows.iter().any(|row| row["policy"] == "default" && row["quota"] == quota).then_some(())
    };
    let done = Instant::now();
    until("the override", || page(50));
    let took = done.elapsed();
    println!("in force after {took:?}");
    assert!(took <= PROMISE, "{took:?}");
    let served = (0..50).filter(|_| world.told().0 == 200).count();
    assert_eq!(served, 10, "four fifths were used");
    assert!(world.told().1.starts_with("\"default\";q=50;w=86400"));
    assert!(world.set(&["--token", &world.id, "--policy", "default", "--remove"]).status.success());
    let took = world.until_told("\"default\";q=5;w=86400");
    assert!(took <= PROMISE, "{took:?}");
    assert_eq!(world.told().0, 429, "no fresh bucket");
}

#[test]
fn a_workspaces_override_is_for_all_its_tokens_and_ends_by_itself() {
    let world = World::new();
    let (_, other) = world.gateway.token("ws-us", &[]);
    let args = ["--workspace", "ws-us", "--policy", "default", "--quota", "50 per day"];
    assert!(world.set(&[&args[..], &["--until", "4s"]].concat()).status.success());
    world.until_told("\"default\";q=50;w=86400");
    let answer = world.gateway.ask(&other, "/sources");
    assert!(answer.field("ratelimit-policy").unwrap().starts_with("\"default\";q=50;"));
    world.until_told("\"default\";q=5;w=86400");
    let file = world.gateway.file.to_str().unwrap();
    let shown = run_json(&["limits", "--config", file, "show", "--format", "json"]);
    assert_eq!((&shown[0]["workspace"], &shown[0]["in_force"]), (&"ws-us".into(), &false.into()));
}
