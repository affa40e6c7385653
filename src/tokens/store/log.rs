//! The change log, which is the audit trail: numbered without a gap and chained by hashes.
//!
//! `hash = SHA-256("tollgate-audit-v1" ‖ previous hash ‖ entry)`, where the entry is its number and time as
//! 64-bit big-endian numbers, then actor, kind, subject and body, each after its length as a 32-bit
//! big-endian number. The first entry follows 32 zero bytes.

use aws_lc_rs::digest::{Context, SHA256};

use crate::tokens::Error;

use super::Store;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $title:literal, $resource:literal;)+) => {
        /// What an entry of the log tells.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ChangeKind { $($(#[$doc])* $variant,)+ }

        impl ChangeKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in the store.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The event's `type` in the audit trail, in the API's title case.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// The event's `resourceType` in the audit trail.
            pub const fn resource_type(self) -> &'static str {
                match self { $(Self::$variant => $resource,)+ }
            }

            /// Reads the word in the store.
            pub fn by_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.name() == name)
            }
        }
    };
}

kinds! {
    /// A workspace was made.
    WorkspaceCreated = "workspace.created", "Workspace Created", "WORKSPACE";
    /// A workspace was changed.
    WorkspaceModified = "workspace.modified", "Workspace Modified", "WORKSPACE";
    /// A token was made.
    TokenCreated = "token.created", "API Token Created", "TOKEN";
    /// A token of another system was taken over.
    TokenImported = "token.imported", "API Token Imported", "TOKEN";
    /// A token was changed.
    TokenModified = "token.modified", "API Token Modified", "TOKEN";
    /// A token was replaced by another.
    TokenRotated = "token.rotated", "API Token Rotated", "TOKEN";
    /// A token was revoked.
    TokenRevoked = "token.revoked", "API Token Revoked", "TOKEN";
    /// A decoy was used.
    DecoyUsed = "token.decoy_used", "Decoy Token Used", "TOKEN";
    /// A decoy was found where strangers can read it.
    DecoyFound = "token.decoy_found", "Decoy Token Found", "TOKEN";
    /// A token was used from a network that its family was not seen from before.
    TokenNewNetwork = "token.new_network", "API Token Used From New Network", "TOKEN";
    /// Nobody could be told of a token's use.
    UseUntold = "token.use_untold", "API Token Use Notification Given Up", "TOKEN";
    /// Nobody could be told that a token leaked.
    LeakUntold = "token.leak_untold", "API Token Leak Notification Given Up", "TOKEN";
    /// A limit of a token's family was overridden.
    TokenLimitSet = "token.limit_set", "API Token Limit Overridden", "TOKEN";
    /// An override of a limit of a token's family was removed.
    TokenLimitRemoved = "token.limit_removed", "API Token Limit Override Removed", "TOKEN";
    /// A limit of a workspace was overridden.
    WorkspaceLimitSet = "workspace.limit_set", "Workspace Limit Overridden", "WORKSPACE";
    /// An override of a limit of a workspace was removed.
    WorkspaceLimitRemoved = "workspace.limit_removed", "Workspace Limit Override Removed", "WORKSPACE";
    /// An operator of the admin API was made.
    OperatorCreated = "operator.created", "Operator Created", "OPERATOR";
    /// An operator's token was revoked.
    OperatorRevoked = "operator.revoked", "Operator Revoked", "OPERATOR";
    /// JWTs were revoked.
    JwtRevoked = "jwt.revoked", "JWT Revoked", "JWT";
    /// A pepper version came into use.
    PepperAdded = "pepper.added", "Pepper Added", "PEPPER";
    /// Tokens were stored under another pepper version.
    PepperMoved = "pepper.moved", "Tokens Moved To Pepper", "PEPPER";
    /// A pepper version is not used any more.
    PepperRetired = "pepper.retired", "Pepper Retired", "PEPPER";
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number, from 1.
    pub seq: u64,
    /// The hash of the entry before; zeros for the first.
    pub previous: [u8; 32],
    /// Its own hash.
    pub hash: [u8; 32],
    /// When, in milliseconds since 1970.
    pub at_unix_millis: u64,
    /// Who.
    pub actor: String,
    /// What, by [`ChangeKind::name`].
    pub kind: String,
    /// The id of the workspace or token.
    pub subject: String,
    /// The details as a JSON object; never a secret, and of contacts only how many there are.
    pub body: String,
}

impl LogEntry {
    /// The hash that it must have after `previous`.
    pub fn hash_after(&self, previous: &[u8; 32]) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(b"tollgate-audit-v1");
        context.update(previous);
        context.update(&self.seq.to_be_bytes());
        context.update(&self.at_unix_millis.to_be_bytes());
        for part in [&self.actor, &self.kind, &self.subject, &self.body] {
            context.update(&(part.len() as u32).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }
}

/// Checks the whole log from its first entry: numbers without a gap, hashes that follow, and an end that is
/// the store's head. Calls `progress` with the number of the last good entry now and then; answers with how
/// many entries there are.
pub fn verify(store: &dyn Store, progress: &mut dyn FnMut(u64)) -> Result<u64, Error> {
    const BATCH: u32 = 1_000;
    let (mut last, mut hash) = (0, [0; 32]);
    let (head, head_hash) = store.head()?;
    loop {
        let entries = store.log(last, BATCH)?;
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            if entry.seq != last + 1 {
                return Err(Error::LogBroken { last, found: entry.seq });
            }
            if entry.previous != hash || entry.hash_after(&hash) != entry.hash {
                return Err(Error::LogAltered(entry.seq));
            }
            if entry.seq == head && entry.hash != head_hash {
                return Err(Error::LogAltered(entry.seq));
            }
            (last, hash) = (entry.seq, entry.hash);
        }
        progress(last);
    }
    if last < head {
        return Err(Error::LogBroken { last, found: head });
    }
    Ok(last)
}
