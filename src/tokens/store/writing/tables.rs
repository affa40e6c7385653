//! What a change needs of a database.

use super::{Failure, ImportTables, KeyTables, PepperTables, SightingTables};
use crate::domain::OverrideHolder;
use crate::tokens::store::{LogEntry, StoredOperator, StoredToken};
use crate::tokens::{
    Digest, JwtRevocation, JwtsRevoked, OperatorRecord, OverrideRecord, TokenRecord, WorkspaceRecord,
};

/// A message of the outbox.
pub(in crate::tokens::store) struct NewMessage {
    pub(in crate::tokens::store) id: String,
    /// The log entry that it tells of.
    pub(in crate::tokens::store) entry: u64,
    /// [`None`] for the operator.
    pub(in crate::tokens::store) contact: Option<String>,
    pub(in crate::tokens::store) enqueued_at_unix_millis: u64,
}

/// The statements of one open transaction. They check nothing that [`super::Writing`] checks.
pub(in crate::tokens::store) trait Tables:
    SightingTables + PepperTables + ImportTables + KeyTables
{
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

    /// The tokens with these ids, and all that work at a time of their families, each once.
    fn with_families(&self, ids: &[&str], unix_seconds: u64) -> Result<Vec<TokenRecord>, Failure>;

    /// The tokens that work at a time of those that this one took the place of, however many there were, by id.
    fn working_predecessors(&self, id: &str, unix_seconds: u64) -> Result<Vec<TokenRecord>, Failure>;

    /// How many tokens of a workspace work at a time.
    fn working_tokens(&self, workspace: &str, unix_seconds: u64) -> Result<u64, Failure>;

    /// Revokes up to `count` of a workspace's tokens at a time for a reason, and answers with their ids and names; none if there are no more.
    fn revoke_some_of(
        &self,
        workspace: &str,
        when_and_why: (u64, &str),
        count: u32,
    ) -> Result<Vec<(String, String)>, Failure>;

    fn insert_tokens(&self, tokens: &[StoredToken]) -> Result<(), Failure>;

    /// Replaces a token's name and networks.
    fn set_token(&self, record: &TokenRecord) -> Result<(), Failure>;

    fn set_replaced(&self, id: &str, overlap_until_unix_seconds: u64, by: &str) -> Result<(), Failure>;

    fn set_revoked(&self, id: &str, unix_seconds: u64, reason: &str) -> Result<(), Failure>;

    /// Revokes tokens, by their ids, each for its reason.
    fn set_all_revoked(&self, revoked: &[(String, String)], unix_seconds: u64) -> Result<(), Failure>;

    /// Adds an override, or replaces the one of its holder and policy.
    fn put_override(&self, holder: &OverrideHolder, record: &OverrideRecord) -> Result<(), Failure>;

    fn delete_override(&self, holder: &OverrideHolder, policy: &str) -> Result<(), Failure>;

    fn delete_ended_overrides(&self, holder: &OverrideHolder, unix_seconds: u64) -> Result<(), Failure>;

    /// Adds a message that is due at once.
    fn insert_message(&self, message: &NewMessage) -> Result<(), Failure>;

    /// Adds leaks that are to be told of: the numbers of their log entries, and their workspaces.
    fn insert_owed(&self, leaks: &[(u64, String)], at_unix_millis: u64) -> Result<(), Failure>;

    /// Ends a message at its attempt of this number; the log entry that it told of first, unless it was ended before
    /// or taken by another.
    fn give_up(
        &self,
        message_id: &str,
        attempt: u32,
        at_unix_millis: u64,
        why: &str,
    ) -> Result<Option<LogEntry>, Failure>;

    fn operator(&self, name: &str) -> Result<Option<StoredOperator>, Failure>;

    /// How many operators there are.
    fn operators_held(&self) -> Result<u64, Failure>;

    fn insert_operator(&self, record: &OperatorRecord, digest: &Digest) -> Result<(), Failure>;

    fn set_operator_revoked(&self, name: &str, unix_seconds: u64) -> Result<(), Failure>;

    /// The revocation of the same token, subject or workspace.
    fn jwt_revocation_of(&self, jwts: &JwtsRevoked) -> Result<Option<JwtRevocation>, Failure>;

    /// How many revocations of JWTs there are.
    fn jwt_revocations_held(&self) -> Result<u64, Failure>;

    /// Adds a revocation, or replaces the one with its id.
    fn put_jwt_revocation(&self, record: &JwtRevocation) -> Result<(), Failure>;

    fn delete_ended_jwt_revocations(&self, unix_seconds: u64) -> Result<(), Failure>;

    /// Adds a pepper's fingerprint; false if that version has one.
    fn insert_fingerprint(&self, version: u16, fingerprint: &[u8; 32]) -> Result<bool, Failure>;
}
