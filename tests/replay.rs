//! `tollgate replay` as a user runs it, and the page that shows it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_tollgate");

/// A day of three workspaces: one in bursts, one slow but old-fashioned, one with two tokens.
fn yesterday() -> String {
    let mut log = String::new();
    let mut line = |second: u64, method: &str, path: &str, workspace: &str, token: &str, more: &str| {
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let version = "application/vnd.segment.";
        writeln!(
            log,
            "{{\"time\":\"2026-11-25T{hour:02}:{minute:02}:{second:02}.000Z\",\"outcome\":\"forwarded\",\
             \"status\":200,\"method\":\"{method}\",\"path\":\"{path}\",\"workspace_id\":\"{workspace}\",\
             \"token_id\":\"{token}\",\"plan\":\"business\",\"role\":\"restricted\",\"region\":\"main\",\
             \"peer\":\"192.0.2.7:4000\",\"total_micros\":2000,\"accept\":\"{version}{more}+json\"}}"
        )
        .unwrap();
    };
    for hour in 0..24 {
        for n in 0..200 {
            line(hour * 3_600 + n / 10, "GET", "/things", "acme", "tok_acme_etl", "v1");
        }
        for minute in 0..20 {
            let second = hour * 3_600 + minute * 60 + 40;
            line(
                second,
                "GET",
                "/things",
                "initech",
                "tok_initech",
                if minute % 4 == 0 { "v1alpha" } else { "v1beta" },
            );
        }
        for n in 0..50 {
            let second = hour * 3_600 + 1_800 + n;
            line(second, "GET", "/things", "globex", "tok_globex_app", "v1");
            line(second, "GET", "/things", "globex", "tok_globex_sync", "v1");
        }
    }
    line(40_000, "POST", "/tokens", "globex", "tok_globex_app", "v1");
    log += "{\"time\":\"2026-11-25T23:59:59.000Z\",\"outcome\":\"forw\n";
    log
}

fn replay(folder: &Path, log: &str, more: &[&str]) -> Output {
    fs::write(folder.join("access.log"), log).unwrap();
    fs::copy("tests/replay/new.toml", folder.join("new.toml")).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["replay", "access.log", "--config", "new.toml"]).args(more);
    command.current_dir(folder).stdin(Stdio::null()).env_remove("TOLLGATE_CONFIG").output().unwrap()
}

#[test]
fn the_page_shows_what_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    let output = replay(folder.path(), &yesterday(), &[]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("tollgate: ") && said.ends_with("would newly be refused\n"), "{said}");
    let page = fs::read_to_string("config/docs/replay.md").unwrap();
    let shown = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(shown, printed, "printed:\n{printed}");
}

#[test]
fn programs_get_the_same_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let output = replay(folder.path(), &yesterday(), &["--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["refused"].as_array().unwrap();
    let sum: u64 = rows.iter().map(|row| row["requests"].as_u64().unwrap()).sum();
    assert_eq!((report["newly_refused"].as_u64(), report["malformed"].as_u64()), (Some(sum), Some(1)));
    assert_eq!(report["first_malformed"][0]["line"], yesterday().lines().count());
    let statuses = |status: u64| rows.iter().filter(move |row| row["status"] == status);
    assert_eq!(statuses(406).map(|row| row["workspace"].as_str().unwrap()).collect::<Vec<_>>(), ["initech"]);
    assert_eq!(statuses(403).count(), 1);
    assert_eq!(report["deprecated"][0]["workspaces"][0], "initech");
}

#[test]
fn nobody_refused_is_exit_code_0_and_bad_usage_is_2() {
    let folder = tempfile::tempdir().unwrap();
    let calm: String = yesterday()
        .lines()
        .filter(|line| line.contains("v1beta"))
        .fold(String::new(), |all, line| all + line + "\n");
    let output = replay(folder.path(), &calm, &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("Nobody would newly be refused."));
    let empty = replay(folder.path(), "", &[]);
    assert_eq!(empty.status.code(), Some(0));
    assert_eq!(replay(folder.path(), "", &["--format", "xml"]).status.code(), Some(2));
    fs::remove_file(folder.path().join("access.log")).unwrap();
    let missing = Command::new(BINARY)
        .args(["replay", "access.log", "--config", "new.toml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("cannot read access.log"));
}
