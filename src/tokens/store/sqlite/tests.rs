use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::*;
use crate::clock::Clock;
use crate::tokens::store::contract::{self, Fixture, START, act};
use crate::tokens::store::log::verify;

struct File(tempfile::TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("tollgate.db")
    }
}

impl Fixture for File {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.path()).unwrap())
    }
}

contract::prove_store!(File::new());

#[test]
fn refuses_files_that_are_not_its_own() {
    let file = File::new();
    std::fs::write(file.path(), "this is a text, not a database, and long enough to be looked at").unwrap();
    assert!(matches!(SqliteStore::open(&file.path()), Err(Error::Store { .. })));

    let file = File::new();
    Connection::open(file.path()).unwrap().execute_batch("CREATE TABLE mine (id)").unwrap();
    assert!(matches!(SqliteStore::open(&file.path()), Err(Error::StoreForeign { .. })));

    let file = File::new();
    drop(file.open());
    Connection::open(file.path()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(SqliteStore::open(&file.path()), Err(Error::StoreNewer { found: 99, .. })));

    let nowhere = file.0.path().join("missing").join("tollgate.db");
    assert!(matches!(SqliteStore::open(&nowhere), Err(Error::File { .. })));
}

#[test]
fn a_file_of_the_first_schema_is_brought_up_to_date() {
    let file = File::new();
    drop(file.open());
    let old = Connection::open(file.path()).unwrap();
    old.execute_batch(
        "DROP TABLE limit_override; DROP INDEX token_by_family; DROP TABLE outbox; DROP TABLE operator; \
         DROP TABLE jwt_revocation; DROP TABLE idempotency_key; DROP TABLE leak_owed; DROP TABLE outbox_leak; \
         ALTER TABLE token DROP COLUMN allowed_networks; ALTER TABLE token DROP COLUMN is_decoy; \
         DROP TABLE known_network; DROP TABLE former_digest; ALTER TABLE pepper DROP COLUMN retired_at; \
         PRAGMA user_version = 1",
    )
    .unwrap();
    old.execute_batch(
        "INSERT INTO workspace VALUES ('ws', 1, 'eu', 'team', '[]', 'active', '[]', 1700000000)",
    )
    .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| drop(file.open()));
        }
    });
    let store = file.open();
    assert!(store.workspace("ws").unwrap().unwrap().overrides.is_empty());
    assert!(store.overrides(None, 1).unwrap().is_empty());
}

#[test]
fn a_store_that_is_only_read_is_never_changed() {
    let file = File::new();
    let read = || SqliteStore::open_read_only(&file.path());
    assert!(matches!(read(), Err(Error::Store { .. })), "there is none");
    assert!(!file.path().exists(), "and none was made");
    file.open().create_workspace(act(&Clock::manual(START)), &contract::workspace("ws")).unwrap();
    let store = read().unwrap();
    assert!(store.workspace("ws").unwrap().is_some());
    let refused = store.create_workspace(act(&Clock::manual(START)), &contract::workspace("other"));
    assert!(matches!(refused, Err(Error::Store { .. })));
    Connection::open(file.path()).unwrap().pragma_update(None, "user_version", 1).unwrap();
    assert!(matches!(read(), Err(Error::StoreOlder { found: 1, .. })));
}

#[test]
fn is_durable_and_for_its_owner_alone() {
    let file = File::new();
    let store = SqliteStore::open(&file.path()).unwrap();
    let connection = store.writer.lock().unwrap();
    let text = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0)).unwrap();
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(text("journal_mode"), "wal");
    assert_eq!((number("synchronous"), number("foreign_keys")), (2, 1));
    for name in ["tollgate.db", "tollgate.db-wal"] {
        let mode = std::fs::metadata(file.0.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} can be read by others");
    }
}

#[test]
fn many_can_open_a_new_file_at_once() {
    let file = File::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| file.open().head().unwrap());
        }
    });
}

#[test]
fn the_log_cannot_be_rewritten_by_accident() {
    let file = File::new();
    file.open().create_workspace(act(&Clock::manual(START)), &contract::workspace("ws")).unwrap();
    let connection = Connection::open(file.path()).unwrap();
    for sql in ["UPDATE log SET actor = 'x'", "DELETE FROM log"] {
        assert!(connection.execute(sql, []).unwrap_err().to_string().contains("append-only"));
    }
}

/// Any byte flipped, entries dropped from the end, two exchanged: all are noticed at the right entry.
#[test]
fn tampering_is_found_where_it_happened() {
    for (sql, wrong) in [
        ("UPDATE log SET body = replace(body, 'business', 'free') WHERE seq = 3", 3),
        ("UPDATE log SET at_unix_millis = at_unix_millis + 1 WHERE seq = 2", 2),
        ("DELETE FROM log WHERE seq = 2", 3),
        ("DELETE FROM log WHERE seq >= 4", 5),
        ("UPDATE log SET seq = -seq WHERE seq IN (2, 3); UPDATE log SET seq = 5 + seq WHERE seq < 0", 2),
        ("UPDATE head SET hash = zeroblob(32)", 5),
    ] {
        let file = File::new();
        let (store, clock) = (file.open(), Clock::manual(START));
        for n in 0..5 {
            store.create_workspace(act(&clock), &contract::workspace(&format!("ws{n}"))).unwrap();
        }
        assert_eq!(verify(&*store, &mut |_| {}).unwrap(), 5);
        let connection = Connection::open(file.path()).unwrap();
        connection.execute_batch("DROP TRIGGER log_is_not_updated; DROP TRIGGER log_is_not_deleted").unwrap();
        connection.execute_batch(sql).unwrap();
        match verify(&*store, &mut |_| {}) {
            Err(Error::LogAltered(found) | Error::LogBroken { found, .. }) => {
                assert_eq!(found, wrong, "{sql}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
}

const CHILD: &str = "TOLLGATE_TEST_STORE_OF_A_CHILD";

/// The child of [`acknowledged_changes_survive_a_kill`]: writes until it is killed.
#[test]
fn writes_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let store = SqliteStore::open(Path::new(&path)).unwrap();
    let clock = Clock::manual(START);
    for n in 0_u64.. {
        let id = format!("ws{n}");
        store.create_workspace(act(&clock), &contract::workspace(&id)).unwrap();
        println!("made {id}");
    }
}

#[test]
fn acknowledged_changes_survive_a_kill() {
    let file = File::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["tokens::store::sqlite::tests::writes_until_it_is_killed", "--exact", "--nocapture"])
        .env(CHILD, file.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut made = lines.filter_map(|line| line.split("made ").nth(1).map(str::to_owned));
    let mut acknowledged: Vec<String> = made.by_ref().take(20).collect();
    child.kill().unwrap();
    acknowledged.extend(made);
    child.wait().unwrap();
    assert!(acknowledged.len() >= 20);
    let store = file.open();
    for id in &acknowledged {
        assert!(store.workspace(id).unwrap().is_some(), "{id} was acknowledged and is gone");
    }
    assert!(verify(&*store, &mut |_| {}).unwrap() >= acknowledged.len() as u64);
}
