//! Tokens from the outside: they end by their time, are bound by limits of their own, tell when they were used, and are
//! taken over from other systems, by the real binary.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Behaviour, Gateway, Upstream, config, run, run_json, until};

struct World {
    gateway: Gateway,
    _upstreams: [Upstream; 2],
}

impl World {
    fn start() -> Self {
        let upstreams = ["us", "eu"].map(|region| Upstream::start(Behaviour::status(200, region)));
        let gateway = Gateway::start(&config(&upstreams[0].url(), &upstreams[1].url(), ""));
        Self { gateway, _upstreams: upstreams }
    }

    fn command(&self, words: &[&str]) -> Value {
        let file = self.gateway.file.to_str().unwrap();
        run_json(&[&words[..1], &["--config", file], &words[1..], &["--json"]].concat())
    }

    fn said(&self, token: &str) -> (u16, String) {
        self.gateway.ask(token, "/sources").said()
    }

    fn works(&self, token: &str) {
        until("the token to work", || (self.said(token).0 == 200).then_some(()));
    }

    fn file(&self, text: &str) -> PathBuf {
        let file = self.gateway.folder.path().join("tokens.txt");
        fs::write(&file, text).unwrap();
        file
    }
}

fn refused(reason: &str) -> (u16, String) {
    (401, reason.to_owned())
}

#[test]
fn a_token_ends_by_its_time_while_it_is_in_use() {
    let world = World::start();
    let (id, token) = world.gateway.token("ws-us", &["--expires", "6s"]);
    let whoami = world.gateway.ask(&token, "/tollgate/v1/whoami").json();
    let shown = world.command(&["token", "show", &id]);
    assert_eq!(whoami["data"]["expiresAt"], shown["expires_at"], "{whoami}");
    until("the token to end", || (world.said(&token) == refused("token_expired")).then_some(()));
    assert_eq!(world.command(&["token", "show", &id])["state"], "expired");
    let active = world.command(&["token", "list", "--state", "active"]);
    assert!(!active.to_string().contains(&id), "{active}");
    assert_eq!(world.command(&["token", "list", "--state", "expired"])[0]["id"], json!(id));
}

#[test]
fn a_tokens_own_limit_is_its_own_and_goes_with_it() {
    let world = World::start();
    let (id, tiny) = world.gateway.token("ws-us", &["--limit", "3 per hour"]);
    let (_, other) = world.gateway.token("ws-us", &[]);
    let limits = world.gateway.ask(&tiny, "/tollgate/v1/limits").json().to_string();
    assert!(limits.contains("token"), "{limits}");
    let served = (0..10).filter(|_| world.said(&tiny).0 == 200).count();
    assert_eq!(served, 3, "the burst is the quota");
    assert_eq!(world.said(&tiny), (429, "rate_limited".to_owned()));
    assert_eq!(world.said(&other).0, 200, "another token pays for it");
    let successor = world.command(&["token", "rotate", &id]);
    let next = successor["token"].as_str().unwrap();
    until("the gateway to know the successor", || (world.said(next).0 != 401).then_some(()));
    assert_eq!(world.said(next), (429, "rate_limited".to_owned()), "a rotation hands out a fresh bucket");
}

#[test]
fn tokens_that_nobody_uses_are_told_from_those_in_use() {
    let mut world = World::start();
    let ((used, token), (unused, _)) = (world.gateway.token("ws-us", &[]), world.gateway.token("ws-us", &[]));
    world.works(&token);
    // What is not written yet is written at the end.
    world.gateway.stop();
    assert!(world.command(&["token", "show", &used])["last_used_at"].is_string());
    let store = rusqlite::Connection::open(world.gateway.file.with_file_name("tollgate.db")).unwrap();
    let long_ago = "UPDATE token SET created_at = created_at - 100 * 86400";
    assert_eq!(store.execute(long_ago, []).unwrap(), 2);
    let years_ago = "UPDATE token_use SET at = at - 100 * 86400 WHERE token = ?1";
    store.execute(years_ago, [&unused]).unwrap();
    let listed = |days: &str| {
        let all = world.command(&["token", "list", "--unused-days", days, "--state", "active"]);
        all.as_array().unwrap().iter().map(|one| one["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((listed("90"), listed("101")), (vec![json!(unused)], vec![]));
    drop(store);
    world.gateway.go();
    world.works(&token);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The HMAC that a gateway with this pepper file stores, as another system of the same pepper would have it.
fn under_the_pepper(world: &World, token: &str) -> String {
    let text = fs::read_to_string(world.gateway.file.with_file_name("tollgate.pepper")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("1:")).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(line.trim()).unwrap());
    format!("hmac:1:{}", hex(hmac::sign(&key, token.as_bytes()).as_ref()))
}

#[test]
fn tokens_of_another_system_go_on_working_from_texts_and_from_hashes() {
    let world = World::start();
    let tokens = ["a", "b", "c", "d"].map(|name| format!("legacy-{name}-{}", "7".repeat(24)));
    let [plain, hashed, keyed, named] = &tokens;
    let lines = format!(
        "# taken over\n{plain}\nsha256:{}\n\n{}\n{named}\tws-eu\n",
        hex(digest(&SHA256, hashed.as_bytes()).as_ref()),
        under_the_pepper(&world, keyed),
    );
    let file = world.file(&lines);
    let import = || world.command(&["token", "import", file.to_str().unwrap(), "--workspace", "ws-us"]);
    let counted =
        |found: &Value| ["lines", "added", "known", "refused"].map(|name| found[name].as_u64().unwrap());
    assert_eq!(world.said(plain), refused("token_unknown"));
    assert_eq!(counted(&import()), [6, 4, 0, 0]);
    for token in &tokens {
        world.works(token);
    }
    let regions = [plain, named].map(|token| {
        let whoami = world.gateway.ask(token, "/tollgate/v1/whoami").json();
        whoami["data"]["workspaceId"].as_str().unwrap_or_default().to_owned()
    });
    assert_eq!(regions, ["ws-us", "ws-eu"]);

    // A second time it changes nothing, and brings nobody back to life.
    let listed = world.command(&["token", "list", "--workspace", "ws-eu"]);
    let id = listed[0]["id"].as_str().unwrap();
    world.command(&["token", "revoke", id]);
    until("the token to end", || (world.said(named) == refused("token_revoked")).then_some(()));
    assert_eq!(counted(&import()), [6, 0, 4, 0]);
    assert_eq!(world.said(named), refused("token_revoked"));
    // A text is the token that its hash was.
    let file = world.file(&format!("{hashed}\n"));
    let again = ["token", "import", file.to_str().unwrap(), "--workspace", "ws-us"];
    assert_eq!(counted(&world.command(&again)), [1, 0, 1, 0]);
}

#[test]
fn a_line_that_cannot_be_taken_is_told_by_its_number_and_not_quoted() {
    let world = World::start();
    let good = format!("legacy-good-{}", "7".repeat(20));
    let file = world.file(&format!("too-short\n{good}\nsha256:abc\nhmac:9:{}\n", "0".repeat(64)));
    let name = world.gateway.file.to_str().unwrap();
    let words = ["token", "--config", name, "import", file.to_str().unwrap(), "--workspace", "ws-us"];
    let output = run(&words);
    let (said, also) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}{also}");
    for line in ["line 1: ", "line 3: ", "line 4: "] {
        assert!(said.contains(line), "{said}");
    }
    assert!(said.contains("4 lines: 1 tokens added, 0 there already, 3 not taken"), "{said}");
    assert!(!said.contains("too-short") && !also.contains("too-short"), "a token is quoted");
    world.works(&good);
}
