//! GitHub as a gateway meets it: a key, its document, and signed alerts.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::client::raw;

/// One of GitHub's keys.
pub(crate) struct GitHub {
    pub(crate) key_identifier: String,
    public: String,
    pair: EcdsaKeyPair,
}

impl GitHub {
    pub(crate) fn new() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self::of(&key)
    }

    /// The key of a file in PKCS #8 PEM.
    pub(crate) fn read(file: &Path, key_identifier: &str) -> Self {
        let key = rcgen::KeyPair::from_pem(&std::fs::read_to_string(file).unwrap()).unwrap();
        Self { key_identifier: key_identifier.to_owned(), ..Self::of(&key) }
    }

    fn of(key: &rcgen::KeyPair) -> Self {
        let public = key.public_key_pem();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der()).unwrap();
        let hash = digest(&SHA256, public.as_bytes());
        let key_identifier =
            hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        Self { key_identifier, public, pair }
    }

    /// The key as the document has it.
    pub(crate) fn document(&self, is_current: bool) -> Value {
        json!({"key_identifier": self.key_identifier, "key": self.public, "is_current": is_current})
    }

    /// A document of this key alone.
    pub(crate) fn keys(&self) -> String {
        json!({"public_keys": [self.document(true)]}).to_string()
    }

    pub(crate) fn signature(&self, body: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(&SystemRandom::new(), body).unwrap())
    }

    /// The field lines of an alert.
    pub(crate) fn fields(&self, body: &[u8]) -> String {
        format!(
            "Accept: */*\r\nContent-Type: application/json\r\nGithub-Public-Key-Identifier: {}\r\n\
             Github-Public-Key-Signature: {}\r\n",
            self.key_identifier,
            self.signature(body)
        )
    }

    /// A whole request.
    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Vec<u8> {
        raw("POST", path, &self.fields(body), body)
    }
}

/// An alert of these tokens.
pub(crate) fn alert<'t>(tokens: impl IntoIterator<Item = &'t str>) -> Vec<u8> {
    let finding = |token| {
        let url = "https://github.com/octocat/Hello-World/blob/12345600b9cbe38a219f39a9941c9319b600c002/foo/bar.txt";
        json!({"token": token, "type": "segment_public_api_token", "url": url, "source": "commit"})
    };
    json!(tokens.into_iter().map(finding).collect::<Vec<_>>()).to_string().into_bytes()
}
