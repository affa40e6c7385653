//! Issuers that are away, slow, confused, in rotation or flooded: known keys serve on, the issuer is asked no more
//! often than stated, and a good token is never called invalid.

use super::keys::{naming, naming_long_ago, unavailable};
use super::*;

/// What is decided without waiting.
fn decided(world: &World, token: &str) -> Option<Result<Caller, Refused>> {
    match world.authenticator.try_identify(&head(token), &world.tokens, world.clock.now()) {
        Attempt::Decided(result) => Some(result),
        Attempt::NeedsKeys(_) => None,
    }
}

fn long_lived(key: &Key, jti: &str) -> String {
    key.token(&claims_with(&json!({ "exp": START + 200_000, "jti": jti })))
}

#[test]
fn keys_are_renewed_ahead_of_their_end_as_the_issuer_says() {
    let key = Key::es256("a");
    for (max_age, least, most) in [(None, 6, 7), (Some(100), 45, 50), (Some(0), 60, 67), (Some(86_400), 1, 2)]
    {
        World::in_time(
            key_set(&[&key]),
            |_| {},
            async |world| {
                // The first answer was given before the test could say otherwise; an ask brings the next.
                if let Some(seconds) = max_age {
                    world.source.max_age(seconds);
                }
                assert!(world.identify(&naming("k")).await.is_err());
                let before = world.source.loads();
                tokio::time::sleep(SECOND * 3_650).await;
                let loads = world.source.loads() - before;
                assert!((least..=most).contains(&loads), "{max_age:?}: {loads}");
            },
        );
    }
}

#[test]
fn a_set_that_did_not_change_is_confirmed_without_being_sent() {
    let key = Key::es256("a");
    World::in_time(
        key_set(&[&key]),
        |_| {},
        async |world| {
            world.source.etag("\"1\"");
            assert!(world.identify(&naming("k")).await.is_err());
            let token = long_lived(&key, "1");
            assert!(world.identify(&token).await.is_ok());
            tokio::time::sleep(SECOND * 90_000).await;
            let status = world.status();
            assert!(status.age_seconds.unwrap() <= 600, "{status:?}");
            assert_eq!(
                (status.ended("loaded"), world.source.not_modified() as u64),
                (2, status.ended("not_modified"))
            );
            assert!(status.ended("not_modified") >= 150, "{status:?}");
            assert!(
                world.identify(&token).await.is_ok(),
                "a day has passed, and the set was confirmed meanwhile"
            );
            assert_eq!(world.authenticator.verifications(), 1);
            // A changed set comes whole.
            let next = Key::es256("b");
            world.source.answer(key_set(&[&next]));
            world.source.etag("\"2\"");
            assert!(world.identify(&long_lived(&next, "2")).await.is_ok());
        },
    );
}

#[test]
fn an_hour_without_the_issuer_is_not_noticed() {
    let key = Key::es256("a");
    World::in_time(
        key_set(&[&key]),
        |_| {},
        async |world| {
            world.source.answer(None);
            for minute in 0..60 {
                let token = long_lived(&key, &minute.to_string());
                assert!(matches!(decided(world, &token), Some(Ok(_))), "at once, in minute {minute}");
                let forged = Key::es256("a").token(&claims());
                assert_eq!(decided(world, &forged).unwrap().unwrap_err(), InvalidJwt::Signature.into());
                tokio::time::sleep(SECOND * 60).await;
            }
            let status = world.status();
            assert_eq!((status.has_keys, status.age_seconds), (true, Some(3_600)));
            assert_eq!(status.ended("bad_status") + 1, status.loads());
            // One try in 30 s, less up to a tenth.
            assert!(status.loads() <= 3_600 / 27 + 1, "{status:?}");
            world.source.answer(key_set(&[&key]));
            tokio::time::sleep(SECOND * 30).await;
            assert!(world.status().last_failure.is_none());
        },
    );
}

#[test]
fn an_issuer_that_was_away_from_the_start_is_noticed_within_5_s() {
    let key = Key::es256("a");
    World::in_time(
        None,
        |_| {},
        async |world| {
            let token = long_lived(&key, "1");
            for _ in 0..100 {
                assert_eq!(decided(world, &token).unwrap().unwrap_err(), unavailable());
                tokio::time::sleep(SECOND * 3).await;
            }
            assert!(world.source.loads() <= 1 + 300 * 10 / 27 + 1, "{}", world.source.loads());
            world.source.answer(key_set(&[&key]));
            tokio::time::sleep(SECOND * 5).await;
            assert!(matches!(decided(world, &token), Some(Ok(_))));
        },
    );
}

#[test]
fn a_slow_issuer_keeps_nobody_waiting_who_has_a_known_key() {
    let key = Key::es256("a");
    World::in_time(
        key_set(&[&key]),
        |_| {},
        async |world| {
            let held = world.source.hold();
            let before = world.clock.now();
            let Attempt::NeedsKeys(wanted) =
                world.authenticator.try_identify(&head(&naming("k")), &world.tokens, before)
            else {
                panic!("an unknown key is asked for")
            };
            let arrived = wanted.arrived().await;
            let wait = world.clock.now().since(before);
            assert!(wait >= SECOND * 7 && wait <= SECOND * 8, "{wait:?}");
            let late =
                world.authenticator.identify_after(arrived, &head(&naming("k")), &world.tokens, before);
            assert_eq!(late.unwrap_err(), unavailable());
            assert!(matches!(decided(world, &long_lived(&key, "1")), Some(Ok(_))));
            drop(held);
        },
    );
}

#[test]
fn a_hundred_thousand_random_key_ids_cost_one_load_in_5_s_and_delay_nobody() {
    let key = Key::es256("a");
    World::in_time(
        key_set(&[&key]),
        |_| {},
        async |world| {
            let good = long_lived(&key, "1");
            for number in 0..100_000 {
                // What is older than the issuer's answer is refused at once; what may be newer waits or is told to.
                let forged = if number % 2 == 0 { naming_long_ago } else { naming };
                match decided(world, &forged(&number.to_string())) {
                    None => {}
                    Some(refused) => {
                        let refused = refused.unwrap_err();
                        assert!(refused == InvalidJwt::KeyUnknown.into() || refused == unavailable());
                    }
                }
                if number % 1_000 == 0 {
                    assert!(matches!(decided(world, &good), Some(Ok(_))));
                    tokio::time::sleep(Duration::from_millis(600)).await;
                }
            }
            // The first one, and one in each 5 s of the minute.
            assert!((2..=1 + 13).contains(&world.source.loads()), "{}", world.source.loads());
        },
    );
}

#[test]
fn a_key_of_a_sudden_rotation_is_never_called_unknown() {
    let (old, new) = (Key::es256("old"), Key::es256("new"));
    World::in_time(
        key_set(&[&old]),
        |_| {},
        async |world| {
            // The flood has just used up the load of these 5 s.
            assert_eq!(world.refusal(&naming("k")).await, InvalidJwt::KeyUnknown.into());
            world.source.answer(key_set(&[&new]));
            let before = world.clock.now();
            let made_now = new.token(&claims_with(&json!({ "iat": START })));
            assert!(world.identify(&made_now).await.is_ok(), "it waits for the end of the cool-down");
            assert!(world.clock.now().since(before) <= SECOND * 5 + SECOND / 10);
            assert_eq!(world.source.loads(), 3);
            // One without `iat` may be new as well.
            let newer = Key::es256("newer");
            world.source.answer(key_set(&[&newer]));
            assert!(world.identify(&newer.token(&claims_with(&json!({ "iat": null })))).await.is_ok());
        },
    );
}

#[test]
fn a_load_under_way_says_nothing_of_a_key_that_came_after_it_began() {
    let (old, new) = (Key::es256("old"), Key::es256("new"));
    World::in_time(
        key_set(&[&old]),
        |_| {},
        async |world| {
            let held = world.source.hold();
            let first =
                world.authenticator.try_identify(&head(&naming("k")), &world.tokens, world.clock.now());
            assert!(matches!(first, Attempt::NeedsKeys(_)));
            tokio::time::sleep(SECOND).await;
            let token = new.token(&claims());
            let (answer, ()) = tokio::join!(world.identify(&token), async {
                settle().await;
                drop(held);
                // The answer to the first load was made without the new key.
                settle().await;
                world.source.answer(key_set(&[&old, &new]));
            });
            assert!(answer.is_ok(), "{answer:?}");
            assert_eq!(world.source.loads(), 3);
        },
    );
}

#[test]
fn the_waiting_room_is_bounded_and_the_rest_is_told_to_come_back() {
    let key = Key::es256("a");
    World::in_time(
        key_set(&[&key]),
        |_| {},
        async |world| {
            assert_eq!(world.refusal(&naming("k")).await, InvalidJwt::KeyUnknown.into());
            let attempt = |number: u32| {
                let token = naming(&number.to_string());
                world.authenticator.try_identify(&head(&token), &world.tokens, world.clock.now())
            };
            let waiting: Vec<_> = (0..1_024).map(attempt).collect();
            assert!(waiting.iter().all(|attempt| matches!(attempt, Attempt::NeedsKeys(_))));
            assert!(matches!(attempt(1_024), Attempt::Decided(Err(refused)) if refused == unavailable()));
            let before = world.clock.now();
            for attempt in waiting {
                let Attempt::NeedsKeys(wanted) = attempt else { unreachable!() };
                wanted.arrived().await;
            }
            assert!(world.clock.now().since(before) <= SECOND * 6);
            assert_eq!(world.source.loads(), 3);
        },
    );
}

#[test]
fn a_long_cool_down_is_not_waited_for() {
    let key = Key::es256("a");
    World::in_time(
        key_set(&[&key]),
        |issuer| issuer.unknown_key_seconds = 60,
        async |world| {
            assert_eq!(world.refusal(&naming("k")).await, InvalidJwt::KeyUnknown.into());
            assert_eq!(decided(world, &naming("k")).unwrap().unwrap_err(), unavailable());
            assert_eq!(
                decided(world, &naming_long_ago("k")).unwrap().unwrap_err(),
                InvalidJwt::KeyUnknown.into()
            );
            tokio::time::sleep(SECOND * 55).await;
            assert!(decided(world, &naming("k")).is_none());
        },
    );
}

#[test]
fn a_key_that_left_the_set_serves_for_ten_minutes_more() {
    let (old, new) = (Key::es256("old"), Key::es256("new"));
    World::in_time(
        key_set(&[&old, &new]),
        |_| {},
        async |world| {
            let cached = long_lived(&old, "1");
            assert!(world.identify(&cached).await.is_ok());
            world.source.answer(key_set(&[&new]));
            assert!(world.identify(&naming("k")).await.is_err());
            let removed = world.clock.now();
            assert_eq!(world.status().keys, 1);
            while world.clock.now().since(removed) < SECOND * 595 {
                assert!(matches!(decided(world, &cached), Some(Ok(_))));
                let jti = world.clock.now().unix_millis.to_string();
                assert!(
                    matches!(decided(world, &long_lived(&old, &jti)), Some(Ok(_))),
                    "one that was not seen before"
                );
                assert!(matches!(decided(world, &long_lived(&new, &jti)), Some(Ok(_))));
                tokio::time::sleep(SECOND * 5).await;
            }
            tokio::time::sleep(SECOND * 10).await;
            assert_eq!(world.refusal(&cached).await, InvalidJwt::KeyUnknown.into());
            assert_eq!(world.refusal(&long_lived(&old, "2")).await, InvalidJwt::KeyUnknown.into());
            assert!(world.identify(&long_lived(&new, "2")).await.is_ok());
        },
    );
}

#[test]
fn an_issuer_that_revokes_by_removal_has_no_overlap() {
    let (old, new) = (Key::es256("old"), Key::es256("new"));
    World::in_time(
        key_set(&[&old, &new]),
        |issuer| issuer.revoke_on_removal = true,
        async |world| {
            let cached = long_lived(&old, "1");
            assert!(world.identify(&cached).await.is_ok());
            world.source.answer(key_set(&[&new]));
            assert!(world.identify(&naming("k")).await.is_err());
            assert_eq!(world.refusal(&cached).await, InvalidJwt::KeyUnknown.into());
        },
    );
}

#[test]
fn rotations_every_minute_refuse_no_good_token() {
    World::in_time(
        key_set(&[&Key::es256("0")]),
        |_| {},
        async |world| {
            let mut previous = Key::es256("0");
            for minute in 1..30 {
                let next = Key::es256(&minute.to_string());
                world.source.answer(key_set(&[&next]));
                for second in 0..6 {
                    let jti = format!("{minute}-{second}");
                    let token =
                        |key: &Key| key.token(&claims_with(&json!({ "jti": jti, "exp": START + 90_000 })));
                    // The issuer signs by the new key at once, and tokens of the one before are still about.
                    assert!(world.identify(&token(&next)).await.is_ok(), "{jti}");
                    assert!(minute == 1 || world.identify(&token(&previous)).await.is_ok(), "{jti}");
                    let _ = decided(world, &naming(&jti));
                    tokio::time::sleep(SECOND * 10).await;
                }
                previous = next;
            }
            assert!(world.source.loads() <= 1 + 29 * 60 / 5, "{}", world.source.loads());
        },
    );
}

#[test]
fn one_odd_key_does_not_empty_a_set_and_no_set_full_of_them_replaces_the_last_good_one() {
    let key = Key::es256("a");
    let rsa = |n: &str, e: &str| json!({ "kty": "RSA", "kid": "r", "alg": "RS256", "n": n, "e": e });
    let changed = |name: &str, value: Value| {
        let mut jwk = Key::es256("odd").jwk;
        jwk[name] = value;
        jwk
    };
    let short_modulus = base64url(&[0xff; 128]);
    let odd = [
        json!({ "kty": "oct", "kid": "s", "k": "AAAA" }),
        rsa(&short_modulus, "AQAB"),
        rsa(&base64url(&[0xff; 600]), "AQAB"),
        rsa(&base64url(&[0xff; 256]), "AQ"),
        rsa("not base64!", "AQAB"),
        changed("use", json!("enc")),
        changed("key_ops", json!(["sign"])),
        changed("d", json!("AAAA")),
        changed("p", json!("AAAA")),
        changed("x", json!("AAAA")),
        changed("x", json!("====")),
        changed("crv", json!("P-384")),
        changed("alg", json!("HS256")),
        changed("alg", json!("none")),
        changed("kid", json!(7)),
        json!(null),
        json!([]),
    ];
    World::in_time(
        key_set(&[&key]),
        |_| {},
        async |world| {
            let token = long_lived(&key, "1");
            let mut failures = 0;
            for jwk in &odd {
                world.source.answer(Some(json!({ "keys": [jwk] }).to_string()));
                assert_eq!(world.refusal(&naming("k")).await, unavailable(), "{jwk}");
                failures += 1;
                assert_eq!(world.status().ended("no_usable_key"), failures, "{jwk}");
                assert!(matches!(decided(world, &token), Some(Ok(_))), "{jwk}");
                tokio::time::sleep(SECOND * 5).await;
                let next = Key::es256(&format!("beside {failures}"));
                world.source.answer(Some(json!({ "keys": [jwk, key.jwk, next.jwk] }).to_string()));
                assert!(world.identify(&long_lived(&next, "2")).await.is_ok(), "{jwk}");
                assert_eq!(world.status().keys, 2, "{jwk}");
                tokio::time::sleep(SECOND * 5).await;
            }
        },
    );
}
