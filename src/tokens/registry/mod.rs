//! The read model: every token and workspace in memory, shared by all cores, kept up to date by the log.
//!
//! A look-up hashes the token once for each live pepper and reads one line of memory, without a lock. The table is
//! also the perfect filter: a token that is not in it is unknown, and the store is not asked. While the store cannot
//! be read the registry goes on answering from memory, and says how long it has been.

mod entry;
mod follow;
mod named;
mod numbered;
mod operators;
mod record;
mod rehash;
mod revoked_jwts;
mod saved;
mod sightings;
mod table;
mod unwritten;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use dashmap::DashMap;

use crate::clock::Now;
use crate::domain::{RegionId, Regions, Subject, TokenId, Workspace, WorkspaceState};

use super::import::LONGEST_BYTES;
use super::operators::operator_format;
use super::store::Row;
use super::{Beyond, Digest, Error, Format, Mint, Peppers, Staleness, Store, TokenState};
pub use entry::Entry;
use entry::Grants;
pub use follow::Follower;
use follow::Loader;
use numbered::Numbered;
pub use operators::OperatorLookup;
use record::{PackedId, Values};
use rehash::Outdated;
pub use revoked_jwts::JwtNames;
pub use saved::Saver;
use sightings::Noted;
pub use sightings::{SightingCounts, Teller};
use table::Table;
use unwritten::Unwritten;
pub use unwritten::{HeldTokens, MOST_UNWRITTEN};

/// A look at the log that has not ended after this time will fail.
const CURRENT: Duration = Duration::from_secs(5);

/// What the registry says of a token.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// Never seen, or not even a token.
    Unknown,
    /// Genuine, and revoked.
    Revoked(Entry),
    /// Genuine, and its time is over.
    Expired(Entry),
    /// A decoy that is armed: never valid, and its use is to be told of.
    Decoy(Entry),
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
    /// Whether the store was read since the start; if not, all is as the saved registry has it.
    pub has_reached_store: bool,
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
    /// For messages.
    pepper_file: PathBuf,
    format: Format,
    regions: Regions,
    operator_format: Format,
    operators: operators::Operators,
    revoked_jwts: revoked_jwts::RevokedJwts,
    tokens: Table,
    /// What tokens may do, by the numbers in their records.
    grants: Numbered<Grants>,
    /// Ids that a record cannot hold.
    listed_ids: Numbered<TokenId>,
    /// Workspaces by the numbers in tokens' records; one without a value has no configured region.
    workspaces: Numbered<Workspace>,
    workspace_numbers: DashMap<Arc<str>, u32>,
    /// Whether a token may lack our format.
    has_foreign: AtomicBool,
    /// Whether a token may be known by its plain SHA-256 only.
    has_sha256: AtomicBool,
    unwritten: Unwritten,
    noted: Noted,
    outdated: Outdated,
    /// The last pepper version that was met and is not there; 0 for none.
    missing_pepper: AtomicU16,
    loader: Mutex<Loader>,
    /// Number and hash of the last entry of the log that was applied. Whoever has the loader changes it; it is locked no
    /// longer than it takes to copy it, whatever the store does.
    followed: Mutex<(u64, [u8; 32])>,
    head_seq: AtomicU64,
    success_monotonic_nanos: AtomicU64,
    success_unix_millis: AtomicU64,
    /// How old what was known at the start was, until the store was read.
    age_at_start_nanos: AtomicU64,
    reached_store: AtomicBool,
    /// Whether the last look at the log saw its end.
    is_followed: AtomicBool,
    /// How stale it may be, and whether it may then be answered from.
    max_staleness: Option<Staleness>,
    error: ArcSwapOption<String>,
}

impl Registry {
    /// Loads everything from the mint's store; [`Error::Unplaced`] if a workspace lives in a region that the
    /// configuration does not have.
    pub fn open(mint: &Mint, now: Now) -> Result<Arc<Self>, Error> {
        let registry = Self::empty(mint);
        registry.load(now)?;
        Ok(Arc::new(registry))
    }

    /// A registry of given rows in place of the store's, of any size, for benches.
    #[doc(hidden)]
    pub fn open_with(mint: &Mint, rows: impl IntoIterator<Item = Row>, now: Now) -> Result<Arc<Self>, Error> {
        let registry = Self::empty(mint);
        registry.load_rows(rows, now)?;
        Ok(Arc::new(registry))
    }

    fn empty(mint: &Mint) -> Self {
        let (tokens, writer) = Table::new();
        Self {
            store: Arc::clone(mint.store()),
            peppers: mint.peppers().clone(),
            pepper_file: mint.rules().pepper_file.clone(),
            format: mint.format().clone(),
            regions: mint.regions().clone(),
            operator_format: operator_format(),
            operators: operators::Operators::default(),
            revoked_jwts: revoked_jwts::RevokedJwts::default(),
            tokens,
            grants: Numbered::new(),
            listed_ids: Numbered::new(),
            workspaces: Numbered::new(),
            workspace_numbers: DashMap::new(),
            has_foreign: AtomicBool::new(false),
            has_sha256: AtomicBool::new(false),
            unwritten: Unwritten::default(),
            noted: Noted::new(mint.peppers()),
            outdated: Outdated::default(),
            missing_pepper: AtomicU16::new(0),
            loader: Mutex::new(Loader::new(writer)),
            followed: Mutex::new((0, [0; 32])),
            head_seq: AtomicU64::new(0),
            success_monotonic_nanos: AtomicU64::new(0),
            success_unix_millis: AtomicU64::new(0),
            age_at_start_nanos: AtomicU64::new(0),
            reached_store: AtomicBool::new(true),
            is_followed: AtomicBool::new(true),
            max_staleness: mint.rules().max_staleness,
            error: ArcSwapOption::empty(),
        }
    }

    /// Who a token stands for, and whether it works. A working token is noted as used.
    pub fn find(&self, token: &[u8], now: Now) -> Lookup {
        self.search(token, now, true)
    }

    /// As [`Registry::find`], noting no use.
    pub fn look_up(&self, token: &[u8], now: Now) -> Lookup {
        self.search(token, now, false)
    }

    fn search(&self, token: &[u8], now: Now, notes_use: bool) -> Lookup {
        if token.len() > LONGEST_BYTES
            || (!self.has_foreign.load(Ordering::Relaxed) && self.format.recognise(token).is_none())
        {
            return Lookup::Unknown;
        }
        loop {
            let moves = self.tokens.moves();
            if let Some(found) = self.search_keys(token, now, notes_use) {
                return found;
            }
            // A token that meanwhile got another digest may have been missed under both.
            if self.tokens.moves() == moves {
                return Lookup::Unknown;
            }
        }
    }

    fn search_keys(&self, token: &[u8], now: Now, notes_use: bool) -> Option<Lookup> {
        let by_digest = |digest: Digest| {
            self.tokens.find(digest.key(), |record, values| {
                let found = self.describe(values, now);
                if notes_use && matches!(found, Lookup::Found(_)) {
                    record.touch(now);
                }
                found
            })
        };
        let sha256 = || self.has_sha256.load(Ordering::Relaxed).then(|| Digest::sha256(token)).into_iter();
        let mut digests = self.peppers.digests(token).chain(std::iter::once_with(sha256).flatten());
        let (found, digest) = digests.find_map(|digest| by_digest(digest).map(|found| (found, digest)))?;
        if notes_use {
            self.note_digest(digest, token);
        }
        Some(found)
    }

    /// What [`Registry::look_up`] says of the token with a public id. Looks through all of them, so it is for
    /// operators alone.
    pub fn look_up_id(&self, id: &str, now: Now) -> Lookup {
        let found = self.tokens.try_for_each(|_, values| match self.id_of(values.id) {
            Some(found) if *found == *id => Err(values.key),
            Some(_) | None => Ok(()),
        });
        let Err(key) = found else { return Lookup::Unknown };
        self.tokens.find(key, |_, values| self.describe(values, now)).unwrap_or(Lookup::Unknown)
    }

    /// What a record says, with what its numbers stand for. Called while the record is read.
    fn describe(&self, values: &Values, now: Now) -> Lookup {
        let described = (|| {
            let (workspace, grants) =
                (self.workspaces.get(values.workspace)?, self.grants.get(values.grants)?);
            let subject = Subject(values.number);
            Some(Entry { id: self.id_of(values.id)?, subject, end: values.end(), grants, workspace })
        })();
        let Some(entry) = described else { return Lookup::Unplaced };
        if entry.grants.is_decoy {
            let is_armed = values.state_at(now) == TokenState::Active && !self.is_revoked_here(&entry);
            // One that was revoked is like any that never was: nobody is to learn that it was a token of ours.
            return if is_armed { Lookup::Decoy(entry) } else { Lookup::Unknown };
        }
        match values.state_at(now) {
            TokenState::Active if self.is_revoked_here(&entry) => Lookup::Revoked(entry),
            TokenState::Active => Lookup::Found(entry),
            TokenState::Expired => Lookup::Expired(entry),
            TokenState::Revoked => Lookup::Revoked(entry),
        }
    }

    /// Whether a token is revoked, by itself or with its workspace, although its record does not say so.
    fn is_revoked_here(&self, entry: &Entry) -> bool {
        self.unwritten.refuses(&entry.id) || self.unwritten.refuses_workspace(&entry.workspace.id)
    }

    fn id_of(&self, packed: PackedId) -> Option<TokenId> {
        packed.unpack().or_else(|number| self.listed_ids.get(number).map(|id| (*id).clone()).ok_or(())).ok()
    }

    /// A workspace as it is now, for callers whom something else than an opaque token proved. [`None`] if it
    /// is not known, or if the configuration does not have its region.
    pub fn workspace(&self, id: &str) -> Option<Arc<Workspace>> {
        let found = self.workspaces.get(*self.workspace_numbers.get(id)?)?;
        if self.unwritten.refuses_workspace(id) {
            return Some(Arc::new(Workspace { state: WorkspaceState::Deleted, ..Workspace::clone(&found) }));
        }
        Some(found)
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

    /// A pepper that working tokens are hashed under and that is not here: an unknown token may be one of them.
    pub fn missing_pepper(&self) -> Option<u16> {
        Some(self.missing_pepper.load(Ordering::Relaxed)).filter(|version| *version != 0)
    }

    /// Number and hash of the last entry of the log that was applied. Waits for nothing.
    pub fn followed_head(&self) -> (u64, [u8; 32]) {
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How well the store is followed.
    pub fn status(&self) -> Status {
        Status {
            applied_seq: self.followed_head().0,
            head_seq: self.head_seq.load(Ordering::Acquire),
            last_success: Now {
                monotonic_nanos: self.success_monotonic_nanos.load(Ordering::Acquire),
                unix_millis: self.success_unix_millis.load(Ordering::Acquire),
            },
            error: self.error.load_full(),
            has_reached_store: self.has_reached_store(),
            tokens: self.tokens.len(),
            workspaces: self.workspace_numbers.len(),
        }
    }

    /// How far this may be behind the store: the time since the log was last read to its end, or since it was saved.
    pub fn staleness(&self, now: Now) -> Duration {
        let last = self.success_monotonic_nanos.load(Ordering::Acquire);
        let age = self.age_at_start_nanos.load(Ordering::Acquire);
        Duration::from_nanos(now.monotonic_nanos.saturating_sub(last).saturating_add(age))
    }

    /// Whether the store was read since the start.
    fn has_reached_store(&self) -> bool {
        self.reached_store.load(Ordering::Acquire)
    }

    /// Whether what is not known here does not exist. While the store is away it may have been made elsewhere.
    pub fn is_current(&self, now: Now) -> bool {
        self.missing_pepper().is_none()
            && (self.is_followed.load(Ordering::Acquire) && self.staleness(now) <= CURRENT)
    }

    /// Whether requests may be answered by what is known here. Costs nothing where the configuration sets no bound.
    pub fn may_answer(&self, now: Now) -> bool {
        match self.max_staleness {
            Some(Staleness { beyond: Beyond::Refuse, most }) => self.staleness(now) <= most,
            Some(Staleness { beyond: Beyond::NotReady, .. }) | None => true,
        }
    }

    /// Whether this is staler than it may be.
    pub fn is_too_stale(&self, now: Now) -> bool {
        self.max_staleness.is_some_and(|bound| self.staleness(now) > bound.most)
    }
}

#[cfg(test)]
mod tests;
