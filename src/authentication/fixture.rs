//! What this room's tests share: issuers' keys made at run time, a registry in memory, and an authenticator
//! on a clock that stands still.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::jwks::{FakeSource, Source};
use super::*;
use crate::clock::{Clock, Now};
use crate::domain::{Plan, Problems, Region, RegionId, Regions, Subject, Workspace, WorkspaceState};
use crate::message::{Head, Version};

pub(super) const START: u64 = 1_800_000_000;
pub(super) const ISSUER: &str = "https://issuer.test";
pub(super) const AUDIENCE: &str = "https://api.test";
pub(super) const US: RegionId = RegionId(0);
pub(super) const EU: RegionId = RegionId(1);

/// A signing key with its JWK.
pub(super) struct Key {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    encoding: EncodingKey,
    pub(super) jwk: Value,
}

impl Key {
    pub(super) fn es256(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self::new(kid, Algorithm::ES256, EncodingKey::from_ec_der(&pair.serialize_der()))
    }

    pub(super) fn es384(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        Self::new(kid, Algorithm::ES384, EncodingKey::from_ec_der(&pair.serialize_der()))
    }

    pub(super) fn ed25519(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let encoding = EncodingKey::from_ed_der(&pair.serialize_der());
        let x = base64url(pair.public_key_raw());
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA" });
        Self { kid: kid.to_owned(), algorithm: Algorithm::EdDSA, encoding, jwk }
    }

    /// One RSA key pair under each of the RSA algorithms; generating one is slow.
    pub(super) fn rsa_family() -> Vec<Self> {
        use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
        let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let encoding = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        [RS256, RS384, RS512, PS256, PS384, PS512]
            .map(|algorithm| Self::new(&format!("{algorithm:?}"), algorithm, encoding.clone()))
            .into()
    }

    fn new(kid: &str, algorithm: Algorithm, encoding: EncodingKey) -> Self {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&encoding, algorithm).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = kid.into();
        jwk["alg"] = serde_json::to_value(algorithm).unwrap();
        Self { kid: kid.to_owned(), algorithm, encoding, jwk }
    }

    pub(super) fn header(&self) -> Value {
        json!({ "alg": self.algorithm, "kid": self.kid, "typ": "at+jwt" })
    }

    /// A token of these claims under the usual header.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// A token of any header and payload.
    pub(super) fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", base64url(header.as_bytes()), base64url(payload.as_bytes()));
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.encoding, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

pub(super) fn base64url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// A key set of the public halves, as an issuer answers it.
#[expect(clippy::unnecessary_wraps, reason = "an issuer may also not answer")]
pub(super) fn key_set(keys: &[&Key]) -> Option<String> {
    Some(json!({ "keys": keys.iter().map(|key| &key.jwk).collect::<Vec<_>>() }).to_string())
}

/// Claims that hold at the start of the clock, for an hour.
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "client_id": "app-1", "jti": "j-1",
        "iat": START, "exp": START + 3600, "workspace": "ws_us", "region": "us",
        "scope": "public_api:read_write", "role": "owner",
    })
}

/// The same claims with some replaced; null takes one away.
pub(super) fn claims_with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

pub(super) fn workspace(id: &str, region: RegionId, plan: Plan) -> Workspace {
    let (id, features) = (id.into(), Arc::new([]));
    let overrides = Arc::default();
    Workspace { id, subject: Subject(1), region, plan, features, state: WorkspaceState::Active, overrides }
}

/// A registry in memory.
#[derive(Default)]
pub(super) struct FakeTokens {
    pub(super) tokens: Mutex<HashMap<Vec<u8>, TokenLookup>>,
    pub(super) workspaces: Mutex<HashMap<String, Arc<Workspace>>>,
    pub(super) revoked_jtis: Mutex<Vec<String>>,
    pub(super) away: Mutex<bool>,
    pub(super) too_stale: Mutex<bool>,
}

impl FakeTokens {
    pub(super) fn put(&self, workspace: Workspace) {
        self.workspaces.lock().unwrap().insert(workspace.id.to_string(), Arc::new(workspace));
    }
}

impl Tokens for FakeTokens {
    fn find(&self, token: &[u8], _: Now) -> TokenLookup {
        self.tokens.lock().unwrap().get(token).cloned().unwrap_or(TokenLookup::Unknown)
    }

    fn workspace(&self, id: &str) -> Option<Arc<Workspace>> {
        self.workspaces.lock().unwrap().get(id).cloned()
    }

    fn recognises(&self, value: &[u8]) -> bool {
        value.starts_with(b"ours_")
    }

    fn is_current(&self, _: Now) -> bool {
        !*self.away.lock().unwrap()
    }

    fn may_answer(&self, _: Now) -> bool {
        !*self.too_stale.lock().unwrap()
    }

    fn jwt_revoked(&self, jwt: &JwtIdentity<'_>) -> bool {
        assert_eq!(jwt.issuer, ISSUER);
        self.revoked_jtis.lock().unwrap().iter().any(|jti| Some(jti.as_str()) == jwt.jti)
    }
}

pub(super) fn regions() -> Regions {
    let region =
        |name: &str, letter| Region { name: name.into(), letter, base_url: format!("https://{name}").into() };
    Regions::new(vec![region("us", 'u'), region("eu", 'e')])
}

pub(super) fn issuer_settings() -> IssuerSettings {
    IssuerSettings {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        jwks_uri: Some("https://issuer.test/jwks".to_owned()),
        algorithms: super::Algorithm::ALL.iter().map(|algorithm| algorithm.name().to_owned()).collect(),
        regions: vec!["us".to_owned(), "eu".to_owned()],
        ..IssuerSettings::default()
    }
}

impl IssuerStatus {
    /// How many loads have ended.
    pub(super) fn loads(&self) -> u64 {
        self.loads.iter().map(|(_, count)| count).sum()
    }

    /// How many loads ended in this way.
    pub(super) fn ended(&self, result: &str) -> u64 {
        self.loads.iter().find(|(name, _)| *name == result).unwrap().1
    }
}

/// An authenticator of one issuer with everything around it.
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) source: FakeSource,
    pub(super) authenticator: Authenticator,
    pub(super) tokens: FakeTokens,
    refreshers: Vec<Refresher>,
}

impl World {
    /// An issuer that answers with these keys, or fails.
    pub(super) fn new(set: Option<String>) -> Self {
        Self::with(set, |_| {}, None)
    }

    pub(super) fn with(
        set: Option<String>,
        change: impl FnOnce(&mut IssuerSettings),
        home: Option<RegionId>,
    ) -> Self {
        let source = FakeSource::answering(set);
        let checked = checked(&source, change, home);
        Self::of(source, checked, Clock::manual(START))
    }

    fn of(source: FakeSource, checked: Checked, clock: Clock) -> Self {
        let (authenticator, refreshers) = Authenticator::new(checked, SubjectKey::new(b"test"), clock.now());
        let tokens = FakeTokens::default();
        tokens.put(workspace("ws_us", US, Plan::Business));
        tokens.put(workspace("ws_eu", EU, Plan::Business));
        Self { clock, source, authenticator, tokens, refreshers }
    }

    /// Puts another authenticator in its place.
    pub(super) fn replace(&mut self, checked: Checked) {
        (self.authenticator, self.refreshers) =
            Authenticator::new(checked, SubjectKey::new(b"test"), self.clock.now());
    }

    /// Runs a test with the refreshers beside it, after their first load has ended.
    pub(super) fn run<T>(mut self, test: impl AsyncFnOnce(&Self) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            self.first_load().await;
            test(&self).await
        })
    }

    /// Runs a test on a clock that goes on when everybody waits.
    pub(super) fn in_time<T>(
        set: Option<String>,
        change: impl FnOnce(&mut IssuerSettings),
        test: impl AsyncFnOnce(&Self) -> T,
    ) -> T {
        let source = FakeSource::answering(set);
        let checked = checked(&source, change, None);
        Self::in_time_of(source, checked, test)
    }

    /// As [`World::in_time`], of checked settings.
    pub(super) fn in_time_of<T>(
        source: FakeSource,
        checked: Checked,
        test: impl AsyncFnOnce(&Self) -> T,
    ) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let mut world = Self::of(source, checked, Clock::paused(START));
            world.first_load().await;
            test(&world).await
        })
    }

    async fn first_load(&mut self) {
        for refresher in std::mem::take(&mut self.refreshers) {
            drop(tokio::spawn(refresher.run(self.clock.clone())));
        }
        while !self.authenticator.issuers(self.clock.now()).all(|issuer| issuer.loads() > 0) {
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn status(&self) -> IssuerStatus {
        self.authenticator.issuers(self.clock.now()).next().unwrap()
    }

    pub(super) async fn identify(&self, token: &str) -> Result<Caller, Refused> {
        self.authenticator.identify(&head(token), &self.tokens, self.clock.now()).await
    }

    pub(super) async fn refusal(&self, token: &str) -> Refused {
        self.identify(token).await.unwrap_err()
    }

    /// Whom a token of these claims proves, or why not.
    pub(super) async fn claiming(&self, key: &Key, changes: &Value) -> Result<Caller, Refused> {
        self.identify(&key.token(&claims_with(changes))).await
    }
}

pub(super) fn checked(
    source: &FakeSource,
    change: impl FnOnce(&mut IssuerSettings),
    home: Option<RegionId>,
) -> Checked {
    let mut issuer = issuer_settings();
    change(&mut issuer);
    let settings = Settings { issuers: vec![issuer], ..Settings::default() };
    let mut problems = Problems::new();
    let checked = from_settings(&settings, &regions(), home, std::path::Path::new(""), &mut problems);
    let mut checked = checked.unwrap_or_else(|| panic!("{problems:?}"));
    checked.issuers[0].source = Source::Fake(source.clone());
    checked
}

pub(super) fn head(token: &str) -> Head {
    let field = format!("Bearer {token}");
    Head::from_parts(Version::Http11, b"GET", b"/sources", [(&b"authorization"[..], field.as_bytes())])
}
