//! Signatures of webhooks.
//!
//! # Decision
//!
//! Each workspace has a secret of its own, derived from the pepper and the workspace's id (HMAC-SHA-256), so that it
//! is stored nowhere, needs no configuration, and is the same on every replica. `tollgate workspace webhook-secret`
//! shows it. After a pepper was added, a webhook carries a signature by each, the newest first, so that a receiver
//! may change its secret at any time in between.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::Secret;
use crate::tokens::Peppers;

/// What the secrets are derived for.
const PURPOSE: &[u8] = b"tollgate: webhook signatures";
/// Whose secret the operator's webhooks are signed by, in place of a workspace's id, which is never empty.
pub const OPERATOR: &str = "";

/// What webhooks' secrets are derived from, the newest first.
#[derive(Clone, Debug)]
pub struct SigningKeys(Vec<Secret<[u8; 32]>>);

impl SigningKeys {
    /// Those of the live peppers.
    pub fn of(peppers: &Peppers) -> Self {
        Self(peppers.derive_each(PURPOSE).map(Secret::new).collect())
    }

    /// A workspace's secret as receivers' libraries take it: `whsec_` and base64.
    pub fn webhook_secret(&self, workspace_id: &str) -> Secret<String> {
        let newest = self.0.first().map(|key| STANDARD.encode(secret_of(key, workspace_id)));
        Secret::new(format!("whsec_{}", newest.unwrap_or_default()))
    }

    /// The value of `webhook-signature`: for each key `v1,` and base64 of HMAC-SHA-256 over id, time in seconds since
    /// 1970 and body, with full stops between (Standard Webhooks, "Signature scheme").
    pub(super) fn sign(
        &self,
        workspace_id: &str,
        message_id: &str,
        unix_seconds: u64,
        body: &[u8],
    ) -> String {
        let head = format!("{message_id}.{unix_seconds}.");
        let signed = [head.as_bytes(), body].concat();
        let one = |key| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret_of(key, workspace_id));
            format!("v1,{}", STANDARD.encode(hmac::sign(&key, &signed)))
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

fn secret_of(key: &Secret<[u8; 32]>, workspace_id: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
    let mut secret = [0; 32];
    secret.copy_from_slice(hmac::sign(&key, workspace_id.as_bytes()).as_ref());
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(seeds: &[u8]) -> SigningKeys {
        SigningKeys(seeds.iter().map(|seed| Secret::new([*seed; 32])).collect())
    }

    /// What a receiver does, by the specification alone.
    fn verifies(secret: &str, id: &str, seconds: u64, body: &[u8], signatures: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signed = [format!("{id}.{seconds}.").as_bytes(), body].concat();
        signatures.split(' ').any(|signature| {
            let tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
            hmac::verify(&key, &signed, &tag).is_ok()
        })
    }

    #[test]
    fn a_receiver_with_the_workspaces_secret_verifies_and_no_other() {
        let keys = keys(&[1]);
        let secret = keys.webhook_secret("ws").into_exposed();
        let signatures = keys.sign("ws", "msg_1", 1_700_000_000, b"{}");
        assert!(verifies(&secret, "msg_1", 1_700_000_000, b"{}", &signatures));
        assert!(!verifies(&secret, "msg_2", 1_700_000_000, b"{}", &signatures));
        assert!(!verifies(&secret, "msg_1", 1_700_000_001, b"{}", &signatures));
        assert!(!verifies(&secret, "msg_1", 1_700_000_000, b"{ }", &signatures));
        for other in ["other", OPERATOR] {
            let other = keys.webhook_secret(other).into_exposed();
            assert!(!verifies(&other, "msg_1", 1_700_000_000, b"{}", &signatures));
        }
    }

    #[test]
    fn an_older_secret_verifies_as_long_as_its_pepper_lives() {
        let old = keys(&[1]).webhook_secret("ws").into_exposed();
        let both = keys(&[2, 1]);
        assert_ne!(both.webhook_secret("ws").into_exposed(), old);
        let signatures = both.sign("ws", "msg_1", 7, b"{}");
        assert!(verifies(&old, "msg_1", 7, b"{}", &signatures));
        assert!(verifies(both.webhook_secret("ws").expose(), "msg_1", 7, b"{}", &signatures));
        assert!(!verifies(&old, "msg_1", 7, b"{}", &keys(&[2]).sign("ws", "msg_1", 7, b"{}")));
    }
}
