//! What can go wrong with tokens and workspaces. No message quotes a token.

use std::io;
use std::path::{Path, PathBuf};

use super::Scheme;
use crate::domain::OverrideHolder;

/// Why an operation on the registry was not done. Each message says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such workspace.
    #[error(
        "there is no workspace `{0}`; create it with `tollgate workspace create {0} --region REGION`, or see `tollgate workspace list`"
    )]
    WorkspaceUnknown(String),
    /// The id is taken.
    #[error(
        "workspace `{0}` exists already; change it with `tollgate workspace set {0}`, or choose another id"
    )]
    WorkspaceExists(String),
    /// A deleted workspace gets no tokens.
    #[error(
        "workspace `{0}` is deleted and gets no tokens; bring it back with `tollgate workspace set {0} --state active`"
    )]
    WorkspaceDeleted(String),
    /// There is no token with this id.
    #[error("there is no token with the id `{0}`; see `tollgate token list`")]
    TokenUnknown(String),
    /// Only the newest token of a family can be rotated.
    #[error("token {id} was rotated already; rotate its successor {successor} instead")]
    AlreadyRotated {
        /// The token.
        id: String,
        /// The one that took its place.
        successor: String,
    },
    /// A token that does not work cannot be rotated.
    #[error("token {id} is {state} and cannot be rotated; create a new one with `tollgate token create`")]
    NotActive {
        /// The token.
        id: String,
        /// What it is instead of active.
        state: &'static str,
    },
    /// A token that does not work cannot be changed.
    #[error("token {id} is {state} and cannot be changed; create a new one with `tollgate token create`")]
    Ended {
        /// The token.
        id: String,
        /// What it is instead of active.
        state: &'static str,
    },
    /// The workspace has as many tokens as it may.
    #[error(
        "workspace `{workspace}` has {cap} working tokens, as many as `tokens.tokens_per_workspace` allows; revoke one that is not used (`tollgate token list --workspace {workspace}`)"
    )]
    TooManyTokens {
        /// The workspace.
        workspace: String,
        /// How many it may have.
        cap: u32,
    },
    /// The workspace has twice as many tokens as it may, because rotated ones go on working.
    #[error(
        "workspace `{workspace}` has {most} working tokens with those that were rotated, twice as many as `tokens.tokens_per_workspace` allows; rotate without an overlap, or wait until one ends"
    )]
    TooManyOverlaps {
        /// The workspace.
        workspace: String,
        /// How many it may have with those that were rotated.
        most: u32,
    },
    /// There is no such operator.
    #[error("there is no operator `{0}`; see `tollgate operator list`")]
    OperatorUnknown(String),
    /// The name is or was an operator's.
    #[error(
        "the name `{0}` is or was an operator's, and the audit trail knows one by it; choose another name"
    )]
    OperatorExists(String),
    /// There are as many operators as there may be.
    #[error(
        "there are {cap} operators, revoked ones included, as many as there may be; give people tokens they share less"
    )]
    TooManyOperators {
        /// How many there may be.
        cap: usize,
    },
    /// No JWTs of this issuer are accepted, so none can be revoked.
    #[error("the configuration has no issuer `{issuer}`; it has {known}")]
    IssuerUnknown {
        /// The one asked for.
        issuer: String,
        /// Those that there are, separated by commas.
        known: String,
    },
    /// There are as many revocations of JWTs as there may be.
    #[error(
        "there are {cap} revocations of JWTs in force, as many as there may be; revoke a subject's or a workspace's tokens at once instead of each"
    )]
    TooManyJwtRevocations {
        /// How many there may be.
        cap: u32,
    },
    /// An operator has used as many idempotency keys as are remembered.
    #[error(
        "{cap} idempotency keys of this operator are remembered, as many as there may be; each is forgotten after a day, and a request without one is carried out"
    )]
    TooManyIdempotencyKeys {
        /// How many are remembered.
        cap: u32,
    },
    /// The request with this idempotency key was carried out meanwhile, or its key is gone.
    #[error(
        "the request with this idempotency key was carried out meanwhile; send it again to be told its answer"
    )]
    RequestAnswered,
    /// There is no such override.
    #[error("the {holder} has no override of the policy `{policy}`; see `tollgate limits show`")]
    OverrideUnknown {
        /// Whose.
        holder: OverrideHolder,
        /// Of which policy.
        policy: String,
    },
    /// A holder has as many overrides in force as it may.
    #[error(
        "the {holder} has {cap} overrides in force, as many as there may be; remove one, or change the configuration's policies"
    )]
    TooManyOverrides {
        /// Whose.
        holder: OverrideHolder,
        /// How many there may be.
        cap: usize,
    },
    /// A value that cannot be stored or sent.
    #[error("`{value}` is no {what}; {fix}")]
    Invalid {
        /// What it should have been.
        what: &'static str,
        /// What it is; never a token.
        value: String,
        /// What to write instead.
        fix: &'static str,
    },
    /// The configuration has no such region.
    #[error("the configuration has no region `{region}`; it has {known}")]
    RegionUnknown {
        /// The one asked for.
        region: String,
        /// Those that there are, separated by commas.
        known: String,
    },
    /// A stored workspace lives in a region that the configuration does not have.
    #[error(
        "workspace `{workspace}` lives in region `{region}`, which the configuration does not have; add the region, or move the workspace with `tollgate workspace set {workspace} --region REGION`"
    )]
    Unplaced {
        /// The workspace.
        workspace: String,
        /// Its region.
        region: String,
    },
    /// The store failed. Nothing was changed.
    #[error("the token store {place} failed: {source}; nothing was changed, try again once it can be used")]
    Store {
        /// Which store: a path or an address, without credentials.
        place: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed to write a revocation. It is in force in this process all the same.
    #[error(
        "{what} {id}: the revocation is in force in this instance from now on, but is not written yet: {source}; it is \
         written as soon as the store takes it, and other instances learn of it only then: do not restart this one before"
    )]
    RevocationUnwritten {
        /// What is revoked: `token`, `operator`, `JWT revocation`, or a `workspace` that is deleted.
        what: &'static str,
        /// Its id or name.
        id: String,
        /// Why it could not be written.
        source: Box<Error>,
    },
    /// Too many revocations wait for the store; this one was not taken.
    #[error(
        "{0} revocations wait for the token store already, as many as there may be; this one was not taken, mend the \
         store and try again"
    )]
    TooManyUnwritten(usize),
    /// The store was lost while a change was being committed.
    #[error(
        "the token store {place} failed while a change was committed: {source}; whether it was done is not known, look before it is tried again"
    )]
    StoreUnsure {
        /// Which store: a path or an address, without credentials.
        place: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store was written by a newer version of tollgate.
    #[error(
        "the token store {place} has schema {found}, this tollgate knows {known}; use the tollgate that wrote it, or a newer one"
    )]
    StoreNewer {
        /// Which store.
        place: String,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The store was written by an older version of tollgate and is only read.
    #[error(
        "the token store {place} has schema {found}, this tollgate knows {known}; run `tollgate workspace list` once, which brings it up to date"
    )]
    StoreOlder {
        /// Which store.
        place: String,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A file is no token store.
    #[error("{place} is a database of something else; name another file in `tokens.store`")]
    StoreForeign {
        /// Which file.
        place: String,
    },
    /// The change log misses an entry or went back: the store was tampered with or restored from a copy.
    #[error(
        "the change log went from entry {last} to {found}; if the store was restored from a copy, restart tollgate"
    )]
    LogBroken {
        /// The last entry that was applied.
        last: u64,
        /// What came after it.
        found: u64,
    },
    /// The store's log is not the one that was followed.
    #[error(
        "the change log has another entry {0} than this instance knows: the store is another one, or was put back to an \
         earlier state and went on from there; restart tollgate to take the store as it is"
    )]
    LogForked(u64),
    /// An entry of the change log does not fit the one before.
    #[error("entry {0} of the change log was altered: its hash does not follow from the entry before")]
    LogAltered(u64),
    /// The key of signed heads cannot be understood.
    #[error(
        "{} holds no Ed25519 key in PKCS #8 PEM (`openssl genpkey -algorithm ed25519` makes one); restore it from a copy, or \
         remove it to have a new one made",
        .0.display()
    )]
    HeadKeyInvalid(PathBuf),
    /// There is no pepper file although the store has tokens.
    #[error("the pepper file {} is missing and the tokens of the store cannot be recognised without it; restore it from a copy", .0.display())]
    PepperMissing(PathBuf),
    /// The pepper file cannot be understood.
    #[error("line {line} of the pepper file {} is not `version:base64` with a version of its own from 1 to 65535 and at least 16 bytes; restore the file from a copy", .file.display())]
    PepperInvalid {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The pepper file lacks a version under which tokens are stored.
    #[error("the pepper file {} lacks version {version}, and tokens of the store are hashed under it; put its line back, or give them up with `tollgate token peppers retire {version} --force`", .file.display())]
    PepperGone {
        /// The version.
        version: u16,
        /// The file.
        file: PathBuf,
    },
    /// No pepper of this version was ever used.
    #[error("there is no pepper version {0}; see `tollgate token peppers`")]
    PepperUnknown(u16),
    /// A pepper cannot be given up while something is stored under it.
    #[error(
        "{tokens} working tokens and {operators} operators are hashed under pepper version {version} and would stop working; \
         wait until they were used, rotate or revoke them (`tollgate token list --pepper {version}`), or say --force"
    )]
    PepperNeeded {
        /// The version.
        version: u16,
        /// Tokens that work.
        tokens: u64,
        /// Operators' tokens that work.
        operators: u64,
    },
    /// The pepper that new tokens are hashed under cannot be given up.
    #[error(
        "new tokens are hashed under pepper version {0}; have another one used first, with `tollgate token peppers use VERSION`"
    )]
    PepperInUse(u16),
    /// A pepper that was retired is not used again.
    #[error(
        "pepper version {0} was retired; put another line first in the pepper file (`tollgate token peppers add` makes one) and restart"
    )]
    PepperRetired(u16),
    /// The pepper is not the one that the store's tokens were made with.
    #[error("the pepper file {} is not the one that this store was made with ({scheme:?} differs); restore the right one from a copy", .file.display())]
    PepperMismatch {
        /// Which of them.
        scheme: Scheme,
        /// The file.
        file: PathBuf,
    },
    /// The machine has no randomness.
    #[error("the operating system gives no random bytes; nothing was made")]
    Randomness,
    /// A file or folder cannot be used.
    #[error("cannot {action} {}: {source}", .file.display())]
    File {
        /// Which one.
        file: PathBuf,
        /// What was tried: `read`, `make`.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    /// Whether the store failed, so that the same may be tried again later.
    pub const fn is_of_the_store(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::StoreUnsure { .. })
    }

    pub(super) fn file(file: &Path, action: &'static str, source: io::Error) -> Self {
        Self::File { file: file.to_owned(), action, source }
    }
}
