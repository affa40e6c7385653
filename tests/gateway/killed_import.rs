//! `kill -9` in the middle of an import, on both stores: what was taken is there wholly, and the same command brings the
//! rest.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use tollgate::tokens::store::log::verify;

use crate::fleet::server::Server;
use crate::killed_writer::{open, written};
use crate::support::{run, tollgate, until};

/// Several batches.
const LINES: usize = 22_000;

fn kill_in_the_middle(config: &Path) {
    let tokens = config.with_file_name("tokens.tsv");
    let text = (0..LINES).fold(String::new(), |mut text, line| {
        writeln!(text, "tk_{line:032x}\tws-{}", line % 50).unwrap();
        text
    });
    std::fs::write(&tokens, format!("{text}short\tws-1\n")).unwrap();
    let words = ["token", "--config", config.to_str().unwrap(), "--json", "import", "--region", "us"];
    let words: Vec<&str> = words.into_iter().chain([tokens.to_str().unwrap()]).collect();
    drop(open(config));
    let mut command = tollgate(&words);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // One entry is of the pepper.
    until("the first batch", || (open(config).head().unwrap().0 > 1).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    let store = open(config);
    let held = |count| store.tokens(None, "", count).unwrap().len();
    let before = held(50_000);
    assert!((5_000..=LINES).contains(&before) && (before % 5_000 == 0 || before == LINES), "{before}");
    verify(&*store, &mut |_| {}).unwrap();
    for added in [LINES - before, 0] {
        let again = run(&words);
        let said = String::from_utf8_lossy(&again.stdout);
        let count: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&count["added"], &count["refused"]), (&added.into(), &1.into()), "{count}");
        assert_eq!(count["first_refused"][0]["line"], LINES + 1, "{count}");
        assert_eq!(held(50_000), LINES);
    }
    let entries = LINES + 50 + 1;
    assert_eq!(store.head().unwrap().0, entries as u64, "a token or workspace was added twice");
    verify(&*store, &mut |_| {}).unwrap();
}

#[test]
fn a_killed_import_goes_on_where_it_was_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    kill_in_the_middle(&written(&folder, "tollgate.db"));
}

#[test]
fn a_killed_import_goes_on_where_it_was_on_postgres() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    kill_in_the_middle(&written(&folder, &server.database()));
}
