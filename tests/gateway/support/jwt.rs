//! JWTs as a script signs them: with the demo's key files.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{Behaviour, Demo, Upstream};

/// One of the issuer's keys, or of its clients'.
pub(crate) struct Signer {
    pub(crate) header: Header,
    key: EncodingKey,
}

impl Signer {
    /// The issuer's key of an algorithm.
    pub(crate) fn issuer(demo: &Demo, algorithm: &str) -> Self {
        let keys = demo.json["jwt"]["keys"].as_array().unwrap();
        Self::of(keys.iter().find(|key| key["alg"] == algorithm).unwrap(), algorithm, "at+jwt")
    }

    /// A new ES256 key of this id.
    pub(crate) fn fresh(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(kid.to_owned());
        Self { header, key: EncodingKey::from_ec_der(&pair.serialize_der()) }
    }

    /// A new RS256 key of this id, whose tokens are of type `JWT`.
    pub(crate) fn rsa(kid: &str) -> Self {
        let size = rcgen::RsaKeySize::_2048;
        let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(kid.to_owned());
        Self { header, key: EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap() }
    }

    /// The public half, as a key set has it.
    pub(crate) fn jwk(&self) -> Value {
        let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&self.key, self.header.alg).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(self.header.kid);
        jwk["alg"] = json!(self.header.alg);
        jwk
    }

    /// A server whose every answer is a key set with this key.
    pub(crate) fn served(&self) -> Upstream {
        let keys = json!({ "keys": [self.jwk()] }).to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", keys.len());
        Upstream::start(Behaviour::Answer(head + &keys))
    }

    /// The key of a client's assertions.
    pub(crate) fn client(demo: &Demo, client: &str) -> Self {
        Self::of(&demo.json["jwt"]["clients"][client], "RS256", "JWT")
    }

    fn of(described: &Value, algorithm: &str, typ: &str) -> Self {
        let pem = std::fs::read(described["private_key_file"].as_str().unwrap()).unwrap();
        let (algorithm, key) = match algorithm {
            "RS256" => (Algorithm::RS256, EncodingKey::from_rsa_pem(&pem)),
            "ES256" => (Algorithm::ES256, EncodingKey::from_ec_pem(&pem)),
            other => panic!("no key of {other}"),
        };
        let mut header = Header::new(algorithm);
        header.typ = Some(typ.to_owned());
        header.kid = Some(described["kid"].as_str().unwrap().to_owned());
        Self { header, key: key.unwrap() }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&self.header, claims, &self.key).unwrap()
    }
}

/// The demo's claims of a kind with `iat`, `exp` and `jti`, good for five minutes.
pub(crate) fn claims(demo: &Demo, kind: &str) -> Value {
    let mut claims = demo.json["jwt"]["claims"][kind].clone();
    let now = now();
    claims["iat"] = json!(now);
    claims["exp"] = json!(now + 300);
    claims["jti"] = json!(format!("test-{kind}-{now}"));
    claims
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
