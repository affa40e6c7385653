use std::fmt::Write as _;

use clap::Parser;
use serde_json::Value;

use super::*;
use crate::domain::{Problems, Region, Regions};
use crate::tokens::{Lookup, NewWorkspace, Registry, Rules, Settings};

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    args: TokenArgs,
}

struct Shell {
    folder: tempfile::TempDir,
    access: RegistryAccess,
    clock: Clock,
}

impl Shell {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = Rules::from_settings(&Settings::default(), folder.path(), &mut Problems::new()).unwrap();
        let region = |name: &str, letter| Region { name: name.into(), letter, base_url: "https://x".into() };
        let regions = Regions::new(vec![region("us", 'u'), region("eu", 'e')]);
        let shell = Self {
            folder,
            access: RegistryAccess::new(rules, regions, None),
            clock: Clock::manual(1_700_000_000),
        };
        let new = NewWorkspace { plan: Plan::Business, ..NewWorkspace::ordinary("ws", "eu") };
        let mint = shell.access.open(&shell.clock).unwrap();
        mint.create_workspace(shell.access.act(shell.clock.now()), &new).unwrap();
        shell
    }

    fn run(&self, words: &[&str]) -> (Result<(), Error>, String) {
        let line = match CommandLine::try_parse_from(std::iter::once(&"token").chain(words)) {
            Ok(line) => line,
            Err(error) => return (Err(Error::Usage(error.to_string())), String::new()),
        };
        let mut out = Vec::new();
        let result = run(&line.args, &self.access, &self.clock, &mut out);
        (result, String::from_utf8(out).unwrap())
    }

    fn ok(&self, words: &[&str]) -> String {
        let (result, out) = self.run(words);
        result.unwrap();
        out
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[&["--json"], words].concat())).unwrap()
    }

    fn find(&self, token: &str) -> Lookup {
        let registry = Registry::open(&self.access.open(&self.clock).unwrap(), self.clock.now()).unwrap();
        registry.find(token.as_bytes(), self.clock.now())
    }
}

#[test]
fn refusals_have_their_exit_codes() {
    let shell = Shell::new();
    for (words, code) in [
        (&["create"][..], 2),
        (&["create", "--workspace", "ws", "--role", "king"], 2),
        (&["create", "--workspace", "ws", "--limit", "5 per fortnight"], 2),
        (&["create", "--workspace", "ws", "--expires", "soon"], 2),
        (&["create", "--workspace", "ws", "--expires", "0s"], 2),
        (&["create", "--workspace", "ws", "--scope", "a b"], 2),
        (&["create", "--workspace", "no"], 1),
        (&["list", "--workspace", "no"], 1),
        (&["list", "--state", "gone"], 2),
        (&["show", "tok_no"], 1),
        (&["rotate", "tok_no"], 1),
        (&["rotate", "tok_no", "--overlap", "1"], 2),
        (&["revoke", "tok_no"], 1),
        (&["import", "/there/is/no/such/file"], 1),
        (&["import", "x", "--plan", "gold"], 2),
    ] {
        let error = shell.run(words).0.unwrap_err();
        assert_eq!(error.exit_code(), code, "{words:?}: {error}");
    }
}

#[test]
fn a_token_is_shown_once_and_works() {
    let shell = Shell::new();
    let made = shell.json(&[
        "create",
        "--workspace",
        "ws",
        "--name",
        "ci",
        "--scope",
        "read",
        "--role",
        "owner",
        "--limit",
        "5 per minute",
        "--expires",
        "90d",
    ]);
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("sgp_e"));
    assert_eq!(made["own_limit"], "5 per minute");
    assert_eq!(made["expires_at"], "2024-02-12T22:13:20Z");
    assert!(matches!(shell.find(token), Lookup::Found(entry) if entry.role() == Role::Owner));
    let id = made["id"].as_str().unwrap();
    for out in [shell.ok(&["show", id]), shell.ok(&["list"]), shell.ok(&["--json", "show", id])] {
        assert!(!out.contains(token), "a token was shown twice");
        assert!(out.contains(id));
    }
    let text = shell.ok(&["create", "--workspace", "ws"]);
    assert!(text.contains("\nsgp_e") && text.contains("cannot be shown again"), "{text}");
}

#[test]
fn rotation_and_revocation_are_seen_in_lists() {
    let shell = Shell::new();
    let first = shell.json(&["create", "--workspace", "ws"]);
    let id = first["id"].as_str().unwrap();
    let text = shell.ok(&["rotate", id, "--overlap", "1h"]);
    assert!(text.contains(&format!("{id} works until 2023-11-14T23:13:20Z.")), "{text}");
    let old = shell.json(&["show", id]);
    assert_eq!((&old["state"], &old["family"]), (&"active".into(), &first["id"]));
    let next = old["replaced_by"].as_str().unwrap();
    assert!(matches!(shell.find(first["token"].as_str().unwrap()), Lookup::Found(_)));
    let revoked = shell.json(&["revoke", next, "--reason", "leaked"]);
    assert_eq!((&revoked["state"], &revoked["revoked_reason"]), (&"revoked".into(), &"leaked".into()));
    assert!(matches!(shell.find(first["token"].as_str().unwrap()), Lookup::Revoked(_)));
    shell.ok(&["revoke", next]);
    assert_eq!(shell.json(&["list", "--state", "revoked"]).as_array().unwrap().len(), 2);
    assert_eq!(shell.json(&["list", "--state", "active"]), serde_json::json!([]));
    assert!(shell.ok(&["list", "--state", "active"]).contains("no such token"));
}

#[test]
fn tokens_that_nobody_uses_are_listed() {
    let shell = Shell::new();
    let (used, unused) =
        (shell.json(&["create", "--workspace", "ws"]), shell.json(&["create", "--workspace", "ws"]));
    let listed = |days: &str| {
        let tokens = shell.json(&["list", "--unused-days", days]);
        tokens.as_array().unwrap().iter().map(|token| token["id"].clone()).collect::<Vec<_>>()
    };
    assert!(listed("1").is_empty());
    shell.clock.advance(std::time::Duration::from_hours(30 * 24));
    let mint = shell.access.open(&shell.clock).unwrap();
    let at = shell.clock.now().unix_seconds();
    mint.store().record_uses(&[(used["id"].as_str().unwrap(), at)]).unwrap();
    assert_eq!(listed("30"), [unused["id"].clone()]);
    assert!(listed("31").is_empty());
    assert_eq!(shell.run(&["list", "--unused-days", "0"]).0.unwrap_err().exit_code(), 2);
}

#[test]
fn the_file_of_the_load_bench_can_be_imported() {
    let shell = Shell::new();
    let file = shell.folder.path().join("tokens.tsv");
    let mut text = String::new();
    for n in 0..40 {
        let region = ["us", "eu"][n % 2];
        writeln!(text, "tk_{n:032x}\tws-{:04}-{region}\t{region}", n % 10).unwrap();
    }
    std::fs::write(&file, &text).unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(shell.ok(&["import", path]), "40 lines: 40 tokens added, 0 there already, 0 not taken\n");
    assert_eq!(shell.json(&["import", path])["known"], 40);
    let Lookup::Found(entry) = shell.find(&format!("tk_{:032x}", 1)) else { panic!("not found") };
    assert_eq!((&*entry.workspace().id, entry.workspace().plan), ("ws-0001-eu", Plan::Business));
    assert_eq!(entry.workspace().region, crate::domain::RegionId(1));
}

#[test]
fn lines_that_were_not_taken_end_in_an_exit_code() {
    let shell = Shell::new();
    let file = shell.folder.path().join("tokens.txt");
    let mut text = String::from("good-token-0001\n");
    (0..25).for_each(|n| writeln!(text, "bad token {n}").unwrap());
    std::fs::write(&file, &text).unwrap();
    let (result, out) = shell.run(&["import", file.to_str().unwrap(), "--workspace", "ws"]);
    assert!(matches!(result, Err(Error::LinesRefused(25))));
    assert!(out.contains("line 2: ") && out.contains("… and 5 more") && !out.contains("bad token"), "{out}");
    assert!(out.ends_with("26 lines: 1 tokens added, 0 there already, 25 not taken\n"), "{out}");
}

#[test]
fn the_pattern_needs_no_store() {
    let shell = Shell::new();
    std::fs::remove_file(shell.folder.path().join("tollgate.pepper")).unwrap();
    let pattern = "sgp_[a-zA-Z0-9]{64}";
    assert_eq!(shell.ok(&["pattern", "--only", "regex"]), format!("{pattern}\n"));
    assert!(shell.ok(&["pattern", "--only", "gitleaks"]).starts_with("[[rules]]\n"));
    assert!(shell.ok(&["pattern", "--only", "github"]).contains(&format!("Secret format  {pattern}\n")));
    assert_eq!(shell.ok(&["pattern"]).matches(pattern).count(), 3);
    let all = shell.json(&["pattern"]);
    assert_eq!((&all["pattern"], &all["github"]["Secret format"]), (&pattern.into(), &pattern.into()));
}
