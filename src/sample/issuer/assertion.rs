//! Client authentication by a signed assertion (RFC 7523, section 3).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::PoisonError;

use jsonwebtoken::{DecodingKey, TokenData, Validation, decode, decode_header};
use serde::Deserialize;

use super::{Client, Issuer, SigningAlgorithm, TokenError, single};
use crate::sample::query::Query;

/// The one assertion type.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How far ahead of its use an assertion may expire.
const LONGEST_LIFE_SECONDS: u64 = 60;
/// How far two clocks may differ.
const LEEWAY_SECONDS: u64 = 60;
/// Most used assertions that are remembered; each is forgotten when it has expired.
const MOST_USED: usize = 100_000;
/// Longest `jti`.
const JTI_BYTES: usize = 255;

/// What an assertion says.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    jti: String,
    iss: Option<String>,
    iat: Option<u64>,
    nbf: Option<u64>,
}

impl Issuer {
    /// The client that the form's assertion proves; each assertion counts once.
    pub(super) fn authenticate(&self, form: &Query) -> Result<&Client, TokenError> {
        match single(form, "client_assertion_type")? {
            Some(ASSERTION_TYPE) => {}
            Some(_) => {
                return Err(TokenError::client(format!("client_assertion_type must be {ASSERTION_TYPE}")));
            }
            None => return Err(TokenError::client("authenticate with a client_assertion (private_key_jwt)")),
        }
        let Some(assertion) = single(form, "client_assertion")? else {
            return Err(TokenError::client("client_assertion is missing"));
        };
        let (client, claims) = self.verify(assertion)?;
        if single(form, "client_id")?.is_some_and(|id| id != client.client_id) {
            return Err(TokenError::client("client_id is not the assertion's sub"));
        }
        self.spend(client, &claims)?;
        Ok(client)
    }

    fn verify(&self, assertion: &str) -> Result<(&Client, Claims), TokenError> {
        let broken = |_| TokenError::client("the assertion is no JWT of a registered client");
        let header = decode_header(assertion).map_err(broken)?;
        let kid = header.kid.ok_or_else(|| TokenError::client("the assertion's header has no kid"))?;
        let keys = self.clients.iter().flat_map(|client| client.keys.iter().map(move |key| (client, key)));
        let mut known = keys.filter(|(_, key)| key.common.key_id.as_ref() == Some(&kid));
        let Some((client, key)) = known.next() else {
            return Err(TokenError::client("no client has registered a key of this kid"));
        };
        let algorithm = SigningAlgorithm::of(key)
            .ok_or_else(|| TokenError::client("the registered key is for another algorithm"))?;
        let mut validation = Validation::new(algorithm.jwt());
        validation.set_audience(&[&self.url, &self.token_endpoint()]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        // Time is checked against the issuer's own clock.
        validation.validate_exp = false;
        let key = DecodingKey::from_jwk(key).map_err(broken)?;
        let verified: TokenData<Claims> = decode(assertion, &key, &validation).map_err(|error| {
            TokenError::client(format!("the assertion does not verify: {error}; aud must be {}", self.url))
        })?;
        self.check(client, &verified.claims)?;
        Ok((client, verified.claims))
    }

    fn check(&self, client: &Client, claims: &Claims) -> Result<(), TokenError> {
        let now = self.clock.now().unix_seconds();
        let problem = if claims.sub != client.client_id {
            "sub is not the client that registered the key"
        } else if claims.iss.as_ref().is_some_and(|iss| *iss != client.client_id && *iss != self.url) {
            "iss is neither the client's id nor the issuer's URL"
        } else if claims.exp + LEEWAY_SECONDS <= now {
            "the assertion has expired"
        } else if claims.exp > now + LONGEST_LIFE_SECONDS + LEEWAY_SECONDS {
            "exp is more than 60 seconds away"
        } else if claims.iat.is_some_and(|iat| iat > now + LEEWAY_SECONDS) {
            "iat is in the future"
        } else if claims.nbf.is_some_and(|nbf| nbf > now + LEEWAY_SECONDS) {
            "nbf is in the future"
        } else if claims.jti.is_empty() || claims.jti.len() > JTI_BYTES {
            "jti must be 1 to 255 bytes"
        } else {
            return Ok(());
        };
        Err(TokenError::client(problem))
    }

    /// Notes that an assertion has been used; an error when it had been.
    fn spend(&self, client: &Client, claims: &Claims) -> Result<(), TokenError> {
        let now = self.clock.now().unix_seconds();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MOST_USED {
            forget_expired(&mut used, now);
        }
        if used.len() >= MOST_USED {
            return Err(TokenError {
                status: 503,
                code: "temporarily_unavailable",
                description: "too many assertions at once; try again in a minute".to_owned(),
            });
        }
        match used.entry((client.client_id.clone(), claims.jti.clone())) {
            Entry::Occupied(_) => {
                Err(TokenError::client("the assertion has been used: every one needs its own jti"))
            }
            Entry::Vacant(place) => {
                place.insert(claims.exp);
                Ok(())
            }
        }
    }
}

fn forget_expired(used: &mut HashMap<(String, String), u64>, now: u64) {
    used.retain(|_, exp| *exp + LEEWAY_SECONDS > now);
}
