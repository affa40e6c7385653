//! Signing keys in PKCS #8 PEM files.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Map, Value};

use crate::domain::Secret;

/// What a key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2,048 bits.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
}

/// A private key, its public half and where it is kept.
#[derive(Clone)]
pub struct SigningKey {
    /// The RFC 7638 thumbprint, the same whenever the file is read again.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// The public half.
    pub jwk: Jwk,
    /// The PKCS #8 PEM file, readable by its owner only.
    pub file: PathBuf,
    key: Secret<EncodingKey>,
}

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{path}: {error}; the data folder must be writable")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file holds something else.
    #[error("{path}: no {algorithm} key in PKCS #8 PEM; remove the file and a new key is made")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What was expected in it.
        algorithm: &'static str,
    },
    /// A key could not be made.
    #[error("no key could be made: {0}")]
    Generate(#[from] rcgen::Error),
    /// No token could be signed.
    #[error("the owner's token cannot be signed: the system gives no randomness")]
    Sign,
}

impl SigningAlgorithm {
    /// The name in a JWT's header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    pub(super) const fn jwt(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
        }
    }

    /// What a public key verifies.
    pub(super) fn of(key: &Jwk) -> Option<Self> {
        match key.algorithm {
            AlgorithmParameters::RSA(_) => Some(Self::Rs256),
            AlgorithmParameters::EllipticCurve(_) => Some(Self::Es256),
            _ => None,
        }
    }
}

impl SigningKey {
    /// Reads the key of a file, or makes one and writes it there. An RSA key takes about 0.1 s to make.
    pub fn open(path: &Path, algorithm: SigningAlgorithm) -> Result<Self, KeyError> {
        let failed = |error| KeyError::File { path: path.to_owned(), error };
        let pem = match fs::read_to_string(path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let pem = generate(algorithm)?.serialize_pem();
                write_private(path, &pem).map_err(failed)?;
                pem
            }
            Err(error) => return Err(failed(error)),
        };
        let unusable = |_| KeyError::Unusable { path: path.to_owned(), algorithm: algorithm.name() };
        let key = match algorithm {
            SigningAlgorithm::Rs256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
            SigningAlgorithm::Es256 => EncodingKey::from_ec_pem(pem.as_bytes()),
        };
        let key = key.map_err(unusable)?;
        let mut jwk = Jwk::from_encoding_key(&key, algorithm.jwt()).map_err(unusable)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(unusable)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { kid, algorithm, jwk, file: path.to_owned(), key: Secret::new(key) })
    }

    /// A signed JWT with this `typ`; `None` when the key does not sign.
    pub fn sign(&self, typ: &str, claims: &Map<String, Value>) -> Option<String> {
        let mut header = Header::new(self.algorithm.jwt());
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.kid.clone());
        encode(&header, claims, self.key.expose()).ok()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm.name(), self.kid)
    }
}

fn generate(algorithm: SigningAlgorithm) -> Result<KeyPair, rcgen::Error> {
    match algorithm {
        SigningAlgorithm::Rs256 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        SigningAlgorithm::Es256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
    }
}

/// Writes a new file that its owner alone can read.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
