//! The recipes of `config/docs/owners.md`: an access token as the provider makes it lets its owner make tokens. Only
//! where the keys are is this test's own.

use serde_json::{Value, json};

use crate::pages::blocks::blocks;
use crate::support::{Answer, Behaviour, Gateway, Signer, Upstream, config, now, raw, until};

const PAGE: &str = "config/docs/owners.md";
const AUDIENCE: &str = "https://api.example.com";

/// What a provider calls things.
struct Provider {
    /// Which of the page's recipes is its own.
    recipe: usize,
    keys: &'static str,
    workspace: &'static str,
    role: &'static str,
    scopes: &'static str,
    claims: Value,
}

/// A gateway that follows a recipe.
struct World {
    gateway: Gateway,
    signer: Signer,
    claims: Value,
    _others: [Upstream; 2],
}

impl World {
    fn new(provider: &Provider) -> Self {
        let signer = Signer::rsa("provider");
        let (issuer, upstream) = (signer.served(), Upstream::start(Behaviour::status(200, "us")));
        let recipes = blocks(PAGE).into_iter().filter(|block| block.kind == "toml");
        let recipe = recipes.map(|block| block.text).nth(provider.recipe).unwrap();
        assert!(recipe.contains(provider.keys), "{recipe}");
        let recipe = recipe.replace(provider.keys, &format!("{}/keys", issuer.url()));
        let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &recipe));
        let mut claims = provider.claims.clone();
        claims["iat"] = json!(now());
        claims["exp"] = json!(now() + 7_200);
        Self { gateway, signer, claims, _others: [issuer, upstream] }
    }

    /// A token with a claim changed, or left out where there is no value.
    fn jwt(&self, claim: &str, value: &Value) -> String {
        let mut claims = self.claims.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(claim);
        } else {
            claims[claim] = value.clone();
        }
        self.signer.sign(&claims)
    }

    fn ask(&self, method: &str, target: &str, token: &str, body: &str) -> Answer {
        let fields = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        self.gateway.connect().send(&raw(method, target, &fields, body.as_bytes()))
    }
}

fn follows_the_recipe(provider: &Provider) {
    let world = World::new(provider);
    let owner = world.jwt("unused", &Value::Null);
    let who = until("the provider's keys", || {
        Some(world.ask("GET", "/tollgate/v1/whoami", &owner, "")).filter(|answer| answer.status == 200)
    });
    let who = &who.json()["data"];
    assert_eq!((&who["workspaceId"], &who["region"]), (&json!("ws-us"), &json!("us")), "{who}");
    assert_eq!(world.ask("GET", "/sources", &owner, "").status, 200);
    let made = world.ask("POST", "/tollgate/v1/tokens", &owner, "{\"name\":\"ci\"}");
    assert_eq!(made.status, 201, "{}", made.json());
    let tokens = "/tollgate/v1/tokens";
    for (target, claim, value, said) in [
        (tokens, provider.role, json!("Workspace Member"), (403, "role_required")),
        (tokens, provider.role, Value::Null, (403, "role_required")),
        (tokens, provider.workspace, json!("nobody"), (403, "workspace_unknown")),
        ("/sources", provider.scopes, json!("openid profile"), (403, "scope_missing")),
        ("/sources", provider.scopes, Value::Null, (403, "scope_missing")),
        ("/sources", "aud", json!("https://elsewhere.example/userinfo"), (401, "jwt_invalid")),
        ("/sources", "iss", json!("https://elsewhere.example/"), (401, "jwt_invalid")),
    ] {
        let answer = world.ask("GET", target, &world.jwt(claim, &value), "");
        assert_eq!(answer.said(), (said.0, said.1.to_owned()), "{claim}: {value}");
    }
}

/// The user as `sub`, the application as `azp`, two audiences, the scopes that were asked for, and what the action adds.
#[test]
fn auth0s_owners_make_tokens() {
    let action = blocks(PAGE).into_iter().find(|block| block.kind == "js").unwrap().text;
    let named = |what: &str| format!("{AUDIENCE}/{what}");
    for claim in ["workspace", "region", "role"] {
        assert!(action.contains(&format!("setCustomClaim('{}', {claim})", named(claim))), "{action}");
    }
    follows_the_recipe(&Provider {
        recipe: 0,
        keys: "https://YOUR-TENANT.eu.auth0.com/.well-known/jwks.json",
        workspace: "https://api.example.com/workspace",
        role: "https://api.example.com/role",
        scopes: "scope",
        claims: json!({
            "iss": "https://YOUR-TENANT.eu.auth0.com/", "sub": "auth0|6566d2e1f1a2",
            "aud": [AUDIENCE, "https://YOUR-TENANT.eu.auth0.com/userinfo"], "azp": "kX2m9Qd0aZsW1vB4cXd7QpL0",
            "scope": "openid profile public_api:read_write", "permissions": ["public_api:read_write"],
            named("workspace"): "ws-us", named("region"): "us", named("role"): "Workspace Owner",
        }),
    });
}

/// The scopes as a list, and the application under a name of its own.
#[test]
fn oktas_owners_make_tokens() {
    follows_the_recipe(&Provider {
        recipe: 1,
        keys: "https://YOUR-ORG.okta.com/oauth2/ID/v1/keys",
        workspace: "workspace",
        role: "role",
        scopes: "scp",
        claims: json!({
            "ver": 1, "iss": "https://YOUR-ORG.okta.com/oauth2/ID", "aud": AUDIENCE, "cid": "0oa1b2c3",
            "uid": "00u1b2c3", "sub": "ana@example.com", "scp": ["openid", "public_api:read_write"],
            "workspace": "ws-us", "region": "us", "role": "Workspace Owner",
        }),
    });
}
