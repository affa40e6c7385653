use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::super::tests::{START, Two, regions};
use super::*;
use crate::clock::Clock;
use crate::domain::{JwtLifetime, Network, OverrideHolder};
use crate::tokens::{JwtsRevoked, Lookup, Minted, NewOverride, OperatorLookup, TokenRequest};

/// A node that saved its registry: a working, an expiring and a revoked token, one that is bound to a network, and a
/// decoy.
struct Saved {
    two: Two,
    file: PathBuf,
    tokens: Vec<Minted>,
}

impl Saved {
    fn new() -> Self {
        let two = Two::new();
        let mut tokens = vec![two.create(None), two.create(Some(60)), two.create(None)];
        two.other.revoke_token(two.act(), &tokens[2].record.id, "leaked").unwrap();
        let new = NewOverride {
            policy: "default".into(),
            quota: "7 per day".parse().unwrap(),
            until_unix_seconds: START + 1_000,
            reason: String::new(),
        };
        two.other.set_override(two.act(), &OverrideHolder::Token(tokens[0].record.id.clone()), &new).unwrap();
        let request = TokenRequest {
            allowed_networks: vec![Network::parse("192.0.2.0/24").unwrap()],
            ..TokenRequest::ordinary("ws")
        };
        tokens.push(two.other.create_token(two.act(), &request).unwrap());
        let decoy = TokenRequest { decoy: true, ..request };
        tokens.push(two.other.create_token(two.act(), &decoy).unwrap());
        two.sync().unwrap();
        let file = two.folder.path().join("saved");
        let seq = two.registry.save(&file, two.clock.now()).unwrap();
        assert_eq!(seq, Some(two.registry.status().applied_seq));
        Self { two, file, tokens }
    }

    fn restored(&self) -> Result<Option<Registry>, NotTaken> {
        Registry::restored(&self.two.other, &self.file, self.two.clock.now())
    }

    /// What a registry says of each token.
    fn told(registry: &Registry, tokens: &[Minted], now: Now) -> Vec<String> {
        let tell = |minted: &Minted| format!("{:?}", registry.look_up(minted.token.expose().as_bytes(), now));
        tokens.iter().map(tell).collect()
    }

    fn same(&self, registry: &Registry) {
        let now = self.two.clock.now();
        let whole = Registry::open(&self.two.other, now).unwrap();
        let (saved, whole_told) =
            (Self::told(registry, &self.tokens, now), Self::told(&whole, &self.tokens, now));
        assert_eq!(saved, whole_told);
        let (saved, whole) = (registry.status(), whole.status());
        assert_eq!((saved.tokens, saved.workspaces), (whole.tokens, whole.workspaces));
        assert_eq!(saved.applied_seq, whole.applied_seq);
    }
}

#[test]
fn any_byte_that_is_wrong_is_noticed() {
    let saved = Saved::new();
    let good = fs::read(&saved.file).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x41;
        fs::write(&saved.file, &bad).unwrap();
        assert!(saved.restored().is_err(), "byte {at}");
    }
    for length in [0, 10, 24, 100, good.len() - 1] {
        fs::write(&saved.file, &good[..length]).unwrap();
        assert!(saved.restored().is_err(), "{length} bytes");
    }
    fs::write(&saved.file, [&good[..], b"x"].concat()).unwrap();
    assert!(saved.restored().is_err(), "something after the end");
    let registry = Registry::open_saved(&saved.two.other, Some(&saved.file), saved.two.clock.now()).unwrap();
    saved.same(&registry);
}

#[test]
fn another_stores_file_is_not_taken() {
    // The same seeds make the same stores, up to here.
    let (ours, other) = (Saved::new(), Saved::new());
    ours.two.other.revoke_token(ours.two.act(), &ours.tokens[0].record.id, "x").unwrap();
    other.two.create(None);
    other.two.sync().unwrap();
    other.two.registry.save(&other.file, other.two.clock.now()).unwrap();
    fs::copy(&other.file, &ours.file).unwrap();
    assert!(matches!(ours.restored(), Err(NotTaken::Foreign)));
}

#[test]
fn a_file_of_a_state_that_the_store_no_longer_has_is_not_taken() {
    let saved = Saved::new();
    let seq = saved.two.registry.status().applied_seq;
    saved.two.sql(&format!("DROP TRIGGER log_is_not_deleted; DELETE FROM log WHERE seq = {seq}"));
    assert!(matches!(saved.restored(), Err(NotTaken::Foreign)));
}

#[test]
fn a_region_that_the_configuration_lost_is_told() {
    let saved = Saved::new();
    let us = regions(&[("us", 'u')]);
    let narrow = super::super::tests::open(saved.two.folder.path(), 3, &saved.two.clock, &us);
    let restored = Registry::restored(&narrow, &saved.file, saved.two.clock.now());
    assert!(matches!(restored, Err(NotTaken::Region(region)) if region == "eu"));
}

#[test]
fn without_a_file_the_store_is_read() {
    let saved = Saved::new();
    let now = saved.two.clock.now();
    fs::remove_file(&saved.file).unwrap();
    assert!(saved.restored().unwrap().is_none());
    saved.same(&Registry::open_saved(&saved.two.other, Some(&saved.file), now).unwrap());
    saved.same(&Registry::open_saved(&saved.two.other, None, now).unwrap());
}

#[test]
fn a_saved_registry_says_what_the_store_says() {
    let saved = Saved::new();
    saved.same(&saved.restored().unwrap().unwrap());
}

#[test]
fn what_happened_since_is_taken_from_the_log() {
    let mut saved = Saved::new();
    let two = &saved.two;
    two.other.revoke_token(two.act(), &saved.tokens[0].record.id, "leaked").unwrap();
    let new = saved.two.create(None);
    saved.tokens.push(new);
    let registry = saved.restored().unwrap().unwrap();
    saved.same(&registry);
    let now = saved.two.clock.now();
    let find = |index: usize| registry.find(saved.tokens[index].token.expose().as_bytes(), now);
    assert!(matches!(find(0), Lookup::Revoked(_)) && matches!(find(3), Lookup::Found(_)));
}

#[test]
fn a_file_has_no_secret_and_is_its_owners_alone() {
    let saved = Saved::new();
    let text = fs::read(&saved.file).unwrap();
    for minted in &saved.tokens {
        let token = minted.token.expose().as_bytes();
        assert!(memchr::memmem::find(&text, &token[4..20]).is_none());
    }
    assert_eq!(fs::metadata(&saved.file).unwrap().permissions().mode() & 0o777, 0o600);
    let leftover = unfinished(&saved.file);
    fs::write(&leftover, b"of a process that was killed").unwrap();
    saved.two.registry.save(&saved.file, saved.two.clock.now()).unwrap();
    assert!(!leftover.exists());
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let saved = Saved::new();
    let nowhere = saved.two.folder.path().join("no/such/folder");
    let error = saved.two.registry.save(&nowhere, saved.two.clock.now()).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
}

#[test]
fn it_is_saved_now_and_then_and_at_the_end() {
    let two = Two::new();
    let file = two.folder.path().join("saved");
    let saver = two.registry.save_every(Clock::system(), file.clone(), Duration::from_millis(10)).unwrap();
    let begun = std::time::Instant::now();
    while !file.exists() {
        assert!(begun.elapsed() < Duration::from_secs(10), "never saved");
        std::thread::yield_now();
    }
    let minted = two.create(None);
    two.sync().unwrap();
    drop(saver);
    let registry = Registry::restored(&two.other, &file, two.clock.now()).unwrap().unwrap();
    assert_eq!(registry.status().tokens, 1);
    assert!(matches!(registry.look_up(minted.token.expose().as_bytes(), two.clock.now()), Lookup::Found(_)));
}

/// The file has neither; a restart that lost a revocation would let a stolen JWT in again.
#[test]
fn operators_and_revoked_jwts_outlive_a_restart() {
    let saved = Saved::new();
    let two = &saved.two;
    let operator = two.other.create_operator(two.act(), "ana", None).unwrap();
    let lifetime =
        JwtLifetime { issuer: "https://issuer.test".into(), longest_seconds: 3_600, claims_suffice: false };
    let jwts = JwtsRevoked::Token { issuer: "https://issuer.test".into(), jti: "j".into() };
    two.other.revoke_jwts(two.act(), &jwts, "leaked", &[lifetime]).unwrap();
    two.sync().unwrap();
    two.registry.save(&saved.file, two.clock.now()).unwrap();
    let registry = saved.restored().unwrap().unwrap();
    let found = registry.operator(operator.token.expose().as_bytes(), two.clock.now());
    assert!(matches!(found, OperatorLookup::Found(name) if &*name == "ana"));
    assert_eq!(registry.jwt_revocations(), 1);
}

/// A kind of row that is not saved would be forgotten by a restart: whoever adds one has to say here how it is found
/// again.
#[test]
fn every_kind_of_row_outlives_a_restart_without_the_store() {
    let saved = Saved::new();
    let two = &saved.two;
    two.other.create_operator(two.act(), "ana", None).unwrap();
    let lifetime =
        JwtLifetime { issuer: "https://issuer.test".into(), longest_seconds: 3_600, claims_suffice: false };
    let jwts = JwtsRevoked::Token { issuer: "https://issuer.test".into(), jti: "j".into() };
    two.other.revoke_jwts(two.act(), &jwts, "leaked", &[lifetime]).unwrap();
    two.sync().unwrap();
    two.registry.save(&saved.file, two.clock.now()).unwrap();
    let registry = saved.without_the_store();
    let mut kinds = [false; 4];
    let mut rows = Vec::new();
    two.other.store().snapshot(&mut |row| rows.push(row)).unwrap();
    for row in rows {
        let kind = match row {
            Row::Workspace(record) => {
                assert!(registry.workspace(&record.id).is_some());
                0
            }
            Row::Token(stored) => {
                let id = &stored.record.id;
                let told = |registry: &Registry| format!("{:?}", registry.look_up_id(id, two.clock.now()));
                assert_eq!(told(&registry), told(&two.registry));
                1
            }
            Row::Operator(stored) => {
                assert!(registry.operators.holds(&stored.digest));
                2
            }
            Row::JwtRevocation(_) => {
                assert_eq!(registry.jwt_revocations(), 1);
                3
            }
        };
        kinds[kind] = true;
    }
    assert_eq!(kinds, [true; 4], "the test has no row of some kind");
}

impl Saved {
    /// As if the store could not be reached.
    fn without_the_store(&self) -> Arc<Registry> {
        let away = Error::Store { place: "the test's".into(), source: "it is away".into() };
        Registry::open_away(&self.two.other, &self.file, &away, self.two.clock.now()).unwrap()
    }
}

#[test]
fn without_the_store_all_is_as_it_was_saved_until_the_store_is_back() {
    let mut saved = Saved::new();
    saved.two.clock.advance(Duration::from_mins(10));
    let new = saved.two.create(None);
    saved.two.other.revoke_token(saved.two.act(), &saved.tokens[0].record.id, "leaked").unwrap();
    let registry = saved.without_the_store();
    let now = saved.two.clock.now();
    let find = |minted: &Minted| registry.find(minted.token.expose().as_bytes(), now);
    assert!(matches!(find(&saved.tokens[0]), Lookup::Found(_)) && matches!(find(&new), Lookup::Unknown));
    assert!(!registry.is_current(now), "what is unknown may have been made since");
    assert_eq!(registry.staleness(now), Duration::from_mins(10));
    let status = registry.status();
    assert!(!status.has_reached_store && status.error.is_some_and(|error| error.contains("it is away")));
    registry.sync(now).unwrap();
    assert!(matches!(find(&saved.tokens[0]), Lookup::Revoked(_)) && matches!(find(&new), Lookup::Found(_)));
    assert_eq!(registry.staleness(now), Duration::ZERO);
    assert!(registry.status().has_reached_store && registry.status().error.is_none());
    saved.tokens.push(new);
    saved.same(&registry);
}

/// The store that comes back is an older copy of what was saved, and has gone on from there.
#[test]
fn a_store_that_was_put_back_meanwhile_is_not_followed() {
    let saved = Saved::new();
    let seq = saved.two.registry.status().applied_seq;
    let registry = saved.without_the_store();
    let forget = format!(
        "DROP TRIGGER IF EXISTS log_is_not_deleted; DELETE FROM log WHERE seq = {seq}; \
         UPDATE head SET (seq, hash) = (SELECT seq, hash FROM log ORDER BY seq DESC LIMIT 1)"
    );
    saved.two.sql(&forget);
    let now = saved.two.clock.now();
    assert!(matches!(registry.sync(now), Err(Error::LogBroken { last, .. }) if last == seq));
    for _ in 0..2 {
        saved.two.other.store().set_workspace(saved.two.act(), "ws", &renamed(&saved)).unwrap();
        assert!(matches!(registry.sync(now), Err(Error::LogForked(last)) if last == seq));
    }
    assert!(matches!(Registry::restored(&saved.two.other, &saved.file, now), Err(NotTaken::Foreign)));
    let told = Saved::told(&registry, &saved.tokens, now);
    assert!(told[2].starts_with("Revoked"), "what was revoked stays so: {told:?}");
    assert!(!registry.status().has_reached_store);
}

fn renamed(saved: &Saved) -> crate::tokens::WorkspaceChange {
    let count = saved.two.other.store().head().unwrap().0;
    let contact = format!("c{count}@example.com");
    crate::tokens::WorkspaceChange { add_contacts: vec![contact], ..Default::default() }
}

#[test]
fn a_bad_file_does_not_stand_in_for_the_store() {
    let saved = Saved::new();
    let away = Error::Store { place: "the test's".into(), source: "it is away".into() };
    let now = saved.two.clock.now();
    let mut bytes = fs::read(&saved.file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&saved.file, bytes).unwrap();
    assert!(Registry::open_away(&saved.two.other, &saved.file, &away, now).is_none(), "it is damaged");
    fs::remove_file(&saved.file).unwrap();
    assert!(Registry::open_away(&saved.two.other, &saved.file, &away, now).is_none(), "there is none");
}
