//! A token that was verified before is worth no more than a fresh one.

use super::*;

#[test]
fn a_thousand_first_uses_cost_one_verification_and_one_load() {
    let key = Key::es256("new");
    World::new(key_set(&[&Key::es256("old")])).run(async |world| {
        world.source.answer(key_set(&[&key]));
        let token = key.token(&claims());
        let uses = (0..1000).map(|_| world.identify(&token));
        let results = all(uses).await;
        assert!(results.iter().all(Result::is_ok));
        assert_eq!((world.authenticator.verifications(), world.source.loads()), (1, 2));
        assert_eq!(world.authenticator.verified_tokens(), 1);
    });
}

/// Polls futures together.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut futures {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if futures.iter().all(|(_, output)| output.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}

#[test]
fn a_cached_token_ends_with_its_expiry() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        let token = key.token(&claims());
        assert!(world.identify(&token).await.is_ok());
        world.clock.advance(SECOND * 3659);
        assert!(world.identify(&token).await.is_ok());
        world.clock.advance(SECOND);
        assert_eq!(world.refusal(&token).await, Refused::JwtExpired);
        assert_eq!(world.authenticator.verifications(), 1);
    });
}

#[test]
fn a_cached_token_ends_with_its_revocation() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        let (token, other) = (key.token(&claims()), key.token(&claims_with(&json!({ "jti": "j-2" }))));
        assert!(world.identify(&token).await.is_ok());
        world.tokens.revoked_jtis.lock().unwrap().push("j-1".to_owned());
        let refused = world.refusal(&token).await;
        assert_eq!((refused.outcome(), refused.counts_against_address()), (Outcome::JwtRevoked, false));
        assert!(world.identify(&other).await.is_ok());
    });
}

#[test]
fn a_cached_token_ends_with_its_key() {
    let (key, next) = (Key::es256("a"), Key::es256("b"));
    let at_once = |issuer: &mut IssuerSettings| issuer.revoke_on_removal = true;
    World::with(key_set(&[&key, &next]), at_once, None).run(async |world| {
        let token = key.token(&claims());
        assert!(world.identify(&token).await.is_ok());
        world.source.answer(key_set(&[&next]));
        // An unknown key id makes the set be loaded anew.
        assert!(world.identify(&Key::es256("c").token(&claims())).await.is_err());
        assert_eq!(world.refusal(&token).await, InvalidJwt::KeyUnknown.into());
        assert_eq!(world.authenticator.verified_tokens(), 0);
    });
}

#[test]
fn a_key_replaced_under_the_same_id_ends_its_tokens() {
    let (key, replaced) = (Key::es256("a"), Key::es256("a"));
    World::new(key_set(&[&key])).run(async |world| {
        let token = key.token(&claims());
        assert!(world.identify(&token).await.is_ok());
        world.source.answer(key_set(&[&replaced]));
        assert!(world.identify(&Key::es256("c").token(&claims())).await.is_err());
        assert_eq!(world.refusal(&token).await, InvalidJwt::Signature.into());
        assert!(world.identify(&replaced.token(&claims())).await.is_ok());
    });
}

#[test]
fn a_cached_token_sees_its_workspace_as_it_is_now() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        let token = key.token(&claims());
        assert_eq!(world.identify(&token).await.unwrap().workspace().state, WorkspaceState::Active);
        let mut suspended = workspace("ws_us", US, Plan::Team);
        suspended.state = WorkspaceState::Suspended;
        world.tokens.put(suspended);
        let caller = world.identify(&token).await.unwrap();
        assert_eq!(
            (caller.workspace().state, caller.workspace().plan),
            (WorkspaceState::Suspended, Plan::Team)
        );
        world.tokens.workspaces.lock().unwrap().clear();
        assert_eq!(world.refusal(&token).await.outcome(), Outcome::WorkspaceUnknown);
        assert_eq!(world.authenticator.verifications(), 1);
    });
}

#[test]
fn a_renewed_token_keeps_its_subject_and_two_clients_do_not_share_one() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        let subject = async |changes: Value| world.claiming(&key, &changes).await.unwrap().subject();
        let first = subject(json!({})).await;
        assert_eq!(first, subject(json!({ "jti": "j-2", "exp": START + 7200, "sub": "user-2" })).await);
        assert_ne!(first, subject(json!({ "client_id": "app-2" })).await);
        assert_eq!(first.0 >> 63, 1);
    });
}

#[test]
fn without_a_cache_every_use_is_verified() {
    let key = Key::es256("a");
    let source = jwks::FakeSource::answering(key_set(&[&key]));
    let mut checked = checked(&source, |_| {}, None);
    checked.verified_tokens = 0;
    let mut world = World::new(key_set(&[&key]));
    world.replace(checked);
    world.run(async |world| {
        let token = key.token(&claims());
        for uses in 1..4 {
            assert!(world.identify(&token).await.is_ok());
            assert_eq!(world.authenticator.verifications(), uses);
        }
    });
}

#[test]
fn the_cache_stays_within_its_bound() {
    let key = Key::ed25519("a");
    let source = jwks::FakeSource::answering(key_set(&[&key]));
    let mut checked = checked(&source, |_| {}, None);
    checked.verified_tokens = 64;
    let mut world = World::new(None);
    world.replace(checked);
    world.run(async |world| {
        for number in 0..300 {
            let token =
                key.token(&claims_with(&json!({ "jti": number.to_string(), "pad": "x".repeat(2000) })));
            assert!(world.identify(&token).await.is_ok());
        }
        assert!(world.authenticator.verified_tokens() <= 64 / 3);
    });
}
