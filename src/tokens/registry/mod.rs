//! The read model: every token and workspace in memory, shared by all cores, kept up to date by the log.
//!
//! A look-up hashes the token once for each live pepper and reads one shard of a map. The map is also the
//! perfect filter: a token that is not in it is unknown, and the store is not asked. While the store cannot
//! be read the registry goes on answering from memory, and says how long it has been.

mod entry;
mod follow;
mod operators;
mod revoked_jwts;

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use dashmap::DashMap;

use crate::clock::Now;
use crate::domain::{RegionId, Regions, Workspace};

use super::import::LONGEST_BYTES;
use super::operators::operator_format;
use super::{Digest, Error, Format, Mint, Peppers, Store, TokenState};
pub use entry::Entry;
use entry::{Held, WorkspaceCell};
pub use follow::Follower;
use follow::Loader;
pub use operators::OperatorLookup;
pub use revoked_jwts::JwtNames;

/// What the registry says of a token.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// Never seen, or not even a token.
    Unknown,
    /// Genuine, and revoked.
    Revoked(Entry),
    /// Genuine, and its time is over.
    Expired(Entry),
    /// Genuine, but the configuration has no region for its workspace: our fault, not the caller's.
    Unplaced,
    /// Genuine, and it works.
    Found(Entry),
}

/// How well the registry follows the store.
#[derive(Clone, Debug)]
pub struct Status {
    /// The last entry of the log that was applied.
    pub applied_seq: u64,
    /// The last entry of the log that was seen.
    pub head_seq: u64,
    /// When the log was last read to its end.
    pub last_success: Now,
    /// Why it could not be read since; [`None`] while all is well.
    pub error: Option<Arc<String>>,
    /// Tokens in memory, also revoked and expired ones.
    pub tokens: usize,
    /// Workspaces in memory.
    pub workspaces: usize,
}

/// Every token and workspace in memory.
#[derive(Debug)]
pub struct Registry {
    store: Arc<dyn Store>,
    peppers: Peppers,
    format: Format,
    regions: Regions,
    tokens: DashMap<u128, Arc<Held>, BuildHasherDefault<FirstBits>>,
    workspaces: DashMap<Arc<str>, Arc<WorkspaceCell>>,
    operator_format: Format,
    operators: operators::Operators,
    revoked_jwts: revoked_jwts::RevokedJwts,
    /// Whether a token may lack our format.
    has_foreign: AtomicBool,
    /// Whether a token may be known by its plain SHA-256 only.
    has_sha256: AtomicBool,
    loader: Mutex<Loader>,
    applied_seq: AtomicU64,
    head_seq: AtomicU64,
    success_monotonic_nanos: AtomicU64,
    success_unix_millis: AtomicU64,
    error: ArcSwapOption<String>,
}

impl Registry {
    /// Loads everything from the mint's store; [`Error::Unplaced`] if a workspace lives in a region that the
    /// configuration does not have.
    pub fn open(mint: &Mint, now: Now) -> Result<Arc<Self>, Error> {
        let registry = Self {
            store: Arc::clone(mint.store()),
            peppers: mint.peppers().clone(),
            format: mint.format().clone(),
            regions: mint.regions().clone(),
            tokens: DashMap::default(),
            workspaces: DashMap::new(),
            operator_format: operator_format(),
            operators: operators::Operators::default(),
            revoked_jwts: revoked_jwts::RevokedJwts::default(),
            has_foreign: AtomicBool::new(false),
            has_sha256: AtomicBool::new(false),
            loader: Mutex::default(),
            applied_seq: AtomicU64::new(0),
            head_seq: AtomicU64::new(0),
            success_monotonic_nanos: AtomicU64::new(0),
            success_unix_millis: AtomicU64::new(0),
            error: ArcSwapOption::empty(),
        };
        registry.load(now)?;
        Ok(Arc::new(registry))
    }

    /// Who a token stands for, and whether it works. A working token is noted as used.
    pub fn find(&self, token: &[u8], now: Now) -> Lookup {
        let found = self.look_up(token, now);
        if let Lookup::Found(entry) = &found {
            entry.held.touch(now);
        }
        found
    }

    /// As [`Registry::find`], noting no use.
    pub fn look_up(&self, token: &[u8], now: Now) -> Lookup {
        if token.len() > LONGEST_BYTES
            || (!self.has_foreign.load(Ordering::Relaxed) && self.format.recognise(token).is_none())
        {
            return Lookup::Unknown;
        }
        self.held(token).map_or(Lookup::Unknown, |held| Self::state_of(held, now))
    }

    /// What [`Registry::look_up`] says of the token with a public id. Looks through all of them, so it is for
    /// operators alone.
    pub fn look_up_id(&self, id: &str, now: Now) -> Lookup {
        let held = self.tokens.iter().find(|held| *held.id == *id).map(|held| Arc::clone(&held));
        held.map_or(Lookup::Unknown, |held| Self::state_of(held, now))
    }

    fn state_of(held: Arc<Held>, now: Now) -> Lookup {
        let Some(workspace) = held.workspace.load_full() else { return Lookup::Unplaced };
        match held.state_at(now) {
            TokenState::Active => Lookup::Found(Entry { held, workspace }),
            TokenState::Expired => Lookup::Expired(Entry { held, workspace }),
            TokenState::Revoked => Lookup::Revoked(Entry { held, workspace }),
        }
    }

    /// A workspace as it is now, for callers whom something else than an opaque token proved. [`None`] if it
    /// is not known, or if the configuration does not have its region.
    pub fn workspace(&self, id: &str) -> Option<Arc<Workspace>> {
        self.workspaces.get(id)?.load_full()
    }

    /// The region that a token of our format names, whether it is known here or not: a gateway that serves
    /// one region recognises the others' tokens by it.
    pub fn token_region(&self, token: &[u8]) -> Option<RegionId> {
        self.regions.by_letter(self.format.recognise(token)?)
    }

    /// The format of the registry's own tokens.
    pub const fn format(&self) -> &Format {
        &self.format
    }

    /// How well the store is followed.
    pub fn status(&self) -> Status {
        Status {
            applied_seq: self.applied_seq.load(Ordering::Acquire),
            head_seq: self.head_seq.load(Ordering::Acquire),
            last_success: Now {
                monotonic_nanos: self.success_monotonic_nanos.load(Ordering::Acquire),
                unix_millis: self.success_unix_millis.load(Ordering::Acquire),
            },
            error: self.error.load_full(),
            tokens: self.tokens.len(),
            workspaces: self.workspaces.len(),
        }
    }

    /// Time since the log was last read to its end.
    pub fn staleness(&self, now: Now) -> Duration {
        let last = self.success_monotonic_nanos.load(Ordering::Acquire);
        Duration::from_nanos(now.monotonic_nanos.saturating_sub(last))
    }

    fn held(&self, token: &[u8]) -> Option<Arc<Held>> {
        let by_digest = |digest: Digest| self.tokens.get(&digest.key()).map(|found| Arc::clone(&found));
        self.peppers.digests(token).find_map(by_digest).or_else(|| {
            self.has_sha256.load(Ordering::Relaxed).then(|| by_digest(Digest::sha256(token))).flatten()
        })
    }
}

/// Takes the first bits of a digest as its hash: they are uniform already, and nobody without the pepper can
/// choose them.
#[derive(Default)]
struct FirstBits(u64);

impl Hasher for FirstBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = (key >> 64) as u64;
    }
}

#[cfg(test)]
mod tests;
