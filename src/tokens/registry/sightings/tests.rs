use super::*;
use crate::tokens::registry::Lookup;
use crate::tokens::registry::tests::{START, Two};
use crate::tokens::store::{ChangeKind, LogEntry};
use crate::tokens::{Minted, TokenRequest};

const LEARNING: Duration = Duration::from_hours(24);

struct World {
    two: Two,
    untold: Untold,
}

impl World {
    fn new() -> Self {
        let two = Two::new();
        two.registry.watch_networks();
        let untold = Untold::new(&two.registry, LEARNING);
        Self { two, untold }
    }

    fn make(&self, decoy: bool) -> Minted {
        let request = TokenRequest { decoy, ..TokenRequest::ordinary("ws") };
        let minted = self.two.other.create_token(self.two.act(), &request).unwrap();
        self.two.sync().unwrap();
        minted
    }

    fn tell(&mut self) {
        self.untold.tell(&self.two.registry, self.two.clock.now());
    }

    fn entries(&self, kind: ChangeKind) -> Vec<LogEntry> {
        let log = self.two.other.store().log(0, 1_000).unwrap();
        log.into_iter().filter(|entry| entry.kind == kind.name()).collect()
    }

    fn use_from(&self, minted: &Minted, address: &str) {
        let (id, now) = (&minted.record.id, self.two.clock.now());
        let sighting = || seen(id, address);
        let address = address.parse().unwrap();
        self.two.registry.note_network(minted.record.subject(), address, now, sighting);
    }
}

fn seen(id: &str, address: &str) -> Sighting {
    Sighting {
        token_id: id.into(),
        address: address.parse().unwrap(),
        user_agent: "curl/8".into(),
        request_id: "r".into(),
        at_unix_seconds: START,
    }
}

#[test]
fn a_decoy_is_no_token_to_anybody_and_no_more_once_it_is_revoked() {
    let world = World::new();
    let decoy = world.make(true);
    let find = || world.two.registry.find(decoy.token.expose().as_bytes(), world.two.clock.now());
    assert!(matches!(find(), Lookup::Decoy(entry) if **entry.token_id() == *decoy.record.id));
    assert_eq!(world.two.registry.write_uses(true).unwrap(), 0, "a decoy counts as used");
    world.two.other.revoke_token(world.two.act(), &decoy.record.id, "x").unwrap();
    world.two.sync().unwrap();
    assert!(matches!(find(), Lookup::Unknown), "whoever has it learns that it was a token");
}

#[test]
fn uses_of_a_decoy_are_told_once_an_hour_with_their_number() {
    let mut world = World::new();
    let (decoy, other) = (world.make(true), world.make(true));
    world.two.registry.note_decoy(seen(&decoy.record.id, "192.0.2.1"));
    world.tell();
    for n in 2..=100 {
        world.two.registry.note_decoy(seen(&decoy.record.id, &format!("192.0.2.{n}")));
    }
    world.two.registry.note_decoy(seen(&other.record.id, "192.0.2.1"));
    world.two.registry.note_decoy(seen("tok_nobody", "192.0.2.1"));
    for _ in 0..3 {
        world.two.clock.advance(Duration::from_mins(1));
        world.tell();
    }
    assert_eq!(world.entries(ChangeKind::DecoyUsed).len(), 2, "one for each decoy");
    world.two.clock.advance(Duration::from_hours(1));
    world.tell();
    let told = world.entries(ChangeKind::DecoyUsed);
    let body: serde_json::Value = serde_json::from_str(&told[2].body).unwrap();
    assert_eq!((told.len(), &body["count"], &body["address"]), (3, &99.into(), &"192.0.2.100".into()));
    assert_eq!(world.two.registry.sighting_counts().decoy_uses, 102);
    world.two.clock.advance(Duration::from_hours(2));
    world.tell();
    assert_eq!(world.entries(ChangeKind::DecoyUsed).len(), 3);
    assert!(world.untold.decoys.is_empty(), "what was told is remembered for ever");
}

#[test]
fn a_full_queue_loses_notes_and_counts_them() {
    let mut world = World::new();
    let decoy = world.make(true);
    (0..QUEUE + 10).for_each(|_| world.two.registry.note_decoy(seen(&decoy.record.id, "192.0.2.1")));
    let counts = world.two.registry.sighting_counts();
    assert_eq!((counts.decoy_uses, counts.lost), (QUEUE as u64 + 10, 10));
    world.tell();
    assert_eq!(world.entries(ChangeKind::DecoyUsed).len(), 1);
}

#[test]
fn a_network_is_asked_of_the_store_once_a_day_and_told_once() {
    let mut world = World::new();
    let token = world.make(false);
    let waiting = |world: &World| world.untold.queue.as_ref().unwrap().try_iter().count();
    world.use_from(&token, "192.0.2.1");
    world.tell();
    for _ in 0..100 {
        world.use_from(&token, "192.0.2.77");
    }
    assert_eq!(waiting(&world), 0, "the same network was noted again");
    world.two.clock.advance(Duration::from_hours(24));
    world.use_from(&token, "192.0.2.77");
    assert_eq!(waiting(&world), 1, "the next day it is seen again");
    world.use_from(&token, "2001:db8::1");
    world.use_from(&token, "2001:db8:0:ffff::1");
    world.tell();
    assert_eq!(world.entries(ChangeKind::TokenNewNetwork).len(), 1);
    assert_eq!(world.two.registry.sighting_counts().new_networks, 1);
}

#[test]
fn a_network_that_finds_no_room_is_noted_at_its_next_use() {
    let mut world = World::new();
    let token = world.make(false);
    for n in 0..MOST_NETWORKS {
        world.use_from(&token, &format!("10.{}.{}.1", n / 256, n % 256));
    }
    let (subject, address) = (token.record.subject(), "192.0.2.1".parse().unwrap());
    let no_room = || unreachable!("a note was made that finds no room");
    world.two.registry.note_network(subject, address, world.two.clock.now(), no_room);
    world.tell();
    world.use_from(&token, "192.0.2.1");
    assert_eq!(world.untold.queue.as_ref().unwrap().try_iter().count(), 1);
}

#[test]
fn what_the_store_does_not_take_is_noted_again() {
    let mut world = World::new();
    let token = world.make(false);
    world.use_from(&token, "192.0.2.1");
    world.two.sql("ALTER TABLE known_network RENAME TO away");
    world.tell();
    assert!(world.untold.has_failed);
    world.two.sql("ALTER TABLE away RENAME TO known_network");
    world.use_from(&token, "192.0.2.1");
    world.tell();
    assert_eq!(world.two.other.store().known_networks(&token.record.id).unwrap().len(), 1);
}

#[test]
fn nothing_is_noted_of_networks_unless_that_is_asked_for() {
    let two = Two::new();
    two.registry.note_network(Subject(1), "192.0.2.1".parse().unwrap(), two.clock.now(), || {
        unreachable!("it was noted")
    });
}

#[test]
fn the_thread_tells_and_ends_with_everything_told() {
    let world = World::new();
    let decoy = world.make(true);
    let two = Two { ..world.two };
    // The queue is the other's; a registry of its own has one.
    let registry = Registry::open(&two.other, two.clock.now()).unwrap();
    let teller = registry.tell_sightings(two.clock.clone(), None).unwrap();
    registry.note_decoy(seen(&decoy.record.id, "192.0.2.1"));
    drop(teller);
    let log = two.other.store().log(0, 1_000).unwrap();
    assert!(log.iter().any(|entry| entry.kind == ChangeKind::DecoyUsed.name()));
}

#[test]
fn networks_leave_room_for_decoys() {
    let mut world = World::new();
    let (token, decoy) = (world.make(false), world.make(true));
    for n in 0..QUEUE {
        world.use_from(&token, &format!("10.{}.{}.1", n / 256, n % 256));
    }
    world.two.registry.note_decoy(seen(&decoy.record.id, "192.0.2.1"));
    assert_eq!(world.two.registry.sighting_counts().lost, 0, "after a restart every network is news");
    world.tell();
    assert_eq!(world.entries(ChangeKind::DecoyUsed).len(), 1);
}
