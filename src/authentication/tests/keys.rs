//! When an issuer is asked for its keys, and what is said while it does not answer.

use super::*;

pub(super) fn unavailable() -> Refused {
    Refused::IssuerUnavailable { issuer: ISSUER.into() }
}

/// A token that nobody signed, which names a key and says that it is new.
pub(super) fn naming(kid: &str) -> String {
    forged(kid, &claims())
}

/// The same, but it says that it is older than the issuer's answer.
pub(super) fn naming_long_ago(kid: &str) -> String {
    forged(kid, &claims_with(&json!({ "iat": START - 100 })))
}

fn forged(kid: &str, claims: &Value) -> String {
    let header = base64url(json!({ "alg": "ES256", "kid": kid }).to_string().as_bytes());
    format!("{header}.{}.{}", base64url(claims.to_string().as_bytes()), base64url(&[1; 64]))
}

#[test]
fn a_flood_of_unknown_keys_makes_one_load_per_cool_down() {
    let key = Key::es256("a");
    World::with(key_set(&[&key]), |issuer| issuer.max_lifetime_seconds = 7200, None).run(async |world| {
        let good = key.token(&claims());
        for number in 0..6_000 {
            let refused = world.refusal(&naming_long_ago(&format!("k{number}"))).await;
            assert_eq!(refused, InvalidJwt::KeyUnknown.into());
            if number % 100 == 0 {
                assert!(world.identify(&good).await.is_ok());
            }
            world.clock.advance(Duration::from_millis(10));
        }
        // The first load and one in each 5 s of the 60 s.
        assert_eq!(world.source.loads(), 1 + 12);
        assert_eq!(world.authenticator.verifications(), 1);
    });
}

#[test]
fn a_failed_load_counts_as_a_try_and_is_not_blamed_on_the_caller() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        world.source.answer(None);
        for number in 0..100 {
            assert_eq!(world.refusal(&naming(&format!("k{number}"))).await, unavailable());
        }
        assert_eq!(world.source.loads(), 2);
        // What needs no issuer is still told apart.
        assert!(world.identify(&key.token(&claims())).await.is_ok());
        assert_eq!(world.refusal(&Key::es256("a").token(&claims())).await, InvalidJwt::Signature.into());
        let for_others = key.token(&claims_with(&json!({ "aud": "other" })));
        assert_eq!(world.refusal(&for_others).await, InvalidJwt::Audience.into());
        world.source.answer(key_set(&[&key]));
        world.clock.advance(SECOND * 5);
        assert_eq!(world.refusal(&naming("k")).await, InvalidJwt::KeyUnknown.into());
        assert_eq!(world.source.loads(), 3);
    });
}

#[test]
fn a_rotation_with_overlap_refuses_nobody() {
    let (old, new) = (Key::es256("old"), Key::ed25519("new"));
    World::new(key_set(&[&old])).run(async |world| {
        let accepted = async |key: &Key, jti: u32| {
            assert!(world.claiming(key, &json!({ "jti": jti.to_string() })).await.is_ok());
        };
        accepted(&old, 1).await;
        world.source.answer(key_set(&[&old, &new]));
        for jti in 2..10 {
            accepted(&new, jti).await;
            accepted(&old, jti).await;
        }
        assert_eq!(world.source.loads(), 2);
        world.source.answer(key_set(&[&new]));
        accepted(&new, 10).await;
        accepted(&old, 10).await;
    });
}

#[test]
fn requests_with_known_keys_never_wait_for_a_load() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        let held = world.source.hold();
        let (now, unknown) = (world.clock.now(), naming("k"));
        let Attempt::NeedsKeys(wanted) =
            world.authenticator.try_identify(&head(&unknown), &world.tokens, now)
        else {
            panic!("an unknown key is asked for")
        };
        settle().await;
        let good = key.token(&claims());
        assert!(matches!(
            world.authenticator.try_identify(&head(&good), &world.tokens, now),
            Attempt::Decided(Ok(_))
        ));
        // Other unknown keys join the load that is under way.
        let other = world.authenticator.try_identify(&head(&naming("l")), &world.tokens, now);
        assert!(matches!(other, Attempt::NeedsKeys(_)));
        drop(held);
        let arrived = wanted.arrived().await;
        let refused =
            world.authenticator.identify_after(arrived, &head(&unknown), &world.tokens, now).unwrap_err();
        assert_eq!(refused, InvalidJwt::KeyUnknown.into());
        assert_eq!(world.source.loads(), 2);
        // One whose load did not end in time cannot be told apart from a good one.
        let late =
            world.authenticator.identify_after(KeysArrived::TOO_LATE, &head(&unknown), &world.tokens, now);
        assert_eq!(late.unwrap_err(), unavailable());
    });
}

#[test]
fn no_more_than_so_many_wait() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        let held = world.source.hold();
        let attempt = |number: u32| {
            world.authenticator.try_identify(
                &head(&naming(&number.to_string())),
                &world.tokens,
                world.clock.now(),
            )
        };
        let waiting: Vec<_> = (0..1024).map(attempt).collect();
        assert!(waiting.iter().all(|attempt| matches!(attempt, Attempt::NeedsKeys(_))));
        assert!(matches!(attempt(1024), Attempt::Decided(Err(refused)) if refused == unavailable()));
        drop(waiting);
        assert!(matches!(attempt(1025), Attempt::NeedsKeys(_)));
        drop(held);
    });
}

#[test]
fn an_issuer_that_never_answered_is_a_503_and_never_a_401() {
    let key = Key::es256("a");
    World::new(None).run(async |world| {
        let status = world.authenticator.issuers(world.clock.now()).next().unwrap();
        let failure = status.last_failure.unwrap();
        assert_eq!((status.has_keys, status.age_seconds), (false, None));
        assert!(failure.contains("answered 500"), "{failure}");
        let refused = world.refusal(&key.token(&claims())).await;
        assert_eq!(refused, unavailable());
        assert_eq!(
            (refused.outcome(), refused.counts_against_address()),
            (Outcome::IssuerUnavailable, false)
        );
        // What can be told without its keys is still told.
        let for_others = key.token(&claims_with(&json!({ "aud": "other" })));
        assert_eq!(world.refusal(&for_others).await.outcome(), Outcome::JwtInvalid);
        let expired = key.token(&claims_with(&json!({ "exp": START - 60, "iat": START - 100 })));
        assert_eq!(world.refusal(&expired).await, InvalidJwt::ExpiredUnverified.into());
        world.tokens.tokens.lock().unwrap().insert(b"good".to_vec(), TokenLookup::Found(entry(1)));
        assert!(world.identify("good").await.is_ok());
    });
}

#[test]
fn sets_without_a_usable_key_leave_the_last_good_one() {
    let key = Key::es256("a");
    let shared = json!({ "keys": [{ "kty": "oct", "kid": "x", "k": "AAAA" }] }).to_string();
    World::new(key_set(&[&key])).run(async |world| {
        for answer in
            ["", "garbage", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, &shared, &" ".repeat(300_000)]
        {
            world.source.answer(Some(answer.to_owned()));
            world.clock.advance(SECOND * 5);
            assert_eq!(world.refusal(&naming("k")).await, unavailable(), "{answer:.20}");
        }
        assert_eq!(world.source.loads(), 1 + 8);
        assert!(world.identify(&key.token(&claims())).await.is_ok());
    });
}

#[test]
fn the_last_good_set_serves_for_a_day_and_no_longer() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        world.source.answer(None);
        let long = key.token(&claims_with(&json!({ "exp": START + 200_000 })));
        assert!(world.identify(&long).await.is_ok());
        world.clock.advance(SECOND * 86_400);
        assert!(world.identify(&long).await.is_ok());
        let status = world.authenticator.issuers(world.clock.now()).next().unwrap();
        assert_eq!((status.has_keys, status.age_seconds), (true, Some(86_400)));
        world.clock.advance(SECOND);
        assert_eq!(world.refusal(&long).await, unavailable());
        assert!(!world.authenticator.issuers(world.clock.now()).next().unwrap().has_keys);
    });
}

#[test]
fn a_token_without_a_key_id_needs_exactly_one_key_that_fits() {
    let (one, two) = (Key::es256("a"), Key::es256("b"));
    let token = one.sign(r#"{"alg":"ES256"}"#, &claims().to_string());
    World::new(key_set(&[&one, &Key::ed25519("c")])).run(async |world| {
        assert!(world.identify(&token).await.is_ok());
        let other = r#"{"alg":"ES384"}"#;
        assert_eq!(
            world.refusal(&one.sign(other, &claims().to_string())).await,
            InvalidJwt::KeyUnknown.into()
        );
    });
    World::new(key_set(&[&one, &two])).run(async |world| {
        assert_eq!(world.refusal(&token).await, InvalidJwt::KeyAmbiguous.into());
        assert_eq!(world.source.loads(), 1);
    });
}
