//! Messages that changes owe, inside a transaction.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{ChangeKind, Failure, NewMessage, Tables, Writing};

/// The leaks of one workspace that are to be told in one message.
pub(in crate::tokens::store) struct Owed {
    pub(in crate::tokens::store) workspace: String,
    /// The log's first entry of them, and its hash; [`None`] if the log has it no longer.
    pub(in crate::tokens::store) first: u64,
    pub(in crate::tokens::store) hash: Option<[u8; 32]>,
    /// When that was written, in milliseconds since 1970.
    pub(in crate::tokens::store) since_unix_millis: u64,
}

impl Owed {
    /// A message to each contact of the workspace, or to the operator if it has none.
    pub(in crate::tokens::store) fn messages(&self, contacts: Vec<String>) -> Vec<NewMessage> {
        let recipients: Vec<Option<String>> =
            if contacts.is_empty() { vec![None] } else { contacts.into_iter().map(Some).collect() };
        let hash = self.hash.unwrap_or_else(|| self.stand_in());
        let message = |(index, contact)| NewMessage {
            id: message_id(&hash, index),
            entry: self.first,
            contact,
            enqueued_at_unix_millis: self.since_unix_millis,
        };
        (0_u32..).zip(recipients).map(message).collect()
    }

    /// Stands for the leaks where the first one's hash is lost.
    fn stand_in(&self) -> [u8; 32] {
        let parts =
            [self.workspace.as_bytes(), &self.first.to_be_bytes(), &self.since_unix_millis.to_be_bytes()];
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &parts.concat()).as_ref());
        hash
    }
}

impl<T: Tables> Writing<'_, T> {
    /// Owes a message about the entry that was appended last to each contact of a workspace, or to the operator
    /// if it has none.
    pub(super) fn enqueue(&self, workspace: &str) -> Result<(), Failure> {
        let contacts = self.contacts(workspace)?;
        let recipients = if contacts.is_empty() { vec![None] } else { contacts };
        self.enqueue_for(recipients)
    }

    /// As [`Writing::enqueue`], and to the operator in any case.
    pub(super) fn enqueue_with_operator(&self, workspace: &str) -> Result<(), Failure> {
        let mut recipients = self.contacts(workspace)?;
        recipients.push(None);
        self.enqueue_for(recipients)
    }

    fn contacts(&self, workspace: &str) -> Result<Vec<Option<String>>, Failure> {
        let contacts = self.on.workspace(workspace)?.map(|found| found.contacts).unwrap_or_default();
        Ok(contacts.into_iter().map(Some).collect())
    }

    fn enqueue_for(&self, recipients: Vec<Option<String>>) -> Result<(), Failure> {
        for (index, contact) in (0_u32..).zip(recipients) {
            self.on.insert_message(&NewMessage {
                id: message_id(&self.hash, index),
                entry: self.seq,
                contact,
                enqueued_at_unix_millis: self.millis(),
            })?;
        }
        Ok(())
    }

    /// Ends a message that nobody could be told, and says so in the log.
    pub(in crate::tokens::store) fn give_up(
        &mut self,
        message_id: &str,
        attempt: u32,
        why: &str,
    ) -> Result<(), Failure> {
        let Some(entry) = self.on.give_up(message_id, attempt, self.millis(), why)? else { return Ok(()) };
        let told: Value = serde_json::from_str(&entry.body).unwrap_or_default();
        let body = json!({"workspace": told["workspace"], "name": told["name"], "message": message_id,
                          "attempts": attempt, "reason": why});
        let is_leak = entry.kind == ChangeKind::TokenRevoked.name();
        let kind = if is_leak { ChangeKind::LeakUntold } else { ChangeKind::UseUntold };
        self.append(kind, &entry.subject, &body);
        Ok(())
    }
}

/// An id that no other store ever gives: the entry's hash stands for all that came before it.
fn message_id(entry_hash: &[u8; 32], index: u32) -> String {
    let digest = digest(&SHA256, &[&entry_hash[..], &index.to_be_bytes()].concat());
    let mut id = String::from("msg_");
    for byte in &digest.as_ref()[..16] {
        // Writing to a text cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}
