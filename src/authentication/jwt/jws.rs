//! JWS compact serialisation (RFC 7515, section 7.1) and its header.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{Algorithm, InvalidJwt, MAX_TOKEN_BYTES, VerificationKey, parse_object};

/// The longest header, decoded.
const MAX_HEADER_BYTES: usize = 1024;
/// The longest key id.
const MAX_KID_BYTES: usize = 256;
/// The longest signature of any offered algorithm: RSA with 4096 bits.
const MAX_SIGNATURE_BYTES: usize = 512;
/// Parameters that extend JWS or bring a key of the token's own choice (RFC 7515, sections 4.1.2 to 4.1.6 and
/// 4.1.11; RFC 7797; RFC 8725, section 3.10).
const FORBIDDEN: [&str; 6] = ["crit", "jku", "x5u", "jwk", "x5c", "b64"];

/// What a header says that is acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::authentication) struct Header {
    /// [`None`] where it is none of ours, `none` and HMAC among them.
    pub(in crate::authentication) algorithm: Option<Algorithm>,
    pub(in crate::authentication) kid: Option<String>,
    pub(in crate::authentication) typ: Option<String>,
}

/// A token taken apart, not yet verified.
pub(in crate::authentication) struct Jws<'t> {
    pub(in crate::authentication) header: Header,
    pub(in crate::authentication) payload: Vec<u8>,
    signing_input: &'t [u8],
    signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// Takes a token apart. Every part is strict base64url: no padding, no white space, no unused bits set.
    pub(in crate::authentication) fn parse(token: &'t [u8]) -> Result<Self, InvalidJwt> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidJwt::TooLong);
        }
        let mut dots = memchr::memchr_iter(b'.', token);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(InvalidJwt::NotCompact);
        };
        let (header, payload, signature) = (&token[..first], &token[first + 1..second], &token[second + 1..]);
        if header.len() > MAX_HEADER_BYTES.div_ceil(3) * 4 {
            return Err(InvalidJwt::HeaderMalformed);
        }
        let decoded = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidJwt::NotCompact);
        let signature = decoded(signature)?;
        if signature.is_empty() || signature.len() > MAX_SIGNATURE_BYTES {
            return Err(InvalidJwt::Signature);
        }
        Ok(Self {
            header: Header::parse(&decoded(header)?)?,
            payload: decoded(payload)?,
            signing_input: &token[..second],
            signature,
        })
    }

    /// Checks the signature by a key whose algorithm must be the header's.
    pub(in crate::authentication) fn verify(&self, key: &VerificationKey) -> Result<(), InvalidJwt> {
        if self.header.algorithm != Some(key.algorithm()) {
            return Err(InvalidJwt::AlgorithmNotTheKeys);
        }
        if key.signed(self.signing_input, &self.signature) { Ok(()) } else { Err(InvalidJwt::Signature) }
    }
}

impl fmt::Debug for Jws<'_> {
    /// The header alone: the rest is the credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jws").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Header {
    fn parse(text: &[u8]) -> Result<Self, InvalidJwt> {
        if text.len() > MAX_HEADER_BYTES {
            return Err(InvalidJwt::HeaderMalformed);
        }
        let mut members = parse_object(text).ok_or(InvalidJwt::HeaderMalformed)?;
        if let Some(name) = FORBIDDEN.into_iter().find(|name| members.contains_key(*name)) {
            return Err(InvalidJwt::HeaderForbidden(name));
        }
        let mut text = |name: &str| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(InvalidJwt::HeaderMalformed),
        };
        let algorithm = text("alg")?.ok_or(InvalidJwt::HeaderMalformed)?;
        let kid = text("kid")?;
        if kid.as_ref().is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID_BYTES) {
            return Err(InvalidJwt::HeaderMalformed);
        }
        Ok(Self { algorithm: Algorithm::by_name(&algorithm), kid, typ: text("typ")? })
    }
}
