//! The head of the audit trail, signed with a key that the store does not have.
//!
//! Hashes show what was altered, dropped or moved by somebody who cannot rewrite everything behind it. Whoever can write
//! the whole store can; but not sign another head with the same number. So heads are signed now and then and leave
//! this machine with the log, and whoever kept one can hold the trail against it.
//!
//! Ed25519 (RFC 8032) over `tollgate-audit-head-v1`, number, hash in hexadecimal and time, each on a line of its own.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::{Error, Moment, Store};
use crate::clock::Now;

/// Lines of a PEM file have so many letters (RFC 7468, section 2).
const PEM_LINE: usize = 64;

/// The key that heads are signed with.
pub struct HeadKey(Ed25519KeyPair);

/// A signed head, as it is written: one JSON object on a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// The number of the trail's last entry.
    pub seq: u64,
    /// That entry's hash, in hexadecimal.
    pub hash: String,
    /// When it was signed.
    pub signed_at: String,
    /// The key that it was signed with, base64.
    pub public_key: String,
    /// The signature, base64.
    pub signature: String,
}

/// Why a trail is not the one of a signed head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTheHead {
    /// The head is no proof: its signature is not that of the key.
    #[error("it was altered, or signed with another key than the one that is trusted")]
    Signature,
    /// The trail ends before it.
    #[error("the trail ends with entry {0}: what came behind was dropped")]
    Dropped(u64),
    /// The trail has another entry in its place.
    #[error("the trail has another entry with this number: it was rewritten")]
    Rewritten,
}

impl HeadKey {
    /// Reads a private key (PKCS #8, PEM), or makes the file, readable by its owner alone, if it is not there.
    /// [`Error::HeadKeyInvalid`].
    pub fn open(file: &Path) -> Result<Self, Error> {
        if !file.exists() {
            make(file).map_err(|source| Error::file(file, "make", source))?;
        }
        let invalid = || Error::HeadKeyInvalid(file.to_owned());
        let key = PrivatePkcs8KeyDer::from_pem_file(file).map_err(|_| invalid())?;
        Ed25519KeyPair::from_pkcs8(key.secret_pkcs8_der()).map(Self).map_err(|_| invalid())
    }

    /// What its signatures are checked with, base64.
    pub fn public_key(&self) -> String {
        STANDARD.encode(self.0.public_key())
    }

    /// Signs the head of a trail.
    pub fn sign(&self, (seq, hash): (u64, [u8; 32]), now: Now) -> SignedHead {
        let (hash, signed_at) = (hexadecimal(&hash), Moment(now.unix_seconds()).to_string());
        let signature = STANDARD.encode(self.0.sign(message(seq, &hash, &signed_at).as_bytes()));
        SignedHead { seq, hash, signed_at, public_key: self.public_key(), signature }
    }
}

impl std::fmt::Debug for HeadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HeadKey").field(&self.public_key()).finish()
    }
}

impl SignedHead {
    /// Finds a signed head in a line: the line is one, or one of the gateway's log that tells of one; [`None`] in any
    /// other.
    pub fn in_line(line: &str) -> Option<Self> {
        if let Ok(head) = serde_json::from_str(line) {
            return Some(head);
        }
        let record: serde_json::Value = serde_json::from_str(line).ok()?;
        let told = record.get("signed_head").or_else(|| record.get("fields")?.get("signed_head"))?;
        serde_json::from_str(told.as_str()?).ok()
    }

    /// Whether a store's trail is the one whose head this was. The trail itself is to be verified before
    /// ([`super::store::log::verify`]): then everything up to this entry is what it was when it was signed.
    pub fn check(&self, store: &dyn Store, trusted_key: &str) -> Result<Result<(), NotTheHead>, Error> {
        if !self.is_signed_by(trusted_key) {
            return Ok(Err(NotTheHead::Signature));
        }
        let entry = store.log(self.seq.saturating_sub(1), 1)?.into_iter().next();
        Ok(match entry {
            Some(entry) if entry.seq == self.seq && hexadecimal(&entry.hash) == self.hash => Ok(()),
            Some(_) => Err(NotTheHead::Rewritten),
            None => Err(NotTheHead::Dropped(store.head()?.0)),
        })
    }

    fn is_signed_by(&self, trusted_key: &str) -> bool {
        let (Ok(key), Ok(signature)) = (STANDARD.decode(trusted_key), STANDARD.decode(&self.signature))
        else {
            return false;
        };
        let signed = message(self.seq, &self.hash, &self.signed_at);
        self.public_key == trusted_key
            && UnparsedPublicKey::new(&ED25519, key).verify(signed.as_bytes(), &signature).is_ok()
    }
}

fn message(seq: u64, hash: &str, signed_at: &str) -> String {
    format!("tollgate-audit-head-v1\n{seq}\n{hash}\n{signed_at}\n")
}

/// Bytes in hexadecimal, as hashes are shown.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        text
    })
}

fn make(file: &Path) -> io::Result<()> {
    let key = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1());
    let key = key.map_err(|_| io::Error::other("the operating system gives no random bytes"))?;
    let text = STANDARD.encode(key.as_ref());
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(PEM_LINE) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    made.write_all(pem.as_bytes())?;
    made.sync_all()
}

#[cfg(test)]
mod tests;
