//! Another configuration while the gateway runs: whole or not at all, and nobody notices but by its effect.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Behaviour, Client, Gateway, H2, Upstream, config, raw, request, until};

fn limit(quota: &str) -> String {
    format!("[[limits.policies]]\nname = \"small\"\nper = [\"token\"]\nquota = {quota:?}\n")
}

struct World {
    gateway: Gateway,
    upstream: Upstream,
    token: String,
}

impl World {
    fn new(more: &str) -> Self {
        let upstream = Upstream::start(Behaviour::status(200, "us"));
        let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), more));
        let (_, token) = gateway.token("ws-us", &[]);
        Self { gateway, upstream, token }
    }

    fn configuration(&self, more: &str) -> String {
        config(&self.upstream.url(), &self.upstream.url(), more)
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.gateway.file, text).unwrap();
    }

    fn status(&self) -> Value {
        self.gateway.operate("GET", "/status.json", "").json()["config"].clone()
    }

    fn generation(&self) -> u64 {
        self.status()["generation"].as_u64().unwrap()
    }

    /// Writes a configuration, asks for it by signal, and waits until it is in force.
    fn reload(&self, more: &str) {
        let before = self.generation();
        self.write(&self.configuration(more));
        self.gateway.process.signal("HUP");
        until("the new configuration", || (self.generation() > before).then_some(()));
    }

    fn remaining(&self) -> String {
        let answer = self.gateway.ask(&self.token, "/sources");
        assert_eq!(answer.status, 200);
        answer.field("x-ratelimit-remaining").unwrap().to_owned()
    }
}

#[test]
fn a_mistake_leaves_the_last_good_one_in_force() {
    let world = World::new(&limit("5 per day"));
    let broken = world.configuration(&(limit("5 per day") + "quotta = 3\n"));
    world.write(&broken);
    world.gateway.process.signal("HUP");
    let error =
        until("the mistake in the status", || world.status()["last_error"].as_str().map(str::to_owned));
    let line = broken.lines().position(|line| line.starts_with("quotta")).unwrap() + 1;
    assert!(error.contains(&format!("tollgate.toml:{line}:1")), "{error}");
    assert!(error.contains("did you mean `quota`?"), "{error}");
    until("the log", || {
        world.gateway.process.stderr.text().contains("the last good one stays in force").then_some(())
    });
    assert_eq!(world.generation(), 1);
    assert_eq!(world.remaining(), "4", "everything is as it was");
    let metrics = world.gateway.metrics();
    assert!(metrics.count("tollgate_config_reload_failures_total", &[]) >= 1);
    world.reload(&limit("6 per day"));
    assert_eq!(world.status()["last_error"], Value::Null);
}

#[test]
fn a_changed_limit_holds_at_once_and_nobody_gets_a_fresh_bucket() {
    let world = World::new(&limit("10 per day"));
    for left in ["9", "8", "7", "6", "5"] {
        assert_eq!(world.remaining(), left);
    }
    world.reload(&limit("20 per day"));
    assert_eq!(world.remaining(), "9", "half was used");
    world.reload(&limit("10 per day"));
    assert_eq!(world.remaining(), "3", "half, a twentieth, and one");
    assert_eq!(world.gateway.metrics().count("tollgate_config_generation", &[]), 3);
}

#[test]
fn a_changed_file_is_read_without_a_signal() {
    let table = tempfile::NamedTempFile::new().unwrap();
    let row =
        |name: &str| format!("[[endpoint]]\noperation = {name:?}\nmethod = \"GET\"\npath = \"/things\"\n");
    std::fs::write(table.path(), row("listThings")).unwrap();
    let tables = format!("[endpoints]\ntables = [{:?}]\n", table.path());
    let world = World::new(&tables);
    world.gateway.ask(&world.token, "/things");
    std::fs::write(table.path(), row("listEverything")).unwrap();
    until("the renamed operation", || {
        world.gateway.ask(&world.token, "/things");
        let named = |name| world.gateway.metrics().count("tollgate_requests_total", &[("operation", name)]);
        assert!(named("listThings") >= 1, "counts keep their names");
        (named("listEverything") > 0).then_some(())
    });
}

#[test]
fn a_changed_input_rule_is_read_without_a_signal() {
    let schema = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(schema.path(), "{}").unwrap();
    let rule = format!("[[input.rules]]\noperation = \"createSource\"\nschema_file = {:?}\n", schema.path());
    let world = World::new(&rule);
    let fields = format!("Authorization: Bearer {}\r\n", world.token);
    let create = || world.gateway.connect().send(&raw("POST", "/sources", &fields, b"{}"));
    assert_eq!(create().status, 200);
    std::fs::write(schema.path(), r#"{"required": ["slug"]}"#).unwrap();
    let error = until("the new rule", || Some(create()).filter(|answer| answer.status == 422)).error();
    assert_eq!(error["field"], "slug", "{error}");
}

#[test]
fn what_a_process_has_for_life_is_named_and_the_rest_is_in_force() {
    let world = World::new(&limit("10 per day"));
    let text = world.configuration(&(limit("20 per day") + "[tokens]\npoll_millis = 300\n"));
    world.write(&text.replacen("[listen]\n", "[listen]\nworkers = 1\n", 1));
    world.gateway.process.signal("HUP");
    until("the new configuration", || (world.generation() == 2).then_some(()));
    for key in ["listen.workers: 0 → 1", "tokens.poll_millis: 200 → 300"] {
        let named = |line: &str| line.contains("takes a restart") && line.contains(key);
        until(key, || world.gateway.process.stderr.text().lines().any(named).then_some(()));
    }
    let changed = |line: &str| line.contains("quota 10 per day") && line.contains("→ 20 per day");
    assert!(world.gateway.process.stderr.text().lines().any(changed), "a reload logs what it changed");
    assert_eq!(world.remaining(), "19");
}

#[test]
fn regions_that_tokens_are_bound_to_stay_as_they_were() {
    let world = World::new("");
    let swapped = world.configuration("").replace("letter = \"e\"", "letter = \"x\"");
    world.write(&swapped);
    world.gateway.process.signal("HUP");
    let error = until("the refusal", || world.status()["last_error"].as_str().map(str::to_owned));
    assert!(error.contains("restart"), "{error}");
    assert_eq!(world.generation(), 1);
    assert_eq!(world.gateway.ask(&world.token, "/sources").status, 200);
}

#[test]
fn a_new_bound_of_the_edge_holds_for_new_connections() {
    let world = World::new("");
    let long = format!("/sources?q={}", "a".repeat(900));
    assert_eq!(world.gateway.ask(&world.token, &long).status, 200);
    let text = world.configuration("").replacen("[listen]\n", "[listen]\nmax_target_bytes = 512\n", 1);
    world.write(&text);
    world.gateway.process.signal("HUP");
    until("the new configuration", || (world.generation() == 2).then_some(()));
    assert_eq!(world.gateway.ask(&world.token, &long).said(), (414, "uri_too_long".to_owned()));
}

/// Writes a certificate for `localhost` that signs itself, and its key.
fn write_certificate(folder: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    // The key first, under another name: a pair that does not fit is never read.
    std::fs::write(folder.join("key.pem.new"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("chain.pem.new"), certificate.pem()).unwrap();
    std::fs::rename(folder.join("key.pem.new"), folder.join("key.pem")).unwrap();
    std::fs::rename(folder.join("chain.pem.new"), folder.join("chain.pem")).unwrap();
}

#[test]
fn a_new_certificate_is_used_even_beside_a_broken_configuration() {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let files = format!(
        "[[listen.tls]]\naddress = \"127.0.0.1:0\"\ncertificates = [{{ chain_file = {:?}, key_file = {:?} }}]\n",
        folder.path().join("chain.pem"),
        folder.path().join("key.pem"),
    );
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &files));
    let (_, token) = gateway.token("ws-us", &[]);
    let address = until("the TLS listener", || {
        let log = gateway.process.stderr.text();
        let line: Value = serde_json::from_str(log.lines().find(|line| line.contains("(TLS)"))?).unwrap();
        line["address"].as_str().map(|address| address.parse().unwrap())
    });
    let trusted = folder.path().join("trusted.pem");
    std::fs::copy(folder.path().join("chain.pem"), &trusted).unwrap();
    let mut old = Client::connect_tls(address, "localhost", &trusted).unwrap();
    std::fs::write(&gateway.file, "[listen\n").unwrap();
    write_certificate(folder.path());
    std::fs::copy(folder.path().join("chain.pem"), &trusted).unwrap();
    let mut new = until("the new certificate", || Client::connect_tls(address, "localhost", &trusted).ok());
    for client in [&mut old, &mut new] {
        assert_eq!(client.send(&request("GET", "/sources", &token, "")).status, 200);
    }
    std::fs::write(folder.path().join("chain.pem"), "no certificate").unwrap();
    until("the complaint", || {
        gateway.process.stderr.text().contains("certificates stay as they were").then_some(())
    });
    assert!(Client::connect_tls(address, "localhost", &trusted).is_ok(), "the last good one stays");
}

/// Open descriptors of a process.
fn descriptors(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.process.id())).unwrap().count()
}

/// Whether the long forms are asked for: `tests/run --long`.
fn is_long() -> bool {
    std::env::var("TOLLGATE_LONG").is_ok_and(|long| long == "1")
}

/// Requests without end on one connection each; every answer is noted.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn start(world: &World, limited: &str) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            served: Arc::default(),
            refused: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..2 {
            let mut client = world.gateway.connect();
            load.drive(&world.token, move |bytes| client.send(bytes).status);
            let address = world.gateway.address;
            load.drive(&world.token, move |bytes| Client::connect(address).send(bytes).status);
            let mut client = world.gateway.connect();
            load.drive(limited, move |bytes| client.send(bytes).status);
        }
        let (h2, token, stop) =
            (H2::connect(world.gateway.address), world.token.clone(), Arc::clone(&load.stop));
        load.threads.push(thread::spawn(move || {
            let mut h2 = h2;
            while !stop.load(Ordering::SeqCst) {
                assert_eq!(h2.ask("GET", "/sources", &token).status, 200);
            }
        }));
        load
    }

    fn drive(&mut self, token: &str, mut ask: impl FnMut(&[u8]) -> u16 + Send + 'static) {
        let bytes = request("GET", "/sources", token, "");
        let (stop, served, refused) =
            (Arc::clone(&self.stop), Arc::clone(&self.served), Arc::clone(&self.refused));
        self.threads.push(thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                match ask(&bytes) {
                    200 => served.fetch_add(1, Ordering::SeqCst),
                    429 => refused.fetch_add(1, Ordering::SeqCst),
                    status => panic!("{status} during a reload"),
                };
            }
        }));
    }

    /// Ends it; a thread that saw anything else than 200 or 429 fails the test.
    fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        (self.served.load(Ordering::SeqCst), self.refused.load(Ordering::SeqCst))
    }
}

#[test]
fn ten_reloads_a_second_under_load_are_not_noticed() {
    const BURST: u64 = 60;
    let text = |turn: usize| {
        // Every turn changes what a snapshot is made of: a policy comes and goes, words change.
        let extra =
            "[[limits.policies]]\nname = \"extra\"\nper = [\"workspace\"]\nquota = \"1000000 per second\"\n";
        format!(
            "{}{}[limits.in_flight]\ntotal = {}\n[replies]\ndocumentation_url = \"https://docs.example/{turn}\"\n",
            "[[limits.policies]]\nname = \"tight\"\nper = [\"token\"]\nquota = \"60 per minute\"\nplans = [\"team\"]\n",
            if turn.is_multiple_of(2) { extra } else { "" },
            1_000_000 + turn,
        )
    };
    let world = World::new(&text(0));
    let name = world.gateway.file.to_str().unwrap();
    let made = crate::support::run_json(&[
        "workspace",
        "--config",
        name,
        "create",
        "ws-team",
        "--region",
        "us",
        "--plan",
        "team",
        "--json",
    ]);
    assert_eq!(made["plan"], "team", "{made}");
    let (_, limited) = world.gateway.token("ws-team", &[]);
    let began = Instant::now();
    let load = Load::start(&world, &limited);
    until("load", || (load.served.load(Ordering::SeqCst) > 200).then_some(()));
    let (memory, files) = (world.gateway.process.resident_bytes(), descriptors(&world.gateway));
    let reloads = if is_long() { 600 } else { 30 };
    for turn in 1..=reloads {
        let next = Instant::now() + Duration::from_millis(100);
        world.write(&world.configuration(&text(turn)));
        world.gateway.process.signal("HUP");
        until("the reload", || (world.generation() > turn as u64).then_some(()));
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let (grown, opened) = (world.gateway.process.resident_bytes(), descriptors(&world.gateway));
    let (served, refused) = load.end();
    let window_seconds = began.elapsed().as_secs() + 1;
    assert!(refused > 0, "the limit was met");
    let admitted = world
        .gateway
        .metrics()
        .count("tollgate_limit_decisions_total", &[("policy", "tight"), ("decision", "admit")]);
    assert!(admitted <= BURST + window_seconds, "{admitted} admitted in {window_seconds} s");
    assert_eq!(world.status()["last_error"], Value::Null);
    assert!(grown < memory + 24 * 1024 * 1024, "memory grew from {memory} to {grown}");
    assert!(opened <= files + 8, "descriptors grew from {files} to {opened}");
    println!("{served} served, {refused} refused, {reloads} reloads; {memory} to {grown} bytes");
}
