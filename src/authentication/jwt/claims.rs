//! The claims of a JWT: the registered ones read strictly (RFC 7519, section 4.1), the rest by name.

use serde_json::{Map, Value};

use super::{ClaimName, InvalidJwt, parse_object};

/// The longest text of a claim that names somebody.
const MAX_NAME_BYTES: usize = 256;

/// A claims set, syntactically sound. Times are whole seconds since 1970; a fraction shortens the validity.
#[derive(Debug)]
pub(in crate::authentication) struct Claims {
    pub(in crate::authentication) issuer: String,
    pub(in crate::authentication) audiences: Vec<String>,
    pub(in crate::authentication) subject: String,
    pub(in crate::authentication) expires_at: i64,
    pub(in crate::authentication) not_before: Option<i64>,
    pub(in crate::authentication) issued_at: Option<i64>,
    pub(in crate::authentication) token_id: Option<String>,
    /// Whether `cnf` is there (RFC 7800).
    pub(in crate::authentication) sender_constrained: bool,
    members: Map<String, Value>,
}

impl Claims {
    /// Reads a payload. `iss`, `aud`, `exp` and `sub` must be there.
    pub(in crate::authentication) fn parse(payload: &[u8]) -> Result<Self, InvalidJwt> {
        let members = parse_object(payload).ok_or(InvalidJwt::PayloadMalformed)?;
        let required = |name| move |value: Option<_>| value.ok_or(InvalidJwt::ClaimMissing(name));
        let issuer =
            text(&members, "iss", ClaimName::Issuer).and_then(required(ClaimName::Issuer))?.to_owned();
        let subject =
            text(&members, "sub", ClaimName::Subject).and_then(required(ClaimName::Subject))?.to_owned();
        let expires_at = seconds(&members, "exp", ClaimName::Expiry, f64::floor)?
            .ok_or(InvalidJwt::ClaimMissing(ClaimName::Expiry))?;
        let audiences = list(&members, "aud", ClaimName::Audience, |text| vec![text.to_owned()])?
            .ok_or(InvalidJwt::ClaimMissing(ClaimName::Audience))?;
        Ok(Self {
            issuer,
            audiences,
            subject,
            expires_at,
            not_before: seconds(&members, "nbf", ClaimName::NotBefore, f64::ceil)?,
            issued_at: seconds(&members, "iat", ClaimName::IssuedAt, f64::floor)?,
            token_id: text(&members, "jti", ClaimName::TokenId)?.map(str::to_owned),
            sender_constrained: members.contains_key("cnf"),
            members,
        })
    }

    /// A claim of text, by its configured name: at most 256 printable ASCII characters, not empty, so that it
    /// can stand in a header field.
    pub(in crate::authentication) fn name(
        &self,
        name: &str,
        claim: ClaimName,
    ) -> Result<Option<&str>, InvalidJwt> {
        let value = text(&self.members, name, claim)?;
        match value {
            Some(text) if !is_printable(text) => Err(InvalidJwt::ClaimMalformed(claim)),
            Some(_) | None => Ok(value),
        }
    }

    /// A claim of several words: text separated by single spaces (RFC 6749, section 3.3), or an array of texts.
    /// None if it is absent.
    pub(in crate::authentication) fn words(
        &self,
        name: &str,
        claim: ClaimName,
    ) -> Result<Vec<String>, InvalidJwt> {
        let split = |text: &str| text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let words = list(&self.members, name, claim, split)?.unwrap_or_default();
        let is_scope_token = |word: &String| {
            !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
        };
        if words.iter().all(is_scope_token) { Ok(words) } else { Err(InvalidJwt::ClaimMalformed(claim)) }
    }

    /// A claim of text, or the texts of an array, whatever is in them. None if it is absent.
    pub(in crate::authentication) fn texts(
        &self,
        name: &str,
        claim: ClaimName,
    ) -> Result<Vec<String>, InvalidJwt> {
        Ok(list(&self.members, name, claim, |text| vec![text.to_owned()])?.unwrap_or_default())
    }
}

fn is_printable(text: &str) -> bool {
    let inner = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    inner && !text.is_empty() && text.len() <= MAX_NAME_BYTES && text.trim_matches(' ').len() == text.len()
}

fn text<'m>(
    members: &'m Map<String, Value>,
    name: &str,
    claim: ClaimName,
) -> Result<Option<&'m str>, InvalidJwt> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(InvalidJwt::ClaimMalformed(claim)),
    }
}

fn list(
    members: &Map<String, Value>,
    name: &str,
    claim: ClaimName,
    of_text: impl Fn(&str) -> Vec<String>,
) -> Result<Option<Vec<String>>, InvalidJwt> {
    let malformed = InvalidJwt::ClaimMalformed(claim);
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(of_text(text))),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or(malformed))
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err(malformed),
    }
}

fn seconds(
    members: &Map<String, Value>,
    name: &str,
    claim: ClaimName,
    round: fn(f64) -> f64,
) -> Result<Option<i64>, InvalidJwt> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_i64().or_else(|| {
            // A number beyond i64 saturates, and is then refused as too far away or long gone.
            number.as_f64().map(|seconds| round(seconds) as i64)
        })),
        Some(_) => Err(InvalidJwt::ClaimMalformed(claim)),
    }
}
