//! One public key of a key set, parsed once and ready to verify (RFC 7517, RFC 7518 section 6, RFC 8037).

use std::fmt;

use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Algorithm;

/// Members of private keys (RFC 7518, sections 6.2.2 and 6.3.2; RFC 8037, section 2).
const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// A key with the one algorithm that it verifies.
pub(in crate::authentication) struct VerificationKey {
    kid: Option<String>,
    algorithm: Algorithm,
    parsed: ParsedPublicKey,
}

/// Why a member of a key set is left out. The rest of the set is kept (RFC 7517, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::authentication) enum KeyIgnored {
    #[error("its members have the wrong types")]
    Malformed,
    #[error("it is symmetric, which a public key set cannot hold")]
    Symmetric,
    #[error("it carries its private part, which is therefore not private")]
    Private,
    #[error("its `use` or `key_ops` is not for verifying signatures")]
    NotForSignatures,
    #[error("its `kty`, `crv` and `alg` name no offered algorithm or do not fit each other")]
    Algorithm,
    #[error(
        "its RSA modulus is not of 2048 to 4096 bits, or its exponent is not odd, above 1 and within 64 bits"
    )]
    RsaParameters,
    #[error("its RSA modulus has the structure of the ROCA defect (CVE-2017-15361)")]
    Roca,
    #[error("its coordinates are no point of its curve")]
    Point,
    #[error("another key has the same `kid`")]
    DuplicateKid,
}

impl VerificationKey {
    /// Reads a JWK. Where it names no `alg`, the type and curve decide, and for RSA the first RSA algorithm of
    /// `allowed`.
    pub(in crate::authentication) fn from_jwk(
        jwk: &Map<String, Value>,
        allowed: &[Algorithm],
    ) -> Result<Self, KeyIgnored> {
        let text = |name: &str| match jwk.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(KeyIgnored::Malformed),
        };
        let kty = text("kty")?.ok_or(KeyIgnored::Malformed)?;
        if kty == "oct" {
            return Err(KeyIgnored::Symmetric);
        }
        if PRIVATE_MEMBERS.iter().any(|name| jwk.contains_key(*name)) {
            return Err(KeyIgnored::Private);
        }
        if text("use")?.is_some_and(|usage| usage != "sig") || !may_verify(jwk)? {
            return Err(KeyIgnored::NotForSignatures);
        }
        let (crv, kid) = (text("crv")?, text("kid")?);
        let algorithm = algorithm(kty, crv, text("alg")?, allowed).ok_or(KeyIgnored::Algorithm)?;
        let bytes = |name: &str| {
            let encoded = text(name)?.ok_or(KeyIgnored::Malformed)?;
            URL_SAFE_NO_PAD.decode(encoded).map_err(|_| KeyIgnored::Malformed)
        };
        let parsed = match (algorithm.rsa(), algorithm.curve()) {
            (Some(parameters), _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                let (n, e) = (without_leading_zeros(&n), without_leading_zeros(&e));
                check_rsa(n, e)?;
                RsaPublicKeyComponents { n, e }
                    .to_parsed_public_key(parameters)
                    .map_err(|_| KeyIgnored::RsaParameters)?
            }
            (None, Some((_, length, verifier))) => {
                let x = bytes("x")?;
                let point = if kty == "EC" {
                    [&[4], x.as_slice(), bytes("y")?.as_slice()].concat()
                } else {
                    x.clone()
                };
                let wanted = if kty == "EC" { 1 + 2 * length } else { length };
                if x.len() != length || point.len() != wanted {
                    return Err(KeyIgnored::Point);
                }
                ParsedPublicKey::new(verifier, point).map_err(|_| KeyIgnored::Point)?
            }
            (None, None) => return Err(KeyIgnored::Algorithm),
        };
        Ok(Self { kid: kid.map(str::to_owned), algorithm, parsed })
    }

    pub(in crate::authentication) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub(in crate::authentication) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether both are the same key under the same name for the same algorithm.
    pub(in crate::authentication) fn is_same(&self, other: &Self) -> bool {
        self.kid == other.kid
            && self.algorithm == other.algorithm
            && self.parsed.as_ref() == other.parsed.as_ref()
    }

    /// Whether `signature` is this key's over `message`.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// `key_ops` absent or listing `verify` (RFC 7517, section 4.3).
fn may_verify(jwk: &Map<String, Value>) -> Result<bool, KeyIgnored> {
    match jwk.get("key_ops") {
        None => Ok(true),
        Some(Value::Array(operations)) => Ok(operations.iter().any(|operation| operation == "verify")),
        Some(_) => Err(KeyIgnored::Malformed),
    }
}

/// The one algorithm of a key, if type, curve and name fit each other.
fn algorithm(kty: &str, crv: Option<&str>, alg: Option<&str>, allowed: &[Algorithm]) -> Option<Algorithm> {
    let fits = |algorithm: &Algorithm| match kty {
        "RSA" => algorithm.rsa().is_some(),
        "EC" => {
            *algorithm != Algorithm::EdDsa && algorithm.curve().is_some_and(|(name, ..)| Some(name) == crv)
        }
        "OKP" => *algorithm == Algorithm::EdDsa && crv == Some("Ed25519"),
        _ => false,
    };
    match alg {
        Some(name) => Algorithm::by_name(name).filter(fits),
        None if kty == "RSA" => allowed.iter().copied().find(fits),
        None => Algorithm::ALL.into_iter().find(fits),
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), KeyIgnored> {
    let bits = n.first().map_or(0, |high| n.len() * 8 - high.leading_zeros() as usize);
    let odd = |number: &[u8]| number.last().is_some_and(|low| low % 2 == 1);
    if !(2048..=4096).contains(&bits) || !odd(n) || !odd(e) || e == [1] || e.len() > 8 {
        return Err(KeyIgnored::RsaParameters);
    }
    if has_roca_structure(n) { Err(KeyIgnored::Roca) } else { Ok(()) }
}

/// The fingerprint of "The Return of Coppersmith's Attack" (Nemec et al., CCS 2017): the defective library made
/// primes of the form `k·M + (65537^a mod M)`, so the modulus is a power of 65537 modulo every small prime.
/// A sound modulus passes as defective with a probability below 2^-27.
fn has_roca_structure(n: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
        103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.into_iter().all(|prime| {
        let remainder = n.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        (0..prime).any(|_| {
            let found = power == remainder;
            power = power * 65_537 % prime;
            found
        })
    })
}
