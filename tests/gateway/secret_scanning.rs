//! A token that GitHub found in public is refused when GitHub's alert is answered, and nobody else can have it refused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate::tokens::{Format, SystemRandom};

use crate::support::{
    Answer, Behaviour, Client, Demo, Gateway, GitHub, H2, Hook, Receiver, Upstream, alert, config, raw,
    request, run, until,
};

const PATH: &str = "/tollgate/v1/github/secret-scanning";

/// A gateway whose keys come from a file.
struct World {
    github: GitHub,
    gateway: Gateway,
    keys: tempfile::TempDir,
    upstream: Upstream,
}

/// `[secret_scanning]` with keys in a file.
fn section(folder: &tempfile::TempDir, keys: &str, more: &str) -> String {
    let file = folder.path().join("keys.json");
    std::fs::write(&file, keys).unwrap();
    format!("[secret_scanning]\npath = {PATH:?}\nkeys_file = {:?}\n{more}\n", file.to_str().unwrap())
}

impl World {
    fn new(more: &str) -> Self {
        let (github, keys) = (GitHub::new(), tempfile::tempdir().unwrap());
        let upstream = Upstream::start(Behaviour::status(200, "us"));
        let section = section(&keys, &github.keys(), more);
        let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &section));
        Self { github, gateway, keys, upstream }
    }

    fn send(&self, bytes: &[u8]) -> Answer {
        self.gateway.connect().send(bytes)
    }

    fn alert<'t>(&self, tokens: impl IntoIterator<Item = &'t str>) -> Answer {
        self.send(&self.github.post(PATH, &alert(tokens)))
    }

    fn command(&self, words: &[&str]) -> Value {
        let (room, rest) = words.split_first().unwrap();
        let output = run(&[&[room, "--config", self.gateway.file.to_str().unwrap()], rest].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn said(&self, token: &str) -> (u16, String) {
        self.gateway.ask(token, "/sources").said()
    }
}

fn revoked() -> (u16, String) {
    (401, "token_revoked".to_owned())
}

/// A token of our format that nobody ever made.
fn never_made(letter: char) -> String {
    Format::new("sgp_").mint(letter, &SystemRandom).unwrap().expose().clone()
}

fn labels(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let list = answer.json();
    list.as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_leaked_token_is_refused_when_the_alert_is_answered_with_every_cache_warm() {
    let world = World::new("feedback = \"raw\"");
    let (_, token) = world.gateway.token("ws-us", &["--role", "owner"]);
    let (_, other) = world.gateway.token("ws-us", &[]);
    let (answered, served_after) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut last_served = Instant::now();
    let posted = std::thread::scope(|scope| {
        let hammer = |client: &mut dyn FnMut() -> (u16, String)| {
            let mut last = Instant::now();
            loop {
                let was_answered = answered.load(Ordering::SeqCst);
                let said = client();
                if said == revoked() {
                    return last;
                }
                assert_eq!(said.0, 200, "{said:?}");
                last = Instant::now();
                served_after.fetch_or(was_answered, Ordering::SeqCst);
            }
        };
        let (address, token) = (world.gateway.address, token.as_str());
        let threads: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn(move || {
                    if number == 0 {
                        let mut h2 = H2::connect(address);
                        return hammer(&mut || h2.ask("GET", "/sources", token).said());
                    }
                    let mut client = Client::connect(address);
                    let bytes = request("GET", "/sources", token, "");
                    hammer(&mut || client.send(&bytes).said())
                })
            })
            .collect();
        until("the load to be served", || (world.upstream.bytes().len() > 50_000).then_some(()));
        let posted = Instant::now();
        let answer = world.alert([token]);
        answered.store(true, Ordering::SeqCst);
        let feedback =
            json!([{"token_raw": token, "token_type": "segment_public_api_token", "label": "true_positive"}]);
        assert_eq!((answer.status, answer.json()), (200, feedback));
        for thread in threads {
            last_served = last_served.max(thread.join().unwrap());
        }
        posted
    });
    let took = last_served.saturating_duration_since(posted);
    println!("the last answer was served {took:?} after the alert was posted");
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert!(
        !served_after.load(Ordering::SeqCst),
        "no request was served that was sent after GitHub's answer"
    );
    assert_eq!(world.said(&other).0, 200, "another token of the workspace works on");
    let shown = world.gateway.process.output();
    assert!(!shown.contains(&token[..20]), "no log holds the token");
    let metrics = world.gateway.metrics();
    let count = |name, pairs: &[_]| metrics.count(name, pairs);
    assert_eq!(count("tollgate_secret_scanning_alerts_total", &[("result", "accepted")]), 1);
    assert_eq!(count("tollgate_secret_scanning_tokens_total", &[("label", "true_positive")]), 1);
    assert_eq!(count("tollgate_secret_scanning_revocations_total", &[]), 1);
    assert_eq!(count("tollgate_secret_scanning_keys", &[]), 1);
}

#[test]
fn predecessors_and_siblings_die_with_a_leaked_token_and_replays_change_nothing() {
    let world = World::new("");
    let (first_id, first) = world.gateway.token("ws-us", &[]);
    let second = world.command(&["token", "rotate", &first_id, "--overlap", "1h", "--json"]);
    let (second_id, second) = (second["id"].as_str().unwrap(), second["token"].as_str().unwrap());
    let third = world.command(&["token", "rotate", second_id, "--overlap", "1h", "--json"]);
    let third = third["token"].as_str().unwrap();
    for token in [&first, second, third] {
        until("the gateway to know the token", || (world.said(token).0 == 200).then_some(()));
    }
    let unknown = never_made('u');
    let bytes = world.github.post(PATH, &alert([second, &unknown, second]));
    for round in 0..3 {
        let answer = world.send(&bytes);
        assert_eq!(labels(&answer), ["true_positive", "false_positive", "true_positive"], "{round}");
        let hash = answer.json()[0]["token_hash"].as_str().unwrap().to_owned();
        assert_eq!((hash.len(), answer.json()[0].get("token_raw")), (64, None));
        for token in [&first, second, third] {
            assert_eq!(world.said(token), revoked());
        }
    }
    let metrics = world.gateway.metrics();
    assert_eq!(metrics.count("tollgate_secret_scanning_revocations_total", &[]), 3, "once each");
    let (_, fresh) = world.gateway.token("ws-us", &[]);
    assert_eq!(labels(&world.alert([second])), ["true_positive"], "also long after it was revoked");
    assert_eq!(world.said(&fresh).0, 200);
}

#[test]
fn nobody_but_github_can_have_a_token_refused() {
    let world = World::new("max_tokens = 3\nmax_body_bytes = 2048");
    let (_, token) = world.gateway.token("ws-us", &[]);
    let body = alert([token.as_str()]);
    let (good, stranger) = (world.github.fields(&body), GitHub::new());
    let post = |fields: &str, body: &[u8]| world.send(&raw("POST", PATH, fields, body)).said();
    let invalid = (400, "signature_invalid".to_owned());
    let line = |name: &str| good.lines().find(|line| line.starts_with(name)).unwrap().to_owned() + "\r\n";
    let (identifier, signature) = (line("Github-Public-Key-Identifier"), line("Github-Public-Key-Signature"));
    assert_eq!(post("", &body), invalid, "no fields");
    assert_eq!(post(&identifier, &body), invalid, "no signature");
    assert_eq!(post(&signature, &body), invalid, "no identifier");
    assert_eq!(post(&format!("{good}{signature}"), &body), invalid, "two signatures");
    assert_eq!(post(&good, &[&body[..], b"\n"].concat()), invalid, "one more byte");
    assert_eq!(post(&good, &[b" ", &body[..]].concat()), invalid, "one more byte in front");
    assert_eq!(post(&good, &body[1..]), invalid, "one byte less");
    assert_eq!(post(&good, b""), invalid, "no body");
    assert_eq!(post(&good.replace(&world.github.key_identifier, "0000"), &body), invalid, "unknown key");
    assert_eq!(post(&stranger.fields(&body), &body), invalid, "a stranger's key");
    let forged = good.replace(&world.github.signature(&body), "").replace(signature.trim_end(), "")
        + &format!("Github-Public-Key-Signature: {}\r\n", stranger.signature(&body));
    assert_eq!(post(&forged, &body), invalid, "a stranger's signature under GitHub's key");
    assert_eq!(post(&good.replace("application/json", "text/plain"), &body).0, 415);
    let signed = |body: &[u8]| post(&world.github.fields(body), body);
    let unusable = (422, "input_invalid".to_owned());
    for body in [&b"not json"[..], b"{}", b"null", b"[1]", b"[{\"url\":\"x\"}]", b"\xff"] {
        assert_eq!(signed(body), unusable);
    }
    assert_eq!(signed(&alert([token.as_str(), "b", "c", "d"])), unusable, "too many tokens");
    assert_eq!(signed(&vec![b' '; 4_096]), (413, "body_too_large".to_owned()));
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let answer = world.send(&raw(method, PATH, &good, b""));
        assert_eq!((answer.status, answer.field("allow")), (405, Some("POST")), "{method}");
    }
    assert_eq!(world.said(&token).0, 200, "after all this the token works");
    assert_eq!(labels(&world.alert([])), [""; 0], "an alert of nothing is answered");
    let before = world.upstream.bytes().len();
    assert_eq!(labels(&world.alert([token.as_str()])), ["true_positive"]);
    assert_eq!(world.upstream.bytes().len(), before, "an alert is never forwarded");
    assert_eq!(world.said(&token), revoked());
}

#[test]
fn forgeries_are_charged_to_their_address_and_githubs_alerts_never_are() {
    let world = World::new("[limits.failed_authentications]\nquota = \"100 per minute\"");
    let (_, token) = world.gateway.token("ws-us", &[]);
    let forged = GitHub::new().post(PATH, b"[]");
    let mut client = world.gateway.connect();
    let said: Vec<u16> = (0..300).map(|_| client.send(&forged).status).collect();
    assert!(said[..3] == [400; 3] && said[299] == 429, "{said:?}");
    assert_eq!(labels(&world.alert([token.as_str()])), ["true_positive"], "from the same address");
}

#[test]
fn a_key_out_of_use_is_refused_and_the_path_is_ones_own() {
    let (old, new, keys) = (GitHub::new(), GitHub::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let document = json!({"public_keys": [old.document(false), new.document(true)]}).to_string();
    let section = section(&keys, &document, "").replace(PATH, "/leaks");
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &section));
    let (_, token) = gateway.token("ws-us", &[]);
    let body = alert([token.as_str()]);
    let mut h2 = H2::connect(gateway.address);
    assert_eq!(h2.post("/leaks", &old.fields(&body), &body).status, 400, "over HTTP/2");
    let refused = gateway.connect().send(&old.post("/leaks", &body));
    assert_eq!(refused.said(), (400, "signature_invalid".to_owned()));
    assert!(refused.error()["message"].as_str().unwrap().contains("out of use"));
    assert_eq!(
        gateway.connect().send(&new.post(PATH, &body)).status,
        401,
        "the default path is not ours here"
    );
    assert_eq!(labels(&h2.post("/leaks", &new.fields(&body), &body)), ["true_positive"], "over HTTP/2");
    assert_eq!(gateway.ask(&token, "/sources").said(), revoked());
}

#[test]
fn without_keys_it_is_our_fault_and_with_the_last_good_ones_it_goes_on() {
    let github = GitHub::new();
    let (server, upstream) =
        (Upstream::start(Behaviour::status(500, "x")), Upstream::start(Behaviour::status(200, "us")));
    let section = format!(
        "[secret_scanning]\npath = {PATH:?}\nkeys_url = \"{}/keys\"\nunknown_key_seconds = 1\n",
        server.url()
    );
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &section));
    let (_, token) = gateway.token("ws-us", &[]);
    let bytes = github.post(PATH, &alert([token.as_str()]));
    let post = |bytes: &[u8]| gateway.connect().send(bytes);
    let refused = post(&bytes);
    assert_eq!(refused.said(), (503, "signer_unavailable".to_owned()));
    assert!(refused.field("retry-after").is_some());
    assert_eq!(gateway.ask(&token, "/sources").status, 200);
    let keys = github.keys();
    let length = keys.len();
    server.behave(Behaviour::Answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{keys}")));
    until("the keys to be loaded", || (post(&bytes).status == 200).then_some(()));
    assert_eq!(gateway.ask(&token, "/sources").said(), revoked());
    for away in [Behaviour::status(500, "x"), Behaviour::Reset, Behaviour::status(302, "x")] {
        server.behave(away);
        let unknown = GitHub::new().post(PATH, b"[]");
        until("the keys to be asked for in vain", || {
            let said = post(&unknown).said();
            (said == (503, "signer_unavailable".to_owned())).then_some(())
        });
        assert_eq!(post(&bytes).status, 200, "the last good keys");
    }
    let asked = server.text().matches("GET /keys HTTP/1.1").count();
    for _ in 0..300 {
        assert_ne!(post(&GitHub::new().post(PATH, b"[]")).status, 200);
    }
    let more = server.text().matches("GET /keys HTTP/1.1").count() - asked;
    assert!(more < 30, "300 unknown keys made {more} loads");
}

#[test]
fn ten_thousand_tokens_are_answered_within_githubs_time() {
    let receiver = Receiver::start(&["200 OK"]);
    let world = World::new("[notifications]\nallow_private_addresses = true");
    world.command(&["workspace", "set", "ws-us", "--add-contact", &receiver.url(), "--json"]);
    let tokens: Vec<String> = (0..10_000).map(|_| never_made('u')).collect();
    let file = world.keys.path().join("tokens");
    std::fs::write(&file, tokens[..9_000].join("\n")).unwrap();
    world.command(&["token", "import", file.to_str().unwrap(), "--workspace", "ws-us"]);
    until("the gateway to know the tokens", || (world.said(&tokens[8_999]).0 == 200).then_some(()));
    let bytes = world.github.post(PATH, &alert(tokens.iter().map(String::as_str)));
    let posted = Instant::now();
    let mut client = world.gateway.connect();
    client.tcp().set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let answer = client.send(&bytes);
    println!("10,000 tokens were answered within {:?}", posted.elapsed());
    let labels = labels(&answer);
    let of = |label: &str| labels.iter().filter(|found| *found == label).count();
    assert_eq!((of("true_positive"), of("false_positive")), (9_000, 1_000), "all of them were dealt with");
    for token in tokens[..9_000].iter().step_by(500) {
        assert_eq!(world.said(token), revoked());
    }
    let told = |hook: &Hook| hook.json()["data"]["leaks"].as_u64().unwrap_or(1);
    let hooks = until("all to be told", || {
        let hooks = receiver.hooks();
        (hooks.iter().map(told).sum::<u64>() == 9_000).then_some(hooks)
    });
    println!("they were told in {} messages, the last after {:?}", hooks.len(), posted.elapsed());
    // One, unless this machine takes a second for a part of the alert.
    assert!(hooks.len() <= 10, "{}", hooks.len());
}

#[test]
fn an_alert_that_the_store_keeps_us_from_is_dealt_with_later() {
    let world = World::new("");
    let (_, token) = world.gateway.token("ws-us", &[]);
    let store = world.gateway.file.with_file_name("tollgate.db");
    let other = rusqlite::Connection::open(store).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = world.alert([token.as_str()]);
    assert_eq!(refused.said(), (503, "registry_unavailable".to_owned()));
    let waiting =
        || world.gateway.metrics().count("tollgate_secret_scanning_relay_waiting", &[("region", "us")]);
    assert_eq!(waiting(), 1);
    other.execute_batch("ROLLBACK").unwrap();
    until("the token to be refused", || (world.said(&token) == revoked()).then_some(()));
    until("nothing to wait", || (waiting() == 0).then_some(()));
    let entries = world.command(&["token", "list", "--state", "revoked", "--json"]);
    assert!(entries.to_string().contains("leaked"), "{entries}");
}

#[test]
fn an_explanation_says_that_the_path_takes_alerts() {
    let world = World::new("");
    let explained = world.command(&["explain", "POST", PATH, "--format", "json"]);
    assert_eq!(explained["outcome"], "answered", "{explained}");
    assert!(explained["notes"][0].as_str().unwrap().contains("signature"), "{explained}");
    let file = world.gateway.file.to_str().unwrap();
    let refused = run(&["explain", "--config", file, "GET", PATH]);
    assert!(String::from_utf8_lossy(&refused.stdout).contains("method_not_allowed"), "{refused:?}");
}

#[test]
fn the_demo_takes_alerts() {
    let demo = Demo::start();
    let github = GitHub::read(&demo.path("/github/private_key_file"), demo.text("/github/key_identifier"));
    let answer = demo.connect().send(&github.post(demo.text("/github/path"), &alert([demo.token("eu")])));
    assert_eq!(labels(&answer), ["true_positive"]);
    assert_eq!(demo.ask("eu", "GET", "/sources").said(), revoked());
    assert_eq!(demo.ask("us", "GET", "/sources").status, 200);
}

#[test]
fn demo_leak_plays_a_leak_against_the_running_demo() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo").display().to_string();
    let nobody = run(&["demo", "leak", "--data", &data]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no demo runs in "), "{nobody:?}");
    let _demo = Demo::with(&["--data", &data]);
    let played = run(&["demo", "leak", "--data", &data]);
    let said = String::from_utf8_lossy(&played.stdout);
    assert!(played.status.success(), "{said}{}", String::from_utf8_lossy(&played.stderr));
    for line in [
        "POST /sources is answered 201",
        "the token is refused on every connection: 401 token_revoked",
        "GitHub is answered: 200 [{\"token_hash\":",
        "the other token goes on working: 200",
        "by github-secret-scanning",
        "the workspace's webhook is told, signed (Standard Webhooks):",
        "webhook-id: msg_",
        "webhook-signature: v1,",
        "\"token.leaked\" \"tok_",
        "POST createSource 201 from 127.0.0.1:",
        "the workspace's owner has an e-mail:",
        "Subject: Leaked and revoked: token tok_",
        "does not work any more.",
        "found in a commit: https://github.com/octocat/Hello-World/blob/7fd1a60b01f91b314f59955a4e4d4e80d8edf11d/",
    ] {
        assert!(said.contains(line), "{line}\nis not in\n{said}");
    }
    assert!(!said.contains("sgp_"), "{said}");
}

/// One of two gateways, each behind the fence of its region with a store of its own.
fn fenced(region: &str, other: (&str, &str), keys: &str, address: &str) -> (String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let relay = format!("[secret_scanning.relay]\n{} = {:?}\n", other.0, other.1);
    let section = section(&folder, keys, "");
    let text = config("http://127.0.0.1:9", "http://127.0.0.1:9", &format!("{section}{relay}"))
        .replace("plain = [\"127.0.0.1:0\"]", &format!("plain = [{address:?}]"));
    (format!("{text}[place]\nmode = \"fence\"\nregion = {region:?}\n"), folder)
}

/// A free address of this process's own part of loopback, where no client's connection takes the port while its gateway
/// is away.
fn own_address() -> std::net::SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = std::net::Ipv4Addr::new(127, 66, high, low.clamp(1, 254));
    std::net::TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

#[test]
fn another_regions_token_is_relayed_to_it_also_when_it_comes_back() {
    let (github, eu_address) = (GitHub::new(), own_address().to_string());
    let eu_url = format!("http://{eu_address}{PATH}");
    let (us_text, _us_keys) = fenced("us", ("eu", &eu_url), &github.keys(), "127.0.0.1:0");
    let (eu_text, _eu_keys) = fenced("eu", ("us", "http://127.0.0.1:9/"), &github.keys(), &eu_address);
    let us = Gateway::start(&us_text);
    let eu = Gateway::start(&eu_text);
    let (_, us_token) = us.token("ws-us", &[]);
    let tokens: Vec<String> = (0..3).map(|_| eu.token("ws-eu", &[]).1).collect();
    let who = |gateway: &Gateway, token: &str| gateway.ask(token, "/tollgate/v1/whoami").said();
    let unknown = never_made('u');
    let body = alert([us_token.as_str(), &tokens[0], &unknown, "sgp_of_any_shape"]);
    let posted = Instant::now();
    let answer = us.connect().send(&github.post(PATH, &body));
    assert_eq!(labels(&answer), ["true_positive", "false_positive"], "of the others nothing is said");
    assert_eq!(who(&us, &us_token), revoked());
    until("the token to be refused in its region", || (who(&eu, &tokens[0]) == revoked()).then_some(()));
    println!("refused in the other region after {:?}", posted.elapsed());
    assert!(posted.elapsed() <= Duration::from_secs(2), "{:?}", posted.elapsed());
    assert_eq!(who(&eu, &tokens[1]).0, 200);
    until("nothing to wait", || {
        (us.metrics().count("tollgate_secret_scanning_relay_waiting", &[]) == 0).then_some(())
    });
    // The region goes away; what comes meanwhile waits for it, also while this gateway restarts.
    let eu_folder = eu.into_folder();
    let late = github.post(PATH, &alert([tokens[1].as_str()]));
    for _ in 0..2 {
        assert_eq!(labels(&us.connect().send(&late)), [""; 0], "never false_positive");
    }
    assert_eq!(
        us.metrics().count("tollgate_secret_scanning_relay_waiting", &[("region", "eu")]),
        1,
        "kept once"
    );
    let us_folder = us.into_folder();
    let queue = std::fs::read_dir(us_folder.path().join("secret-scanning-queue")).unwrap();
    for file in queue {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(&tokens[1]), "no token stands in a file");
    }
    let us = Gateway::start_in(us_folder, &us_text);
    let eu = Gateway::start_in(eu_folder, &eu_text);
    until("the token to be refused in its region", || (who(&eu, &tokens[1]) == revoked()).then_some(()));
    until("nothing to wait", || {
        (us.metrics().count("tollgate_secret_scanning_relay_waiting", &[]) == 0).then_some(())
    });
    assert_eq!(who(&eu, &tokens[2]).0, 200);
    let relayed = us.metrics().count("tollgate_secret_scanning_relays_total", &[("result", "delivered")]);
    assert_eq!(relayed, 1);
}

#[test]
fn an_alert_whose_file_is_gone_does_not_wait_for_ever() {
    let github = GitHub::new();
    let (text, _keys) = fenced("us", ("eu", "http://127.0.0.1:9/"), &github.keys(), "127.0.0.1:0");
    let us = Gateway::start(&text);
    let answer = us.connect().send(&github.post(PATH, &alert([never_made('e').as_str()])));
    assert_eq!(labels(&answer), [""; 0]);
    let waiting = || us.metrics().count("tollgate_secret_scanning_relay_waiting", &[("region", "eu")]);
    assert_eq!(waiting(), 1);
    std::fs::remove_dir_all(us.file.with_file_name("secret-scanning-queue")).unwrap();
    until("nothing to wait", || (waiting() == 0).then_some(()));
}

#[test]
fn an_alert_that_waits_is_dealt_with_as_the_configuration_in_force_says() {
    let world = World::new("max_tokens = 1");
    let tokens = [(); 2].map(|()| world.gateway.token("ws-us", &[]).1);
    let text = std::fs::read_to_string(&world.gateway.file).unwrap();
    std::fs::write(&world.gateway.file, text.replace("max_tokens = 1", "max_tokens = 2")).unwrap();
    world.gateway.process.signal("HUP");
    let config = || world.gateway.operate("GET", "/status.json", "").json()["config"].clone();
    until("the new configuration", || (config()["generation"] == 2).then_some(()));
    let other = rusqlite::Connection::open(world.gateway.file.with_file_name("tollgate.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = world.alert(tokens.each_ref().map(String::as_str));
    assert_eq!(refused.said(), (503, "registry_unavailable".to_owned()));
    for token in &tokens {
        assert_eq!(world.said(token), revoked(), "from memory");
    }
    other.execute_batch("ROLLBACK").unwrap();
    until("nothing to wait", || {
        let waits = ("tollgate_secret_scanning_relay_waiting", &[("region", "us")]);
        (world.gateway.metrics().count(waits.0, waits.1) == 0).then_some(())
    });
}

/// More than one transaction takes.
#[test]
fn however_many_tokens_leak_all_are_refused_while_the_store_cannot_be_written() {
    let world = World::new("");
    let tokens: Vec<String> = (0..1_100).map(|_| never_made('u')).collect();
    let file = world.keys.path().join("tokens");
    std::fs::write(&file, tokens.join("\n")).unwrap();
    world.command(&["token", "import", file.to_str().unwrap(), "--workspace", "ws-us"]);
    until("the gateway to know the tokens", || (world.said(&tokens[1_099]).0 == 200).then_some(()));
    let other = rusqlite::Connection::open(world.gateway.file.with_file_name("tollgate.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = world.alert(tokens[..1_099].iter().map(String::as_str));
    assert_eq!(refused.said(), (503, "registry_unavailable".to_owned()));
    for token in tokens[..1_099].iter().step_by(100).chain([&tokens[1_098]]) {
        assert_eq!(world.said(token), revoked());
    }
    assert_eq!(world.said(&tokens[1_099]).0, 200);
}
