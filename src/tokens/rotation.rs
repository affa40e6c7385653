//! Rotating peppers: what an operator does beside the gateways.
//!
//! A pepper goes three steps, with every gateway restarted after each: it is added, so that all recognise it; it is put
//! first, so that new tokens and those that are seen are hashed under it; and the old one is retired once no working
//! token has it. A gateway that skipped the first step could not recognise tokens that another made.

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::store::PepperUse;
use super::{Act, Error, Moment, Random, Rules, Scheme, Store, pepper_file};
use crate::clock::Now;

/// The peppers of a registry and what is stored under them.
pub struct Rotation {
    store: Arc<dyn Store>,
    file: PathBuf,
    random: Box<dyn Random>,
}

/// What a pepper is to gateways that have this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PepperState {
    /// New tokens are hashed under it.
    Writes,
    /// Its tokens are recognised, and moved when they are seen.
    Recognised,
    /// It is not in the file, so its tokens are refused.
    Missing,
    /// It was retired.
    Retired,
    /// No pepper: hashes that were imported.
    Sha256,
}

impl PepperState {
    /// The word for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Writes => "writes",
            Self::Recognised => "recognised",
            Self::Missing => "missing",
            Self::Retired => "retired",
            Self::Sha256 => "sha256",
        }
    }
}

/// A pepper as the command line shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PepperView {
    /// Its version; 0 for plain SHA-256.
    pub version: u16,
    /// What it is to a gateway with this file.
    pub state: PepperState,
    /// Tokens that work.
    pub working_tokens: u64,
    /// Tokens that were revoked or have expired.
    pub ended_tokens: u64,
    /// Operators' tokens that work.
    pub working_operators: u64,
    /// When it was retired.
    pub retired_at: Option<Moment>,
}

impl Rotation {
    /// Opens the store and finds the file, without asking that both fit together.
    pub fn open(rules: &Rules, random: Box<dyn Random>) -> Result<Self, Error> {
        Ok(Self { store: rules.store.open()?, file: rules.pepper_file.clone(), random })
    }

    /// Every version that the file or the store knows, by version.
    pub fn list(&self, now: Now) -> Result<Vec<PepperView>, Error> {
        let versions = pepper_file::versions(&self.file)?;
        let uses = self.store.under_peppers(now)?;
        let known = |version: u16| uses.iter().any(|one| one.scheme == Scheme::Hmac(version));
        let unused = versions.iter().filter(|version| !known(**version)).map(|version| PepperUse {
            scheme: Scheme::Hmac(*version),
            working_tokens: 0,
            ended_tokens: 0,
            working_operators: 0,
            retired_at_unix_seconds: None,
        });
        let mut all: Vec<PepperUse> = uses.iter().copied().chain(unused).collect();
        all.sort_unstable_by_key(|one| one.scheme);
        Ok(all.into_iter().map(|one| view(&one, &versions)).collect())
    }

    /// Adds a new pepper to the file behind the others, and answers with its version.
    pub fn add(&self, now: Now) -> Result<u16, Error> {
        let newest = self.list(now)?.iter().map(|one| one.version).max().unwrap_or(0);
        let version = newest.checked_add(1).ok_or(Error::PepperUnknown(newest))?;
        pepper_file::add(&self.file, version, &*self.random)?;
        Ok(version)
    }

    /// Has new tokens hashed under a version of the file; [`Error::PepperUnknown`], [`Error::PepperRetired`].
    pub fn put_first(&self, version: u16) -> Result<(), Error> {
        if self.store.retired_peppers()?.contains(&version) {
            return Err(Error::PepperRetired(version));
        }
        let is_there = pepper_file::put_first(&self.file, version, &*self.random)?;
        is_there.then_some(()).ok_or(Error::PepperUnknown(version))
    }

    /// Retires a version in the store and takes it out of the file; [`Error::PepperInUse`], and the errors of
    /// [`PepperRotation::retire_pepper`](super::store::PepperRotation::retire_pepper).
    pub fn retire(&self, act: Act<'_>, version: u16, forced: bool) -> Result<PepperView, Error> {
        if pepper_file::versions(&self.file)?.first() == Some(&version) {
            return Err(Error::PepperInUse(version));
        }
        let retired = self.store.retire_pepper(act, version, forced)?;
        pepper_file::remove(&self.file, version, &*self.random)?;
        Ok(view(&retired, &[]))
    }
}

fn view(found: &PepperUse, versions: &[u16]) -> PepperView {
    let version = match found.scheme {
        Scheme::Sha256 => 0,
        Scheme::Hmac(version) => version,
    };
    let state = match versions.iter().position(|known| *known == version) {
        _ if found.scheme == Scheme::Sha256 => PepperState::Sha256,
        _ if found.retired_at_unix_seconds.is_some() => PepperState::Retired,
        Some(0) => PepperState::Writes,
        Some(_) => PepperState::Recognised,
        None => PepperState::Missing,
    };
    PepperView {
        version,
        state,
        working_tokens: found.working_tokens,
        ended_tokens: found.ended_tokens,
        working_operators: found.working_operators,
        retired_at: found.retired_at_unix_seconds.map(Moment),
    }
}
