//! Messages that a change owes, inside a writing transaction.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

use super::{Failure, NewMessage, Tables, Writing};

impl<T: Tables> Writing<'_, T> {
    /// Owes a message about the entry that was appended last to each contact of a workspace, or to the operator
    /// if it has none.
    pub(super) fn enqueue(&self, workspace: &str) -> Result<(), Failure> {
        let contacts = self.on.workspace(workspace)?.map(|found| found.contacts).unwrap_or_default();
        let recipients: Vec<Option<String>> =
            if contacts.is_empty() { vec![None] } else { contacts.into_iter().map(Some).collect() };
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
