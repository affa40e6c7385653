use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::domain::{Plan, Role};
use crate::tokens::registry::tests::{START, open, regions};
use crate::tokens::registry::{Lookup, OperatorLookup};
use crate::tokens::{
    ImportDefaults, Mint, Minted, NewWorkspace, Random as _, Rotation, Scheme, SystemRandom, TokenRequest,
    pepper_file,
};

/// Gateways on one store, each with a pepper file of its own.
struct Fleet {
    folder: tempfile::TempDir,
    clock: Clock,
}

/// A gateway, or a start of one.
struct Gateway {
    mint: Mint,
    registry: Arc<Registry>,
}

impl Fleet {
    fn new() -> Self {
        let fleet = Self { folder: tempfile::tempdir().unwrap(), clock: Clock::manual(START) };
        let workspace = NewWorkspace::ordinary("ws", "us");
        let mint = fleet.mint();
        mint.create_workspace(fleet.act(), &workspace).unwrap();
        fleet
    }

    fn act(&self) -> Act<'static> {
        Act::by("test", self.clock.now())
    }

    fn mint(&self) -> Mint {
        let mut seed = [0; 8];
        SystemRandom.fill(&mut seed).unwrap();
        open(self.folder.path(), u64::from_le_bytes(seed), &self.clock, &regions(&[("us", 'u')]))
    }

    fn pepper_file(&self) -> std::path::PathBuf {
        self.folder.path().join("tollgate.pepper")
    }

    /// Starts a gateway with the file as it is now, from a saved registry if there is one.
    fn gateway(&self) -> Gateway {
        let mint = self.mint();
        let saved = self.saved();
        let registry = Registry::open_saved(&mint, Some(&saved), self.clock.now()).unwrap();
        Gateway { mint, registry }
    }

    fn saved(&self) -> std::path::PathBuf {
        self.folder.path().join("saved")
    }

    fn rotation(&self) -> Rotation {
        let mint = self.mint();
        Rotation::open(mint.rules(), Box::new(SystemRandom)).unwrap()
    }

    fn under(&self, version: u16) -> u64 {
        let all = self.mint().store().under_peppers(self.clock.now()).unwrap();
        all.iter().find(|one| one.scheme == Scheme::of(version)).map_or(0, |one| one.working_tokens)
    }
}

impl Gateway {
    fn make(&self, fleet: &Fleet) -> Minted {
        let request = TokenRequest::ordinary("ws");
        self.mint.create_token(fleet.act(), &request).unwrap()
    }

    /// Uses a token, has it moved, and reads the log.
    fn sees(&self, fleet: &Fleet, token: &str) -> Lookup {
        let found = self.registry.find(token.as_bytes(), fleet.clock.now());
        self.registry.move_outdated(fleet.clock.now()).unwrap();
        self.registry.sync(fleet.clock.now()).unwrap();
        found
    }
}

fn import_defaults() -> ImportDefaults {
    ImportDefaults {
        workspace: Some("ws".into()),
        region: None,
        plan: Plan::Team,
        scopes: vec![],
        role: Role::Owner,
        lifetime_seconds: None,
        allowed_networks: Vec::new(),
    }
}

fn works(lookup: &Lookup) -> bool {
    matches!(lookup, Lookup::Found(_))
}

#[test]
fn a_pepper_that_tokens_need_and_the_file_lacks_stops_the_start() {
    let fleet = Fleet::new();
    fleet.gateway().make(&fleet);
    let file = fleet.pepper_file();
    pepper_file::add(&file, 2, &SystemRandom).unwrap();
    fleet.rotation().put_first(2).unwrap();
    pepper_file::remove(&file, 1, &SystemRandom).unwrap();
    let rules = crate::tokens::Rules::from_settings(
        &crate::tokens::Settings::default(),
        fleet.folder.path(),
        &mut crate::domain::Problems::new(),
    );
    let refused =
        Mint::open(&rules.unwrap(), &regions(&[("us", 'u')]), Box::new(SystemRandom), fleet.clock.now());
    assert!(matches!(refused, Err(Error::PepperGone { version: 1, .. })), "{refused:?}");
}

#[test]
fn a_pepper_is_retired_only_when_nothing_needs_it() {
    let fleet = Fleet::new();
    let token = fleet.gateway().make(&fleet);
    let rotation = fleet.rotation();
    assert!(matches!(rotation.retire(fleet.act(), 1, true), Err(Error::PepperInUse(1))));
    assert!(matches!(rotation.put_first(2), Err(Error::PepperUnknown(2))));
    assert_eq!(rotation.add(fleet.clock.now()).unwrap(), 2);
    rotation.put_first(2).unwrap();
    let gateway = fleet.gateway();
    let refused = rotation.retire(fleet.act(), 1, false);
    assert!(matches!(refused, Err(Error::PepperNeeded { version: 1, tokens: 1, operators: 0 })));
    assert!(works(&gateway.sees(&fleet, token.token.expose())));
    rotation.retire(fleet.act(), 1, false).unwrap();
    assert!(matches!(rotation.put_first(1), Err(Error::PepperRetired(1))));
    assert_eq!(rotation.add(fleet.clock.now()).unwrap(), 3, "a version is never used again");
    assert!(works(&fleet.gateway().sees(&fleet, token.token.expose())));
    assert_eq!(gateway.registry.status().tokens, 1, "a moved token is there twice");
}

/// A registry that is saved while a token moves can have it in the file under both digests.
#[test]
fn a_token_that_was_saved_twice_is_there_once() {
    let fleet = Fleet::new();
    let token = fleet.gateway().make(&fleet);
    fleet.rotation().add(fleet.clock.now()).unwrap();
    fleet.rotation().put_first(2).unwrap();
    let (restored, other) = (fleet.gateway(), fleet.gateway());
    other.sees(&fleet, token.token.expose());
    let mut loader = restored.registry.loader();
    restored.mint.store().snapshot(&mut |row| restored.registry.apply(&mut loader, row)).unwrap();
    drop(loader);
    assert_eq!(restored.registry.status().tokens, 2);
    restored.registry.sync(fleet.clock.now()).unwrap();
    assert_eq!(restored.registry.status().tokens, 1);
    other.mint.revoke_token(fleet.act(), &token.record.id, "x").unwrap();
    restored.registry.sync(fleet.clock.now()).unwrap();
    assert!(matches!(restored.sees(&fleet, token.token.expose()), Lookup::Revoked(_)));
}

#[test]
fn a_gateway_that_only_recognises_the_new_pepper_moves_nothing_back() {
    let fleet = Fleet::new();
    let first = fleet.gateway();
    let token = first.make(&fleet);
    let rotation = fleet.rotation();
    rotation.add(fleet.clock.now()).unwrap();
    let old = fleet.gateway();
    rotation.put_first(2).unwrap();
    let new = fleet.gateway();
    let made = new.make(&fleet);
    for gateway in [&new, &old, &new, &old] {
        gateway.registry.sync(fleet.clock.now()).unwrap();
        assert!(works(&gateway.sees(&fleet, token.token.expose())));
        assert!(works(&gateway.sees(&fleet, made.token.expose())), "401 during the rotation");
        assert_eq!(fleet.under(2), 2);
    }
    assert_eq!(old.registry.status().tokens, 2);
    // One that skipped the first step says so, and is why there is one.
    first.registry.sync(fleet.clock.now()).unwrap();
    assert!(!works(&first.sees(&fleet, made.token.expose())));
    assert_eq!(first.registry.missing_pepper(), Some(2));
    assert_eq!((old.registry.missing_pepper(), new.registry.missing_pepper()), (None, None));
}

#[test]
fn a_pepper_that_was_given_up_is_not_missed() {
    let fleet = Fleet::new();
    let lost = fleet.gateway().make(&fleet);
    fleet.rotation().add(fleet.clock.now()).unwrap();
    fleet.rotation().put_first(2).unwrap();
    fleet.rotation().retire(fleet.act(), 1, true).unwrap();
    let gateway = fleet.gateway();
    assert!(matches!(gateway.sees(&fleet, lost.token.expose()), Lookup::Unknown));
    assert_eq!(gateway.registry.missing_pepper(), None);
    let made = gateway.make(&fleet);
    gateway.registry.sync(fleet.clock.now()).unwrap();
    assert!(works(&gateway.sees(&fleet, made.token.expose())));
}

#[test]
fn imported_hashes_move_to_a_pepper_and_stay_what_they_are() {
    let fleet = Fleet::new();
    let gateway = fleet.gateway();
    let text = "abcdefghijklmnopqrstuvwxyz";
    let hex = Digest::sha256(text.as_bytes()).bytes.iter().fold(String::new(), |mut hex, byte| {
        std::fmt::Write::write_fmt(&mut hex, format_args!("{byte:02x}")).unwrap();
        hex
    });
    let file = format!("sha256:{hex}\n");
    let defaults = import_defaults();
    let import =
        || gateway.mint.import(fleet.act(), &mut file.as_bytes(), &defaults, &mut |_, _| {}).unwrap();
    assert_eq!(import().added, 1);
    gateway.registry.sync(fleet.clock.now()).unwrap();
    assert_eq!((fleet.under(0), fleet.under(1)), (1, 0));
    for _ in 0..2 {
        assert!(works(&gateway.sees(&fleet, text)));
    }
    assert_eq!((fleet.under(0), fleet.under(1)), (0, 1));
    assert_eq!(import().known, 1, "the same hash came in once more");
    assert!(works(&fleet.gateway().sees(&fleet, text)));
}

#[test]
fn an_operators_token_moves_and_goes_on_working() {
    let fleet = Fleet::new();
    let operator = fleet.mint().create_operator(fleet.act(), "ana", None).unwrap();
    fleet.rotation().add(fleet.clock.now()).unwrap();
    fleet.rotation().put_first(2).unwrap();
    let gateway = fleet.gateway();
    let token = operator.token.expose().as_bytes();
    for _ in 0..2 {
        let found = gateway.registry.operator(token, fleet.clock.now());
        assert!(matches!(found, OperatorLookup::Found(name) if &*name == "ana"));
        gateway.registry.move_outdated(fleet.clock.now()).unwrap();
        gateway.registry.sync(fleet.clock.now()).unwrap();
    }
    fleet.rotation().retire(fleet.act(), 1, false).unwrap();
    let found = fleet.gateway().registry.operator(token, fleet.clock.now());
    assert!(matches!(found, OperatorLookup::Found(_)));
}

#[test]
fn a_store_that_is_away_loses_no_move_and_refuses_nobody() {
    let fleet = Fleet::new();
    let token = fleet.gateway().make(&fleet);
    fleet.rotation().add(fleet.clock.now()).unwrap();
    fleet.rotation().put_first(2).unwrap();
    let gateway = fleet.gateway();
    let sql = |sql: &str| {
        let file = fleet.folder.path().join("tollgate.db");
        rusqlite::Connection::open(file).unwrap().execute_batch(sql).unwrap();
    };
    sql("ALTER TABLE former_digest RENAME TO away");
    let find = || gateway.registry.find(token.token.expose().as_bytes(), fleet.clock.now());
    assert!(works(&find()));
    assert!(gateway.registry.move_outdated(fleet.clock.now()).is_err());
    assert!(works(&find()));
    sql("ALTER TABLE away RENAME TO former_digest");
    assert_eq!(gateway.registry.move_outdated(fleet.clock.now()).unwrap(), 1);
    assert_eq!(gateway.registry.outdated.count.load(Ordering::Relaxed), 0);
    gateway.registry.sync(fleet.clock.now()).unwrap();
    assert!(works(&find()));
}

/// What can happen to a fleet between two uses of its tokens.
#[derive(Clone, Copy, Debug)]
enum Step {
    Make,
    Revoke(usize),
    See(usize, usize),
    Sync(usize),
    AddPepper,
    UsePepper,
    RetirePepper,
    Restart(usize),
    Save(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Make),
        1 => (0..8_usize).prop_map(Step::Revoke),
        6 => (0..2_usize, 0..8_usize).prop_map(|(gateway, token)| Step::See(gateway, token)),
        2 => (0..2_usize).prop_map(Step::Sync),
        1 => Just(Step::AddPepper),
        1 => Just(Step::UsePepper),
        1 => Just(Step::RetirePepper),
        2 => (0..2_usize).prop_map(Step::Restart),
        1 => (0..2_usize).prop_map(Step::Save),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever a fleet that keeps to the order of steps does with its peppers, a token is what the store says of it,
    /// on every gateway that has read the log.
    #[test]
    fn rotation_never_changes_what_a_token_is(steps in steps()) {
        let fleet = Fleet::new();
        let mut gateways = [fleet.gateway(), fleet.gateway()];
        let mut tokens: Vec<(Minted, bool)> = Vec::new();
        let mut peppers = Vec::new();
        for step in steps {
            match step {
                Step::Make => tokens.push((gateways[0].make(&fleet), true)),
                Step::Revoke(at) if !tokens.is_empty() => {
                    let at = at % tokens.len();
                    let (minted, works) = &mut tokens[at];
                    gateways[0].mint.revoke_token(fleet.act(), &minted.record.id, "x").unwrap();
                    *works = false;
                }
                Step::See(gateway, at) if !tokens.is_empty() => {
                    let (minted, _) = &tokens[at % tokens.len()];
                    gateways[gateway].sees(&fleet, minted.token.expose());
                }
                Step::Sync(gateway) => drop(gateways[gateway].registry.sync(fleet.clock.now())),
                // Every gateway restarts after a step before the next one is taken.
                Step::AddPepper => {
                    peppers.push(fleet.rotation().add(fleet.clock.now()).unwrap());
                    gateways = [fleet.gateway(), fleet.gateway()];
                }
                Step::UsePepper => {
                    if let Some(newest) = peppers.last() {
                        fleet.rotation().put_first(*newest).unwrap();
                        gateways[0] = fleet.gateway();
                    }
                }
                Step::RetirePepper => {
                    let versions = pepper_file::versions(&fleet.pepper_file()).unwrap();
                    let oldest = versions.iter().min().copied().unwrap();
                    gateways = [fleet.gateway(), fleet.gateway()];
                    drop(fleet.rotation().retire(fleet.act(), oldest, false));
                }
                Step::Restart(gateway) => gateways[gateway] = fleet.gateway(),
                Step::Save(gateway) => {
                    drop(gateways[gateway].registry.save(&fleet.saved(), fleet.clock.now()));
                }
                Step::Revoke(_) | Step::See(..) => {}
            }
        }
        for gateway in &gateways {
            gateway.registry.sync(fleet.clock.now()).unwrap();
            for (minted, should_work) in &tokens {
                let found = gateway.sees(&fleet, minted.token.expose());
                let fits = if *should_work { works(&found) } else { !works(&found) };
                prop_assert!(fits, "{:?} {should_work}", found);
            }
            prop_assert_eq!(gateway.registry.status().tokens, tokens.len());
        }
    }
}

#[test]
fn a_pepper_is_missed_also_where_the_store_fails_as_it_is_met() {
    let fleet = Fleet::new();
    let first = fleet.gateway();
    fleet.rotation().add(fleet.clock.now()).unwrap();
    fleet.rotation().put_first(2).unwrap();
    fleet.gateway().make(&fleet);
    let database = rusqlite::Connection::open(fleet.folder.path().join("tollgate.db")).unwrap();
    database.execute_batch("ALTER TABLE pepper RENAME TO away").unwrap();
    first.registry.sync(fleet.clock.now()).unwrap_err();
    database.execute_batch("ALTER TABLE away RENAME TO pepper").unwrap();
    first.registry.sync(fleet.clock.now()).unwrap();
    assert_eq!(first.registry.missing_pepper(), Some(2));
}

/// What is hashed under it would work until the next start, and then never again.
#[test]
fn nothing_is_hashed_under_a_pepper_that_was_retired_meanwhile() {
    let fleet = Fleet::new();
    let behind = fleet.gateway();
    let token = behind.make(&fleet);
    fleet.rotation().add(fleet.clock.now()).unwrap();
    fleet.rotation().put_first(2).unwrap();
    let ahead = fleet.gateway();
    ahead.sees(&fleet, token.token.expose());
    fleet.rotation().retire(fleet.act(), 1, false).unwrap();
    let made = behind.mint.create_token(fleet.act(), &TokenRequest::ordinary("ws"));
    assert!(matches!(made, Err(Error::PepperRetired(1))), "{made:?}");
    let rotated = behind.mint.rotate_token(fleet.act(), &token.record.id, 0, None);
    assert!(matches!(rotated, Err(Error::PepperRetired(1))), "{rotated:?}");
    let operator = behind.mint.create_operator(fleet.act(), "ana", None);
    assert!(matches!(operator, Err(Error::PepperRetired(1))), "{operator:?}");
    let defaults = import_defaults();
    let imported =
        behind.mint.import(fleet.act(), &mut &b"legacy-4f0c8b7a2d91"[..], &defaults, &mut |_, _| {});
    assert!(matches!(imported, Err(Error::PepperRetired(1))), "{imported:?}");
    ahead.make(&fleet);
}
