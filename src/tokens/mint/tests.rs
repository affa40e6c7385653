use std::path::Path;

use super::*;
use crate::clock::Clock;
use crate::domain::{JwtLifetime, Problems, Region};
use crate::tokens::random::dice::Dice;
use crate::tokens::{JwtsRevoked, Settings, TokenState};

const START: u64 = 1_700_000_000;

fn regions() -> Regions {
    let region = |name: &str, letter| Region { name: name.into(), letter, base_url: "https://x".into() };
    Regions::new(vec![region("us", 'u'), region("eu", 'e')])
}

fn open(folder: &Path, seed: u64) -> Result<Mint, Error> {
    let rules = Rules::from_settings(&Settings::default(), folder, &mut Problems::new()).unwrap();
    Mint::open(&rules, &regions(), Box::new(Dice::new(seed)), Clock::manual(START).now())
}

fn act(now: Now) -> Act<'static> {
    Act::by("test", now)
}

#[test]
fn refuses_what_cannot_be_stored_or_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (mint, clock) = (open(folder.path(), 1).unwrap(), Clock::manual(START));
    let act = act(clock.now());
    for id in ["", "a b", "a/b", "ü", &"x".repeat(65)] {
        assert!(
            matches!(
                mint.create_workspace(act, &NewWorkspace::ordinary(id, "us")),
                Err(Error::Invalid { .. })
            ),
            "{id}"
        );
    }
    assert!(matches!(
        mint.create_workspace(act, &NewWorkspace::ordinary("a", "mars")),
        Err(Error::RegionUnknown { .. })
    ));
    mint.create_workspace(act, &NewWorkspace::ordinary("ws", "us")).unwrap();
    for contact in [
        "",
        "nobody",
        "@example.com",
        "a@b",
        "a@[192.0.2.1]",
        "a@b.example,c@d.example",
        "Ana<a@b.example>",
        "a@b..example",
        "a b@example.com",
        "a@@example.com",
        "a..b@example.com",
        ".a@example.com",
        "a(b@example.com",
        "http://example.com/x",
        "http://localhost:@example.com/x",
        "ftp://example.com/x",
        "https://",
        "https:///x",
        "https://user:secret@example.com/x",
        "https://exa|mple.com/x",
    ] {
        let change = WorkspaceChange { add_contacts: vec![contact.into()], ..WorkspaceChange::default() };
        assert!(mint.set_workspace(act, "ws", &change).is_err(), "{contact}");
    }
    for contact in
        ["a.b+c@example.com", "https://example.com:8443/x?y=z", "http://127.0.0.1:1/x", "http://[::1]:1/"]
    {
        let change = WorkspaceChange { add_contacts: vec![contact.into()], ..WorkspaceChange::default() };
        mint.set_workspace(act, "ws", &change).unwrap();
    }
    for feature in ["", "a,b", "a\nb", "\"a\""] {
        let change = WorkspaceChange { enable: vec![feature.into()], ..WorkspaceChange::default() };
        assert!(mint.set_workspace(act, "ws", &change).is_err(), "{feature}");
    }
    let elsewhere = WorkspaceChange { region: Some("mars".into()), ..WorkspaceChange::default() };
    assert!(matches!(mint.set_workspace(act, "ws", &elsewhere), Err(Error::RegionUnknown { .. })));
    let asked = |change: &dyn Fn(&mut TokenRequest)| {
        let mut request = TokenRequest::ordinary("ws");
        change(&mut request);
        mint.create_token(act, &request)
    };
    assert!(asked(&|request| request.scopes = vec!["read write".into()]).is_err());
    assert!(asked(&|request| request.scopes = vec!["s".into(); 65]).is_err());
    assert!(asked(&|request| request.name = "a\r\nb".into()).is_err());
    assert!(asked(&|request| request.name = "n".repeat(129)).is_err());
    assert!(asked(&|request| request.lifetime_seconds = Some(0)).is_err());
    assert!(asked(&|request| request.lifetime_seconds = Some(u64::MAX)).is_err());
    assert!(matches!(asked(&|request| request.workspace = "no".into()), Err(Error::WorkspaceUnknown(_))));
    assert!(matches!(mint.rotate_token(act, "tok_no", 0, None), Err(Error::TokenUnknown(_))));
    assert!(mint.store().tokens(None, "", 10).unwrap().is_empty());
}

#[test]
fn a_lost_or_exchanged_pepper_is_an_error_at_start() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), 1).unwrap());
    let file = folder.path().join("tollgate.pepper");
    let copy = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(open(folder.path(), 2), Err(Error::PepperMissing(_))));
    pepper_file::create(&file, &Dice::new(3)).unwrap();
    assert!(matches!(open(folder.path(), 2), Err(Error::PepperMismatch { .. })));
    std::fs::write(&file, copy).unwrap();
    assert!(open(folder.path(), 2).is_ok());
}

#[test]
fn a_new_token_is_its_regions_and_no_plain_text_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (mint, clock) = (open(folder.path(), 1).unwrap(), Clock::manual(START));
    let act = act(clock.now());
    mint.create_workspace(act, &NewWorkspace::ordinary("ws", "eu")).unwrap();
    let first = mint.create_token(act, &TokenRequest::ordinary("ws")).unwrap();
    let second = mint.rotate_token(act, &first.record.id, 60, None).unwrap();
    for minted in [&first, &second] {
        assert_eq!(mint.format().recognise(minted.token.expose().as_bytes()), Some('e'));
        assert!(minted.record.id.starts_with("tok_") && minted.record.id.len() == 20);
        assert!(!format!("{minted:?}").contains(&minted.token.expose()[4..]));
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(memchr::memmem::find(&bytes, &minted.token.expose().as_bytes()[5..]).is_none());
        }
    }
    assert_eq!(first.record.scopes, ["public_api:read_write"]);
    assert_eq!(second.record.subject(), first.record.subject());
    let revoked = mint.revoke_token(act, &second.record.id, "leaked").unwrap();
    assert_eq!(revoked.state_at(START), TokenState::Revoked);
}

#[test]
fn contacts_and_features_do_not_grow_from_change_to_change() {
    let folder = tempfile::tempdir().unwrap();
    let mint = open(folder.path(), 1).unwrap();
    let act = act(Clock::manual(START).now());
    mint.create_workspace(act, &NewWorkspace::ordinary("ws", "us")).unwrap();
    let contacts = |from, to| (from..to).map(|n| format!("owner{n}@a.example")).collect();
    let add = |add_contacts| WorkspaceChange { add_contacts, ..WorkspaceChange::default() };
    mint.set_workspace(act, "ws", &add(contacts(0, 64))).unwrap();
    let refused = mint.set_workspace(act, "ws", &add(contacts(64, 65)));
    assert!(matches!(refused, Err(Error::Invalid { what: "contact", .. })));
    let exchange = WorkspaceChange { remove_contacts: contacts(0, 1), ..add(contacts(64, 65)) };
    assert_eq!(mint.set_workspace(act, "ws", &exchange).unwrap().contacts.len(), 64);
}

/// Everything written there is shown to many and kept for ever.
#[test]
fn a_secret_is_no_name_and_no_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mint = open(folder.path(), 1).unwrap();
    let act = act(Clock::manual(START).now());
    mint.create_workspace(act, &NewWorkspace::ordinary("ws", "us")).unwrap();
    let token = mint.create_token(act, &TokenRequest::ordinary("ws")).unwrap();
    let operator = mint.create_operator(act, "ana", None).unwrap();
    let jwt = ["eyJhbGciOiJFUzI1NiJ9", "eyJzdWIiOiJhbmEifQ", "c2lnbmF0dXJl"].join(".");
    let accepted = [JwtLifetime { issuer: "i".into(), longest_seconds: 60, claims_suffice: false }];
    for secret in [token.token.expose(), operator.token.expose(), &jwt] {
        let said = format!("old one: {secret}, gone");
        let named = TokenRequest { name: said.clone(), ..TokenRequest::ordinary("ws") };
        let jwts = JwtsRevoked::Token { issuer: "i".into(), jti: "1".into() };
        for refused in [
            mint.create_token(act, &named).err(),
            mint.set_token(
                act,
                &token.record.id,
                &TokenChange { name: Some(said.clone()), ..Default::default() },
            )
            .err(),
            mint.revoke_token(act, &token.record.id, &said).err(),
            mint.revoke_jwts(act, &jwts, &said, &accepted).err(),
            mint.create_workspace(act, &NewWorkspace::ordinary(secret, "us")).err(),
            mint.create_operator(act, secret, None).err(),
        ] {
            let Some(error @ Error::Invalid { .. }) = refused else { panic!("{secret} was kept") };
            assert!(!error.to_string().contains(secret), "{error}");
        }
    }
    let whole = JwtsRevoked::Token { issuer: "i".into(), jti: jwt };
    assert!(matches!(mint.revoke_jwts(act, &whole, "x", &accepted), Err(Error::Invalid { what: "jti", .. })));
    for name in ["eyJ", "a.b.c", "sgp_", "tok_4cXd7QpL0aZsW1vB"] {
        mint.create_token(act, &TokenRequest { name: name.into(), ..TokenRequest::ordinary("ws") }).unwrap();
    }
}

#[test]
fn an_overlap_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let mint = open(folder.path(), 1).unwrap();
    let act = act(Clock::manual(START).now());
    mint.create_workspace(act, &NewWorkspace::ordinary("ws", "us")).unwrap();
    let id = mint.create_token(act, &TokenRequest::ordinary("ws")).unwrap().record.id;
    let refused = mint.rotate_token(act, &id, u64::MAX, None);
    assert!(matches!(refused, Err(Error::Invalid { what: "overlap", .. })), "{refused:?}");
    mint.rotate_token(act, &id, 3_600, None).unwrap();
}
