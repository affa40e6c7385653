//! GitHub's part in the demo: a key, the document that the gateway reads it from, and signed alerts.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use serde_json::json;

use super::data::write_private;
use crate::cli::Error;
use crate::domain::Secret;

/// Where the demo's gateway takes alerts.
pub(super) const PATH: &str = "/tollgate/v1/github/secret-scanning";
/// The document of the key, in the demo's folder.
pub(super) const KEYS_FILE: &str = "github-keys.json";
const PRIVATE_KEY_FILE: &str = "github-key.pem";

/// Who signs the demo's alerts.
pub(super) struct GitHub {
    key_identifier: String,
    private_key_file: PathBuf,
    private_key: Secret<Vec<u8>>,
}

impl GitHub {
    /// Reads the key of a folder, or makes one, and writes its document.
    pub(super) fn prepare(folder: &Path) -> Result<Self, Error> {
        let fault =
            |error: rcgen::Error| Error::Demo(format!("cannot make the key of GitHub's part: {error}"));
        let private_key_file = folder.join(PRIVATE_KEY_FILE);
        let pair = if private_key_file.exists() {
            KeyPair::from_pem(&fs::read_to_string(&private_key_file)?).map_err(fault)?
        } else {
            let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fault)?;
            write_private(&private_key_file, &pair.serialize_pem())?;
            pair
        };
        let hash = digest(&SHA256, &pair.subject_public_key_info());
        let key_identifier: Vec<String> = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let key_identifier = key_identifier.concat();
        let key = json!({"key_identifier": key_identifier, "key": pair.public_key_pem(), "is_current": true});
        fs::write(folder.join(KEYS_FILE), format!("{}\n", json!({"public_keys": [key]})))?;
        Ok(Self { key_identifier, private_key_file, private_key: Secret::new(pair.serialize_der()) })
    }

    pub(super) fn key_identifier(&self) -> &str {
        &self.key_identifier
    }

    pub(super) fn private_key_file(&self) -> &Path {
        &self.private_key_file
    }

    /// The signature of an alert, as its field has it.
    pub(super) fn sign(&self, body: &[u8]) -> Result<String, Error> {
        let unusable = || Error::Demo(format!("{} does not sign", self.private_key_file.display()));
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, self.private_key.expose())
            .map_err(|_| unusable())?;
        let signature = key.sign(&SystemRandom::new(), body).map_err(|_| unusable())?;
        Ok(STANDARD.encode(signature))
    }
}
