use proptest::prelude::*;
use serde_json::json;

use super::super::fixture::{Key, base64url};
use super::*;

fn key_of(key: &Key) -> VerificationKey {
    VerificationKey::from_jwk(key.jwk.as_object().unwrap(), &Algorithm::ALL).unwrap()
}

fn ignored(jwk: &serde_json::Value) -> KeyIgnored {
    VerificationKey::from_jwk(jwk.as_object().unwrap(), &[Algorithm::Rs256]).unwrap_err()
}

#[test]
fn what_jsonwebtoken_signs_verifies_with_every_algorithm() {
    let mut keys = Key::rsa_family();
    keys.extend([Key::es256("a"), Key::es384("b"), Key::ed25519("c")]);
    for key in &keys {
        let token = key.token(&json!({}));
        let jws = Jws::parse(token.as_bytes()).unwrap();
        assert_eq!(jws.verify(&key_of(key)), Ok(()), "{:?}", key.algorithm);
        let of_other = keys.iter().filter(|other| other.algorithm != key.algorithm);
        for other in of_other {
            assert_eq!(jws.verify(&key_of(other)), Err(InvalidJwt::AlgorithmNotTheKeys));
        }
    }
    let without_alg = |mut jwk: serde_json::Value, allowed: &[Algorithm]| {
        jwk.as_object_mut().unwrap().remove("alg");
        VerificationKey::from_jwk(jwk.as_object().unwrap(), allowed).map(|key| key.algorithm())
    };
    let rsa = &keys[0].jwk;
    assert_eq!(without_alg(rsa.clone(), &[Algorithm::Es256, Algorithm::Ps256]), Ok(Algorithm::Ps256));
    assert_eq!(without_alg(rsa.clone(), &[Algorithm::Es256]), Err(KeyIgnored::Algorithm));
    assert_eq!(without_alg(keys[7].jwk.clone(), &[]), Ok(Algorithm::Es384));
    assert_eq!(without_alg(keys[8].jwk.clone(), &[]), Ok(Algorithm::EdDsa));
    let changed = |name: &str, value: serde_json::Value| {
        let mut jwk = rsa.clone();
        jwk[name] = value;
        ignored(&jwk)
    };
    assert_eq!(changed("use", json!("enc")), KeyIgnored::NotForSignatures);
    assert_eq!(changed("use", json!(1)), KeyIgnored::Malformed);
    assert_eq!(changed("key_ops", json!(["sign"])), KeyIgnored::NotForSignatures);
    assert_eq!(changed("key_ops", json!("verify")), KeyIgnored::Malformed);
    assert_eq!(changed("alg", json!("ES256")), KeyIgnored::Algorithm);
    assert_eq!(changed("alg", json!("RSA-OAEP")), KeyIgnored::Algorithm);
    assert_eq!(changed("d", json!("AQAB")), KeyIgnored::Private);
    assert_eq!(changed("kty", json!("oct")), KeyIgnored::Symmetric);
    assert_eq!(changed("n", json!("AQAB==")), KeyIgnored::Malformed);
    for e in [&[1][..], &[2], &[], &[0, 0, 1], &[1, 0, 0, 0, 0, 0, 0, 0, 1]] {
        assert_eq!(changed("e", json!(base64url(e))), KeyIgnored::RsaParameters, "{e:?}");
    }
    for n in [vec![0xff; 255], vec![0xff; 513], vec![0xfe; 256], vec![0x7f; 256], Vec::new()] {
        assert_eq!(changed("n", json!(base64url(&n))), KeyIgnored::RsaParameters);
    }
}

#[test]
fn points_off_the_curve_and_of_another_length_are_no_keys() {
    let key = Key::es256("a");
    for (name, value) in [("x", base64url(&[1; 32])), ("y", base64url(&[0; 31])), ("x", base64url(&[0; 33]))]
    {
        let mut jwk = key.jwk.clone();
        jwk[name] = value.into();
        assert_eq!(ignored(&jwk), KeyIgnored::Point, "{name}");
    }
    let mut jwk = key.jwk.clone();
    jwk["crv"] = "P-384".into();
    assert_eq!(ignored(&jwk), KeyIgnored::Algorithm);
    jwk["kty"] = "OKP".into();
    assert_eq!(ignored(&jwk), KeyIgnored::Algorithm);
}

#[test]
fn what_is_not_strict_compact_form_is_refused() {
    let key = Key::es256("k");
    let good = key.token(&json!({}));
    assert!(Jws::parse(good.as_bytes()).is_ok());
    let (head, signature) = good.rsplit_once('.').unwrap();
    for token in [
        String::new(),
        "..".to_owned(),
        "a.b".to_owned(),
        format!("{good}.x"),
        format!("{good}="),
        format!("{good} "),
        format!(" {good}"),
        format!("{head}."),
        format!("{head}.{}", "A".repeat(684)),
        good.replace('.', ".\n"),
    ] {
        assert!(Jws::parse(token.as_bytes()).is_err(), "{token}");
    }
    let longer = format!("{head}.{signature}A");
    assert_eq!(Jws::parse(longer.as_bytes()).unwrap().verify(&key_of(&key)), Err(InvalidJwt::Signature));
    let long = format!("{}.{}.{signature}", base64url(b"{\"alg\":\"ES256\"}"), "A".repeat(MAX_TOKEN_BYTES));
    assert_eq!(Jws::parse(long.as_bytes()).unwrap_err(), InvalidJwt::TooLong);
}

#[test]
fn headers_that_extend_jws_or_are_not_sound_are_refused() {
    let key = Key::es256("k");
    let parsed = |header: &str| Jws::parse(key.sign(header, "{}").as_bytes()).map(|jws| jws.header);
    for (name, value) in [
        ("crit", r#"["exp"]"#),
        ("crit", "null"),
        ("jku", r#""https://evil.test""#),
        ("x5u", r#""https://evil.test""#),
        ("jwk", "{}"),
        ("x5c", "[]"),
        ("b64", "false"),
        ("b64", "true"),
    ] {
        let header = format!(r#"{{"alg":"ES256","{name}":{value}}}"#);
        assert!(
            matches!(parsed(&header), Err(InvalidJwt::HeaderForbidden(found)) if found == name),
            "{header}"
        );
    }
    for header in [
        "[]",
        "null",
        "{}",
        r#"{"alg":1}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["ES256"]}"#,
        r#"{"alg":"ES256","alg":"ES256"}"#,
        r#"{"alg":"ES256","kid":1}"#,
        r#"{"alg":"ES256","kid":""}"#,
        r#"{"alg":"ES256","kid":"a","\u006bid":"b"}"#,
        r#"{"alg":"ES256","typ":[]}"#,
        &format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(257)),
        &format!(r#"{{"alg":"ES256","x":"{}"}}"#, "x".repeat(1024)),
        &format!(r#"{{"alg":"ES256","x":{}1{}}}"#, "[".repeat(200), "]".repeat(200)),
    ] {
        assert_eq!(parsed(header), Err(InvalidJwt::HeaderMalformed), "{header}");
    }
    for alg in ["none", "None", "HS256", "ES512", "es256", "", "RSA1_5"] {
        let header = parsed(&json!({ "alg": alg }).to_string()).unwrap();
        assert_eq!(header.algorithm, None, "{alg}");
    }
}

#[test]
fn claims_of_the_wrong_type_are_refused() {
    use ClaimName::{Audience, Expiry, IssuedAt, Issuer, NotBefore, Subject, TokenId};
    let parse = |name: &str, value: serde_json::Value| {
        let mut claims = json!({ "iss": "i", "aud": "a", "sub": "s", "exp": 1 });
        claims[name] = value;
        Claims::parse(claims.to_string().as_bytes())
    };
    for (name, claim, values) in [
        ("iss", Issuer, vec![json!(["i"]), json!(1), json!(""), json!(null)]),
        ("sub", Subject, vec![json!(["s"]), json!(1), json!(""), json!(null)]),
        ("aud", Audience, vec![json!([1]), json!({}), json!(null), json!(["a", null])]),
        ("exp", Expiry, vec![json!("1"), json!([1]), json!(null), json!(true)]),
        ("nbf", NotBefore, vec![json!("1"), json!(null), json!({})]),
        ("iat", IssuedAt, vec![json!("1"), json!(null), json!({})]),
        ("jti", TokenId, vec![json!(1), json!(null), json!("")]),
    ] {
        for value in values {
            let error = parse(name, value.clone()).unwrap_err();
            assert_eq!(error, InvalidJwt::ClaimMalformed(claim), "{name}: {value}");
        }
    }
    for payload in ["", "[]", "1", r#"{"iss":"i","iss":"i"}"#, r#"{"exp":1e999}"#, "{\"iss\":\"\u{0}\"}"] {
        assert_eq!(Claims::parse(payload.as_bytes()).unwrap_err(), InvalidJwt::PayloadMalformed, "{payload}");
    }
    assert_eq!(parse("exp", json!(1.9)).unwrap().expires_at, 1);
    assert_eq!(parse("nbf", json!(1.1)).unwrap().not_before, Some(2));
    assert_eq!(parse("exp", json!(1e300)).unwrap().expires_at, i64::MAX);
    assert_eq!(parse("exp", json!(u64::MAX)).unwrap().expires_at, i64::MAX);
    assert_eq!(parse("exp", json!(-1)).unwrap().expires_at, -1);
}

#[test]
fn names_that_could_not_stand_in_a_field_are_refused() {
    for value in ["a\r\nx: y", "\u{7f}", " a", "a ", "ä", &"a".repeat(257)] {
        let claims = json!({ "iss": "i", "aud": "a", "sub": "s", "exp": 1, "c": value });
        let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
        assert!(claims.name("c", ClaimName::Client).is_err(), "{value:?}");
    }
    for value in [json!("a\nb"), json!("a\"b"), json!(["a b"]), json!([""]), json!([1]), json!(1), json!("ä")]
    {
        let claims = json!({ "iss": "i", "aud": "a", "sub": "s", "exp": 1, "c": value });
        let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
        assert!(claims.words("c", ClaimName::Scopes).is_err(), "{value}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(token in prop::collection::vec(any::<u8>(), 0..300), header: Vec<u8>, payload: Vec<u8>) {
        let _ = Jws::parse(&token);
        let parts = format!("{}.{}.AAAA", base64url(&header), base64url(&payload));
        let _ = Jws::parse(parts.as_bytes());
        let _ = Claims::parse(&payload);
    }

    #[test]
    fn arbitrary_json_never_panics(text in r#"\{("(alg|kid|typ|iss|aud|exp|nbf)":("x"|1|null|\[\]|1e400|-0.5),?){0,6}\}"#) {
        let _ = Claims::parse(text.as_bytes());
        let _ = Jws::parse(format!("{}..AAAA", base64url(text.as_bytes())).as_bytes());
    }
}
