//! JWTs of an issuer: bought as a script buys them, judged strictly, and never blamed for a dead issuer.

use std::net::SocketAddr;

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::support::{
    Answer, Behaviour, Client, Demo, Gateway, Signer, Upstream, address, ask_admin, claims, config, raw,
    request, until,
};

fn ask(demo: &Demo, method: &str, target: &str, token: &str) -> Answer {
    demo.connect().send(&request(method, target, token, ""))
}

/// The client credentials flow with `private_key_jwt`.
fn buy(demo: &Demo, client: &str, jti: &str) -> Value {
    let endpoint = demo.text("/jwt/token_endpoint");
    let id = demo.text(&format!("/jwt/clients/{client}/client_id")).to_owned();
    let now = crate::support::now();
    let assertion = Signer::client(demo, client).sign(&json!({
        "iss": id, "sub": id, "aud": endpoint, "iat": now, "exp": now + 50, "jti": jti,
    }));
    let body = format!(
        "grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={assertion}&scope=public_api%3Aread_write"
    );
    let issuer: SocketAddr = address(endpoint.strip_suffix("/token").unwrap());
    let fields = "Content-Type: application/x-www-form-urlencoded\r\n";
    let answer = Client::connect(issuer).send(&raw("POST", "/token", fields, body.as_bytes()));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn a_script_buys_a_token_and_is_served_at_home() {
    let demo = Demo::start();
    for region in ["us", "eu"] {
        let bought = buy(&demo, region, "first");
        assert_eq!(bought["token_type"], "Bearer");
        assert!(bought["expires_in"].is_u64());
        let token = bought["access_token"].as_str().unwrap();
        let answer = ask(&demo, "GET", "/sources", token);
        assert_eq!((answer.status, answer.region()), (200, Some(region)));
        let who = ask(&demo, "GET", "/tollgate/v1/whoami", token).json()["data"].clone();
        assert_eq!(who["workspaceId"], *format!("demo-{region}"));
        assert_eq!(who["role"], "restricted");
        assert!(who["expiresAt"].is_string());
        let renewed = buy(&demo, region, "second");
        assert_ne!(renewed["access_token"], bought["access_token"]);
    }
}

#[test]
fn claims_signed_with_the_issuers_keys_are_good() {
    let demo = Demo::start();
    for algorithm in ["RS256", "ES256"] {
        let signer = Signer::issuer(&demo, algorithm);
        for (kind, region, role) in
            [("us", "us", "restricted"), ("eu", "eu", "restricted"), ("owner", "us", "owner")]
        {
            let token = signer.sign(&claims(&demo, kind));
            let answer = ask(&demo, "GET", "/sources", &token);
            assert_eq!((answer.status, answer.region()), (200, Some(region)), "{kind} {algorithm}");
            let who = ask(&demo, "GET", "/tollgate/v1/whoami", &token).json()["data"].clone();
            assert_eq!(who["role"], role, "{kind}");
        }
    }
}

#[test]
fn typ_is_the_documented_three() {
    let demo = Demo::start();
    let mut signer = Signer::issuer(&demo, "RS256");
    for (typ, status) in [
        (Some("at+jwt"), 200),
        (Some("JWT"), 200),
        (Some("application/at+jwt"), 200),
        (None, 200),
        (Some("dpop+jwt"), 401),
        (Some("logout+jwt"), 401),
    ] {
        signer.header.typ = typ.map(str::to_owned);
        let answer = ask(&demo, "GET", "/sources", &signer.sign(&claims(&demo, "us")));
        assert_eq!(answer.status, status, "{typ:?}");
    }
}

#[test]
fn what_does_not_hold_is_invalid() {
    let demo = Demo::start();
    let signer = Signer::issuer(&demo, "RS256");
    let good = claims(&demo, "us");
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        signer.sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        signer.sign(&claims)
    };
    let now = crate::support::now();
    let mut cases = vec![
        ("aud", with("aud", json!("https://somebody.else"))),
        ("aud list", with("aud", json!(["https://somebody.else"]))),
        ("iss", with("iss", json!("https://somebody.else"))),
        ("iss slash", with("iss", json!(format!("{}/", demo.text("/jwt/issuer"))))),
        ("nbf", with("nbf", json!(now + 3600))),
        ("iat", with("iat", json!(now + 3600))),
        ("lifetime", with("exp", json!(now + 40 * 86_400))),
        ("exp text", with("exp", json!("tomorrow"))),
        ("cnf", with("cnf", json!({"jkt": "x"}))),
        ("no iss", without("iss")),
        ("no aud", without("aud")),
        ("no exp", without("exp")),
        ("no sub", without("sub")),
        ("no workspace", without("workspace")),
    ];
    let token = signer.sign(&good);
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!() };
    let encoded = |value: &Value| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
    };
    let kid = signer.header.kid.clone().unwrap();
    cases.push(("none", format!("{}.{payload}.", encoded(&json!({"alg": "none", "typ": "at+jwt"})))));
    cases.push((
        "none signed",
        format!("{}.{payload}.{signature}", encoded(&json!({"alg": "none", "kid": kid}))),
    ));
    cases.push(("other payload", format!("{header}.{}.{signature}", encoded(&claims(&demo, "owner")))));
    cases.push(("no signature", format!("{header}.{payload}.")));
    cases.push((
        "crit",
        format!(
            "{}.{payload}.{signature}",
            encoded(&json!({"alg": "RS256", "kid": kid, "crit": ["b64"], "b64": false}))
        ),
    ));
    let mut wrong_key = Signer::client(&demo, "us");
    wrong_key.header.typ = Some("at+jwt".to_owned());
    cases.push(("a client's own key", wrong_key.sign(&good)));
    wrong_key.header.kid = Some(kid.clone());
    cases.push(("another key under the issuer's id", wrong_key.sign(&good)));
    let mut mixed = jsonwebtoken::Header::new(Algorithm::HS256);
    mixed.kid = Some(kid);
    let public = std::fs::read(demo.path("/jwt/keys/0/private_key_file")).unwrap();
    cases.push(("HMAC", jsonwebtoken::encode(&mixed, &good, &EncodingKey::from_secret(&public)).unwrap()));
    for (what, token) in cases {
        let answer = ask(&demo, "GET", "/sources", &token);
        assert_eq!(answer.said(), (401, "jwt_invalid".to_owned()), "{what}");
        assert!(answer.field("www-authenticate").unwrap().contains("invalid_token"), "{what}");
    }
    for (what, exp) in [("an hour", now - 3600), ("just beyond the leeway", now - 62)] {
        let mut old = good.clone();
        (old["iat"], old["exp"]) = (json!(exp - 300), json!(exp));
        let answer = ask(&demo, "GET", "/sources", &signer.sign(&old));
        assert_eq!(answer.said(), (401, "jwt_expired".to_owned()), "{what}");
    }
    let mut within = good.clone();
    (within["iat"], within["exp"]) = (json!(now - 300), json!(now - 30));
    assert_eq!(ask(&demo, "GET", "/sources", &signer.sign(&within)).status, 200, "within the leeway");
}

#[test]
fn the_registry_wins_over_a_claim() {
    let demo = Demo::start();
    let signer = Signer::issuer(&demo, "RS256");
    let as_workspace = |workspace: &str| {
        let mut claims = claims(&demo, "us");
        claims["workspace"] = json!(workspace);
        ask(&demo, "GET", "/sources", &signer.sign(&claims)).said()
    };
    assert_eq!(as_workspace("nobody"), (403, "workspace_unknown".to_owned()));
    assert_eq!(as_workspace("demo-suspended"), (403, "workspace_suspended".to_owned()));
    assert_eq!(as_workspace("demo-free"), (403, "plan_required".to_owned()), "OAuth is for Business");
    // The claim says US, the registry says EU: it is never sent to the US.
    let mut lying = claims(&demo, "us");
    lying["workspace"] = json!("demo-eu");
    let answer = ask(&demo, "GET", "/sources", &signer.sign(&lying));
    assert_eq!((answer.status, answer.region()), (200, Some("eu")));
}

#[test]
fn scopes_and_roles_are_asked_for() {
    let demo = Demo::start();
    let signer = Signer::issuer(&demo, "ES256");
    let mut other = claims(&demo, "us");
    other["scope"] = json!("tracking_api:write");
    let refused = ask(&demo, "GET", "/sources", &signer.sign(&other));
    assert_eq!(refused.said(), (403, "scope_missing".to_owned()));
    assert_eq!(refused.error()["data"]["scope"], "public_api:read_write");
    let restricted = signer.sign(&claims(&demo, "us"));
    let owner = signer.sign(&claims(&demo, "owner"));
    for method in ["DELETE", "PATCH"] {
        let refused = ask(&demo, method, "/credentials/c1", &restricted);
        assert_eq!(refused.said(), (403, "role_required".to_owned()), "{method}");
        assert_eq!(refused.error()["data"]["role"], "owner");
        assert_eq!(ask(&demo, method, "/credentials/c1", &owner).region(), Some("us"), "{method}");
    }
    assert_eq!(ask(&demo, "GET", "/credentials/c1", &restricted).region(), Some("us"));
    assert_eq!(
        ask(&demo, "DELETE", "/%63redentials/c1", &restricted).said(),
        (403, "role_required".to_owned())
    );
}

/// The configuration's issuer for a demo's keys, with its key set somewhere.
fn issuer(demo: &Demo, keys: &str) -> String {
    let (issuer, audience) = (demo.text("/jwt/issuer"), demo.text("/jwt/audience"));
    format!(
        "[[authentication.issuers]]\nissuer = {issuer:?}\naudiences = [{audience:?}]\n{keys}\nregions = [\"us\", \"eu\"]\n"
    )
}

#[test]
fn an_issuer_that_cannot_be_reached_is_our_fault() {
    let demo = Demo::start();
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let dead = issuer(&demo, &format!("jwks_uri = \"{}/jwks.json\"", Upstream::refusing()));
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &dead));
    let mut good = claims(&demo, "us");
    good["workspace"] = json!("ws-us");
    let signer = Signer::issuer(&demo, "RS256");
    let token = signer.sign(&good);
    for _ in 0..3 {
        let answer = gateway.ask(&token, "/sources");
        assert_eq!(answer.said(), (503, "issuer_unavailable".to_owned()));
        assert!(answer.field("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        assert_eq!(answer.error()["data"]["forwarded"], "no");
        assert!(answer.field("www-authenticate").is_none());
    }
    // What can be judged without a key is: the outage makes no bad token good, and no bad token ours.
    let mut old = good.clone();
    old["exp"] = json!(crate::support::now() - 3600);
    let judged = gateway.ask(&signer.sign(&old), "/sources");
    assert!(judged.status == 401 || judged.status == 503, "{judged:?}");
    assert_eq!(gateway.ask("not.a.jwt", "/sources").said(), (401, "jwt_invalid".to_owned()));
    let (_, opaque) = gateway.token("ws-us", &[]);
    assert_eq!(gateway.ask(&opaque, "/sources").status, 200, "opaque tokens do not need the issuer");
    upstream_saw_only(&upstream, 1);
}

#[test]
fn an_issuer_that_comes_back_is_noticed() {
    let demo = Demo::start();
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let jwks = {
        let uri = demo.text("/jwt/jwks_uri").strip_suffix("/jwks.json").unwrap();
        let answer = Client::connect(address(uri)).send(&raw("GET", "/jwks.json", "", b""));
        String::from_utf8(answer.body).unwrap()
    };
    let keys = Upstream::start(Behaviour::status(500, "none"));
    let dead = issuer(&demo, &format!("jwks_uri = \"{}/jwks.json\"\nunknown_key_seconds = 1", keys.url()));
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &dead));
    let mut good = claims(&demo, "us");
    good["workspace"] = json!("ws-us");
    let token = Signer::issuer(&demo, "ES256").sign(&good);
    assert_eq!(gateway.ask(&token, "/sources").said(), (503, "issuer_unavailable".to_owned()));
    let length = jwks.len();
    keys.behave(Behaviour::Answer(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{jwks}"
    )));
    until("the issuer's keys", || {
        let answer = gateway.ask(&token, "/sources");
        assert_ne!(answer.status, 401);
        (answer.status == 200).then_some(())
    });
}

#[test]
fn keys_are_still_loaded_while_the_gateway_drains() {
    let demo = Demo::start();
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let uri = demo.text("/jwt/jwks_uri").strip_suffix("/jwks.json").unwrap();
    let jwks = Client::connect(address(uri)).send(&raw("GET", "/jwks.json", "", b"")).body;
    let keys = Upstream::start(Behaviour::status(500, "none"));
    let dead = issuer(&demo, &format!("jwks_uri = \"{}/jwks.json\"\nunknown_key_seconds = 1", keys.url()));
    let text = config(&upstream.url(), &upstream.url(), &dead);
    let text = text.replacen("[listen]\n", "[listen]\ndrain_delay_seconds = 30\n", 1);
    let gateway = Gateway::start(&text);
    let mut good = claims(&demo, "us");
    good["workspace"] = json!("ws-us");
    let token = Signer::issuer(&demo, "ES256").sign(&good);
    assert_eq!(gateway.ask(&token, "/sources").said(), (503, "issuer_unavailable".to_owned()));
    gateway.process.signal("TERM");
    until("readiness to go", || (ask_admin(gateway.admin, "/readyz").status == 503).then_some(()));
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", jwks.len());
    keys.behave(Behaviour::Answer(head + std::str::from_utf8(&jwks).unwrap()));
    until("the issuer's keys", || (gateway.ask(&token, "/sources").status == 200).then_some(()));
}

fn upstream_saw_only(upstream: &Upstream, requests: usize) {
    assert_eq!(upstream.text().matches(" HTTP/1.1\r\n").count(), requests, "{}", upstream.text());
}
