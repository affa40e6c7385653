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

    fn alter(&self, sql: &str) {
        let drop = "DROP TRIGGER IF EXISTS log_is_not_updated; DROP TRIGGER IF EXISTS log_is_not_deleted";
        Connection::open(self.path()).unwrap().execute_batch(&format!("{drop}; {sql}")).unwrap();
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
fn a_statement_is_prepared_once_whatever_is_asked_of_it() {
    let file = File::new();
    drop(file.open());
    let connections = [schema::open(&file.path()), schema::open_read_only(&file.path())];
    for connection in connections.map(|opened| opened.unwrap_or_else(|_| panic!("it does not open"))) {
        for sql in [format!("{} WHERE t.id = ?1", rows::TOKEN), format!("{} WHERE id = ?1", rows::WORKSPACE)]
        {
            let mut statement = connection.prepare(&sql).unwrap();
            for id in ["a", "b", "c"] {
                assert!(statement.query([id]).unwrap().next().unwrap().is_none());
            }
            assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0, "{sql}");
        }
    }
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
    let settings = store.writer.take(|connection| {
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0))?;
        Ok((mode, number("synchronous")?, number("foreign_keys")?))
    });
    assert_eq!(settings.unwrap(), ("wal".to_owned(), 2, 1));
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

/// Every bit of every column of an entry in the middle: the number, the time, both hashes and all texts. What cannot be
/// stored, such as a number that is taken, is no forgery.
#[test]
fn every_flipped_bit_of_an_entry_is_found_at_that_entry() {
    let file = File::new();
    let (store, clock) = (file.open(), Clock::manual(START));
    for n in 0..5 {
        store.create_workspace(act(&clock), &contract::workspace(&format!("ws{n}"))).unwrap();
    }
    let connection = Connection::open(file.path()).unwrap();
    connection.execute_batch("DROP TRIGGER log_is_not_updated; PRAGMA synchronous = OFF").unwrap();
    let mut flipped = 0;
    let mut assert_found = |what: &str, change: &str, restore: &str| {
        if connection.execute_batch(change).is_err() {
            return;
        }
        match verify(&*store, &mut |_| {}) {
            Err(Error::LogAltered(3) | Error::LogBroken { last: 2, .. }) => {}
            other => panic!("{what}: {other:?}"),
        }
        connection.execute_batch(restore).unwrap();
        flipped += 1;
    };
    for column in ["at_unix_millis", "seq"] {
        let sql = format!("SELECT {column} FROM log WHERE seq = 3");
        let value: i64 = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
        for bit in 0..64 {
            let forged = value ^ (1 << bit);
            let number = if column == "seq" { forged } else { 3 };
            let set = |value: i64, seq: i64| format!("UPDATE log SET {column} = {value} WHERE seq = {seq}");
            assert_found(&format!("{column} bit {bit}"), &set(forged, 3), &set(value, number));
        }
    }
    for column in ["previous", "hash", "actor", "kind", "subject", "body"] {
        let sql = format!("SELECT CAST({column} AS BLOB) FROM log WHERE seq = 3");
        let bytes: Vec<u8> = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
        let kind = if matches!(column, "previous" | "hash") { "BLOB" } else { "TEXT" };
        let set = |bytes: &[u8]| {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
            format!("UPDATE log SET {column} = CAST(x'{digits}' AS {kind}) WHERE seq = 3")
        };
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_found(&format!("{column} bit {bit}"), &set(&forged), &set(&bytes));
        }
        assert_found(&format!("{column} cut"), &set(&bytes[1..]), &set(&bytes));
    }
    assert!(flipped > 1_500, "{flipped}");
    assert_eq!(verify(&*store, &mut |_| {}).unwrap(), 5);
}

/// Entries exchanged or dropped anywhere, and the head changed.
#[test]
fn exchanged_and_dropped_entries_and_a_changed_head_are_found() {
    let file = File::new();
    let (store, clock) = (file.open(), Clock::manual(START));
    for n in 0..5 {
        store.create_workspace(act(&clock), &contract::workspace(&format!("ws{n}"))).unwrap();
    }
    let connection = Connection::open(file.path()).unwrap();
    connection.execute_batch("DROP TRIGGER log_is_not_updated; DROP TRIGGER log_is_not_deleted").unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF; CREATE TABLE kept AS SELECT * FROM log").unwrap();
    let found_after = |change: &str| {
        connection.execute_batch(change).unwrap();
        let place = match verify(&*store, &mut |_| {}) {
            Err(Error::LogAltered(found) | Error::LogBroken { found, .. }) => found,
            other => panic!("{change}: {other:?}"),
        };
        connection.execute_batch("DELETE FROM log; INSERT INTO log SELECT * FROM kept").unwrap();
        place
    };
    for one in 1..=5 {
        for other in one + 1..=5 {
            let exchange = format!(
                "UPDATE log SET seq = -seq WHERE seq IN ({one}, {other});
                 UPDATE log SET seq = {one} + {other} + seq WHERE seq < 0"
            );
            assert_eq!(found_after(&exchange), one);
        }
        let next = if one == 5 { 5 } else { one + 1 };
        assert_eq!(found_after(&format!("DELETE FROM log WHERE seq = {one}")), next);
        assert_eq!(found_after(&format!("DELETE FROM log WHERE seq >= {one}")), 5);
    }
    for bit in 0..256 {
        let hash: Vec<u8> = connection.query_row("SELECT hash FROM head", [], |row| row.get(0)).unwrap();
        let mut forged = hash.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        connection.execute("UPDATE head SET hash = ?1", [&forged]).unwrap();
        assert_eq!(found_after(""), 5);
        connection.execute("UPDATE head SET hash = ?1", [&hash]).unwrap();
    }
    assert_eq!(verify(&*store, &mut |_| {}).unwrap(), 5);
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

/// One change hangs in the disk; the next is told so after a while, and nothing of it is made.
#[test]
fn a_disk_that_hangs_does_not_hold_up_every_change() {
    let file = File::new();
    let mut store = SqliteStore::open(&file.path()).unwrap();
    store.writer = Turn::new(Connection::open(file.path()).unwrap(), Duration::from_millis(20));
    let make = |id: &str| store.create_workspace(act(&Clock::manual(START)), &contract::workspace(id));
    let during = store.writer.take(|_| Ok(make("late"))).unwrap();
    assert!(during.unwrap_err().to_string().contains("may hang"));
    assert!(store.workspace("late").unwrap().is_none());
    make("later").unwrap();
}
