//! What every store must do. A store proves it with [`prove_store!`] or [`all_proofs`].

pub(crate) mod import;
pub(crate) mod leaks;
pub(crate) mod log;
pub(crate) mod outbox;
pub(crate) mod overrides;
pub(crate) mod tokens;
pub(crate) mod workspaces;

use std::sync::Arc;

use super::*;
use crate::clock::Clock;
use crate::tokens::{Scheme, TokenState};

/// A database of a test's own.
pub(crate) trait Fixture {
    /// A new connection to it.
    fn open(&self) -> Arc<dyn Store>;

    /// Runs statements as somebody would who alters it by hand; the log lets itself be altered from then on.
    fn alter(&self, sql: &str);
}

/// Names the proofs of a module: `$prove!(fixture)` makes a test of each, for a store whose databases cost nothing;
/// `PROOFS` has them for a store that proves them one after the other.
macro_rules! proofs {
    ($prove:ident: $($name:ident,)+) => {
        macro_rules! $prove {
            ($fixture:expr) => {
                $(#[test] fn $name() { $crate::tokens::store::contract::prove(stringify!($name), &$fixture); })+
            };
        }
        pub(crate) use $prove;

        pub(crate) const PROOFS: &[$crate::tokens::store::contract::Proof] =
            &[$((stringify!($name), $name),)+];
    };
}
pub(crate) use proofs;

/// A proof with its name.
pub(crate) type Proof = (&'static str, fn(&dyn Fixture));

/// Everything that a store must prove.
pub(crate) fn all_proofs() -> Vec<Proof> {
    [
        workspaces::PROOFS,
        tokens::PROOFS,
        overrides::PROOFS,
        import::PROOFS,
        log::PROOFS,
        leaks::PROOFS,
        outbox::PROOFS,
        idempotency::contract::PROOFS,
        jwt_revocations::contract::PROOFS,
        operators::contract::PROOFS,
        token_changes::contract::PROOFS,
        sightings::contract::PROOFS,
        peppers::contract::PROOFS,
    ]
    .concat()
}

/// Proves one thing of a store.
pub(crate) fn prove(name: &str, fixture: &dyn Fixture) {
    let (_, proof) = all_proofs().into_iter().find(|(known, _)| *known == name).unwrap();
    proof(fixture);
}

/// Makes a test of each proof.
macro_rules! prove_store {
    ($fixture:expr) => {
        $crate::tokens::store::contract::workspaces::prove_workspaces!($fixture);
        $crate::tokens::store::contract::tokens::prove_tokens!($fixture);
        $crate::tokens::store::contract::overrides::prove_overrides!($fixture);
        $crate::tokens::store::contract::import::prove_import!($fixture);
        $crate::tokens::store::contract::log::prove_log!($fixture);
        $crate::tokens::store::contract::leaks::prove_leaks!($fixture);
        $crate::tokens::store::contract::outbox::prove_outbox!($fixture);
        $crate::tokens::store::idempotency::contract::prove_idempotency!($fixture);
        $crate::tokens::store::jwt_revocations::contract::prove_jwt_revocations!($fixture);
        $crate::tokens::store::operators::contract::prove_operators!($fixture);
        $crate::tokens::store::token_changes::contract::prove_token_changes!($fixture);
        $crate::tokens::store::sightings::contract::prove_sightings!($fixture);
        $crate::tokens::store::peppers::contract::prove_peppers!($fixture);
    };
}
pub(crate) use prove_store;

pub(crate) const START: u64 = 1_700_000_000;

pub(crate) fn act(clock: &Clock) -> Act<'static> {
    Act::by("test", clock.now())
}

fn clock() -> Clock {
    Clock::manual(START)
}

pub(crate) fn workspace(id: &str) -> NewWorkspace {
    NewWorkspace {
        id: id.into(),
        region: "eu".into(),
        plan: Plan::Business,
        features: vec!["b".into(), "a".into(), "b".into()],
        contacts: vec!["owner@example.com".into()],
    }
}

pub(crate) fn digest(number: u64) -> Digest {
    let mut bytes = [0xAB; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Digest { scheme: Scheme::Hmac(1), bytes }
}

pub(crate) fn token(id: &str, workspace: &str, number: u64) -> NewToken {
    NewToken {
        id: id.into(),
        workspace: workspace.into(),
        name: "ci".into(),
        scopes: vec!["public_api:read_write".into()],
        role: Role::Restricted,
        own_limit: None,
        expires_at_unix_seconds: None,
        digest: digest(number),
        foreign: false,
        allowed_networks: Vec::new(),
        is_decoy: false,
    }
}

pub(crate) fn replacement(id: &str, number: u64, overlap_seconds: u64) -> Replacement {
    let digest = digest(number);
    Replacement { id: id.into(), digest, expires_at_unix_seconds: None, overlap_seconds, cap: CAP }
}

pub(crate) fn imported(id: &str, workspace: &str, number: u64) -> ImportedToken {
    ImportedToken {
        token: token(id, workspace, number),
        known_as: vec![digest(number)],
        region: Some("eu".into()),
        default_region: None,
        plan: Plan::Business,
    }
}

pub(crate) const CAP: u32 = 100;
