use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixture::*;
use super::*;
use crate::domain::{Outcome, Plan, Role, Secret, Subject, WorkspaceState};
use crate::message::{Head, Version};

mod cached;
mod keys;
mod restart;
mod weather;

fn entry(subject: u64) -> TokenEntry {
    TokenEntry {
        id: "tok_1".into(),
        subject: Subject(subject),
        workspace: Arc::new(workspace("ws_us", US, Plan::Team)),
        role: Role::Restricted,
        scopes: Arc::new(["public_api:read_write".into()]),
        own_limit: "5 per minute".parse().ok(),
        overrides: None,
        expires_at_unix_seconds: Some(START + 1),
        allowed_networks: None,
    }
}

fn whose() -> Whose {
    Whose { token_id: "tok_2".into(), workspace_id: "ws".into() }
}

#[test]
fn an_opaque_token_is_whatever_the_registry_says() {
    World::new(None).run(async |world| {
        let know = |token: &str, lookup| {
            world.tokens.tokens.lock().unwrap().insert(token.as_bytes().to_vec(), lookup)
        };
        know("good", TokenLookup::Found(entry(7)));
        know("revoked", TokenLookup::Revoked(whose()));
        know("expired", TokenLookup::Expired(whose()));
        know("elsewhere", TokenLookup::Elsewhere(EU));
        let caller = world.identify("good").await.unwrap();
        assert_eq!((caller.kind(), caller.subject()), (CredentialKind::Opaque, Subject(7)));
        assert_eq!((&**caller.token_id(), caller.role()), ("tok_1", Role::Restricted));
        assert_eq!(caller.workspace().plan, Plan::Team);
        assert_eq!(caller.own_limit(), "5 per minute".parse().ok());
        assert_eq!(caller.expires_at_unix_seconds(), Some(START + 1));
        assert_eq!(world.refusal("revoked").await, Refused::TokenRevoked(whose()));
        assert_eq!(world.refusal("expired").await, Refused::TokenExpired(whose()));
        assert_eq!(world.refusal("elsewhere").await, Refused::WrongRegion(EU));
        assert_eq!(world.refusal("never-seen").await, Refused::TokenUnknown);
        assert_eq!(world.refusal(&"a".repeat(9_000)).await, Refused::TokenUnknown);
        *world.tokens.away.lock().unwrap() = true;
        assert_eq!(world.refusal("ours_never-seen").await, Refused::RegistryUnavailable);
        assert_eq!(world.refusal("never-seen").await, Refused::TokenUnknown, "it is no token at all");
        assert!(world.identify("good").await.is_ok());
        *world.tokens.too_stale.lock().unwrap() = true;
        assert_eq!(world.refusal("good").await, Refused::RegistryUnavailable);
        assert_eq!(world.refusal("revoked").await, Refused::TokenRevoked(whose()), "that does not change");
    });
}

#[test]
fn a_genuine_jwt_proves_whom_its_claims_name() {
    let keys = [Key::es256("a"), Key::es384("b"), Key::ed25519("c")];
    World::new(key_set(&keys.each_ref())).run(async |world| {
        for key in &keys {
            let caller = world.identify(&key.token(&claims())).await.unwrap();
            assert_eq!(caller.kind(), CredentialKind::Jwt);
            assert_eq!(&**caller.token_id(), "app-1");
            assert_eq!((&*caller.workspace().id, caller.role()), ("ws_us", Role::Owner));
            assert_eq!(
                caller.scopes().iter().map(|scope| &**scope).collect::<Vec<_>>(),
                ["public_api:read_write"]
            );
            assert_eq!(caller.expires_at_unix_seconds(), Some(START + 3600));
        }
    });
}

#[test]
fn claims_are_read_as_configured() {
    let key = Key::es256("a");
    let names = |issuer: &mut IssuerSettings| {
        issuer.claims.workspace = "https://api.test/workspace".to_owned();
        issuer.claims.scopes = "scp".to_owned();
        issuer.claims.role = "roles".to_owned();
        issuer.claims.client = Some("app".to_owned());
    };
    World::with(key_set(&[&key]), names, None).run(async |world| {
        let good = json!({ "https://api.test/workspace": "ws_eu", "workspace": null, "scp": ["a", "b"], "scope": null,
            "roles": ["reader", "Workspace Owner"], "role": null, "app": "mine", "client_id": null });
        let caller = world.claiming(&key, &good).await.unwrap();
        assert_eq!((&*caller.workspace().id, &**caller.token_id()), ("ws_eu", "mine"));
        assert_eq!((caller.role(), caller.scopes().len()), (Role::Owner, 2));
        let with = |name: &str, value: Value| {
            let mut changes = good.clone();
            changes[name] = value;
            changes
        };
        let caller = world.claiming(&key, &with("roles", json!("something"))).await.unwrap();
        assert_eq!(caller.role(), Role::Restricted);
        let caller = world.claiming(&key, &with("roles", json!(null))).await.unwrap();
        assert_eq!(caller.role(), Role::Restricted);
        let refused = world.claiming(&key, &with("app", json!(null))).await.unwrap_err();
        assert_eq!(refused, InvalidJwt::ClaimMissing(ClaimName::Client).into());
    });
}

#[test]
fn the_client_is_client_id_else_azp_else_sub() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        for (changes, client) in [
            (json!({ "azp": "x" }), "app-1"),
            (json!({ "client_id": null, "azp": "x" }), "x"),
            (json!({ "client_id": null }), "user-1"),
        ] {
            let caller = world.claiming(&key, &changes).await.unwrap();
            assert_eq!(&**caller.token_id(), client);
        }
        let refused = world.claiming(&key, &json!({ "client_id": "a\r\nb" })).await.unwrap_err();
        assert_eq!(refused, InvalidJwt::ClaimMalformed(ClaimName::Client).into());
    });
}

/// Changes to good claims and what each is refused for.
fn refused_claims() -> Vec<(Value, InvalidJwt)> {
    use InvalidJwt::{ClaimMalformed, ClaimMissing};
    let now = START;
    vec![
        (json!({ "iss": "https://issuer.test/" }), InvalidJwt::IssuerUnknown),
        (json!({ "iss": null }), ClaimMissing(ClaimName::Issuer)),
        (json!({ "iss": [ISSUER] }), ClaimMalformed(ClaimName::Issuer)),
        (json!({ "aud": "https://api.test/" }), InvalidJwt::Audience),
        (json!({ "aud": ["other"] }), InvalidJwt::Audience),
        (json!({ "aud": [] }), InvalidJwt::Audience),
        (json!({ "aud": null }), ClaimMissing(ClaimName::Audience)),
        (json!({ "sub": null }), ClaimMissing(ClaimName::Subject)),
        (json!({ "exp": null }), ClaimMissing(ClaimName::Expiry)),
        (json!({ "exp": (now + 60).to_string() }), ClaimMalformed(ClaimName::Expiry)),
        (json!({ "nbf": now + 61 }), InvalidJwt::NotYetValid),
        (json!({ "nbf": "0" }), ClaimMalformed(ClaimName::NotBefore)),
        (json!({ "iat": now + 61 }), InvalidJwt::IssuedInFuture),
        (json!({ "exp": now + 2_592_001 }), InvalidJwt::LifetimeTooLong),
        (json!({ "exp": 1e300 }), InvalidJwt::LifetimeTooLong),
        (json!({ "iat": null, "exp": now + 2_592_061 }), InvalidJwt::LifetimeTooLong),
        (json!({ "cnf": { "jkt": "x" } }), InvalidJwt::SenderConstrained),
        (json!({ "workspace": null }), ClaimMissing(ClaimName::Workspace)),
        (json!({ "workspace": "a b" }), ClaimMalformed(ClaimName::Workspace)),
        (json!({ "workspace": "w".repeat(65) }), ClaimMalformed(ClaimName::Workspace)),
        (json!({ "workspace": 1 }), ClaimMalformed(ClaimName::Workspace)),
        (json!({ "scope": 1 }), ClaimMalformed(ClaimName::Scopes)),
        (json!({ "role": {} }), ClaimMalformed(ClaimName::Role)),
        (json!({ "jti": 1 }), ClaimMalformed(ClaimName::TokenId)),
    ]
}

#[test]
fn each_claim_that_does_not_hold_is_refused() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        for (changes, reason) in refused_claims() {
            let refused = world.claiming(&key, &changes).await.unwrap_err();
            assert_eq!(refused, reason.into(), "{changes}");
            assert_eq!((refused.outcome(), refused.counts_against_address()), (Outcome::JwtInvalid, true));
        }
        for changes in [
            json!({ "aud": ["other", AUDIENCE] }),
            json!({ "nbf": START + 60 }),
            json!({ "iat": START + 60 }),
            json!({ "iat": null }),
            json!({ "iat": START, "exp": START + 2_592_000 }),
            json!({ "scope": null }),
            json!({ "jti": null }),
            json!({ "exp": START - 59, "iat": START - 100 }),
        ] {
            assert!(world.claiming(&key, &changes).await.is_ok(), "{changes}");
        }
        let twice = claims().to_string().replacen('{', r#"{"sub":"user-2","#, 1);
        let refused = world.refusal(&key.sign(&key.header().to_string(), &twice)).await;
        assert_eq!(refused, InvalidJwt::PayloadMalformed.into());
    });
}

#[test]
fn each_header_that_does_not_hold_is_refused() {
    let (key, other) = (Key::es256("a"), Key::es256("a"));
    World::with(
        key_set(&[&key, &Key::ed25519("c")]),
        |issuer| issuer.algorithms.retain(|name| name != "ES384"),
        None,
    )
    .run(async |world| {
        let with = |header: Value| world_token(&key, &header);
        for (header, reason) in [
            (json!({ "alg": "none", "kid": "a" }), InvalidJwt::AlgorithmNotAllowed),
            (json!({ "alg": "HS256", "kid": "a" }), InvalidJwt::AlgorithmNotAllowed),
            (json!({ "alg": "ES384", "kid": "a" }), InvalidJwt::AlgorithmNotAllowed),
            (json!({ "alg": "RS256", "kid": "a" }), InvalidJwt::AlgorithmNotTheKeys),
            (json!({ "alg": "ES256", "kid": "c" }), InvalidJwt::AlgorithmNotTheKeys),
            (json!({ "alg": "ES256", "kid": "a", "typ": "logout+jwt" }), InvalidJwt::TypNotAllowed),
            (json!({ "alg": "ES256", "kid": "a", "typ": "" }), InvalidJwt::TypNotAllowed),
            (json!({ "alg": "ES256", "kid": "a", "crit": ["x"] }), InvalidJwt::HeaderForbidden("crit")),
            (json!({ "alg": "ES256", "kid": "a", "jwk": other.jwk }), InvalidJwt::HeaderForbidden("jwk")),
        ] {
            assert_eq!(world.refusal(&with(header.clone())).await, reason.into(), "{header}");
        }
        for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
            let token = with(json!({ "alg": "ES256", "kid": "a", "typ": typ }));
            assert!(world.identify(&token).await.is_ok(), "{typ}");
        }
        assert!(world.identify(&with(json!({ "alg": "ES256", "kid": "a" }))).await.is_ok());
        // Without a key id: the only key for the algorithm.
        assert!(world.identify(&with(json!({ "alg": "ES256" }))).await.is_ok());
        let forged = other.token(&claims());
        assert_eq!(world.refusal(&forged).await, InvalidJwt::Signature.into());
        let long = key.token(&claims_with(&json!({ "pad": "x".repeat(8_000) })));
        assert_eq!(world.refusal(&long).await, InvalidJwt::TooLong.into());
        assert_eq!(world.source.loads(), 1);
    });
}

fn world_token(key: &Key, header: &Value) -> String {
    key.sign(&header.to_string(), &claims().to_string())
}

#[test]
fn a_narrowed_typ_refuses_the_others() {
    let key = Key::es256("a");
    World::with(key_set(&[&key]), |issuer| issuer.typ = vec!["at+jwt".to_owned()], None).run(async |world| {
        assert!(world.identify(&key.token(&claims())).await.is_ok());
        for header in
            [json!({ "alg": "ES256", "kid": "a", "typ": "JWT" }), json!({ "alg": "ES256", "kid": "a" })]
        {
            assert_eq!(world.refusal(&world_token(&key, &header)).await, InvalidJwt::TypNotAllowed.into());
        }
    });
}

#[test]
fn only_the_holder_of_a_genuine_token_hears_that_it_expired() {
    let (key, forger) = (Key::es256("a"), Key::es256("a"));
    World::new(key_set(&[&key])).run(async |world| {
        let expired = claims_with(&json!({ "iat": START - 3660, "exp": START - 60 }));
        let refused = world.refusal(&key.token(&expired)).await;
        assert_eq!(refused, Refused::JwtExpired);
        assert!(!refused.counts_against_address());
        assert_eq!(world.refusal(&forger.token(&expired)).await, InvalidJwt::Signature.into());
        let elsewhere = Key::es256("unknown");
        assert_eq!(world.refusal(&elsewhere.token(&expired)).await, InvalidJwt::ExpiredUnverified.into());
        assert_eq!(world.source.loads(), 1);
        let for_others = claims_with(&json!({ "iat": START - 3660, "exp": START - 60, "aud": "other" }));
        assert_eq!(world.refusal(&key.token(&for_others)).await, InvalidJwt::Audience.into());
    });
}

#[test]
fn what_the_registry_says_of_a_workspace_wins() {
    let key = Key::es256("a");
    let change = |issuer: &mut IssuerSettings| issuer.plans = vec!["business".to_owned()];
    World::with(key_set(&[&key]), change, None).run(async |world| {
        let caller = world.claiming(&key, &json!({ "region": "eu", "plan": "free" })).await.unwrap();
        assert_eq!((caller.workspace().region, caller.workspace().plan), (US, Plan::Business));
        let mut suspended = workspace("ws_us", US, Plan::Business);
        suspended.state = WorkspaceState::Suspended;
        world.tokens.put(suspended);
        let caller = world.identify(&key.token(&claims())).await.unwrap();
        assert_eq!(caller.workspace().state, WorkspaceState::Suspended);
        world.tokens.put(workspace("ws_us", US, Plan::Team));
        let refused = world.claiming(&key, &json!({ "plan": "business" })).await.unwrap_err();
        assert_eq!(refused, Refused::PlanRequired { has: Plan::Team, needs: Arc::new([Plan::Business]) });
        assert_eq!(refused.outcome(), Outcome::PlanRequired);
        let refused = world.claiming(&key, &json!({ "workspace": "ws_new" })).await.unwrap_err();
        assert_eq!(refused, Refused::WorkspaceUnknown { workspace: "ws_new".into() });
        *world.tokens.away.lock().unwrap() = true;
        let refused = world.claiming(&key, &json!({ "workspace": "ws_new" })).await.unwrap_err();
        assert_eq!(refused, Refused::RegistryUnavailable);
        world.tokens.put(workspace("ws_us", US, Plan::Business));
        assert!(world.identify(&key.token(&claims())).await.is_ok());
        *world.tokens.too_stale.lock().unwrap() = true;
        assert_eq!(world.refusal(&key.token(&claims())).await, Refused::RegistryUnavailable);
    });
}

#[test]
fn an_issuer_speaks_only_for_its_own_regions() {
    let key = Key::es256("a");
    let us_only = |issuer: &mut IssuerSettings| issuer.regions = vec!["us".to_owned()];
    World::with(key_set(&[&key]), us_only, None).run(async |world| {
        for region in [json!("us"), json!("eu"), json!(null), json!("mars")] {
            let refused =
                world.claiming(&key, &json!({ "workspace": "ws_eu", "region": region })).await.unwrap_err();
            assert_eq!(refused, InvalidJwt::Region.into());
            assert!(world.claiming(&key, &json!({ "region": region })).await.is_ok());
        }
    });
}

#[test]
fn a_fenced_gateway_sends_a_foreign_workspace_home() {
    let key = Key::es256("a");
    World::with(key_set(&[&key]), |_| {}, Some(US)).run(async |world| {
        let refused =
            world.claiming(&key, &json!({ "workspace": "ws_far", "region": "eu" })).await.unwrap_err();
        assert_eq!(refused, Refused::WrongRegion(EU));
        for region in [json!("us"), json!(null), json!("mars")] {
            let refused =
                world.claiming(&key, &json!({ "workspace": "ws_far", "region": region })).await.unwrap_err();
            assert_eq!(refused.outcome(), Outcome::WorkspaceUnknown);
        }
    });
}

#[test]
fn claims_suffice_only_where_configured() {
    let key = Key::es256("a");
    let change = |issuer: &mut IssuerSettings| {
        issuer.claims_suffice = true;
        issuer.claimed_features = vec!["regulations".to_owned()];
    };
    World::with(key_set(&[&key]), change, None).run(async |world| {
        let new = |changes: Value| {
            let mut all = json!({ "workspace": "ws_new", "region": "eu" });
            all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            all
        };
        let made = world.claiming(&key, &new(json!({}))).await.unwrap();
        let made = made.workspace();
        assert_eq!((&*made.id, made.region, made.plan), ("ws_new", EU, Plan::Business));
        assert_eq!(made.state, WorkspaceState::Active);
        assert!(made.has_feature("regulations") && made.subject.0 >> 63 == 1);
        let made = world.claiming(&key, &new(json!({ "plan": "Team" }))).await.unwrap();
        assert_eq!(made.workspace().plan, Plan::Team);
        let refused = world.claiming(&key, &new(json!({ "plan": "gold" }))).await.unwrap_err();
        assert_eq!(refused, InvalidJwt::ClaimMalformed(ClaimName::Plan).into());
        for region in [json!(null), json!("mars")] {
            let refused = world.claiming(&key, &new(json!({ "region": region }))).await.unwrap_err();
            assert_eq!(refused, InvalidJwt::ClaimMissing(ClaimName::Region).into());
        }
        // Once the registry knows it, the registry wins.
        world.tokens.put(workspace("ws_new", US, Plan::Free));
        let known = world.claiming(&key, &new(json!({}))).await.unwrap();
        assert_eq!((known.workspace().region, known.workspace().plan), (US, Plan::Free));
    });
}

#[test]
fn a_credential_in_the_query_is_refused_and_a_live_one_is_told_apart() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        let token = key.token(&claims());
        let target = format!("/sources?access_token={token}");
        let head = Head::from_parts(Version::Http2, b"GET", target.as_bytes(), []);
        let now = world.clock.now();
        let refused = world.authenticator.identify(&head, &world.tokens, now).await.unwrap_err();
        assert_eq!(refused, Refused::CredentialInQuery(Secret::new(token.as_bytes().into())));
        assert!(!format!("{refused:?} {refused}").contains(&token));
        let exposed = |value: &[u8]| world.authenticator.exposed(value, &world.tokens, now);
        assert_eq!(
            exposed(token.as_bytes()).map(|caller| caller.token_id().to_string()),
            Ok("app-1".to_owned())
        );
        for dead in [&b""[..], b"ours_1", b"a.b.c", Key::es256("a").token(&claims()).as_bytes()] {
            assert!(exposed(dead).is_err());
        }
        world.tokens.tokens.lock().unwrap().insert(b"ours_1".to_vec(), TokenLookup::Found(entry(1)));
        assert!(exposed(b"ours_1").is_ok());
    });
}

#[test]
fn only_what_a_guesser_would_send_counts_against_the_address() {
    let counted = [Refused::TokenUnknown, Refused::CredentialMalformed, InvalidJwt::Signature.into()];
    assert!(counted.iter().all(Refused::counts_against_address));
    let not_counted = [
        Refused::CredentialMissing,
        Refused::CredentialInQuery(Secret::new(Box::new([]))),
        Refused::SeveralCredentials,
        Refused::TokenRevoked(whose()),
        Refused::TokenExpired(whose()),
        Refused::JwtExpired,
        Refused::JwtRevoked,
        Refused::WorkspaceUnknown { workspace: "w".into() },
        Refused::PlanRequired { has: Plan::Free, needs: Arc::new([]) },
        Refused::WrongRegion(EU),
        Refused::IssuerUnavailable { issuer: "i".into() },
        Refused::RegistryUnavailable,
    ];
    assert!(!not_counted.iter().any(Refused::counts_against_address));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_token_changed_in_any_byte_is_never_accepted(at: prop::sample::Index, byte in "[A-Za-z0-9._-]") {
        let key = Key::ed25519("a");
        let good = key.token(&claims());
        let mut changed = good.clone();
        let at = at.index(good.len());
        changed.replace_range(at..=at, &byte);
        World::new(key_set(&[&key])).run(async |world| {
            assert_eq!(world.identify(&changed).await.is_ok(), changed == good);
            assert!(world.identify(&good).await.is_ok());
            assert_eq!(world.identify(&changed).await.is_ok(), changed == good);
        });
    }
}

/// Time enough for anything that is not waiting.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

const SECOND: Duration = Duration::from_secs(1);
