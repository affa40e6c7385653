//! GitHub's public keys, and what they verify.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

/// The longest document that is read, in bytes.
pub(super) const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// The most keys of one document.
const MAX_KEYS: usize = 64;
/// The longest base64 of an ECDSA-Sig-Value of P-256 is 96 characters.
const MAX_SIGNATURE_BYTES: usize = 128;

/// What stands before an uncompressed point of P-256 in a `SubjectPublicKeyInfo` (RFC 5480, section 2).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const POINT_BYTES: usize = 65;

/// A P-256 key.
#[derive(Debug)]
pub(super) struct PublicKey(ParsedPublicKey);

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo` in PEM; [`None`] for what is no P-256 key.
    fn from_pem(pem: &str) -> Option<Self> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
        let point = der.strip_prefix(&P256_PREFIX).filter(|point| point.len() == POINT_BYTES)?;
        ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).ok().map(Self)
    }

    /// Whether `signature`, the base64 of an ECDSA-Sig-Value in DER, is this key's over SHA-256 of exactly these
    /// bytes.
    pub(super) fn verifies(&self, body: &[u8], signature: &[u8]) -> bool {
        signature.len() <= MAX_SIGNATURE_BYTES
            && STANDARD.decode(signature).is_ok_and(|signature| self.0.verify_sig(body, &signature).is_ok())
    }
}

/// A key as its document has it.
#[derive(Debug)]
struct Key {
    id: String,
    is_current: bool,
    public: Arc<PublicKey>,
}

/// What a set says of a key id.
#[derive(Debug)]
pub(super) enum Known<'s> {
    /// A key that signs.
    Current(&'s Arc<PublicKey>),
    /// A key that was taken out of use.
    Retired,
    /// The set does not have it.
    Missing,
}

/// The keys of one document.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

/// Why a document is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DocumentFault {
    #[error("it is not `{{\"public_keys\":[{{\"key_identifier\":…,\"key\":…,\"is_current\":…}}]}}`")]
    Malformed,
    #[error("it lists more than {MAX_KEYS} keys")]
    TooManyKeys,
    #[error("none of its keys is a current P-256 key in PEM")]
    NoUsableKey,
}

#[derive(Deserialize)]
struct Document {
    public_keys: Vec<DocumentKey>,
}

#[derive(Deserialize)]
struct DocumentKey {
    key_identifier: String,
    key: String,
    #[serde(default)]
    is_current: bool,
}

impl KeySet {
    /// Reads a document. A key that is no P-256 key is left out, and told to `left_out` by its id.
    pub(super) fn parse(text: &[u8], mut left_out: impl FnMut(&str)) -> Result<Self, DocumentFault> {
        let document: Document = serde_json::from_slice(text).map_err(|_| DocumentFault::Malformed)?;
        if document.public_keys.len() > MAX_KEYS {
            return Err(DocumentFault::TooManyKeys);
        }
        let mut keys: Vec<Key> = Vec::new();
        for DocumentKey { key_identifier: id, key, is_current } in document.public_keys {
            match PublicKey::from_pem(&key) {
                Some(key) if keys.iter().all(|known| known.id != id) => {
                    keys.push(Key { id, is_current, public: key.into() });
                }
                Some(_) | None => left_out(&id),
            }
        }
        if keys.iter().any(|key| key.is_current) { Ok(Self(keys)) } else { Err(DocumentFault::NoUsableKey) }
    }

    pub(super) fn find(&self, id: &[u8]) -> Known<'_> {
        match self.0.iter().find(|key| key.id.as_bytes() == id) {
            Some(Key { is_current: true, public, .. }) => Known::Current(public),
            Some(_) => Known::Retired,
            None => Known::Missing,
        }
    }

    /// How many there are in use.
    pub(super) fn current(&self) -> usize {
        self.0.iter().filter(|key| key.is_current).count()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// `tests/vectors/SOURCE.md`
    const VECTORS: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/github_secret_scanning.json"));

    fn vectors() -> Value {
        serde_json::from_str(VECTORS).unwrap()
    }

    fn key(vectors: &Value, id: &Value) -> PublicKey {
        let keys = vectors["public_keys"].as_array().unwrap();
        let key = keys.iter().find(|key| key["key_identifier"] == *id).unwrap();
        PublicKey::from_pem(key["key"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn the_published_signatures_are_told_from_the_wrong_one() {
        let vectors = vectors();
        let (mut good, mut bad) = (0, 0);
        for vector in vectors["vectors"].as_array().unwrap() {
            let key = key(&vectors, &vector["key_identifier"]);
            let body = vector["body"].as_str().unwrap().as_bytes();
            let signature = vector["signature"].as_str().unwrap().as_bytes();
            let is_valid = vector["valid"].as_bool().unwrap();
            assert_eq!(key.verifies(body, signature), is_valid, "{}", vector["remark"]);
            *(if is_valid { &mut good } else { &mut bad }) += 1;
            for longer in [[body, b"\n"].concat(), [b" ", body].concat(), body[1..].to_vec()] {
                assert!(!key.verifies(&longer, signature), "not the bytes that were signed");
            }
            for broken in ["", "=", "AAAA", "not base64!"] {
                assert!(!key.verifies(body, broken.as_bytes()), "{broken}");
            }
            assert!(!key.verifies(body, &[signature, signature].concat()));
        }
        assert_eq!((good, bad), (6, 1));
    }

    #[test]
    fn a_key_signs_only_while_its_document_says_that_it_is_current() {
        let set = KeySet::parse(VECTORS.as_bytes(), |id| panic!("{id}")).unwrap();
        assert_eq!(set.current(), 2);
        for key in vectors()["public_keys"].as_array().unwrap() {
            let found = set.find(key["key_identifier"].as_str().unwrap().as_bytes());
            let is_current = matches!(found, Known::Current(_));
            assert_eq!(is_current, key["is_current"].as_bool().unwrap(), "{found:?}");
        }
        assert!(matches!(set.find(b""), Known::Missing));
    }

    #[test]
    fn a_document_that_is_none_is_refused_and_an_odd_key_left_out() {
        let parse =
            |value: &Value| KeySet::parse(value.to_string().as_bytes(), |_| {}).map(|set| set.current());
        let good = vectors()["public_keys"][1].clone();
        for malformed in
            [json!([]), json!({}), json!({"public_keys": {}}), json!({"public_keys": [{"key": 1}]})]
        {
            assert_eq!(parse(&malformed), Err(DocumentFault::Malformed), "{malformed}");
        }
        let retired = json!({"public_keys": [vectors()["public_keys"][0]]});
        assert_eq!(parse(&retired), Err(DocumentFault::NoUsableKey));
        assert_eq!(parse(&json!({"public_keys": []})), Err(DocumentFault::NoUsableKey));
        let many: Vec<Value> = vec![good.clone(); MAX_KEYS + 1];
        assert_eq!(parse(&json!({"public_keys": many})), Err(DocumentFault::TooManyKeys));
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().public_key_pem();
        let mut odd = vec![good.clone(), good];
        for key in ["", "garbage", &p384] {
            odd.push(json!({"key_identifier": format!("odd {}", key.len()), "key": key, "is_current": true}));
        }
        let mut left_out = 0;
        let set =
            KeySet::parse(json!({"public_keys": odd}).to_string().as_bytes(), |_| left_out += 1).unwrap();
        assert_eq!((set.current(), left_out), (1, 4), "the same id twice, and three that are no P-256 keys");
    }
}
