//! The README's commands do what it says.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "pages/blocks.rs"]
mod blocks;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use blocks::{Block, blocks};

const BINARY: &str = env!("CARGO_BIN_EXE_tollgate");

/// A running demo; ended when dropped.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// The blocks of commands.
fn commands() -> Vec<Block> {
    blocks("README.md").into_iter().filter(|block| block.kind == "sh").collect()
}

/// The lines of `demo leak` without what differs from run to run: ids, times, numbers, and in which order things came
/// that take the same few milliseconds.
fn shape(text: &str) -> Vec<String> {
    let masks = [
        (r"^ +[0-9.]+ (ms|s) ", "# $1 "),
        (r"(tok|msg)_[A-Za-z0-9]+", "$1"),
        (r"[0-9a-f]{64}", "hash"),
        (r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", "time"),
        (r"^  Date: .*", "  Date: date"),
        (r"(webhook-timestamp: |webhook-signature: v1,|entry |127\.0\.0\.1:)[A-Za-z0-9+/=]+", "$1#"),
        (r"of [0-9]+ requests", "of # requests"),
    ];
    let masks = masks.map(|(pattern, with)| (regex::Regex::new(pattern).unwrap(), with));
    let masked = |line: &str| {
        masks.iter().fold(line.to_owned(), |line, (mask, with)| mask.replace_all(&line, *with).into_owned())
    };
    let mut lines: Vec<String> = text.lines().map(masked).collect();
    lines.dedup();
    for timed in lines.chunk_by_mut(|one, other| one.starts_with("# ms") && other.starts_with("# ms")) {
        timed.sort();
    }
    lines
}

#[test]
fn the_first_two_commands_are_the_demo_and_the_tests() {
    let commands = commands();
    assert_eq!(commands[0].text, "cargo run --release -- demo\n");
    assert_eq!(commands[1].text, "tests/run\n");
}

#[test]
fn every_other_command_prints_what_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut child = Command::new(BINARY)
        .args(["demo", "--port", "0", "--tls-port", "0", "--admin-port", "0", "--data"])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let demo = Demo(child);
    assert_eq!(lines.next().unwrap().unwrap(), "tollgate demo is ready");
    let environment = lines.map(Result::unwrap).find(|line| line.contains("source ")).unwrap();
    for Block { text: commands, shown, .. } in &commands()[2..] {
        let script = format!("{environment}\n{}", commands.replace("target/release/tollgate", BINARY));
        let output = Command::new("bash").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{commands}\n{printed}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        if commands.contains("demo leak") {
            assert_eq!(shape(&printed), shape(shown), "other than the README:\n{printed}");
            continue;
        }
        for line in shown.lines() {
            assert!(printed.contains(line), "{commands}\nprinted\n{printed}\nand not\n{line}");
        }
    }
    drop(demo);
}
