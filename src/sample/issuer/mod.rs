//! The sample OAuth issuer: client credentials with `private_key_jwt`, as Segment's OAuth servers take them.
//!
//! Decides which client assertions buy an access token and what it says. Tokens are JWTs (`at+jwt`, RFC 9068)
//! that live for a day, signed RS256 or ES256 as the client is set. It knows its clients and nothing of
//! workspaces' plans or states: those are the gateway's.

mod assertion;
mod demo;
mod keys;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::fault::Fault;
use super::http::{self, Answer, Malformed, Request, Service};
use super::query::Query;
use crate::clock::Clock;
use crate::domain::Role;

pub use demo::{DemoIssuer, DemoWorkspaces};
pub use keys::{KeyError, SigningAlgorithm, SigningKey};

/// The scope that the Public API asks for.
pub const PUBLIC_API_SCOPE: &str = "public_api:read_write";
/// Every scope that a client may ask for.
const SCOPES: [&str; 3] = [PUBLIC_API_SCOPE, "tracking_api:write", "functions:write"];
/// `typ` of the access tokens.
const TOKEN_TYPE: &str = "at+jwt";
/// How long an access token lives.
const LIFETIME_SECONDS: u64 = 86_400;

/// A registered client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its id, the `sub` of its assertions and tokens.
    pub client_id: String,
    /// The workspace that its tokens name.
    pub workspace: String,
    /// That workspace's region.
    pub region: String,
    /// The role of its tokens.
    pub role: Role,
    /// Public keys of its assertions, each with a `kid`; one suffices, two allow a rotation.
    pub keys: Vec<Jwk>,
    /// What its access tokens are signed with.
    pub algorithm: SigningAlgorithm,
}

/// A sample OAuth authorization server.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    audience: String,
    keys: Vec<SigningKey>,
    clients: Vec<Client>,
    clock: Clock,
    /// Assertions that have been used, by client and `jti`, with the second of their expiry.
    used: Mutex<HashMap<(String, String), u64>>,
}

/// An error of the token endpoint (RFC 6749, section 5.2).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {description}")]
struct TokenError {
    status: u16,
    code: &'static str,
    description: String,
}

impl TokenError {
    fn request(description: impl Into<String>) -> Self {
        Self { status: 400, code: "invalid_request", description: description.into() }
    }

    fn client(description: impl Into<String>) -> Self {
        Self { status: 401, code: "invalid_client", description: description.into() }
    }

    fn answer(&self) -> Answer {
        Answer::json(self.status, &json!({"error": self.code, "error_description": self.description}))
            .with("cache-control", "no-store")
    }
}

impl Issuer {
    /// An issuer known as `url` (no final slash), for tokens whose `aud` is `audience`.
    pub fn new(url: &str, audience: &str, keys: Vec<SigningKey>, clients: Vec<Client>, clock: Clock) -> Self {
        Self {
            url: url.to_owned(),
            audience: audience.to_owned(),
            keys,
            clients,
            clock,
            used: Mutex::default(),
        }
    }

    /// Serves `/token`, `/jwks.json` and the discovery documents until `shutdown` completes.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        http::serve(listener, self, shutdown).await;
    }

    /// Where clients fetch tokens.
    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.url)
    }

    /// Where the public keys are.
    pub fn jwks_uri(&self) -> String {
        format!("{}/jwks.json", self.url)
    }

    /// The public keys.
    pub fn jwks(&self) -> JwkSet {
        JwkSet { keys: self.keys.iter().map(|key| key.jwk.clone()).collect() }
    }

    /// What a good token of a client carries, less `iat`, `exp` and `jti`.
    pub fn claims(&self, client: &Client, scope: &str) -> Map<String, Value> {
        let role = match client.role {
            Role::Owner => "Workspace Owner",
            Role::Restricted => "Workspace Member",
        };
        let claims = json!({
            "iss": self.url, "aud": self.audience, "sub": client.client_id, "client_id": client.client_id,
            "scope": scope, "workspace": client.workspace, "region": client.region, "role": role,
        });
        claims.as_object().cloned().unwrap_or_default()
    }

    /// Signs an access token with these claims and a fresh `iat`, `exp` and `jti`; `None` without a key of
    /// that algorithm, or without randomness.
    pub fn sign(&self, mut claims: Map<String, Value>, algorithm: SigningAlgorithm) -> Option<String> {
        let now = self.clock.now().unix_seconds();
        let mut jti = [0; 16];
        aws_lc_rs::rand::fill(&mut jti).ok()?;
        claims.insert("iat".to_owned(), now.into());
        claims.insert("exp".to_owned(), (now + LIFETIME_SECONDS).into());
        claims.insert("jti".to_owned(), URL_SAFE_NO_PAD.encode(jti).into());
        self.keys.iter().find(|key| key.algorithm == algorithm)?.sign(TOKEN_TYPE, &claims)
    }

    /// `POST /token` (RFC 6749 section 4.4, RFC 7523 section 2.2).
    fn token(&self, request: &Request) -> Result<Answer, TokenError> {
        let media_type = request.field("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(TokenError::request("send the parameters as application/x-www-form-urlencoded"));
        }
        let form =
            std::str::from_utf8(&request.body).map_err(|_| TokenError::request("the body is not UTF-8"))?;
        let form = Query::parse(form);
        match single(&form, "grant_type")? {
            Some("client_credentials") => {}
            Some(_) => {
                return Err(TokenError {
                    status: 400,
                    code: "unsupported_grant_type",
                    description: "the only grant type here is client_credentials".to_owned(),
                });
            }
            None => return Err(TokenError::request("grant_type is missing")),
        }
        let scope = granted(single(&form, "scope")?)?;
        let client = self.authenticate(&form)?;
        let token = self.sign(self.claims(client, &scope), client.algorithm).ok_or_else(|| TokenError {
            status: 500,
            code: "server_error",
            description: "the issuer has no key for this client's tokens".to_owned(),
        })?;
        let body = json!({
            "access_token": token, "token_type": "Bearer", "expires_in": LIFETIME_SECONDS, "scope": scope,
        });
        Ok(Answer::json(200, &body).with("cache-control", "no-store").with("pragma", "no-cache"))
    }

    fn metadata(&self) -> Value {
        json!({
            "issuer": self.url, "token_endpoint": self.token_endpoint(), "jwks_uri": self.jwks_uri(),
            "grant_types_supported": ["client_credentials"], "scopes_supported": SCOPES,
            "response_types_supported": [], "subject_types_supported": ["public"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        })
    }
}

impl Service for Issuer {
    async fn answer(&self, request: Request) -> Answer {
        let read = matches!(request.method.as_str(), "GET" | "HEAD");
        match request.path() {
            "/token" if request.method == "POST" => {
                self.token(&request).unwrap_or_else(|error| error.answer())
            }
            "/token" => {
                Fault::plain(405, "method-not-allowed", "fetch tokens by POST").answer().with("allow", "POST")
            }
            "/jwks.json" | "/.well-known/jwks.json" if read => {
                Answer::json(200, &json!(self.jwks())).with("cache-control", "public, max-age=300")
            }
            "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server" if read => {
                Answer::json(200, &self.metadata())
            }
            path => Fault::plain(404, "not-found", format!("the issuer has nothing at '{path}'")).answer(),
        }
    }

    fn refuse(&self, malformed: Malformed) -> Answer {
        Fault::from(malformed).answer()
    }
}

/// A form field that may be there once (RFC 6749, section 3.2).
fn single<'a>(form: &'a Query, name: &'a str) -> Result<Option<&'a str>, TokenError> {
    let mut values = form.all(name);
    let value = values.next().filter(|value| !value.is_empty());
    if values.next().is_some() {
        return Err(TokenError::request(format!("{name} is there twice")));
    }
    Ok(value)
}

/// The scopes of the token, which are those asked for.
fn granted(asked: Option<&str>) -> Result<String, TokenError> {
    let mut granted: Vec<&str> = Vec::new();
    for scope in asked.unwrap_or(PUBLIC_API_SCOPE).split(' ').filter(|scope| !scope.is_empty()) {
        if !SCOPES.contains(&scope) {
            return Err(TokenError {
                status: 400,
                code: "invalid_scope",
                description: format!("the scopes here are {}", SCOPES.join(", ")),
            });
        }
        if !granted.contains(&scope) {
            granted.push(scope);
        }
    }
    Ok(granted.join(" "))
}

#[cfg(test)]
mod tests;
