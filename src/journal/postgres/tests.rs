use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::journal::tests::{File, Fixture, PROOFS, START, all, bounds, entry};
use crate::journal::{Forwarded, Forwarder, Parts};
use crate::tokens::PostgresStore;
use crate::tokens::store::postgres::server::Server;

/// A database with the store's tables.
struct Tables(PostgresAddress);

impl Tables {
    fn new(server: &Server) -> Self {
        let address = PostgresAddress::parse(&server.database(), Path::new("")).unwrap();
        PostgresStore::open(&address).unwrap();
        Self(address)
    }

    fn journal(&self) -> PostgresJournal {
        PostgresJournal::new(&self.0, bounds()).unwrap()
    }
}

impl Fixture for Tables {
    fn open(&self, bounds: Bounds) -> Arc<dyn Journal> {
        Arc::new(PostgresJournal::new(&self.0, bounds).unwrap())
    }
}

fn kept(numbers: std::ops::Range<u64>) -> Vec<Kept> {
    numbers.map(|number| Kept { number, entry: entry("a", START + number) }).collect()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(std::time::Instant::now() < end, "gave up waiting for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A forwarder from a new file, whose cores note nothing.
fn forwarder(file: &File, journal: &Arc<PostgresJournal>, bounds: Bounds) -> (Arc<Forwarded>, Forwarder) {
    let counts = Arc::new(Forwarded::default());
    let parts = Parts {
        spool: Arc::new(file.open(bounds)),
        shared: Arc::clone(journal),
        flush: Box::new(|_| true),
        clock: Clock::manual(START),
        counts: Arc::clone(&counts),
    };
    (counts, Forwarder::start(parts).unwrap())
}

#[test]
fn a_database_keeps_the_contract() {
    let server = Server::start();
    for proof in PROOFS {
        proof(&Tables::new(&server));
    }
}

#[test]
fn what_comes_again_is_taken_once() {
    let server = Server::start();
    let journal = Tables::new(&server).journal();
    let take = |spool, entries: &[Kept]| journal.take(Part { spool, entries, answers: None }).unwrap();
    for numbers in [1..6, 1..6, 4..9] {
        take("one", &kept(numbers));
    }
    assert_eq!(journal.entries(&all("a")).unwrap().len(), 8);
    take("other", &kept(1..3));
    assert_eq!(journal.entries(&all("a")).unwrap().len(), 10, "another gateway's numbers are its own");
}

#[test]
fn whoever_lives_is_waited_for_until_it_has_answered() {
    let server = Server::start();
    let tables = Tables::new(&server);
    let journal = tables.journal();
    let nobody = journal.ask_all().unwrap();
    assert_eq!(journal.missing(nobody).unwrap(), 0);
    let say = |spool, answers| journal.take(Part { spool, entries: &[], answers }).unwrap();
    for spool in ["one", "two", "three"] {
        say(spool, None);
    }
    let asked = tables.journal().ask_all().unwrap();
    assert_eq!((journal.asked().unwrap(), journal.missing(asked).unwrap()), (asked, 3));
    say("one", Some(asked));
    say("two", Some(nobody));
    assert_eq!(journal.missing(asked).unwrap(), 2);
    journal.leave("three").unwrap();
    say("two", Some(asked));
    assert_eq!(journal.missing(asked).unwrap(), 0);
    let later = journal.ask_all().unwrap();
    assert_eq!(journal.missing(later).unwrap(), 2);
}

#[test]
fn what_waits_while_the_database_is_away_comes_once_when_it_is_back() {
    let server = Server::start();
    let journal = Arc::new(Tables::new(&server).journal());
    let file = File::new();
    let unbounded = Bounds { entries_per_token: u64::MAX, ..bounds() };
    let (counts, running) = forwarder(&file, &journal, unbounded);
    let spool = file.open(unbounded);
    spool.append(&[entry("a", START)]).unwrap();
    until("the first to be handed on", || counts.entries() == 1);
    server.crash();
    spool.append(&vec![entry("a", START + 1); 5_000]).unwrap();
    server.go();
    until("all to be handed on", || counts.entries() == 5_001);
    assert_eq!(journal.activity(&all("a")).unwrap().writes, bounds().entries_per_token);
    let asked = journal.ask_all().unwrap();
    until("the answer", || journal.missing(asked).unwrap() == 0);
    spool.append(&[entry("b", START)]).unwrap();
    drop(running);
    assert_eq!(journal.entries(&all("b")).unwrap().len(), 1, "the last is handed on at the end");
    assert_eq!(spool.held().unwrap(), 0);
    let nobody = journal.ask_all().unwrap();
    assert_eq!(journal.missing(nobody).unwrap(), 0, "who has left is not waited for");
}

#[test]
fn a_backlog_does_not_hold_up_the_end() {
    let server = Server::start();
    let journal = Arc::new(Tables::new(&server).journal());
    let file = File::new();
    let unbounded = Bounds { entries: u64::MAX, entries_per_token: u64::MAX, ..bounds() };
    let (counts, running) = forwarder(&file, &journal, unbounded);
    let spool = file.open(unbounded);
    spool.append(&[entry("a", START)]).unwrap();
    until("the first to be handed on", || counts.entries() == 1);
    server.crash();
    spool.append(&vec![entry("a", START); 25_000]).unwrap();
    let asked = journal.ask_all();
    assert!(asked.is_err(), "the database is away");
    server.go();
    drop(running);
    let left = spool.held().unwrap();
    assert_eq!(counts.entries() + left, 25_001, "nothing is lost");
    assert!(left > 0, "the rest is left for the next start");
    let asked = journal.ask_all().unwrap();
    assert_eq!(journal.missing(asked).unwrap(), 1, "what is left is waited for");
}

#[test]
fn what_waits_too_long_is_lost_and_counted() {
    let address = PostgresAddress::parse("postgres://tollgate@127.0.0.1:9/nowhere", Path::new("")).unwrap();
    let journal = Arc::new(PostgresJournal::new(&address, bounds()).unwrap());
    let file = File::new();
    let few = Bounds { entries: 1_000, entries_per_token: u64::MAX, ..bounds() };
    file.open(few).append(&vec![entry("a", START); 3_000]).unwrap();
    let (counts, running) = forwarder(&file, &journal, few);
    until("the rest to be lost", || counts.lost() == 2_000);
    drop(running);
    assert_eq!((counts.waiting(), counts.entries()), (1_000, 0));
}

/// The grants of `config/docs/postgresql.md` are enough.
#[test]
fn a_gateway_needs_no_more_than_the_documented_grants() {
    let server = Server::start();
    let tables = Tables::new(&server);
    let page = include_str!("../../../config/docs/postgresql.md");
    let grants = page.rsplit("```sql\n").next().unwrap().split("```").next().unwrap();
    let url = tables.0.to_string();
    server.sql(url.rsplit('/').next().unwrap(), &format!("CREATE ROLE gateway LOGIN; {grants}"));
    let granted = PostgresAddress::parse(&url.replace("tollgate@", "gateway@"), Path::new("")).unwrap();
    let journal = Tables(granted).journal();
    let asked = journal.ask_all().unwrap();
    journal.take(Part { spool: "one", entries: &kept(1..6), answers: Some(asked) }).unwrap();
    journal.leave("one").unwrap();
    assert_eq!(journal.missing(asked).unwrap(), 0);
    let clock = Clock::manual(START);
    clock.advance(91 * Duration::from_hours(24));
    assert_eq!(journal.sweep(clock.now()).unwrap(), 5);
}
