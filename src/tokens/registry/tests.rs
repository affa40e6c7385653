use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::domain::{
    JwtLifetime, LimitOverride, OverrideHolder, Plan, Problems, Region, Role, WorkspaceState,
};
use crate::tokens::random::dice::Dice;
use crate::tokens::{
    Act, JwtsRevoked, Minted, NewOverride, NewWorkspace, Rules, Settings, TokenRequest, WorkspaceChange,
};

pub(super) const START: u64 = 1_700_000_000;

pub(super) fn regions(names: &[(&str, char)]) -> Regions {
    let region = |(name, letter): &(&str, char)| Region {
        name: (*name).into(),
        letter: *letter,
        base_url: "https://x".into(),
    };
    Regions::new(names.iter().map(region).collect())
}

pub(super) fn open(folder: &Path, seed: u64, clock: &Clock, regions: &Regions) -> Mint {
    let rules = Rules::from_settings(&Settings::default(), folder, &mut Problems::new()).unwrap();
    Mint::open(&rules, regions, Box::new(Dice::new(seed)), clock.now()).unwrap()
}

/// A registry in one "process" and the mint of another on the same file.
pub(super) struct Two {
    pub(super) folder: tempfile::TempDir,
    pub(super) clock: Clock,
    pub(super) registry: Arc<Registry>,
    pub(super) other: Mint,
}

impl Two {
    pub(super) fn new() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::manual(START));
        let regions = regions(&[("us", 'u'), ("eu", 'e')]);
        let ours = open(folder.path(), 1, &clock, &regions);
        let registry = Registry::open(&ours, clock.now()).unwrap();
        let other = open(folder.path(), 2, &clock, &regions);
        let two = Self { folder, clock, registry, other };
        let workspace = NewWorkspace {
            id: "ws".into(),
            region: "eu".into(),
            plan: Plan::Team,
            features: vec!["audiences".into()],
            contacts: vec![],
        };
        two.other.create_workspace(two.act(), &workspace).unwrap();
        two
    }

    pub(super) fn act(&self) -> Act<'static> {
        Act::by("test", self.clock.now())
    }

    pub(super) fn create(&self, lifetime_seconds: Option<u64>) -> Minted {
        let request = TokenRequest {
            scopes: vec!["read".into()],
            role: Role::Owner,
            own_limit: Some("5 per minute".parse().unwrap()),
            lifetime_seconds,
            ..TokenRequest::ordinary("ws")
        };
        self.other.create_token(self.act(), &request).unwrap()
    }

    pub(super) fn sync(&self) -> Result<u64, Error> {
        self.registry.sync(self.clock.now())
    }

    fn find(&self, minted: &Minted) -> Lookup {
        self.registry.find(minted.token.expose().as_bytes(), self.clock.now())
    }

    pub(super) fn sql(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.folder.path().join("tollgate.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection.execute_batch(sql).unwrap();
    }
}

#[test]
fn refuses_tokens_that_it_has_never_seen() {
    let two = Two::new();
    let minted = two.create(None);
    assert!(matches!(two.find(&minted), Lookup::Unknown), "known before the log was read");
    two.sync().unwrap();
    let good = minted.token.expose();
    let stranger = two.registry.format().mint('e', &Dice::new(99)).unwrap();
    let flipped = format!("{}{}", &good[..67], if good.ends_with('0') { '1' } else { '0' });
    for token in
        ["", "x", stranger.expose(), &flipped, &good[..67], &format!("{good}{good}"), &"x".repeat(600)]
    {
        assert!(matches!(two.registry.find(token.as_bytes(), two.clock.now()), Lookup::Unknown), "{token}");
    }
}

#[test]
fn tells_revoked_and_expired_from_working() {
    let two = Two::new();
    let (short, revoked, rotated) = (two.create(Some(60)), two.create(Some(60)), two.create(None));
    two.other.revoke_token(two.act(), &revoked.record.id, "leaked").unwrap();
    let successor = two.other.rotate_token(two.act(), &rotated.record.id, 30, None).unwrap();
    two.sync().unwrap();
    assert!(matches!(two.find(&short), Lookup::Found(_)));
    assert!(matches!(two.find(&revoked), Lookup::Revoked(_)));
    assert!(matches!(two.find(&rotated), Lookup::Found(_)));
    two.clock.advance(Duration::from_secs(30));
    assert!(matches!(two.find(&rotated), Lookup::Revoked(_)));
    let Lookup::Found(entry) = two.find(&successor) else { panic!("the successor does not work") };
    assert_eq!(entry.subject(), rotated.record.subject());
    two.clock.advance(Duration::from_secs(30));
    assert!(matches!(two.find(&short), Lookup::Expired(_)));
    assert!(matches!(two.find(&revoked), Lookup::Revoked(_)));
}

#[test]
fn an_entry_says_all_that_a_caller_needs() {
    let two = Two::new();
    let minted = two.create(Some(3_600));
    two.sync().unwrap();
    let Lookup::Found(entry) = two.find(&minted) else { panic!("not found") };
    assert_eq!(**entry.token_id(), minted.record.id);
    assert_eq!(entry.subject(), minted.record.subject());
    assert_eq!(entry.scopes().iter().map(|scope| &**scope).collect::<Vec<_>>(), ["read"]);
    assert_eq!((entry.role(), entry.own_limit()), (Role::Owner, Some("5 per minute".parse().unwrap())));
    assert_eq!(entry.expires_at_unix_seconds(), Some(START + 3_600));
    let workspace = entry.workspace();
    assert_eq!((&*workspace.id, workspace.plan, workspace.region), ("ws", Plan::Team, RegionId(1)));
    assert!(workspace.has_feature("audiences"));
    assert_ne!(workspace.subject, entry.subject());
    assert_eq!(two.registry.workspace("ws").as_ref(), Some(workspace));
    assert_eq!(two.registry.workspace("other"), None);
}

#[test]
fn a_workspace_that_changes_elsewhere_changes_here() {
    let two = Two::new();
    let minted = two.create(None);
    two.sync().unwrap();
    let change = WorkspaceChange {
        plan: Some(Plan::Free),
        state: Some(WorkspaceState::Suspended),
        ..WorkspaceChange::default()
    };
    two.other.set_workspace(two.act(), "ws", &change).unwrap();
    two.sync().unwrap();
    let Lookup::Found(entry) = two.find(&minted) else { panic!("not found") };
    assert_eq!((entry.workspace().plan, entry.workspace().state), (Plan::Free, WorkspaceState::Suspended));
}

#[test]
fn an_override_that_is_set_elsewhere_is_in_force_here() {
    let two = Two::new();
    let minted = two.create(None);
    two.sync().unwrap();
    let new = |text: &str| NewOverride {
        policy: "default".into(),
        quota: text.parse().unwrap(),
        until_unix_seconds: START + 60,
        reason: String::new(),
    };
    let (token, ws) =
        (OverrideHolder::Token(minted.record.id.clone()), OverrideHolder::Workspace("ws".into()));
    two.other.set_override(two.act(), &token, &new("7 per day")).unwrap();
    two.other.set_override(two.act(), &ws, &new("8 per day")).unwrap();
    two.sync().unwrap();
    let fresh = Registry::open(&two.other, two.clock.now()).unwrap();
    for registry in [&two.registry, &fresh] {
        let found = registry.find(minted.token.expose().as_bytes(), two.clock.now());
        let Lookup::Found(entry) = found else { panic!("not found") };
        let quota = |overrides: &[LimitOverride]| LimitOverride::in_force(overrides, "default", START);
        assert_eq!(quota(&entry.overrides().unwrap()), "7 per day".parse().ok());
        assert_eq!(quota(&entry.workspace().overrides), "8 per day".parse().ok());
    }
    two.other.remove_override(two.act(), &token, "default").unwrap();
    two.other.remove_override(two.act(), &ws, "default").unwrap();
    two.sync().unwrap();
    let Lookup::Found(entry) = two.find(&minted) else { panic!("not found") };
    assert!(entry.overrides().is_none() && entry.workspace().overrides.is_empty());
}

#[test]
fn the_region_of_a_token_is_in_its_letter() {
    let two = Two::new();
    let foreign = two.registry.format().mint('u', &Dice::new(7)).unwrap();
    let unknown = two.registry.format().mint('z', &Dice::new(7)).unwrap();
    assert_eq!(two.registry.token_region(foreign.expose().as_bytes()), Some(RegionId(0)));
    assert_eq!(two.registry.token_region(unknown.expose().as_bytes()), None);
    assert_eq!(two.registry.token_region(b"something else"), None);
}

#[test]
fn a_snapshot_and_the_log_tell_the_same() {
    let two = Two::new();
    let (kept, revoked) = (two.create(None), two.create(None));
    two.other.revoke_token(two.act(), &revoked.record.id, "x").unwrap();
    two.sync().unwrap();
    let fresh = Registry::open(&two.other, two.clock.now()).unwrap();
    for registry in [&two.registry, &fresh] {
        let find = |minted: &Minted| registry.find(minted.token.expose().as_bytes(), two.clock.now());
        assert!(matches!(find(&kept), Lookup::Found(_)));
        assert!(matches!(find(&revoked), Lookup::Revoked(_)));
    }
    let (ours, theirs) = (two.registry.status(), fresh.status());
    assert_eq!((ours.applied_seq, ours.tokens, ours.workspaces), (theirs.applied_seq, 2, 1));
}

#[test]
fn without_the_store_tokens_keep_working_and_staleness_grows() {
    let two = Two::new();
    let minted = two.create(None);
    two.sync().unwrap();
    two.sql("ALTER TABLE head RENAME TO away");
    two.clock.advance(Duration::from_secs(5));
    assert!(matches!(two.sync(), Err(Error::Store { .. })));
    assert!(matches!(two.find(&minted), Lookup::Found(_)));
    assert_eq!(two.registry.staleness(two.clock.now()), Duration::from_secs(5));
    assert!(two.registry.status().error.is_some());
    two.sql("ALTER TABLE away RENAME TO head");
    two.sync().unwrap();
    assert_eq!(two.registry.staleness(two.clock.now()), Duration::ZERO);
    assert!(two.registry.status().error.is_none());
}

#[test]
fn a_gap_in_the_log_is_an_error() {
    let two = Two::new();
    two.sync().unwrap();
    let (lost, seen) = (two.create(None), two.create(None));
    let gone = two.registry.status().applied_seq + 1;
    two.sql(&format!("DROP TRIGGER log_is_not_deleted; DELETE FROM log WHERE seq = {gone}"));
    assert!(matches!(two.sync(), Err(Error::LogBroken { found, .. }) if found == gone + 1));
    assert!(matches!(two.find(&lost), Lookup::Unknown));
    assert!(matches!(two.find(&seen), Lookup::Unknown), "something after the gap was applied");
}

#[test]
fn a_log_that_went_back_is_an_error() {
    let two = Two::new();
    two.create(None);
    two.sync().unwrap();
    two.sql("DROP TRIGGER log_is_not_deleted; DELETE FROM log WHERE seq > 1; UPDATE head SET seq = 1");
    assert!(matches!(two.sync(), Err(Error::LogBroken { found: 1, .. })));
    assert!(two.registry.status().error.is_some());
}

#[test]
fn a_workspace_without_a_configured_region_is_our_fault() {
    let two = Two::new();
    let minted = two.create(None);
    two.sync().unwrap();
    let only_us = regions(&[("us", 'u')]);
    let narrow = open(two.folder.path(), 3, &two.clock, &only_us);
    assert!(matches!(Registry::open(&narrow, two.clock.now()), Err(Error::Unplaced { .. })));
    two.sql("UPDATE workspace SET region = 'mars'");
    two.create_region_change();
    for _ in 0..2 {
        assert!(matches!(two.sync(), Err(Error::Unplaced { .. })));
        assert!(matches!(two.find(&minted), Lookup::Unplaced));
    }
    assert_eq!(two.registry.staleness(two.clock.now()), Duration::ZERO);
}

impl Two {
    fn create_region_change(&self) {
        let change = WorkspaceChange { plan: Some(Plan::Business), ..WorkspaceChange::default() };
        self.other.store().set_workspace(self.act(), "ws", &change).unwrap();
    }
}

#[test]
fn uses_are_written_once_a_minute_at_most() {
    let two = Two::new();
    let minted = two.create(None);
    two.sync().unwrap();
    assert_eq!(two.registry.write_uses(false).unwrap(), 0);
    for _ in 0..100 {
        assert!(matches!(two.find(&minted), Lookup::Found(_)));
    }
    assert_eq!(two.registry.write_uses(false).unwrap(), 1);
    assert!(matches!(two.find(&minted), Lookup::Found(_)));
    assert_eq!(two.registry.write_uses(false).unwrap(), 0);
    let used = two.other.token(&minted.record.id).unwrap().last_used_unix_seconds.unwrap();
    assert!(used <= START && START - used < 60);
    two.other.revoke_token(two.act(), &minted.record.id, "x").unwrap();
    two.sync().unwrap();
    two.clock.advance(Duration::from_mins(1));
    assert!(matches!(two.find(&minted), Lookup::Revoked(_)));
    assert_eq!(two.registry.write_uses(true).unwrap(), 0, "a refused request counted as a use");
}

/// Promise 5 of the product, with the poll interval of the default settings and two connections.
#[test]
fn a_revocation_elsewhere_is_in_force_within_a_second() {
    let two = Two::new();
    let minted = two.create(None);
    two.sync().unwrap();
    let poll = Rules::from_settings(&Settings::default(), Path::new("."), &mut Problems::new()).unwrap().poll;
    let follower = two.registry.follow(two.clock.clone(), poll, Duration::from_mins(1)).unwrap();
    assert!(matches!(two.find(&minted), Lookup::Found(_)));
    two.other.revoke_token(two.act(), &minted.record.id, "leaked").unwrap();
    let revoked = Instant::now();
    while !matches!(two.find(&minted), Lookup::Revoked(_)) {
        assert!(revoked.elapsed() < Duration::from_secs(1), "still in force after a second");
        std::thread::yield_now();
    }
    drop(follower);
    let used = two.other.token(&minted.record.id).unwrap().last_used_unix_seconds;
    assert!(used.is_some(), "the follower ended without writing the last use");
}

/// The words: a million well-formed unknown and a million malformed tokens.
#[test]
fn unknown_tokens_cost_no_query_and_no_memory() {
    const COUNT: usize = 1_000_000;
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::manual(START));
    let mut mint = open(folder.path(), 1, &clock, &regions(&[("us", 'u')]));
    let store = Arc::new(crate::tokens::SqliteStore::open(&folder.path().join("tollgate.db")).unwrap());
    mint.store = Arc::clone(&store) as Arc<dyn Store>;
    let registry = Registry::open(&mint, clock.now()).unwrap();
    let dice = Dice::new(5);
    let flood = |count: usize| {
        for _ in 0..count {
            let token = registry.format().mint('u', &dice).unwrap().into_exposed();
            for text in [&token[..], &token[1..], &token[..60]] {
                assert!(matches!(registry.find(text.as_bytes(), clock.now()), Lookup::Unknown));
            }
        }
    };
    flood(COUNT / 100);
    let asked = store.watched.asked.load(Ordering::SeqCst);
    let before = resident_pages();
    flood(COUNT);
    assert_eq!(store.watched.asked.load(Ordering::SeqCst), asked, "the store was asked");
    let grown = resident_pages().saturating_sub(before);
    assert!(grown < 256, "{grown} pages more");
}

fn resident_pages() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

proptest! {
    #[test]
    fn any_bytes_can_be_looked_up(bytes: Vec<u8>) {
        let clock = Clock::manual(START);
        thread_local! {
            static TWO: Two = Two::new();
        }
        TWO.with(|two| {
            assert!(matches!(two.registry.find(&bytes, clock.now()), Lookup::Unknown));
        });
    }
}

/// Whoever asks runs on a thread on which much else depends.
#[test]
fn the_followed_head_is_told_while_the_store_hangs() {
    let two = Two::new();
    let seq = two.sync().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let looks = two.registry.loader();
    let registry = Arc::clone(&two.registry);
    std::thread::spawn(move || tell.send(registry.followed_head()));
    let head = told.recv_timeout(Duration::from_secs(10));
    drop(looks);
    let known = two.other.store().head().unwrap();
    assert_eq!(head, Ok(known), "it waits for the look at the log that is under way");
    assert_eq!(known.0, seq);
}

/// JWTs are judged by the wall clock too: whoever has one waits until the clock is right again.
#[test]
fn a_wall_clock_that_runs_ahead_for_a_while_brings_no_revoked_jwt_back() {
    let two = Two::new();
    let named = |jti| JwtsRevoked::Token { issuer: "i".into(), jti };
    let accepted = [JwtLifetime { issuer: "i".into(), longest_seconds: 3_600, claims_suffice: false }];
    two.other.revoke_jwts(two.act(), &named("leaked".into()), "x", &accepted).unwrap();
    two.sync().unwrap();
    let ahead = Now { unix_millis: (START + 86_400) * 1_000, ..two.clock.now() };
    two.registry.sync(ahead).unwrap();
    let act = Act::by("test", ahead);
    two.other.revoke_jwts(act, &named("other".into()), "x", &accepted).unwrap();
    two.registry.sync(ahead).unwrap();
    let jwt = JwtNames {
        issuer: "i",
        jti: Some("leaked"),
        subject: "s",
        issued_at_unix_seconds: Some(START),
        workspace: "ws",
    };
    assert!(two.registry.jwt_revoked(&jwt), "memory has forgotten it");
    let restarted = Registry::open(&two.other, two.clock.now()).unwrap();
    assert!(restarted.jwt_revoked(&jwt), "the store has forgotten it");
}
