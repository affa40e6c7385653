//! The issuer of the demo: keys in its data folder, two clients, and the `jwt` part of its one line of JSON.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};

use super::{Client, Issuer, KeyError, PUBLIC_API_SCOPE, SigningAlgorithm, SigningKey, TOKEN_TYPE};
use crate::clock::Clock;
use crate::domain::{Role, Secret};

/// Leeway that the demo's gateway gives to the clocks of JWTs.
const LEEWAY_SECONDS: u64 = 60;

/// The workspaces that the demo's clients belong to.
#[derive(Clone, Copy, Debug)]
pub struct DemoWorkspaces<'a> {
    /// Id of the one whose region is `us`.
    pub us: &'a str,
    /// Id of the one whose region is `eu`.
    pub eu: &'a str,
}

/// The demo's issuer and what the demo says of it.
#[derive(Debug)]
pub struct DemoIssuer {
    /// Serve this.
    pub issuer: Arc<Issuer>,
    /// The `jwt` object of `demo --json`: addresses, key files, clients, and claims of good tokens.
    pub description: Value,
    /// A token of a Workspace Owner of the US workspace, good for a day.
    pub owner_jwt: Secret<String>,
}

impl DemoIssuer {
    /// Makes or reuses the keys in `data/issuer` and describes the issuer at `url` (no final slash).
    ///
    /// The clients of `us` and `eu` are Workspace Members; `claims.owner` is a Workspace Owner of the US
    /// workspace. The tokens of `us` are signed RS256, those of `eu` ES256.
    pub fn prepare(
        data: &Path,
        url: &str,
        audience: &str,
        workspaces: DemoWorkspaces<'_>,
        clock: Clock,
    ) -> Result<Self, KeyError> {
        let folder = data.join("issuer");
        std::fs::create_dir_all(&folder).map_err(|error| KeyError::File { path: folder.clone(), error })?;
        let open = |name: &str, algorithm| SigningKey::open(&folder.join(name), algorithm);
        let (rs256, us_key, eu_key) = thread::scope(|scope| {
            let us = scope.spawn(|| open("client-us.pem", SigningAlgorithm::Rs256));
            let eu = scope.spawn(|| open("client-eu.pem", SigningAlgorithm::Rs256));
            (open("rs256.pem", SigningAlgorithm::Rs256), us.join(), eu.join())
        });
        let rs256 = rs256?;
        // A thread that panicked made no key; the second try says why.
        let us_key = us_key.unwrap_or_else(|_| open("client-us.pem", SigningAlgorithm::Rs256))?;
        let eu_key = eu_key.unwrap_or_else(|_| open("client-eu.pem", SigningAlgorithm::Rs256))?;
        let es256 = open("es256.pem", SigningAlgorithm::Es256)?;
        let client =
            |id: &str, workspace: &str, region: &str, role, key: Option<&SigningKey>, algorithm| Client {
                client_id: id.to_owned(),
                workspace: workspace.to_owned(),
                region: region.to_owned(),
                role,
                keys: key.map(|key| key.jwk.clone()).into_iter().collect(),
                algorithm,
            };
        let (rs, es) = (SigningAlgorithm::Rs256, SigningAlgorithm::Es256);
        let us = client("oauth-app-us", workspaces.us, "us", Role::Restricted, Some(&us_key), rs);
        let eu = client("oauth-app-eu", workspaces.eu, "eu", Role::Restricted, Some(&eu_key), es);
        let owner = client("workspace-owner-us", workspaces.us, "us", Role::Owner, None, rs);
        let issuer = Issuer::new(url, audience, vec![rs256, es256], vec![us.clone(), eu.clone()], clock);
        let claims = |client: &Client| Value::Object(issuer.claims(client, PUBLIC_API_SCOPE));
        let registered = |client: &Client, key: &SigningKey| json!({"client_id": client.client_id, "kid": key.kid, "private_key_file": key.file});
        let keys: Vec<Value> = issuer
            .keys
            .iter()
            .map(|key| json!({"kid": key.kid, "alg": key.algorithm.name(), "private_key_file": key.file}))
            .collect();
        let description = json!({
            "issuer": url, "audience": audience, "jwks_uri": issuer.jwks_uri(),
            "token_endpoint": issuer.token_endpoint(), "typ": TOKEN_TYPE, "leeway_seconds": LEEWAY_SECONDS,
            "keys": keys,
            "clients": {"us": registered(&us, &us_key), "eu": registered(&eu, &eu_key)},
            "claims": {"us": claims(&us), "eu": claims(&eu), "owner": claims(&owner)},
        });
        let owner_jwt = issuer.sign(issuer.claims(&owner, PUBLIC_API_SCOPE), owner.algorithm);
        let owner_jwt = Secret::new(owner_jwt.ok_or(KeyError::Sign)?);
        Ok(Self { issuer: Arc::new(issuer), description, owner_jwt })
    }
}
