//! What a change needs of a database.

use super::Failure;
use crate::domain::OverrideHolder;
use crate::tokens::store::{LogEntry, StoredToken};
use crate::tokens::{Digest, OverrideRecord, TokenRecord, WorkspaceRecord};

/// The statements of one open transaction. They check nothing that [`super::Writing`] checks.
pub(in crate::tokens::store) trait Tables {
    /// Number and hash of the log's last entry. Until the transaction ends, no other changes anything.
    fn lock_head(&self) -> Result<(u64, [u8; 32]), Failure>;

    /// Adds entries to the log, the last of which becomes its head.
    fn append(&self, entries: &[LogEntry]) -> Result<(), Failure>;

    fn workspace(&self, id: &str) -> Result<Option<WorkspaceRecord>, Failure>;

    /// Adds a workspace, or replaces everything of it but its number and when it was made.
    fn put_workspace(&self, record: &WorkspaceRecord) -> Result<(), Failure>;

    fn token(&self, id: &str) -> Result<Option<StoredToken>, Failure>;

    /// The token that the first of these digests stands for.
    fn token_by_digest(&self, digests: &[Digest]) -> Result<Option<StoredToken>, Failure>;

    /// The token that this one took the place of.
    fn predecessor_of(&self, id: &str) -> Result<Option<TokenRecord>, Failure>;

    /// How many tokens of a workspace work at a time.
    fn working_tokens(&self, workspace: &str, unix_seconds: u64) -> Result<u64, Failure>;

    /// Ids and names of a workspace's tokens that were not revoked, by id.
    fn unrevoked_tokens(&self, workspace: &str) -> Result<Vec<(String, String)>, Failure>;

    fn insert_token(&self, record: &TokenRecord, digest: &Digest, foreign: bool) -> Result<(), Failure>;

    fn set_replaced(&self, id: &str, overlap_until_unix_seconds: u64, by: &str) -> Result<(), Failure>;

    fn set_revoked(&self, id: &str, unix_seconds: u64, reason: &str) -> Result<(), Failure>;

    /// Adds an override, or replaces the one of its holder and policy.
    fn put_override(&self, holder: &OverrideHolder, record: &OverrideRecord) -> Result<(), Failure>;

    fn delete_override(&self, holder: &OverrideHolder, policy: &str) -> Result<(), Failure>;

    fn delete_ended_overrides(&self, holder: &OverrideHolder, unix_seconds: u64) -> Result<(), Failure>;

    /// Adds a pepper's fingerprint; false if that version has one.
    fn insert_fingerprint(&self, version: u16, fingerprint: &[u8; 32]) -> Result<bool, Failure>;
}
