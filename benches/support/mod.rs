//! What both benches run on: a configuration like that of the comparison in `benches/load/`, with ten thousand
//! opaque tokens and an issuer whose key is made here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use serde_json::json;
use tempfile::TempDir;

/// Opaque tokens in rotation.
pub(crate) const OPAQUE_TOKENS: usize = 10_000;
/// JWTs in rotation.
pub(crate) const JWTS: usize = 1_000;

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://api.example";
const KEY_ID: &str = "es1";

/// A folder with a configuration and what it names.
pub(crate) struct Site {
    folder: TempDir,
    key: EncodingKey,
}

impl Site {
    /// A configuration of one worker whose two regions have one upstream each.
    pub(crate) fn create(us: SocketAddr, eu: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let point = pair.public_key_raw();
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (coordinate(&point[1..33]), coordinate(&point[33..]));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID, "x": x, "y": y });
        std::fs::write(folder.path().join("jwks.json"), json!({ "keys": [jwk] }).to_string()).unwrap();
        std::fs::write(folder.path().join("tollgate.toml"), configuration(us, eu)).unwrap();
        let lines = (0..OPAQUE_TOKENS).map(|index| {
            let region = region(index);
            format!("{}\tws-{:04}-{region}\t{region}\n", opaque_token(index), index % 1_000)
        });
        std::fs::write(folder.path().join("tokens.tsv"), lines.collect::<String>()).unwrap();
        Self { key: EncodingKey::from_ec_der(&pair.serialize_der()), folder }
    }

    /// The configuration file.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.path().join("tollgate.toml")
    }

    /// The tokens, to be imported.
    pub(crate) fn tokens(&self) -> PathBuf {
        self.folder.path().join("tokens.tsv")
    }

    /// A JWT that is good for an hour.
    pub(crate) fn jwt(&self, index: usize) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let region = region(index);
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 3_600,
            "sub": format!("client-{index}"), "ws": format!("ws-{index:04}-{region}"), "region": region,
        });
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(KEY_ID.to_owned());
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }
}

/// An opaque token in no format of ours, as an older system would have made them.
pub(crate) fn opaque_token(index: usize) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("bench {index}").as_bytes());
    digest.as_ref().iter().take(20).fold("tk_".to_owned(), |token, byte| format!("{token}{byte:02x}"))
}

/// A request as a small HTTP client sends it.
pub(crate) fn request(method: &str, path: &str, fields: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: api.example\r\nUser-Agent: bench/1\r\nAccept: */*\r\n{fields}\r\n"
    )
    .into_bytes()
}

/// A request with a credential.
pub(crate) fn request_with(path: &str, credential: &str) -> Vec<u8> {
    request("GET", path, &format!("Authorization: Bearer {credential}\r\n"))
}

/// What a browser sends ahead.
pub(crate) fn preflight() -> Vec<u8> {
    let fields = "Origin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n";
    request("OPTIONS", "/v1/data", fields)
}

const fn region(index: usize) -> &'static str {
    if index.is_multiple_of(2) { "us" } else { "eu" }
}

fn configuration(us: SocketAddr, eu: SocketAddr) -> String {
    format!(
        r#"
[listen]
plain = ["127.0.0.1:0"]
workers = 1
[admin]
address = "127.0.0.1:0"
[logs]
access = "off"
[tokens]
scopes = ["bench"]
[regions.us]
letter = "u"
base_url = "https://us.example"
upstreams = ["http://{us}"]
[regions.eu]
letter = "e"
base_url = "https://eu.example"
upstreams = ["http://{eu}"]
[upstream.in_flight]
most = 256
[endpoints]
scope = ""
plans = ["free", "team", "business"]
[[endpoints.extra]]
operation = "data"
method = "GET"
path = "/v1/data"
[[endpoints.extra]]
operation = "hangs"
method = "GET"
path = "/v1/hangs"
[[endpoints.extra]]
operation = "scarce"
method = "GET"
path = "/v1/scarce"
[[limits.policies]]
name = "caller"
per = ["token"]
quota = "1000000 per second"
[[limits.policies]]
name = "data"
per = ["endpoint"]
endpoints = ["data"]
quota = "1000000 per second"
[[limits.policies]]
name = "scarce"
per = ["endpoint"]
endpoints = ["scarce"]
quota = "1 per hour"
[limits.failed_authentications]
exempt = ["127.0.0.0/8"]
[[authentication.issuers]]
issuer = "{ISSUER}"
audiences = ["{AUDIENCE}"]
jwks_file = "jwks.json"
algorithms = ["ES256"]
regions = ["us", "eu"]
claims = {{ workspace = "ws", region = "region", client = "sub" }}
claims_suffice = true
"#
    )
}
