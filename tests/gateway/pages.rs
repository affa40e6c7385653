//! The pages of `config/docs/` tell the truth: their commands run as they stand, and the bodies that they show have the
//! shape of those that leave.
//!
//! What a page names stands ready: the addresses (`curl` is told where they lead), its workspaces, a token in place of
//! each token's id, and a person's JWT. A block of kind `sh` is run; a page whose output a test of its own compares is
//! left to that.

#[path = "../pages/blocks.rs"]
pub(crate) mod blocks;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Behaviour, Gateway, GitHub, Receiver, Signer, Upstream, alert, config, now, raw, run_json, until,
};
use blocks::blocks;

/// The pages that `tests/config.rs`, `explain.rs` and `tests/replay.rs` run.
const RUN_ELSEWHERE: [&str; 3] = ["check.md", "explain.md", "replay.md"];
const ISSUER: &str = "https://login.example/";
const AUDIENCE: &str = "https://api.example.com";
const ALERTS: &str = "/tollgate/v1/github/secret-scanning";

/// A gateway with all that the pages speak of.
struct World {
    gateway: Gateway,
    /// Has what curl and git read, and the repository in which commands run.
    home: TempDir,
    jwt: String,
    receiver: Receiver,
    github: GitHub,
    _others: [Upstream; 2],
}

impl World {
    fn new() -> Self {
        let (home, github) = (tempfile::tempdir().unwrap(), GitHub::new());
        let path = |name: &str| home.path().join(name).display().to_string();
        let certified = rcgen::generate_simple_self_signed(vec!["api.example.com".to_owned()]).unwrap();
        fs::write(path("cert.pem"), certified.cert.pem()).unwrap();
        fs::write(path("key.pem"), certified.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(path("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(path("github.json"), github.keys()).unwrap();
        let signer = Signer::rsa("pages");
        let issuer = signer.served();
        let upstream = Upstream::start(Behaviour::status(200, "us"));
        let more = format!(
            r#"
[[listen.tls]]
address = "127.0.0.1:0"
certificates = [{{ chain_file = {chain:?}, key_file = {key:?} }}]
[tokens]
audit_key_file = "head.key"
[notifications]
allow_private_addresses = true
[secret_scanning]
path = {ALERTS:?}
keys_file = {keys:?}
[[authentication.issuers]]
issuer = {ISSUER:?}
audiences = [{AUDIENCE:?}]
jwks_uri = "{issuer}/jwks.json"
regions = ["us", "eu"]
[[limits.policies]]
name = "default"
per = ["token"]
quota = "6000 per minute"
[[input.rules]]
operation = "updateSchemaSettingsInSource"
schema_file = {rule:?}
"#,
            chain = path("cert.pem"),
            key = path("key.pem"),
            keys = path("github.json"),
            issuer = issuer.url(),
            rule = concat!(env!("CARGO_MANIFEST_DIR"), "/config/schemas/updateSchemaSettingsInSource.json"),
        );
        let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &more));
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "bo@example.com", "scope": "public_api:read_write",
            "workspace": "my-workspace", "region": "us", "role": "Workspace Owner", "iat": now(), "exp": now() + 300,
        });
        let world = Self {
            jwt: signer.sign(&claims),
            receiver: Receiver::start(&["204 No Content"]),
            gateway,
            home,
            github,
            _others: [issuer, upstream],
        };
        world.prepare();
        world
    }

    /// Workspaces, a repository, and curl's way to the addresses.
    fn prepare(&self) {
        for workspace in ["acme", "my-workspace"] {
            self.command(&["workspace", "create", workspace, "--region", "us", "--json"]);
        }
        let tls = self.gateway.process.listening("listening (TLS)", 0).unwrap().port();
        let admin = self.gateway.admin.port();
        let curlrc = format!(
            "cacert = \"{}\"\nconnect-to = \"api.example.com:443:127.0.0.1:{tls}\"\n\
             connect-to = \"127.0.0.1:9901:127.0.0.1:{admin}\"\n",
            self.home.path().join("cert.pem").display()
        );
        fs::write(self.home.path().join(".curlrc"), curlrc).unwrap();
        until("the issuer's keys", || {
            let answer = self.ask("GET", "/tollgate/v1/whoami", &self.jwt, &Value::Null);
            answer["data"].is_object().then_some(())
        });
        fs::create_dir(self.repository()).unwrap();
        let legacy = [1, 2, 3].map(|number| format!("legacy-{:012}\n", now() + number));
        fs::write(self.repository().join("tokens.txt"), legacy.concat()).unwrap();
        let git = "git init -q . && git config user.name a && git config user.email a@example.com \
                   && echo hello > a && git add a && git commit -qm first && tollgate audit head > heads.jsonl";
        self.shell(git);
    }

    fn repository(&self) -> PathBuf {
        self.home.path().join("repository")
    }

    fn command(&self, words: &[&str]) -> Value {
        let (room, rest) = words.split_first().unwrap();
        run_json(&[&[room, "--config", self.gateway.file.to_str().unwrap()], rest].concat())
    }

    /// A token of a workspace: its id and itself.
    fn token(&self, workspace: &str) -> (String, String) {
        self.gateway.token(workspace, &["--name", "ci", "--role", "owner"])
    }

    fn try_shell(&self, commands: &str) -> Output {
        let binary = Path::new(env!("CARGO_BIN_EXE_tollgate"));
        let search = std::env::var("PATH").unwrap();
        let search = format!("{}:{search}", binary.parent().unwrap().display());
        // The shell's own `pidof`, since other tests run other gateways.
        let script =
            format!("set -eo pipefail\npidof() {{ echo {}; }}\n{commands}", self.gateway.process.id());
        Command::new("bash")
            .args(["-c", &script])
            .current_dir(self.repository())
            .env("PATH", search)
            .envs([("HOME", self.home.path()), ("CURL_HOME", self.home.path())])
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("TOLLGATE_CONFIG", &self.gateway.file)
            .env("TOLLGATE_OPERATOR_TOKEN", &self.gateway.operator)
            .env("JWT", &self.jwt)
            .output()
            .unwrap()
    }

    /// Runs commands that have to succeed, and gives what they print.
    fn shell(&self, commands: &str) -> String {
        let output = self.try_shell(commands);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{commands}\n{printed}\n{said}{}", output.status);
        printed
    }

    fn ask(&self, method: &str, target: &str, token: &str, body: &Value) -> Value {
        let fields = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.gateway.connect().send(&raw(method, target, &fields, body.as_bytes())).json()
    }
}

#[test]
fn every_command_of_the_pages_runs_as_it_stands() {
    let world = World::new();
    let tokens = regex::Regex::new("tok_[a-zA-Z0-9]+").unwrap();
    let head: Value = serde_json::from_str(&world.shell("cat heads.jsonl")).unwrap();
    let key = head["public_key"].as_str().unwrap();
    let mut pages: Vec<PathBuf> =
        fs::read_dir("config/docs").unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    let mut run = 0;
    pages.retain(|page| !RUN_ELSEWHERE.iter().any(|name| page.ends_with(name)));
    // Made before a page rotates the pepper, after which a gateway wants to be restarted.
    let ids: Vec<String> = pages.iter().map(|_| world.token("my-workspace").0).collect();
    for (page, id) in pages.iter().zip(ids) {
        for block in blocks(page.to_str().unwrap()).iter().filter(|block| block.kind == "sh") {
            if block.text.starts_with("#!") {
                continue; // A file, not commands.
            }
            let commands = tokens.replace_all(&block.text, &*id).replace("BASE64", key);
            if commands.contains("peppers retire") {
                // As the page says: nobody has waited until all tokens were used.
                let refused = world.try_shell(&commands);
                assert!(
                    String::from_utf8_lossy(&refused.stderr).contains("would stop working"),
                    "{refused:?}"
                );
                continue;
            }
            let printed = world.shell(&commands);
            assert!(!printed.contains("\"errors\""), "{}: {commands}\n{printed}", page.display());
            run += 1;
        }
    }
    assert!(run >= 14, "only {run} blocks");
    until("SIGHUP to be followed", || world.gateway.process.stderr.text().contains("reload").then_some(()));
}

#[test]
fn the_hook_of_the_page_stops_a_commit_with_a_token() {
    let world = World::new();
    let hook =
        blocks("config/docs/tokens.md").into_iter().find(|block| block.text.starts_with("#!")).unwrap();
    let file = world.repository().join(".git/hooks/pre-commit");
    fs::write(&file, hook.text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    world.shell("echo more >> a && git commit -qam more");
    let (_, token) = world.token("acme");
    fs::write(world.repository().join("b"), format!("key = {token}\n")).unwrap();
    let stopped = world.try_shell("git add b && git commit -qm leak");
    let said = String::from_utf8_lossy(&[stopped.stdout, stopped.stderr].concat()).into_owned();
    assert!(!stopped.status.success() && said.contains("b:1:7") && !said.contains(&token), "{said}");
}

/// Where a body has not the fields and types that a page shows.
fn differences(shown: &Value, found: &Value, place: &str, into: &mut Vec<String>) {
    match (shown, found) {
        (Value::Object(shown), Value::Object(found)) => {
            for name in shown.keys().chain(found.keys().filter(|name| !shown.contains_key(*name))) {
                let (shown, found) = (shown.get(name), found.get(name));
                match (shown, found) {
                    (Some(shown), Some(found)) => differences(shown, found, &format!("{place}/{name}"), into),
                    _ => into.push(format!(
                        "{place}/{name} is shown: {}, is there: {}",
                        shown.is_some(),
                        found.is_some()
                    )),
                }
            }
        }
        (Value::Array(shown), Value::Array(found)) => {
            if let (Some(shown), Some(found)) = (shown.first(), found.first()) {
                differences(shown, found, &format!("{place}/0"), into);
            }
        }
        _ if std::mem::discriminant(shown) == std::mem::discriminant(found) => {}
        _ => into.push(format!("{place}: {shown} is shown and {found} is there")),
    }
}

/// Holds a body against the block of JSON at a place of a page.
fn assert_shown(page: &str, place: usize, found: &Value) {
    let block = blocks(page).into_iter().filter(|block| block.kind == "json").nth(place).unwrap();
    let shown: Value = serde_json::from_str(&block.text).unwrap_or_else(|error| panic!("{page}: {error}"));
    let mut wrong = Vec::new();
    differences(&shown, found, "", &mut wrong);
    assert!(wrong.is_empty(), "{page}, block {place}: {wrong:#?}\nis there: {found:#}");
}

#[test]
fn the_bodies_of_the_pages_have_the_shape_of_those_that_leave() {
    let world = World::new();
    let receiver = world.receiver.url();
    world.command(&["workspace", "set", "my-workspace", "--add-contact", &receiver, "--json"]);
    let (id, leaked) = world.token("my-workspace");
    // It is rotated, so that another one of its family works.
    world.command(&["token", "rotate", &id, "--overlap", "1h", "--json"]);
    world.ask("PATCH", "/sources/qz1cXr5Uo", &leaked, &json!({"a": 1}));
    let wrong = json!({"forwardingViolationsTo": null});
    let refused = world.ask("PATCH", "/sources/qQEHquLrjRDN9j1ByrChyn/settings", &leaked, &wrong);
    assert_shown("config/docs/input-rules.md", 0, &refused);

    let events = format!("/tollgate/v1/audit-events?tokenId={id}");
    let event = until("the request to be listed", || {
        let events = world.ask("GET", &events, &world.jwt, &Value::Null);
        let is_request = |event: &&Value| event["type"] == "API Request Forwarded";
        events["data"]["events"].as_array().unwrap().iter().find(is_request).cloned()
    });
    assert_shown("config/docs/owners.md", 0, &event);

    let send = |tokens: &[&str]| {
        let body = alert(tokens.iter().copied());
        world.gateway.connect().send(&world.github.post(ALERTS, &body)).json()
    };
    assert_shown("config/docs/secret-scanning.md", 0, &send(&[&leaked]));
    let told = |count: usize| {
        until("the message", || world.receiver.hooks().get(count).map(crate::support::Hook::json))
    };
    assert_shown("config/docs/notifications.md", 0, &told(0));
    let (one, other) = (world.token("my-workspace").1, world.token("my-workspace").1);
    send(&[&one, &other]);
    assert_shown("config/docs/notifications.md", 1, &told(1));
}
