use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::tests::{START, open, regions};
use super::*;
use crate::clock::Clock;
use crate::domain::{JwtLifetime, Plan, WorkspaceState};
use crate::tokens::registry::OperatorLookup;
use crate::tokens::store::postgres::server::Server;
use crate::tokens::store::sqlite::SqliteStore;
use crate::tokens::{
    Act, JwtsRevoked, Leak, LeakedToken, Lookup, Mint, Minted, MintedOperator, NewWorkspace, PostgresAddress,
    PostgresStore, Store, TokenRecord, TokenRequest, WorkspaceChange,
};

/// A registry on a store whose disk can be filled.
struct Node {
    _folder: Option<tempfile::TempDir>,
    clock: Clock,
    store: Arc<SqliteStore>,
    mint: Mint,
    registry: Arc<Registry>,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let node = Self::at(folder.path());
        Self { _folder: Some(folder), ..node }
    }

    fn at(folder: &Path) -> Self {
        let clock = Clock::manual(START);
        let mut mint = open(folder, 1, &clock, &regions(&[("us", 'u')]));
        let store = Arc::new(SqliteStore::open(&folder.join("tollgate.db")).unwrap());
        mint.store = Arc::clone(&store) as Arc<dyn Store>;
        let registry = Registry::open(&mint, clock.now()).unwrap();
        let node = Self { _folder: None, clock, store, mint, registry };
        let workspace = NewWorkspace::ordinary("ws", "us");
        node.mint.create_workspace(node.act(), &workspace).unwrap();
        node
    }

    fn act(&self) -> Act<'static> {
        Act::by("test", self.clock.now())
    }

    fn create(&self) -> Minted {
        let minted = self.mint.create_token(self.act(), &TokenRequest::ordinary("ws")).unwrap();
        self.registry.sync(self.clock.now()).unwrap();
        minted
    }

    fn works(&self, minted: &Minted) -> bool {
        match self.registry.find(minted.token.expose().as_bytes(), self.clock.now()) {
            Lookup::Found(_) => true,
            Lookup::Revoked(_) => false,
            other => panic!("{other:?}"),
        }
    }

    fn fill(&self, is_full: bool) {
        self.store.watched.is_full.store(is_full, Ordering::SeqCst);
    }

    fn revoke(&self, minted: &Minted) -> Result<TokenRecord, Error> {
        self.registry.revoke(self.act(), &minted.record.id, "leaked")
    }

    fn stored_state(&self, minted: &Minted) -> Option<u64> {
        self.mint.token(&minted.record.id).unwrap().revoked_at_unix_seconds
    }
}

#[test]
fn a_revocation_that_the_store_takes_leaves_nothing_behind() {
    let node = Node::new();
    let (gone, kept) = (node.create(), node.create());
    assert_eq!(node.revoke(&gone).unwrap().revoked_reason.as_deref(), Some("leaked"));
    assert!(!node.works(&gone) && node.works(&kept));
    assert_eq!(
        (node.registry.unwritten_revocations(), node.registry.unwritten.count.load(Ordering::SeqCst)),
        (0, 0)
    );
    assert!(matches!(node.registry.revoke(node.act(), "tok_no", "x"), Err(Error::TokenUnknown(_))));
    assert_eq!(node.registry.unwritten.count.load(Ordering::SeqCst), 0);
}

#[test]
fn a_full_disk_does_not_keep_a_token_in_force() {
    let node = Node::new();
    let (leaked, kept) = (node.create(), node.create());
    node.fill(true);
    let error = node.revoke(&leaked).unwrap_err();
    assert!(matches!(&error, Error::RevocationUnwritten { id, .. } if *id == leaked.record.id), "{error}");
    assert!(!node.works(&leaked) && node.works(&kept));
    assert_eq!(node.stored_state(&leaked), None);
    assert!(node.revoke(&leaked).is_err(), "the second attempt was acknowledged");
    assert_eq!(node.registry.unwritten_revocations(), 1, "it waits twice");
    node.clock.advance(Duration::from_mins(1));
    node.registry.write_revocations(node.clock.now());
    node.registry.sync(node.clock.now()).unwrap();
    assert!(!node.works(&leaked), "a look at the log brought it back");
    node.fill(false);
    node.registry.write_revocations(node.clock.now());
    assert_eq!(node.stored_state(&leaked), Some(START), "the time is not that of the revocation");
    assert!(!node.works(&leaked) && node.works(&kept));
    assert_eq!(
        (node.registry.unwritten_revocations(), node.registry.unwritten.count.load(Ordering::SeqCst)),
        (0, 0)
    );
}

#[test]
fn predecessors_end_with_what_replaced_them() {
    let node = Node::new();
    let first = node.create();
    let second = node.mint.rotate_token(node.act(), &first.record.id, 3_600, None).unwrap();
    let stranger = node.create();
    node.fill(true);
    node.registry.sync(node.clock.now()).unwrap();
    node.revoke(&second).unwrap_err();
    assert!(!node.works(&second) && !node.works(&first) && node.works(&stranger), "at once");
    node.fill(false);
    node.registry.write_revocations(node.clock.now());
    assert!(node.stored_state(&first).is_some() && node.stored_state(&second).is_some());
    assert!(!node.works(&second) && !node.works(&first));
    assert_eq!(node.registry.unwritten.count.load(Ordering::SeqCst), 0);
}

#[test]
fn the_successor_of_a_revoked_token_goes_on() {
    let node = Node::new();
    let first = node.create();
    let second = node.mint.rotate_token(node.act(), &first.record.id, 3_600, None).unwrap();
    node.registry.sync(node.clock.now()).unwrap();
    node.fill(true);
    node.revoke(&first).unwrap_err();
    node.registry.write_revocations(node.clock.now());
    assert!(!node.works(&first) && node.works(&second));
}

#[test]
fn what_somebody_else_failed_to_write_is_refused_and_written() {
    let node = Node::new();
    let (leaked, now) = (node.create(), node.clock.now());
    node.fill(true);
    for _ in 0..2 {
        assert!(node.registry.refuse_leaked("alert", now, vec![found(&leaked)]).is_empty());
    }
    assert_eq!((node.works(&leaked), node.registry.unwritten_revocations()), (false, 1));
    node.fill(false);
    node.registry.write_revocations(now);
    assert_eq!((node.stored_state(&leaked), node.registry.unwritten_revocations()), (Some(START), 0));
}

fn found(minted: &Minted) -> LeakedToken {
    let leak = Leak::new("alert", "a_token", "https://example.com/a", "commit", START);
    LeakedToken { token_id: minted.record.id.clone(), leak }
}

/// Whichever of a family is found, all of it ends at once: those that it replaced and those that replaced it.
#[test]
fn a_leaked_tokens_whole_family_ends_while_the_store_is_full() {
    for index in 0..3 {
        let node = Node::new();
        let rotate = |minted: &Minted| {
            let next = node.mint.rotate_token(node.act(), &minted.record.id, 3_600, None).unwrap();
            node.registry.sync(node.clock.now()).unwrap();
            next
        };
        let first = node.create();
        let second = rotate(&first);
        let family = [rotate(&second), second, first];
        let stranger = node.create();
        node.fill(true);
        node.registry.refuse_leaked("alert", node.clock.now(), vec![found(&family[index])]);
        assert!(family.iter().all(|minted| !node.works(minted)), "{index}");
        assert!(node.works(&stranger));
        node.registry.write_revocations(node.clock.now());
        assert!(family.iter().all(|minted| !node.works(minted)), "{index}");
        node.fill(false);
        node.registry.write_revocations(node.clock.now());
        assert!(family.iter().all(|minted| node.stored_state(minted).is_some() && !node.works(minted)));
        assert_eq!(node.registry.unwritten.count.load(Ordering::SeqCst), 0);
    }
}

/// A newer configuration has a region that this process does not know yet.
#[test]
fn a_workspace_of_an_unknown_region_leaves_no_revocation_waiting() {
    let node = Node::new();
    let (at_once, late, kept) = (node.create(), node.create(), node.create());
    let elsewhere = NewWorkspace::ordinary("elsewhere", "mars");
    node.store.create_workspace(node.act(), &elsewhere).unwrap();
    node.revoke(&at_once).unwrap();
    assert!(matches!(node.registry.sync(node.clock.now()), Err(Error::Unplaced { .. })));
    assert_eq!(node.registry.unwritten_revocations(), 0, "what is written waits");
    node.fill(true);
    node.revoke(&late).unwrap_err();
    node.fill(false);
    node.registry.write_revocations(node.clock.now());
    assert_eq!(node.registry.unwritten_revocations(), 0, "what was written waits for ever");
    assert_eq!(node.registry.unwritten.count.load(Ordering::SeqCst), 0);
    assert!(!node.works(&at_once) && !node.works(&late) && node.works(&kept));
}

#[test]
fn no_more_wait_than_may() {
    let node = Node::new();
    let minted = node.create();
    node.fill(true);
    for index in 0..MOST_UNWRITTEN {
        let result = node.registry.revoke(node.act(), &format!("tok_{index}"), "x");
        assert!(matches!(result, Err(Error::RevocationUnwritten { .. })));
    }
    assert!(matches!(node.revoke(&minted), Err(Error::TooManyUnwritten(_))));
    assert!(node.works(&minted));
    node.fill(false);
    for _ in 0..MOST_UNWRITTEN / AT_ONCE {
        node.registry.write_revocations(node.clock.now());
    }
    assert_eq!(node.registry.unwritten_revocations(), 0, "what the store does not know waits for ever");
}

#[test]
fn the_follower_writes_what_waits() {
    let node = Node::new();
    let leaked = node.create();
    node.fill(true);
    node.revoke(&leaked).unwrap_err();
    let poll = Duration::from_millis(10);
    let follower = node.registry.follow(Clock::system(), poll, Duration::from_mins(1)).unwrap();
    node.fill(false);
    let begun = Instant::now();
    while node.stored_state(&leaked).is_none() {
        assert!(begun.elapsed() < Duration::from_secs(10), "never written");
        std::thread::yield_now();
    }
    drop(follower);
}

/// A disk of two megabytes that is really full. Needs root, for the disk.
#[test]
fn a_disk_that_is_really_full() {
    let disk = tempfile::tempdir().unwrap();
    let run = |program: &str, words: &[&str]| {
        std::process::Command::new(program)
            .args(words)
            .arg(disk.path())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !run("mount", &["-t", "tmpfs", "-o", "size=2m", "tollgate-test"]) {
        writeln!(std::io::stderr(), "SKIPPED: a disk that is really full: a tmpfs cannot be mounted here")
            .unwrap();
        return;
    }
    let result = std::panic::catch_unwind(|| {
        let node = Node::at(disk.path());
        let leaked = node.create();
        let filler = disk.path().join("filler");
        let block = vec![0; 4_096];
        let mut file = std::fs::File::create(&filler).unwrap();
        while file.write_all(&block).is_ok() {}
        // What the write-ahead log has left of its last page may take a little more.
        let change = |plan| WorkspaceChange { plan: Some(plan), ..WorkspaceChange::default() };
        let mut plans = [Plan::Free, Plan::Business].into_iter().cycle();
        while node.mint.set_workspace(node.act(), "ws", &change(plans.next().unwrap())).is_ok() {}
        let error = node.revoke(&leaked).unwrap_err();
        assert!(matches!(error, Error::RevocationUnwritten { .. }), "{error}");
        assert!(!node.works(&leaked));
        drop(file);
        std::fs::remove_file(&filler).unwrap();
        node.registry.write_revocations(node.clock.now());
        assert!(node.stored_state(&leaked).is_some() && !node.works(&leaked));
        assert_eq!(node.registry.unwritten_revocations(), 0);
    });
    assert!(run("umount", &["-l"]), "the disk of the test is left mounted");
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Every kind of revocation of JWTs, with one that each takes out of force.
fn of_jwts(now: u64) -> [(JwtsRevoked, JwtNames<'static>); 3] {
    let jwt = JwtNames {
        issuer: "i",
        jti: Some("other"),
        subject: "other",
        issued_at_unix_seconds: Some(now - 1),
        workspace: "other",
    };
    let issued_before_unix_seconds = now;
    [
        (JwtsRevoked::Token { issuer: "i".into(), jti: "j".into() }, JwtNames { jti: Some("j"), ..jwt }),
        (
            JwtsRevoked::Subject { issuer: "i".into(), subject: "s".into(), issued_before_unix_seconds },
            JwtNames { subject: "s", ..jwt },
        ),
        (
            JwtsRevoked::Workspace { workspace: "ws".into(), issued_before_unix_seconds },
            JwtNames { workspace: "ws", ..jwt },
        ),
    ]
}

fn accepted() -> [JwtLifetime; 1] {
    [JwtLifetime { issuer: "i".into(), longest_seconds: 3_600, claims_suffice: false }]
}

/// Revokes JWTs and an operator while `store` cannot be used, and sees all of it written when it can.
fn all_kinds(
    (mint, registry, clock): (&Mint, &Registry, &Clock),
    operator: &MintedOperator,
    store: &dyn Fn(bool),
) {
    let act = || Act::by("test", clock.now());
    let token = operator.token.expose().as_bytes();
    assert!(matches!(registry.operator(token, clock.now()), OperatorLookup::Found(_)));
    store(false);
    for (jwts, names) in of_jwts(START) {
        assert!(!registry.jwt_revoked(&names), "{names:?}");
        for _ in 0..2 {
            let refused = registry.revoke_jwts(mint, act(), (&jwts, "leaked"), &accepted());
            assert!(matches!(refused, Err(Error::RevocationUnwritten { .. })), "{refused:?}");
        }
        assert!(registry.jwt_revoked(&names), "at once");
        let later = JwtNames { jti: Some("later"), issued_at_unix_seconds: Some(START), ..names };
        assert!(!registry.jwt_revoked(&later), "and no others");
    }
    let refused = registry.revoke_operator(act(), &operator.record.name);
    assert!(matches!(refused, Err(Error::RevocationUnwritten { what: "operator", .. })), "{refused:?}");
    assert_eq!(registry.operator(token, clock.now()), OperatorLookup::Revoked, "at once");
    assert_eq!(registry.unwritten_revocations(), 4, "each waits once");
    registry.write_revocations(clock.now());
    assert_eq!(registry.unwritten_revocations(), 4);
    store(true);
    let begun = Instant::now();
    while registry.unwritten_revocations() > 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "never written");
        registry.write_revocations(clock.now());
    }
    assert_eq!(mint.store().jwt_revocations("", 10).unwrap().len(), 3);
    assert!(mint.store().operators().unwrap()[0].revoked_at_unix_seconds.is_some());
    assert!(registry.unwritten.jwts.load().is_none() && registry.unwritten.operators.is_empty());
    for (_, names) in of_jwts(START) {
        assert!(registry.jwt_revoked(&names), "also when the log says so");
    }
    assert_eq!(registry.operator(token, clock.now()), OperatorLookup::Revoked);
}

#[test]
fn jwts_and_operators_are_refused_while_the_disk_is_full() {
    let node = Node::new();
    let operator = node.mint.create_operator(node.act(), "ana", None).unwrap();
    node.registry.sync(node.clock.now()).unwrap();
    all_kinds((&node.mint, &node.registry, &node.clock), &operator, &|is_well| node.fill(!is_well));
}

#[test]
fn jwts_and_operators_are_refused_while_the_database_is_away() {
    let (folder, clock, server) = (tempfile::tempdir().unwrap(), Clock::manual(START), Server::start());
    let mut mint = open(folder.path(), 1, &clock, &regions(&[("us", 'u')]));
    let address = PostgresAddress::parse(&server.database(), Path::new("")).unwrap();
    mint.store = Arc::new(PostgresStore::open(&address).unwrap());
    let act = Act::by("test", clock.now());
    let workspace = NewWorkspace::ordinary("ws", "us");
    mint.create_workspace(act, &workspace).unwrap();
    let operator = mint.create_operator(act, "ana", None).unwrap();
    let registry = Registry::open(&mint, clock.now()).unwrap();
    let store = |is_well: bool| if is_well { server.go() } else { server.stop() };
    all_kinds((&mint, &registry, &clock), &operator, &store);
    let token = mint.create_token(act, &TokenRequest::ordinary("ws")).unwrap();
    registry.sync(clock.now()).unwrap();
    deletion((&mint, &registry, &clock), &token, &store);
}

#[test]
fn what_the_store_refuses_is_not_left_in_force() {
    let node = Node::new();
    let [_, _, (jwts, names)] = of_jwts(START);
    let unknown = JwtsRevoked::Workspace { workspace: "nobody".into(), issued_before_unix_seconds: START };
    let refused = node.registry.revoke_jwts(&node.mint, node.act(), (&unknown, "x"), &accepted());
    assert!(matches!(refused, Err(Error::WorkspaceUnknown(_))));
    let refused = node.registry.revoke_operator(node.act(), "nobody");
    assert!(matches!(refused, Err(Error::OperatorUnknown(_))));
    node.registry.sync(node.clock.now()).unwrap();
    node.registry.revoke_jwts(&node.mint, node.act(), (&jwts, "x"), &accepted()).unwrap();
    assert!(node.registry.jwt_revoked(&names));
    assert_eq!(node.registry.unwritten_revocations(), 0);
    assert!(node.registry.unwritten.jwts.load().is_none(), "the log says so");
}

/// Deletes a workspace while `store` cannot be used, and sees it written when it can.
fn deletion((mint, registry, clock): (&Mint, &Registry, &Clock), token: &Minted, store: &dyn Fn(bool)) {
    let act = || Act::by("test", clock.now());
    let state = || registry.workspace("ws").unwrap().state;
    let find = || registry.find(token.token.expose().as_bytes(), clock.now());
    let deleted = WorkspaceChange { state: Some(WorkspaceState::Deleted), ..WorkspaceChange::default() };
    let delete = || registry.set_workspace(mint, act(), "ws", &deleted);
    store(false);
    assert!(matches!(find(), Lookup::Found(_)) && state() == WorkspaceState::Active);
    for _ in 0..2 {
        let refused = delete();
        assert!(matches!(refused, Err(Error::RevocationUnwritten { what: "workspace", .. })), "{refused:?}");
    }
    assert!(matches!(find(), Lookup::Revoked(_)) && state() == WorkspaceState::Deleted, "at once");
    registry.write_revocations(clock.now());
    assert_eq!(registry.unwritten_revocations(), 1, "it waits once");
    store(true);
    let begun = Instant::now();
    while registry.unwritten_revocations() > 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "never written");
        registry.write_revocations(clock.now());
    }
    assert_eq!(mint.workspace("ws").unwrap().state, WorkspaceState::Deleted);
    assert!(mint.token(&token.record.id).unwrap().revoked_at_unix_seconds.is_some());
    assert!(registry.unwritten.workspaces.is_empty(), "the log says so");
    assert!(matches!(find(), Lookup::Revoked(_)) && state() == WorkspaceState::Deleted);
    assert_eq!(delete().unwrap().state, WorkspaceState::Deleted, "again changes nothing");
}

#[test]
fn a_workspace_is_deleted_while_the_disk_is_full() {
    let node = Node::new();
    let token = node.create();
    deletion((&node.mint, &node.registry, &node.clock), &token, &|is_well| node.fill(!is_well));
}

#[test]
fn a_deletion_that_the_store_refuses_is_not_left_in_force() {
    let node = Node::new();
    let token = node.create();
    let delete = |id: &str, region: Option<&str>, features: usize| {
        let change = WorkspaceChange {
            state: Some(WorkspaceState::Deleted),
            region: region.map(str::to_owned),
            enable: (0..features).map(|number| format!("f{number}")).collect(),
            ..WorkspaceChange::default()
        };
        node.registry.set_workspace(&node.mint, node.act(), id, &change)
    };
    assert!(matches!(delete("nobody", None, 0), Err(Error::WorkspaceUnknown(_))));
    assert!(matches!(delete("ws", Some("mars"), 0), Err(Error::RegionUnknown { .. })));
    assert!(matches!(delete("ws", None, 65), Err(Error::Invalid { .. })));
    assert!(node.works(&token) && node.registry.unwritten.workspaces.is_empty());
    assert_eq!(node.registry.unwritten_revocations(), 0);
}

#[test]
fn what_is_held_is_refused_until_it_is_let_go() {
    let node = Node::new();
    let (leaked, kept) = (node.create(), node.create());
    let first = node.registry.hold([&*leaked.record.id]);
    let second = node.registry.hold([&*leaked.record.id]);
    assert!(!node.works(&leaked) && node.works(&kept));
    drop(first);
    assert!(!node.works(&leaked), "another still holds it");
    drop(second);
    assert!(node.works(&leaked));
    assert_eq!(node.registry.unwritten.count.load(Ordering::SeqCst), 0);
}

#[test]
fn relatives_are_looked_for_once_however_many_ask() {
    let mut queue = Queue::default();
    let revoked = Revoked::Token { id: "tok_a".into(), reach: Reach::Family };
    let number = queue.push(revoked, Arc::new(|_| Ok(())));
    queue.wait(number);
    queue.wait(number);
    assert_eq!(queue.take_unsearched().len(), 1);
    // One more asks while they are looked for.
    queue.wait(number);
    assert!(queue.lacks_relatives(number));
    queue.set_relatives(number, Vec::new());
    assert_eq!(queue.take_unsearched().len(), 1);
    assert!(!queue.lacks_relatives(number), "they would be refused twice and let go once");
}
