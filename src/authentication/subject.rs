//! The numbers that JWT clients are counted under.

use aws_lc_rs::hmac;

use crate::domain::{Secret, Subject};

/// Set in every subject of a JWT and clear in every subject of the registry, so that the two never meet.
const JWT_BIT: u64 = 1 << 63;

/// The key under which names become subjects. With the same key a client has the same subject, whatever token
/// it holds; without it nobody can search for a name that shares another's bucket.
#[derive(Clone)]
pub struct SubjectKey(Secret<hmac::Key>);

impl SubjectKey {
    /// A key from secret bytes: the same bytes give the same subjects after a restart and on every replica.
    pub fn new(secret: &[u8]) -> Self {
        Self(Secret::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// A key of this process alone; [`None`] if the system has no randomness to give.
    pub fn random() -> Option<Self> {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).ok()?;
        Some(Self::new(&secret))
    }

    pub(super) fn of_client(&self, issuer: &str, client: &str) -> Subject {
        self.of(b"client", issuer, client)
    }

    pub(super) fn of_workspace(&self, issuer: &str, workspace: &str) -> Subject {
        self.of(b"workspace", issuer, workspace)
    }

    fn of(&self, kind: &[u8], issuer: &str, name: &str) -> Subject {
        let mut context = hmac::Context::with_key(self.0.expose());
        for part in [kind, issuer.as_bytes(), name.as_bytes()] {
            // Lengths first, so that no two lists of parts are the same bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        let number = tag.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        Subject(number | JWT_BIT)
    }
}

impl std::fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_keeps_its_subject_and_shares_it_with_nobody() {
        let key = SubjectKey::new(b"one");
        assert_eq!(key.of_client("i", "c"), SubjectKey::new(b"one").of_client("i", "c"));
        let others = [
            key.of_client("i", "d"),
            key.of_client("j", "c"),
            key.of_client("ic", ""),
            key.of_workspace("i", "c"),
            SubjectKey::new(b"two").of_client("i", "c"),
            SubjectKey::random().unwrap().of_client("i", "c"),
        ];
        assert!(!others.contains(&key.of_client("i", "c")));
        assert!(others.iter().all(|subject| subject.0 & JWT_BIT != 0));
    }
}
