//! Where workspaces, tokens and the change log are kept.
//!
//! Decides what is one change. Invariants, which `contract` proves of every store: a change and its log
//! entry are one transaction; entries are numbered without a gap in the order of their commits; what was
//! acknowledged survives a crash; no entry and no row holds a secret. It refuses to know the format of tokens
//! and the request path: no request reads a store.

mod address;
mod changed;
mod columns;
pub(crate) mod failure;
pub mod idempotency;
pub mod jwt_revocations;
pub mod leaks;
pub mod log;
pub mod operators;
pub mod outbox;
pub mod peppers;
pub mod postgres;
pub mod reachable;
pub mod sightings;
pub mod sqlite;
pub mod subject_log;
pub mod token_changes;
mod writing;

#[cfg(test)]
pub(crate) mod contract;

use std::sync::Arc;

use crate::clock::Now;
use crate::domain::{Network, OverrideHolder, Plan, Quota, Role, WorkspaceState};

use super::{
    Digest, Error, HeldOverride, JwtRevocation, NewOverride, OverrideRecord, TokenRecord, WorkspaceRecord,
};
pub use address::StoreAddress;
use changed::Changed;
pub use idempotency::{IdempotencyKey, IdempotencyKeys, KeptAnswer, KeyedRequest, Made};
pub use jwt_revocations::JwtRevocations;
pub use leaks::{Leak, LeakRevocation, LeakedToken, Leaks};
pub use log::{ChangeKind, LogEntry};
pub use operators::{Operators, StoredOperator};
pub use outbox::{Attempt, Backlog, Delivery, Outbox, Recipient};
pub use peppers::{PepperRotation, PepperUse, Rehash};
pub use postgres::{PostgresAddress, PostgresStore};
pub use reachable::Reachable;
pub use sightings::{DecoyTold, DecoyUses, KnownNetwork, NetworkNoted, Sighting, Sightings};
pub use sqlite::SqliteStore;
pub use subject_log::SubjectLog;
pub use token_changes::{TokenChange, TokenChanges};

/// How many features, and how many contacts, one workspace may have.
pub const MOST_WORDS: usize = 64;

/// How many networks one token may be bound to.
pub const MOST_NETWORKS: usize = 16;

/// How many overrides in force one holder may have.
pub const MOST_OVERRIDES: usize = 64;

/// Who changes something, and when; goes into the log.
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// A name such as `cli:ana`, `admin:ci` or `github-secret-scanning`.
    pub actor: &'a str,
    /// When.
    pub now: Now,
    /// The request with a key that asks for it, whose answer is kept with the change.
    pub request: Option<KeyedRequest<'a>>,
}

impl<'a> Act<'a> {
    /// Of somebody at a time.
    pub const fn by(actor: &'a str, now: Now) -> Self {
        Self { actor, now, request: None }
    }
}

/// A workspace to be made.
#[derive(Clone, Debug)]
pub struct NewWorkspace {
    /// Its id, not yet taken.
    pub id: String,
    /// The configured name of its region.
    pub region: String,
    /// Its plan.
    pub plan: Plan,
    /// The features that are enabled.
    pub features: Vec<String>,
    /// Who is told of leaks.
    pub contacts: Vec<String>,
}

/// What changes in a workspace; the default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkspaceChange {
    /// Another home region.
    pub region: Option<String>,
    /// Another plan.
    pub plan: Option<Plan>,
    /// Another state. [`WorkspaceState::Deleted`] also revokes every token of the workspace.
    pub state: Option<WorkspaceState>,
    /// Features to enable.
    pub enable: Vec<String>,
    /// Features to disable.
    pub disable: Vec<String>,
    /// Contacts to add.
    pub add_contacts: Vec<String>,
    /// Contacts to remove.
    pub remove_contacts: Vec<String>,
}

/// A token to be made or imported.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its public id, not yet taken.
    pub id: String,
    /// Its workspace, which must exist.
    pub workspace: String,
    /// A name for people.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Its role.
    pub role: Role,
    /// A limit of its own.
    pub own_limit: Option<Quota>,
    /// Where it may be used from, sorted; from everywhere if there are none.
    pub allowed_networks: Vec<Network>,
    /// Whether it is a decoy.
    pub is_decoy: bool,
    /// When it ends by itself.
    pub expires_at_unix_seconds: Option<u64>,
    /// What stands for it at rest.
    pub digest: Digest,
    /// Whether it may lack our format and checksum.
    pub foreign: bool,
}

/// What takes the place of a rotated token; everything else is the old one's.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// Its public id, not yet taken.
    pub id: String,
    /// What stands for it at rest.
    pub digest: Digest,
    /// When it ends; [`None`] gives it the old one's lifetime, counted from now.
    pub expires_at_unix_seconds: Option<u64>,
    /// How long the old one goes on working beside it; 0 revokes it at once.
    pub overlap_seconds: u64,
    /// How many working tokens its workspace may have. Those that overlap may be as many again.
    pub cap: u32,
}

/// One token of an import.
#[derive(Clone, Debug)]
pub struct ImportedToken {
    /// The token as it is stored if it is new.
    pub token: NewToken,
    /// Every digest under which it may be known already.
    pub known_as: Vec<Digest>,
    /// The region that its workspace must live in, and is made in if it does not exist.
    pub region: Option<String>,
    /// The region that its workspace is made in if it does not exist and `region` says nothing.
    pub default_region: Option<String>,
    /// The plan of a workspace that is made.
    pub plan: Plan,
}

/// What became of one imported token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is new.
    Added,
    /// It was there, and was left as it is, also if it is revoked.
    Known,
    /// It belongs to another workspace.
    ElsewhereIn(String),
    /// Its workspace lives in another region.
    OtherRegion(String),
    /// Its workspace does not exist and no region was named for it.
    NoWorkspace,
    /// Its workspace is deleted.
    Deleted,
}

/// A token with what it is found by.
#[derive(Clone, Debug)]
pub struct StoredToken {
    /// The token.
    pub record: TokenRecord,
    /// What stands for it.
    pub digest: Digest,
    /// Whether it may lack our format and checksum.
    pub foreign: bool,
    /// What stood for it before; told by [`Store::changes`] alone.
    pub former: Vec<Digest>,
}

/// A row of the read model.
#[derive(Clone, Debug)]
pub enum Row {
    /// A workspace as it is now.
    Workspace(WorkspaceRecord),
    /// A token as it is now.
    Token(Box<StoredToken>),
    /// An operator as it is now.
    Operator(StoredOperator),
    /// A revocation of JWTs as it is now.
    JwtRevocation(JwtRevocation),
}

/// What happened after an entry of the log.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The newest entry of the log.
    pub head: u64,
    /// The hash of the entry after which was read. Whoever knows another read another log.
    pub hash_before: [u8; 32],
    /// The hash of the last entry that was read; `hash_before` if there was none.
    pub hash_after: [u8; 32],
    /// The numbers of the entries that were read, ascending.
    pub seqs: Vec<u64>,
    /// The rows that these entries changed, as they are now, maybe by still later entries; workspaces before tokens.
    pub rows: Vec<Row>,
}

/// Called whenever a log may have grown; must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// A store. Every method blocks and is called off the request threads.
///
/// Where a method says so it refuses with the [`Error`] of that name; every other failure is
/// [`Error::Store`], and then nothing was changed, or [`Error::StoreUnsure`], and then that is not known.
pub trait Store:
    Leaks
    + Outbox
    + Operators
    + JwtRevocations
    + IdempotencyKeys
    + SubjectLog
    + Reachable
    + TokenChanges
    + Sightings
    + PepperRotation
    + Send
    + Sync
    + std::fmt::Debug
{
    /// Makes a workspace; [`Error::WorkspaceExists`].
    fn create_workspace(&self, act: Act<'_>, new: &NewWorkspace) -> Result<WorkspaceRecord, Error>;

    /// Changes a workspace; [`Error::WorkspaceUnknown`]. A change that changes nothing writes no entry.
    fn set_workspace(
        &self,
        act: Act<'_>,
        id: &str,
        change: &WorkspaceChange,
    ) -> Result<WorkspaceRecord, Error>;

    /// One workspace.
    fn workspace(&self, id: &str) -> Result<Option<WorkspaceRecord>, Error>;

    /// Up to `count` workspaces whose ids come after `after`, by id.
    fn workspaces(&self, after: &str, count: u32) -> Result<Vec<WorkspaceRecord>, Error>;

    /// Makes a token; [`Error::WorkspaceUnknown`], [`Error::WorkspaceDeleted`], [`Error::TooManyTokens`] if
    /// the workspace has `cap` working ones.
    fn create_token(&self, act: Act<'_>, new: &NewToken, cap: u32) -> Result<TokenRecord, Error>;

    /// Replaces a token; [`Error::TokenUnknown`], [`Error::AlreadyRotated`], [`Error::NotActive`],
    /// [`Error::TooManyOverlaps`].
    fn rotate_token(&self, act: Act<'_>, id: &str, by: &Replacement) -> Result<TokenRecord, Error>;

    /// Revokes a token and its predecessors that still work; [`Error::TokenUnknown`]. Revoking again changes
    /// nothing, writes no entry, and answers as the first time.
    fn revoke_token(&self, act: Act<'_>, id: &str, reason: &str) -> Result<TokenRecord, Error>;

    /// Sets an override of a token's family or of a workspace, in place of an earlier one of the same policy;
    /// [`Error::TokenUnknown`], [`Error::WorkspaceUnknown`], [`Error::TooManyOverrides`]. The same one again
    /// writes no entry.
    fn set_override(
        &self,
        act: Act<'_>,
        holder: &OverrideHolder,
        new: &NewOverride,
    ) -> Result<OverrideRecord, Error>;

    /// Removes an override and answers with what it was; [`Error::TokenUnknown`],
    /// [`Error::WorkspaceUnknown`], [`Error::OverrideUnknown`].
    fn remove_override(
        &self,
        act: Act<'_>,
        holder: &OverrideHolder,
        policy: &str,
    ) -> Result<OverrideRecord, Error>;

    /// Up to `count` overrides, also ended ones, that come after the one of a holder and policy: by kind of
    /// holder, holder and policy.
    fn overrides(
        &self,
        after: Option<(&OverrideHolder, &str)>,
        count: u32,
    ) -> Result<Vec<HeldOverride>, Error>;

    /// Imports a batch in one transaction; answers in its order.
    fn import(&self, act: Act<'_>, batch: &[ImportedToken]) -> Result<Vec<Imported>, Error>;

    /// One token.
    fn token(&self, id: &str) -> Result<Option<TokenRecord>, Error>;

    /// The token that one of these digests stands for.
    fn token_by_digest(&self, digests: &[Digest]) -> Result<Option<TokenRecord>, Error>;

    /// Up to `count` tokens, of one workspace or of all, whose ids come after `after`, by id.
    fn tokens(&self, workspace: Option<&str>, after: &str, count: u32) -> Result<Vec<TokenRecord>, Error>;

    /// Hands every row to `load`, workspaces first, and answers with number and hash of the log entry up to which
    /// they are.
    fn snapshot(&self, load: &mut dyn FnMut(Row)) -> Result<(u64, [u8; 32]), Error>;

    /// Hands those rows to `load` of which there are few: neither workspaces nor tokens.
    fn few(&self, load: &mut dyn FnMut(Row)) -> Result<(), Error>;

    /// Up to `count` entries after `after`, read as of one moment, and the rows that they changed, as of that moment or a
    /// later one. There are fewer, though at least one, where entries are about many tokens each.
    fn changes(&self, after: u64, count: u32) -> Result<Changes, Error>;

    /// Calls `wake` when the log may have grown, until what it answers with is dropped. Only a hint, which may be
    /// late or lost; [`None`] if the store gives none.
    fn watch(&self, wake: Wake) -> Option<postgres::Watch>;

    /// Up to `count` entries of the log after `after`, ascending.
    fn log(&self, after: u64, count: u32) -> Result<Vec<LogEntry>, Error>;

    /// The newest entry's number and hash as the store keeps them apart from the log.
    fn head(&self) -> Result<(u64, [u8; 32]), Error>;

    /// Writes last-used times in seconds since 1970 by token id; an earlier time never replaces a later one.
    fn record_uses(&self, uses: &[(&str, u64)]) -> Result<(), Error>;

    /// The fingerprints of the peppers that the store's digests were made with.
    fn fingerprints(&self) -> Result<Vec<Digest>, Error>;

    /// Adds the fingerprints that are new.
    fn add_fingerprints(&self, act: Act<'_>, fingerprints: &[Digest]) -> Result<(), Error>;
}
