use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::proxy::{Commit, Proxy};
use super::server::Server;
use super::*;
use crate::clock::Clock;
use crate::tokens::store::SubjectLog as _;
use crate::tokens::store::contract::{self, Fixture, START, act};
use crate::tokens::store::log::verify;

/// A database of a server.
struct Database {
    address: PostgresAddress,
    name: String,
}

impl Database {
    fn new(server: &Server) -> Self {
        Self::at(&server.database())
    }

    fn at(url: &str) -> Self {
        let address = PostgresAddress::parse(url, Path::new("")).unwrap();
        Self { address, name: url.rsplit('/').next().unwrap().to_owned() }
    }

    fn through(&self, server: &Server, proxy: &Proxy) -> Self {
        let from = format!(":{}/", server.port());
        Self::at(&self.address.to_string().replace(&from, &format!(":{}/", proxy.port())))
    }

    fn make(&self) -> Result<PostgresStore, Error> {
        PostgresStore::open(&self.address)
    }

    fn read(&self) -> Result<PostgresStore, Error> {
        PostgresStore::open_read_only(&self.address)
    }
}

impl Fixture for Database {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.make().unwrap())
    }

    fn alter(&self, sql: &str) {
        let freed =
            ["SET LOCAL search_path TO tollgate", "DROP TRIGGER IF EXISTS log_is_not_rewritten ON log"];
        let alter = |on: &Session<'_>| {
            freed.into_iter().chain(sql.split("; ")).try_for_each(|one| on.execute(one, &[]).map(drop))
        };
        // A gateway's own role may not.
        let owner = self.address.to_string().replacen("//gateway@", "//tollgate@", 1);
        Self::at(&owner).make().unwrap().note(alter).unwrap();
    }
}

fn clock() -> Clock {
    Clock::manual(START)
}

/// Asks again as long as a busy server does not answer in time, in which case nothing was changed.
fn insist<T>(mut ask: impl FnMut() -> Result<T, Error>) -> T {
    loop {
        match ask() {
            Err(Error::Store { .. }) => {}
            other => return other.unwrap(),
        }
    }
}

#[test]
fn keeps_the_contract() {
    let server = Server::start();
    prove_all(&|| Database::new(&server));
}

/// Proves everything, each on a database of its own, several at a time.
fn prove_all(database: &(dyn Fn() -> Database + Sync)) {
    const AT_ONCE: usize = 4;
    let proofs = contract::all_proofs();
    std::thread::scope(|scope| {
        for part in proofs.chunks(proofs.len().div_ceil(AT_ONCE)) {
            scope.spawn(move || {
                for (name, proof) in part {
                    println!("{name}");
                    proof(&database());
                }
            });
        }
    });
}

#[test]
fn refuses_databases_that_are_not_its_own() {
    let server = Server::start();
    let database = Database::new(&server);
    server.sql(&database.name, "CREATE SCHEMA tollgate CREATE TABLE mine (id int)");
    assert!(matches!(database.make(), Err(Error::StoreForeign { .. })));
    let nowhere = Database::at(&server.url("nowhere"));
    assert!(matches!(nowhere.make(), Err(Error::Store { .. })));

    let database = Database::new(&server);
    assert!(matches!(database.read(), Err(Error::StoreOlder { found: 0, .. })), "there is none");
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| database.make().unwrap().head().unwrap());
        }
    });
    server.sql(&database.name, "UPDATE tollgate.schema_version SET version = 99");
    assert!(matches!(database.make(), Err(Error::StoreNewer { found: 99, .. })));
}

#[test]
fn a_store_that_is_only_read_is_never_changed() {
    let server = Server::start();
    let database = Database::new(&server);
    database.open().create_workspace(act(&clock()), &contract::workspace("ws")).unwrap();
    let store = database.read().unwrap();
    assert!(store.workspace("ws").unwrap().is_some());
    let refused = store.create_workspace(act(&clock()), &contract::workspace("other"));
    assert!(matches!(refused, Err(Error::Store { .. })));
    assert!(store.record_uses(&[("t", 1)]).is_err());
}

#[test]
fn no_error_shows_the_password() {
    let server = Server::start();
    server.sql("postgres", "CREATE ROLE guarded LOGIN PASSWORD 'right-canary'");
    for password in ["wrong-canary", "right-canary"] {
        let url = server.url("postgres").replace("tollgate@", &format!("guarded:{password}@"));
        let database = Database::at(&url);
        let opened = database.make();
        let said = format!("{opened:?} {:?}", opened.as_ref().err().map(ToString::to_string));
        assert!(opened.is_err(), "it has the wrong password, or no right to make tables");
        assert!(!said.contains("canary") && said.contains("guarded:***"), "{said}");
    }
}

#[test]
fn a_server_that_does_not_prove_its_name_is_refused() {
    let server = Server::start();
    let url = |host: &str, more: &str| {
        let url = server.url("postgres").replace("127.0.0.1", host);
        Database::at(&format!("{url}?sslmode=verify-full{more}"))
    };
    let roots = format!("&sslrootcert={}", server.roots_file().display());
    for nobody in [url("127.0.0.1", &roots), url("localhost", ""), url("localhost", "&sslrootcert=/nowhere")]
    {
        assert!(nobody.read().is_err(), "{}", nobody.address);
    }
    let store = url("localhost", &roots).make().unwrap();
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(store.read(|on| Ok(on.query(sql, &[])?[0].try_get::<_, bool>(0)?)).unwrap());
}

/// The grants of `config/docs/postgresql.md` are enough to serve and too few to change tables.
#[test]
fn a_gateway_needs_no_more_than_the_documented_grants() {
    let server = Server::start();
    let page = include_str!("../../../../config/docs/postgresql.md");
    let grants = page.rsplit("```sql\n").next().unwrap().split("```").next().unwrap();
    server.sql("postgres", "CREATE ROLE gateway LOGIN");
    let granted = || {
        let database = Database::new(&server);
        database.make().unwrap();
        server.sql(&database.name, grants);
        Database::at(&server.url(&database.name).replace("tollgate@", "gateway@"))
    };
    prove_all(&granted);
    let database = granted();
    // Of each table of which there is one row it is only changed.
    let not_added_to = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class \
        WHERE relnamespace = 'tollgate'::regnamespace AND relkind = 'r' AND NOT has_table_privilege('gateway', oid, 'INSERT')";
    assert_eq!(server.sql(&database.name, not_added_to), "head journal_asked schema_version");
    let store = database.make().unwrap();
    for sql in [
        "DELETE FROM tollgate.log",
        "DROP TABLE tollgate.log",
        "ALTER TABLE tollgate.log DISABLE TRIGGER ALL",
    ] {
        assert!(store.note(|on| on.execute(sql, &[])).is_err(), "{sql}");
    }
}

#[test]
fn is_durable_whatever_the_databases_default_is() {
    let server = Server::start();
    let database = Database::new(&server);
    server.sql("postgres", &format!("ALTER DATABASE {} SET synchronous_commit = off", database.name));
    let store = database.make().unwrap();
    let found = store.note(|on| Ok(on.query("SHOW synchronous_commit", &[])?[0].try_get::<_, String>(0)?));
    assert_eq!(found.unwrap(), "on");
}

#[test]
fn the_log_cannot_be_rewritten_by_accident() {
    let server = Server::start();
    let database = Database::new(&server);
    let store = database.make().unwrap();
    store.create_workspace(act(&clock()), &contract::workspace("ws")).unwrap();
    for sql in ["UPDATE tollgate.log SET actor = 'x'", "DELETE FROM tollgate.log", "TRUNCATE tollgate.log"] {
        let refused = store.note(|on| on.execute(sql, &[])).unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
}

/// Any byte flipped, entries dropped from the end, two exchanged: all are noticed at the right entry.
#[test]
fn tampering_is_found_where_it_happened() {
    let server = Server::start();
    for (sql, wrong) in [
        ("UPDATE tollgate.log SET body = replace(body, 'business', 'free') WHERE seq = 3", 3),
        ("UPDATE tollgate.log SET at_unix_millis = at_unix_millis + 1 WHERE seq = 2", 2),
        ("DELETE FROM tollgate.log WHERE seq = 2", 3),
        ("DELETE FROM tollgate.log WHERE seq >= 4", 5),
        (
            "UPDATE tollgate.log SET seq = -seq WHERE seq IN (2, 3); UPDATE tollgate.log SET seq = 5 + seq WHERE seq < 0",
            2,
        ),
        ("UPDATE tollgate.head SET hash = decode(repeat('00', 32), 'hex')", 5),
    ] {
        let database = Database::new(&server);
        let store = database.make().unwrap();
        for n in 0..5 {
            store.create_workspace(act(&clock()), &contract::workspace(&format!("ws{n}"))).unwrap();
        }
        assert_eq!(verify(&store, &mut |_| {}).unwrap(), 5);
        server.sql(&database.name, &format!("DROP TRIGGER log_is_not_rewritten ON tollgate.log; {sql}"));
        match verify(&store, &mut |_| {}) {
            Err(Error::LogAltered(found) | Error::LogBroken { found, .. }) => {
                assert_eq!(found, wrong, "{sql}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
}

/// A bit of every byte of every column of an entry in the middle, of each byte another one. PostgreSQL itself refuses
/// texts that are no UTF-8.
#[test]
fn a_flipped_bit_of_every_byte_of_an_entry_is_found_at_that_entry() {
    let server = Server::start();
    let database = Database::new(&server);
    let store = database.make().unwrap();
    for n in 0..5 {
        store.create_workspace(act(&clock()), &contract::workspace(&format!("ws{n}"))).unwrap();
    }
    server.sql(&database.name, "DROP TRIGGER log_is_not_rewritten ON tollgate.log");
    let forge = |sql: &str| store.note(|on| on.execute(sql, &[])).is_ok();
    let mut flipped = 0;
    let mut assert_found = |change: &str, restore: &str| {
        if !forge(change) {
            return;
        }
        match verify(&store, &mut |_| {}) {
            Err(Error::LogAltered(3) | Error::LogBroken { last: 2, .. }) => {}
            other => panic!("{change}: {other:?}"),
        }
        assert!(forge(restore), "{restore}");
        flipped += 1;
    };
    for column in ["at_unix_millis", "seq"] {
        let sql = format!("SELECT {column} FROM tollgate.log WHERE seq = 3");
        let value: i64 = server.sql(&database.name, &sql).parse().unwrap();
        for byte in 0..8 {
            let forged = value ^ (1 << (byte * 8 + (byte + 3) % 8));
            let number = if column == "seq" { forged } else { 3 };
            let set = |value: i64, seq: i64| {
                format!("UPDATE tollgate.log SET {column} = {value} WHERE seq = {seq}")
            };
            assert_found(&set(forged, 3), &set(value, number));
        }
    }
    for column in ["previous", "hash", "actor", "kind", "subject", "body"] {
        let is_text = !matches!(column, "previous" | "hash");
        let bytes = if is_text { format!("convert_to({column}, 'UTF8')") } else { column.to_owned() };
        let sql = format!("SELECT encode({bytes}, 'hex') FROM tollgate.log WHERE seq = 3");
        let digits = server.sql(&database.name, &sql);
        let set = |digits: &str| {
            let bytes = format!("decode('{digits}', 'hex')");
            let value = if is_text { format!("convert_from({bytes}, 'UTF8')") } else { bytes };
            format!("UPDATE tollgate.log SET {column} = {value} WHERE seq = 3")
        };
        for place in (0..digits.len()).step_by(2) {
            let byte = u8::from_str_radix(&digits[place..place + 2], 16).unwrap();
            let forged = byte ^ (1 << (place / 2 % 7));
            let forged = format!("{}{forged:02x}{}", &digits[..place], &digits[place + 2..]);
            assert_found(&set(&forged), &set(&digits));
        }
        assert_found(&set(&digits[2..]), &set(&digits));
    }
    assert!(flipped > 150, "{flipped}");
    assert_eq!(verify(&store, &mut |_| {}).unwrap(), 5);
}

/// It would otherwise be taken for a failure of the store, and tried again for ever.
#[test]
fn a_text_that_cannot_be_kept_is_whoever_sent_its_fault() {
    let server = Server::start();
    let store = Database::new(&server).make().unwrap();
    let (clock, nul) = (clock(), "a\0b");
    store.create_workspace(act(&clock), &contract::workspace("ws")).unwrap();
    let refused: [Option<Error>; 4] = [
        store.token(nul).err(),
        store.tokens(None, nul, 1).err(),
        store.revoke_token(act(&clock), nul, "x").err(),
        store.log_of(&[nul], 9, 9).err(),
    ];
    for refused in refused {
        assert!(matches!(&refused, Some(Error::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(store.head().unwrap().0, 1);
}

/// The server goes away and comes back: what is asked in between fails and changes nothing.
#[test]
fn outlives_its_server() {
    let server = Server::start();
    let database = Database::new(&server);
    let store = database.make().unwrap();
    store.create_workspace(act(&clock()), &contract::workspace("a")).unwrap();
    for end in [Server::stop, Server::crash] {
        end(&server);
        let refused = store.create_workspace(act(&clock()), &contract::workspace("b"));
        assert!(matches!(refused, Err(Error::Store { .. })), "{refused:?}");
        assert!(matches!(store.changes(0, 10), Err(Error::Store { .. })));
        server.go();
        assert_eq!(store.changes(0, 10).unwrap().seqs, [1]);
    }
    store.create_workspace(act(&clock()), &contract::workspace("b")).unwrap();
    assert_eq!(verify(&store, &mut |_| {}).unwrap(), 2);
}

#[test]
fn what_became_of_a_lost_commit_is_found_out() {
    let server = Server::start();
    let database = Database::new(&server);
    database.make().unwrap();
    let proxy = Proxy::start(server.port());
    let store = database.through(&server, &proxy).make().unwrap();
    proxy.next_commit(Commit::IsLost);
    let refused = store.create_workspace(act(&clock()), &contract::workspace("lost"));
    assert!(matches!(refused, Err(Error::Store { .. })), "{refused:?}");
    assert!(store.workspace("lost").unwrap().is_none());
    proxy.next_commit(Commit::LosesItsAnswer);
    store.create_workspace(act(&clock()), &contract::workspace("kept")).unwrap();
    assert!(database.make().unwrap().workspace("kept").unwrap().is_some());
    assert_eq!(verify(&store, &mut |_| {}).unwrap(), 1);
}

#[test]
fn whoever_watches_is_woken_also_after_the_connection_was_lost() {
    let server = Server::start();
    let database = Database::new(&server);
    let store = database.make().unwrap();
    let (wake, woken) = mpsc::channel();
    let watch = store.watch(Arc::new(move || {
        let _ = wake.send(());
    }));
    let patience = Duration::from_secs(20);
    woken.recv_timeout(patience).unwrap();
    store.create_workspace(act(&clock()), &contract::workspace("a")).unwrap();
    woken.recv_timeout(patience).unwrap();
    let listeners = "pg_stat_activity WHERE application_name = 'tollgate listen'";
    server.sql(&database.name, &format!("SELECT pg_terminate_backend(pid) FROM {listeners}"));
    woken.recv_timeout(patience).unwrap();
    store.create_workspace(act(&clock()), &contract::workspace("b")).unwrap();
    woken.recv_timeout(patience).unwrap();
    drop(watch);
    assert_eq!(woken.recv_timeout(patience), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn three_readers_see_every_entry_of_sixty_four_writers_once_and_in_order() {
    const WRITERS: u64 = 64;
    const EACH: u64 = 3;
    let server = Server::start();
    let database = Database::new(&server);
    database.open().create_workspace(act(&clock()), &contract::workspace("ws")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let reader = database.open();
            scope.spawn(move || {
                let (wake, woken) = mpsc::channel();
                let _watch = reader.watch(Arc::new(move || {
                    let _ = wake.send(());
                }));
                let mut last = 0;
                while last < 1 + WRITERS * EACH {
                    let _ = woken.recv_timeout(Duration::from_millis(500));
                    for seq in insist(|| reader.changes(last, 7)).seqs {
                        assert_eq!(seq, last + 1);
                        last = seq;
                    }
                }
            });
        }
        for writer in 0..WRITERS {
            let database = &database;
            scope.spawn(move || {
                let store = insist(|| database.make());
                for n in 0..EACH {
                    let new = contract::token(&format!("t{writer}-{n}"), "ws", writer * EACH + n);
                    insist(|| store.create_token(act(&clock()), &new, 1_000));
                }
            });
        }
    });
    assert_eq!(verify(&*database.open(), &mut |_| {}).unwrap(), 1 + WRITERS * EACH);
}

#[test]
fn notifications_that_do_not_arrive_change_nothing_else() {
    let server = Server::start();
    let database = Database::new(&server);
    database.make().unwrap();
    let proxy = Proxy::start(server.port());
    proxy.silence("tollgate listen");
    let store = database.through(&server, &proxy).make().unwrap();
    let (wake, woken) = mpsc::channel();
    let watch = store.watch(Arc::new(move || {
        let _ = wake.send(());
    }));
    store.create_workspace(act(&clock()), &contract::workspace("a")).unwrap();
    assert_eq!(store.changes(0, 10).unwrap().seqs, [1]);
    assert!(woken.try_recv().is_err());
    drop(watch);
}

/// Blocking there is wrong, and must not be worse than that.
#[tokio::test]
async fn a_task_that_asks_gets_its_answer() {
    let server = Server::start();
    let database = Database::new(&server);
    let store = database.make().unwrap();
    store.create_workspace(act(&clock()), &contract::workspace("ws")).unwrap();
    assert_eq!(store.head().unwrap().0, 1);
}
