//! Messages that a change owes, inside a writing transaction.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

use super::{Failure, NewMessage, Tables, Writing};

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
