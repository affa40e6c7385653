//! A disk that is full while tokens are revoked: they are refused at once, whoever revoked them is told that it is not
//! yet written, and it is written when there is room again.
//!
//! The gateway's process may not make its files longer, which to it is a full disk; nobody has to be root for that.

use std::process::Command;

use serde_json::Value;

use crate::support::{Behaviour, Gateway, GitHub, Process, Upstream, alert, config, run, run_json, until};

const ALERTS: &str = "/alerts";

struct World {
    gateway: Gateway,
    github: GitHub,
    _upstream: Upstream,
}

impl World {
    fn new() -> Self {
        let (github, folder) = (GitHub::new(), tempfile::tempdir().unwrap());
        let keys = folder.path().join("github-keys.json");
        std::fs::write(&keys, github.keys()).unwrap();
        let upstream = Upstream::start(Behaviour::status(200, "us"));
        let more = format!("[secret_scanning]\npath = {ALERTS:?}\nkeys_file = \"{}\"\n", keys.display());
        let mut gateway = Gateway::start_in(folder, &config(&upstream.url(), &upstream.url(), &more));
        gateway.stop();
        go_on_whatever_cannot_be_written(&mut gateway);
        Self { gateway, github, _upstream: upstream }
    }

    /// How long the gateway's files may get, in bytes or `unlimited`.
    fn room(&self, bytes: &str) {
        let (pid, limit) = (self.gateway.process.id().to_string(), format!("--fsize={bytes}:"));
        assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    }

    fn refuses(&self, token: &str) -> bool {
        let answer = self.gateway.ask(token, "/sources");
        answer.status != 200 && answer.said() == (401, "token_revoked".to_owned())
    }

    fn unwritten(&self) -> u64 {
        self.gateway.metrics().count("tollgate_revocations_unwritten", &[])
    }

    fn state(&self, id: &str) -> Value {
        run_json(&["token", "-c", self.file(), "show", id, "--json"])["state"].clone()
    }

    fn file(&self) -> &str {
        self.gateway.file.to_str().unwrap()
    }

    fn give_room(&self) {
        self.room("unlimited");
        until("what waited to be written", || (self.unwritten() == 0).then_some(()));
    }

    /// After a restart nothing is known but what was written.
    fn start_again(&mut self) {
        self.gateway.stop();
        self.gateway.go();
        let verified = run(&["audit", "-c", self.file(), "verify"]);
        assert!(verified.status.success(), "{verified:?}");
    }

    /// The entries of the audit trail that say that a token was revoked.
    fn revocations(&self, id: &str) -> Vec<Value> {
        let words = [
            "audit",
            "-c",
            self.file(),
            "list",
            "--token",
            id,
            "--kind",
            "token.revoked",
            "--format",
            "jsonl",
        ];
        let listed = run(&words);
        assert!(listed.status.success(), "{listed:?}");
        let lines = String::from_utf8(listed.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Starts it so that a write beyond what is allowed fails and does not end the process.
fn go_on_whatever_cannot_be_written(gateway: &mut Gateway) {
    let mut command = Command::new("sh");
    let file = gateway.file.to_str().unwrap();
    command.args([
        "-c",
        "trap '' XFSZ; exec \"$0\" serve --config \"$1\"",
        env!("CARGO_BIN_EXE_tollgate"),
        file,
    ]);
    command.env_remove("RUST_LOG");
    let mut process = Process::start(command);
    let mut listening = |what: &str| {
        until(what, || {
            assert!(process.ended().is_none(), "the gateway ended: {}", process.stderr.text());
            process.listening(what, 0)
        })
    };
    (gateway.admin, gateway.address) =
        (listening("operators' listener"), listening("listening (plain text)"));
    gateway.process = process;
}

#[test]
fn an_operators_revocation_is_in_force_and_written_when_there_is_room() {
    let mut world = World::new();
    let ((id, token), (_, kept)) = (world.gateway.token("ws-us", &[]), world.gateway.token("ws-us", &[]));
    world.room("0");
    let change = r#"{"id":"ws-x","region":"us","plan":"team"}"#;
    assert_eq!(world.gateway.operate("POST", "/v1/workspaces", change).status, 503, "the disk is not full");
    let revoke = format!("/v1/tokens/{id}/revoke");
    for again in [false, true] {
        let answer = world.gateway.operate("POST", &revoke, "{}");
        assert_eq!(answer.said(), (503, "registry_unavailable".to_owned()), "again: {again}");
        assert!(answer.field("retry-after").is_some());
        assert!(world.refuses(&token), "again: {again}");
    }
    assert_eq!((world.unwritten(), world.state(&id)), (1, "active".into()), "it cannot have been written");
    assert_eq!(world.gateway.ask(&kept, "/sources").status, 200);
    world.give_room();
    assert_eq!(world.state(&id), "revoked");
    assert!(world.refuses(&token));
    assert_eq!(world.gateway.operate("POST", &revoke, "{}").status, 200);
    assert_eq!(world.revocations(&id).len(), 1, "once, whoever asked how often");
    world.start_again();
    assert!(world.refuses(&token));
    assert_eq!(world.gateway.ask(&kept, "/sources").status, 200);
}

#[test]
fn githubs_alert_is_in_force_and_written_when_there_is_room() {
    let mut world = World::new();
    let ((old_id, old), (_, kept)) = (world.gateway.token("ws-us", &[]), world.gateway.token("ws-us", &[]));
    let rotated = run_json(&["token", "-c", world.file(), "rotate", &old_id, "--overlap", "1h", "--json"]);
    let text = |name: &str| rotated[name].as_str().unwrap().to_owned();
    let (new_id, new) = (text("id"), text("token"));
    until("the successor", || (world.gateway.ask(&new, "/sources").status == 200).then_some(()));
    world.room("0");
    let answer = world.gateway.connect().send(&world.github.post(ALERTS, &alert([old.as_str()])));
    assert_eq!(answer.said(), (503, "registry_unavailable".to_owned()));
    assert!(world.refuses(&old) && world.refuses(&new), "the family ends at once");
    assert_eq!((world.state(&old_id), world.state(&new_id)), ("active".into(), "active".into()));
    assert_eq!(world.gateway.ask(&kept, "/sources").status, 200);
    world.give_room();
    for (id, token) in [(&old_id, &old), (&new_id, &new)] {
        assert_eq!(world.state(id), "revoked");
        assert!(world.refuses(token));
        let said = world.revocations(id);
        assert_eq!(said.len(), 1);
        assert_eq!(said[0]["actor"], "github-secret-scanning", "{said:?}");
    }
    let answer = world.gateway.connect().send(&world.github.post(ALERTS, &alert([old.as_str()])));
    assert_eq!(answer.status, 200);
    world.start_again();
    assert!(world.refuses(&old) && world.refuses(&new));
    assert_eq!(world.gateway.ask(&kept, "/sources").status, 200);
}
