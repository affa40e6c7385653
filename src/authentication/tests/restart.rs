//! What a reload and a restart keep of issuers' keys and verified tokens.

use std::path::Path;

use super::keys::{naming_long_ago, unavailable};
use super::*;
use crate::authentication::jwks::{FakeSource, SavedSet};
use crate::clock::Clock;

#[test]
fn a_reload_keeps_keys_and_tokens_of_issuers_that_did_not_change() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        let (now, token) = (world.clock.now(), key.token(&claims()));
        let caller = world.identify(&token).await.unwrap();
        let (same, refreshers) = world.authenticator.reloaded(checked(&world.source, |_| {}, None), now);
        assert!(refreshers.is_empty());
        let kept = same.identify(&head(&token), &world.tokens, now).await.unwrap();
        assert_eq!((kept.subject(), same.verifications()), (caller.subject(), 1));
        let none = Checked { verified_tokens: 10, issuers: Vec::new() };
        let (none, _) = world.authenticator.reloaded(none, now);
        let refused = none.identify(&head(&token), &world.tokens, now).await.unwrap_err();
        assert_eq!(refused, InvalidJwt::IssuerUnknown.into());
    });
}

/// A change of settings.
type Change = fn(&mut IssuerSettings);

#[test]
fn a_reload_of_an_issuers_rules_keeps_its_keys_while_it_is_away() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        let (now, token) = (world.clock.now(), key.token(&claims()));
        assert!(world.identify(&token).await.is_ok());
        world.source.answer(None);
        let rules: [Change; 2] = [
            |issuer| issuer.audiences.push("https://other.test".to_owned()),
            |issuer| issuer.leeway_seconds = 0,
        ];
        for change in rules {
            let (changed, refreshers) =
                world.authenticator.reloaded(checked(&world.source, change, None), now);
            assert!(refreshers.is_empty(), "the same keys are loaded by the same task");
            assert!(changed.identify(&head(&token), &world.tokens, now).await.is_ok());
        }
        let pace: [Change; 2] =
            [|issuer| issuer.max_stale_seconds = 3_600, |issuer| issuer.refresh_seconds = 60];
        for change in pace {
            let (changed, refreshers) =
                world.authenticator.reloaded(checked(&world.source, change, None), now);
            assert_eq!(refreshers.len(), 1);
            assert!(changed.identify(&head(&token), &world.tokens, now).await.is_ok(), "before any load");
        }
        assert_eq!(world.source.loads(), 1);
    });
}

#[test]
fn a_reload_judges_cached_tokens_by_the_new_rules_and_keys() {
    let key = Key::es256("a");
    World::new(key_set(&[&key])).run(async |world| {
        let (now, token) = (world.clock.now(), key.token(&claims()));
        assert!(world.identify(&token).await.is_ok());
        let narrower = |issuer: &mut IssuerSettings| issuer.audiences = vec!["other".to_owned()];
        let (changed, _) = world.authenticator.reloaded(checked(&world.source, narrower, None), now);
        let refused = changed.identify(&head(&token), &world.tokens, now).await.unwrap_err();
        assert_eq!(refused, InvalidJwt::Audience.into());
        // Keys of another place, or for other algorithms, prove nothing here.
        let elsewhere = FakeSource::answering(None);
        let (moved, refreshers) = world.authenticator.reloaded(checked(&elsewhere, |_| {}, None), now);
        assert_eq!(refreshers.len(), 1);
        assert_eq!(moved.identify(&head(&token), &world.tokens, now).await.unwrap_err(), unavailable());
        let fewer = |issuer: &mut IssuerSettings| issuer.algorithms = vec!["ES256".to_owned()];
        let (fewer, _) = world.authenticator.reloaded(checked(&world.source, fewer, None), now);
        assert_eq!(fewer.identify(&head(&token), &world.tokens, now).await.unwrap_err(), unavailable());
    });
}

/// Settings whose issuer's keys are saved in a folder.
fn saving(source: &FakeSource, folder: &Path) -> Checked {
    let mut checked = checked(source, |_| {}, None);
    let url = crate::fetch::Url::parse("https://issuer.test/jwks").unwrap();
    checked.issuers[0].saved = Some(SavedSet::new(folder.to_owned(), ISSUER, &url));
    checked
}

/// A process that has loaded and saved these keys and is gone.
fn loaded_once(keys: &[&Key], folder: &Path) {
    let source = FakeSource::answering(key_set(keys));
    let checked = saving(&source, folder);
    let mut world = World::new(None);
    world.replace(checked);
    world.run(async |_| {
        while std::fs::read_dir(folder).unwrap().count() == 0 {
            tokio::task::yield_now().await;
        }
    });
    let file = || std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    while file().extension().is_none_or(|extension| extension != "jwks") {
        std::thread::yield_now();
    }
}

#[test]
fn a_restart_while_the_issuer_is_away_serves_on_the_saved_keys() {
    let key = Key::es256("a");
    let folder = tempfile::tempdir().unwrap();
    loaded_once(&[&key], folder.path());
    let source = FakeSource::answering(None);
    let checked = saving(&source, folder.path());
    let (authenticator, _) =
        Authenticator::new(checked, SubjectKey::new(b"test"), Clock::manual(START).now());
    assert!(
        authenticator.issuers(Clock::manual(START).now()).all(|issuer| issuer.has_keys),
        "before any load"
    );
    World::in_time_of(source.clone(), saving(&source, folder.path()), async |world| {
        let token = key.token(&claims_with(&json!({ "exp": START + 100_000 })));
        assert!(world.identify(&token).await.is_ok());
        assert_eq!(world.refusal(&Key::es256("a").token(&claims())).await, InvalidJwt::Signature.into());
        assert_eq!(world.refusal(&naming_long_ago("k")).await, unavailable());
        // The day counts from the load of the process before.
        tokio::time::sleep(SECOND * 86_400).await;
        assert!(world.identify(&token).await.is_ok());
        tokio::time::sleep(SECOND).await;
        assert_eq!(world.refusal(&token).await, unavailable());
        world.source.answer(key_set(&[&key]));
        tokio::time::sleep(SECOND * 30).await;
        assert!(world.identify(&token).await.is_ok());
    });
}

#[test]
fn saved_keys_are_as_old_as_they_are() {
    let (key, source) = (Key::es256("a"), FakeSource::answering(None));
    let folder = tempfile::tempdir().unwrap();
    loaded_once(&[&key], folder.path());
    for (later, usable) in [(86_400, true), (86_401, false), (400_000, false)] {
        let now = Clock::manual(START + later).now();
        let subjects = SubjectKey::new(b"test");
        let (authenticator, _) = Authenticator::new(saving(&source, folder.path()), subjects, now);
        let status = authenticator.issuers(now).next().unwrap();
        assert_eq!((status.has_keys, status.age_seconds), (usable, Some(later)), "{later}");
    }
    let before = Clock::manual(START - 3_600).now();
    let (authenticator, _) =
        Authenticator::new(saving(&source, folder.path()), SubjectKey::new(b"test"), before);
    assert!(!authenticator.issuers(before).next().unwrap().has_keys, "of a time that is yet to come");
}

#[test]
fn saved_keys_are_read_as_strictly_as_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (key, source) = (Key::es256("a"), FakeSource::answering(None));
    let mut private = key.jwk.clone();
    private["d"] = "AAAA".into();
    for text in ["{}".to_owned(), json!({ "keys": [private] }).to_string(), "x".to_owned()] {
        let checked = saving(&source, folder.path());
        checked.issuers[0].saved.as_ref().unwrap().save(text.as_bytes(), START).unwrap();
        let now = Clock::manual(START).now();
        let (authenticator, _) = Authenticator::new(checked, SubjectKey::new(b"test"), now);
        assert!(!authenticator.issuers(now).next().unwrap().has_keys, "{text}");
    }
}
