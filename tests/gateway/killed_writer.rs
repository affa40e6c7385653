//! `kill -9` at random moments of create, rotate and revoke, on both stores: what was answered is there afterwards,
//! and nothing is there by half.
//!
//! On SQLite it is 200 moments; on PostgreSQL the short form takes 20, and with `TOLLGATE_LONG=1` it is 200. A change that
//! was committed but not yet answered when the command was killed may be there, then wholly: with its entry in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tollgate::config::load_registry;
use tollgate::tokens::store::log::verify;
use tollgate::tokens::{Store, TokenRecord};

use crate::fleet::server::Server;
use crate::support::{make_workspaces, run_json, tollgate};

const MOMENTS: usize = 200;

/// What a killed command was about.
pub(crate) enum Change {
    Create,
    Rotate(String),
    Revoke(String),
}

impl Change {
    fn words(&self) -> Vec<&str> {
        match self {
            Self::Create => vec!["create", "--workspace", "ws-us"],
            Self::Rotate(id) => vec!["rotate", id],
            Self::Revoke(id) => vec!["revoke", id],
        }
    }

    /// Whether the store has the change that was answered with this token.
    pub(crate) fn is_in(&self, store: &dyn Store, answer: &Value) -> bool {
        let id = answer["id"].as_str().unwrap();
        let token = |id: &str| store.token(id).unwrap();
        match self {
            Self::Create => token(id).is_some(),
            Self::Rotate(old) => {
                token(id).is_some() && token(old).is_some_and(|old| old.replaced_by.as_deref() == Some(id))
            }
            Self::Revoke(_) => token(id).is_some_and(|token| token.revoked_at_unix_seconds.is_some()),
        }
    }
}

/// Numbers that differ from run to run.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Self(now.as_nanos() as u64)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

/// The store that a configuration names.
pub(crate) fn open(config: &Path) -> Arc<dyn Store> {
    load_registry(config, &|_| None).ok().unwrap().tokens.store.open().unwrap()
}

/// Every token of a store.
fn all(store: &dyn Store) -> Vec<TokenRecord> {
    store.tokens(None, "", 100_000).unwrap()
}

/// Whether tables and log tell the same, and the log is unbroken.
pub(crate) fn assert_whole(store: &dyn Store) {
    verify(store, &mut |_| {}).unwrap();
    let (mut made, mut rotated, mut revoked) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    for entry in store.log(0, 100_000).unwrap() {
        match &*entry.kind {
            "token.created" => drop(made.insert(entry.subject)),
            "token.rotated" => {
                let body: Value = serde_json::from_str(&entry.body).unwrap();
                rotated.insert(entry.subject, body["replaced_by"].as_str().unwrap().to_owned());
            }
            "token.revoked" => drop(revoked.insert(entry.subject)),
            _ => {}
        }
    }
    let tokens = all(store);
    assert_eq!(tokens.iter().map(|token| token.id.clone()).collect::<BTreeSet<_>>(), made);
    for token in tokens {
        assert_eq!(token.replaced_by.as_ref(), rotated.get(&token.id), "{token:?}");
        assert_eq!(token.revoked_at_unix_seconds.is_some(), revoked.contains(&token.id), "{token:?}");
        assert!(token.replaced_by.is_none_or(|successor| made.contains(&successor)));
    }
}

/// Kills commands at random moments; `restart` is what the store outlives at the end. How many were answered, were not
/// but are done, and are not done.
fn kill_writers(config: &Path, moments: usize, restart: impl Fn()) -> [usize; 3] {
    let name = config.to_str().unwrap();
    make_workspaces(config);
    let create = ["token", "--config", name, "create", "--json", "--workspace", "ws-us"];
    let began = Instant::now();
    for _ in 0..3 {
        run_json(&create);
    }
    let usual = began.elapsed() / 3;
    let (mut random, mut answered, mut unanswered) = (Chance::new(), Vec::new(), [0, 0]);
    for moment in 0..moments {
        let store = open(config);
        let before = store.head().unwrap().0;
        let is_free =
            |token: &TokenRecord| token.replaced_by.is_none() && token.revoked_at_unix_seconds.is_none();
        let free: Vec<String> = all(&*store).into_iter().filter(is_free).map(|token| token.id).collect();
        let change = match free.get(random.below(free.len() as u64) as usize) {
            Some(id) if moment % 3 == 1 => Change::Rotate(id.clone()),
            Some(id) if moment % 3 == 2 => Change::Revoke(id.clone()),
            Some(_) | None => Change::Create,
        };
        let mut command = tollgate(&["token", "--config", name, "--json"]);
        let mut child =
            command.args(change.words()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let most = usual.as_micros() as u64 * 5 / 4;
        thread::sleep(Duration::from_micros(random.below(most)));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let answer = serde_json::from_slice::<Value>(&output.stdout).ok();
        let store = open(config);
        assert_whole(&*store);
        let is_done = store.head().unwrap().0 > before;
        match answer {
            Some(answer) => {
                assert!(change.is_in(&*store, &answer), "answered and lost: {answer}");
                answered.push((change, answer));
            }
            None => unanswered[usize::from(!is_done)] += 1,
        }
    }
    restart();
    let store = open(config);
    assert_whole(&*store);
    for (change, answer) in &answered {
        assert!(change.is_in(&*store, answer), "answered and lost: {answer}");
    }
    [answered.len(), unanswered[0], unanswered[1]]
}

pub(crate) fn written(folder: &tempfile::TempDir, store: &str) -> std::path::PathBuf {
    let file = folder.path().join("tollgate.toml");
    let regions = "[regions.us]\nletter = \"u\"\n[regions.eu]\nletter = \"e\"\n";
    std::fs::write(&file, format!("{regions}[tokens]\nstore = {store:?}\n")).unwrap();
    file
}

#[test]
fn a_killed_writer_leaves_sqlite_whole() {
    let folder = tempfile::tempdir().unwrap();
    let counts = kill_writers(&written(&folder, "tollgate.db"), MOMENTS, || {});
    println!("answered, done, not done: {counts:?}");
}

/// The server crashes as well at the end.
#[test]
fn a_killed_writer_leaves_postgres_whole() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let is_long = std::env::var("TOLLGATE_LONG").is_ok_and(|long| long == "1");
    let moments = if is_long { MOMENTS } else { 20 };
    let counts = kill_writers(&written(&folder, &server.database()), moments, || {
        server.crash();
        server.go();
    });
    println!("answered, done, not done: {counts:?}");
}
