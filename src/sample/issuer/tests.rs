use jsonwebtoken::{DecodingKey, Validation, decode};

use super::*;

const NOW: u64 = 1_800_000_000;
const URL: &str = "http://127.0.0.1:1";

struct World {
    demo: DemoIssuer,
    client: SigningKey,
    clock: Clock,
    data: tempfile::TempDir,
}

fn world() -> World {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("issuer");
    std::fs::create_dir_all(&folder).unwrap();
    let clock = Clock::manual(NOW);
    let workspaces = DemoWorkspaces { us: "ws_us", eu: "ws_eu" };
    let demo = DemoIssuer::prepare(data.path(), URL, "https://api.test", workspaces, clock.clone()).unwrap();
    let client = SigningKey::open(&folder.join("client-us.pem"), SigningAlgorithm::Rs256).unwrap();
    World { demo, client, clock, data }
}

impl World {
    fn assertion(&self, change: &Value) -> String {
        let mut claims = json!({"sub": "oauth-app-us", "aud": URL, "iat": NOW, "exp": NOW + 50, "jti": "j1"})
            .as_object()
            .cloned()
            .unwrap();
        for (key, value) in change.as_object().unwrap() {
            claims.insert(key.clone(), value.clone());
        }
        claims.retain(|_, value| !value.is_null());
        self.client.sign("JWT", &claims).unwrap()
    }

    fn fetch(&self, body: &str) -> (u16, Value) {
        self.fetch_as("application/x-www-form-urlencoded; charset=utf-8", body)
    }

    fn fetch_as(&self, media_type: &str, body: &str) -> (u16, Value) {
        let request = Request {
            method: "POST".to_owned(),
            target: "/token".to_owned(),
            version: "HTTP/1.1",
            fields: vec![("Content-Type".to_owned(), media_type.to_owned())],
            body: body.to_owned().into(),
            trailers: Vec::new(),
        };
        let answer = self.demo.issuer.token(&request).unwrap_or_else(|error| error.answer());
        assert!(answer.fields.contains(&("cache-control".to_owned(), "no-store".to_owned())));
        match answer.content {
            http::Content::Bytes(bytes) => (answer.status, serde_json::from_slice(&bytes).unwrap()),
            http::Content::Filler { .. } => panic!("the issuer answered filler"),
        }
    }

    fn exchange(&self, change: &Value) -> (u16, Value) {
        self.fetch(&form(&self.assertion(change)))
    }
}

fn form(assertion: &str) -> String {
    format!(
        "grant_type=client_credentials&scope=public_api%3Aread_write&client_assertion={assertion}\
         &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
    )
}

#[test]
fn a_good_assertion_buys_a_token_with_the_claims_that_the_demo_names() {
    let world = world();
    for (n, change) in [
        json!({}),
        json!({"iss": URL}),
        json!({"iss": "oauth-app-us"}),
        json!({"aud": format!("{URL}/token")}),
        json!({"aud": ["other", URL]}),
        json!({"exp": NOW + 119}),
        json!({"exp": NOW - 59}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut change = change;
        change["jti"] = format!("j{n}").into();
        let (status, body) = world.exchange(&change);
        assert_eq!(status, 200, "{change}: {body}");
        assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(86_400)));
        let token = body["access_token"].as_str().unwrap();
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!((header.typ.as_deref(), header.alg), (Some("at+jwt"), jsonwebtoken::Algorithm::RS256));
        let jwks = world.demo.issuer.jwks();
        let key = DecodingKey::from_jwk(jwks.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&["https://api.test"]);
        validation.validate_exp = false;
        let mut claims = decode::<Map<String, Value>>(token, &key, &validation).unwrap().claims;
        assert_eq!(claims.remove("exp"), Some(json!(NOW + 86_400)));
        assert!(claims.remove("iat").is_some() && claims.remove("jti").is_some());
        assert_eq!(Value::Object(claims), world.demo.description["claims"]["us"]);
    }
}

#[test]
fn a_bad_assertion_buys_nothing() {
    let world = world();
    for change in [
        json!({"sub": "oauth-app-eu"}),
        json!({"sub": null}),
        json!({"aud": "https://elsewhere.test"}),
        json!({"aud": null}),
        json!({"iss": "somebody"}),
        json!({"exp": NOW + 121}),
        json!({"exp": NOW - 60}),
        json!({"exp": null}),
        json!({"iat": NOW + 61}),
        json!({"nbf": NOW + 61}),
        json!({"jti": ""}),
        json!({"jti": null}),
        json!({"jti": "j".repeat(256)}),
    ] {
        let (status, body) = world.exchange(&change);
        assert_eq!((status, &body["error"]), (401, &json!("invalid_client")), "{change}");
    }
    let foreign = SigningKey::open(&world.data.path().join("foreign.pem"), SigningAlgorithm::Es256).unwrap();
    let claims = json!({"sub": "oauth-app-us", "aud": URL, "exp": NOW + 50, "jti": "f"});
    let unknown_kid = foreign.sign("JWT", claims.as_object().unwrap()).unwrap();
    let mut borrowed_kid = foreign;
    borrowed_kid.kid.clone_from(&world.client.kid);
    let borrowed_kid = borrowed_kid.sign("JWT", claims.as_object().unwrap()).unwrap();
    for assertion in [unknown_kid, borrowed_kid, "a.b.c".to_owned(), String::new()] {
        assert_eq!(world.fetch(&form(&assertion)).0, 401);
    }
}

#[test]
fn an_assertion_counts_once() {
    let world = world();
    assert_eq!(world.exchange(&json!({"jti": "once"})).0, 200);
    assert_eq!(world.exchange(&json!({"jti": "once"})).0, 401);
    world.clock.advance(std::time::Duration::from_secs(109));
    assert_eq!(world.exchange(&json!({"jti": "once"})).0, 401, "still within its life and leeway");
    assert_eq!(world.exchange(&json!({"jti": "twice"})).0, 200);
}

#[test]
fn requests_are_refused_in_the_words_of_rfc_6749() {
    let world = world();
    let good = || world.assertion(&json!({"jti": "never spent"}));
    for (body, status, code) in [
        (String::new(), 400, "invalid_request"),
        (form(&good()).replace("client_credentials", "password"), 400, "unsupported_grant_type"),
        (form(&good()).replace("public_api%3Aread_write", "admin"), 400, "invalid_scope"),
        (format!("{}&scope=functions:write", form(&good())), 400, "invalid_request"),
        (form(&good()).replace("jwt-bearer", "saml2-bearer"), 401, "invalid_client"),
        ("grant_type=client_credentials".to_owned(), 401, "invalid_client"),
        (format!("{}&client_id=other", form(&good())), 401, "invalid_client"),
    ] {
        let (got, answer) = world.fetch(&body);
        assert_eq!((got, &answer["error"]), (status, &json!(code)), "{body}");
    }
    assert_eq!(world.fetch_as("application/json", &form(&good())).0, 400);
    assert_eq!(world.fetch(&form(&good())).0, 200, "none of the refusals used the assertion up");
}

#[test]
fn keys_are_kept_private_and_used_again() {
    let world = world();
    let url = "http://127.0.0.1:2";
    let workspaces = DemoWorkspaces { us: "a", eu: "b" };
    let again = DemoIssuer::prepare(world.data.path(), url, "aud", workspaces, Clock::manual(NOW)).unwrap();
    assert_eq!(again.description["keys"], world.demo.description["keys"]);
    assert_eq!(again.description["keys"][1]["alg"], "ES256");
    assert_eq!(again.description["claims"]["owner"]["role"], "Workspace Owner");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&world.client.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let broken = world.data.path().join("broken.pem");
    std::fs::write(&broken, "x").unwrap();
    let error = SigningKey::open(&broken, SigningAlgorithm::Rs256).unwrap_err();
    assert!(error.to_string().contains("broken.pem: no RS256 key"), "{error}");
}

#[test]
fn the_key_set_shows_public_keys_only() {
    let world = world();
    let jwks = json!(world.demo.issuer.jwks());
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2);
    for key in jwks["keys"].as_array().unwrap() {
        assert!(key["kid"].is_string() && key["alg"].is_string() && key["use"] == "sig", "{key}");
        for private in ["d", "p", "q", "k"] {
            assert!(key.get(private).is_none());
        }
    }
}
