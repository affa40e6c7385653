//! Which credential a request carries: `Authorization: Bearer` and nothing else (RFC 6750, section 2.1).
//!
//! A token in the query is recognised only to be refused: queries end up in logs, histories and `Referer`.

use std::borrow::Cow;

use crate::domain::Secret;
use crate::message::{FieldName, Head};

use super::Refused;

/// The one credential of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Credential<'h> {
    /// Anything without exactly two dots.
    Opaque(&'h [u8]),
    /// Two dots: a JWT in compact form.
    Jwt(&'h [u8]),
}

impl<'h> Credential<'h> {
    /// Tells the two kinds apart by the number of dots.
    pub(super) fn of(token: &'h [u8]) -> Self {
        if memchr::memchr_iter(b'.', token).count() == 2 { Self::Jwt(token) } else { Self::Opaque(token) }
    }
}

/// Reads the credential of a request.
///
/// `recognises` says whether a query's value has the registry's own token format; it is asked only where no
/// `Authorization` field was sent.
pub(super) fn read(head: &Head, recognises: impl Fn(&[u8]) -> bool) -> Result<Credential<'_>, Refused> {
    let mut fields = head.all(FieldName::Authorization);
    let Some(field) = fields.next() else {
        return Err(match head.query().and_then(|query| token_in(query, recognises)) {
            Some(token) => Refused::CredentialInQuery(Secret::new(token)),
            None => Refused::CredentialMissing,
        });
    };
    if fields.next().is_some() || head.query().is_some_and(names_access_token) {
        return Err(Refused::SeveralCredentials);
    }
    bearer(field).map(Credential::of).ok_or(Refused::CredentialMalformed)
}

/// `"Bearer" 1*SP token68`, the scheme in any case (RFC 9110, section 11.1; RFC 6750, section 2.1).
fn bearer(field: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = field.split_at_checked(6)?;
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let token = &rest[spaces..];
    (scheme.eq_ignore_ascii_case(b"bearer") && spaces > 0 && is_token68(token)).then_some(token)
}

/// RFC 9110, section 11.2.
fn is_token68(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let text = &token[..token.len() - padding];
    text.iter().fold(!text.is_empty(), |all, &byte| all & is_token68_byte(byte))
}

/// Bitwise rather than lazy, and without an early exit above, so that both become vector instructions: tokens
/// are long and nearly always sound.
#[expect(clippy::needless_bitwise_bool, reason = "branches would keep the loop from being vectorised")]
const fn is_token68_byte(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let dash_dot_slash_digit = byte.wrapping_sub(b'-') <= b'9' - b'-';
    letter | dash_dot_slash_digit | (byte == b'_') | (byte == b'~') | (byte == b'+')
}

fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|byte| *byte == b'&').map(|pair| {
        let name_length = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        (&pair[..name_length], pair.get(name_length + 1..).unwrap_or_default())
    })
}

const ACCESS_TOKEN: &[u8] = b"access_token";

fn is_access_token(name: &[u8]) -> bool {
    (ACCESS_TOKEN.len()..=3 * ACCESS_TOKEN.len()).contains(&name.len()) && *unescaped(name) == *ACCESS_TOKEN
}

fn names_access_token(query: &[u8]) -> bool {
    query.len() >= ACCESS_TOKEN.len() && pairs(query).any(|(name, _)| is_access_token(name))
}

fn token_in(query: &[u8], recognises: impl Fn(&[u8]) -> bool) -> Option<Box<[u8]>> {
    pairs(query).find_map(|(name, value)| {
        let value = unescaped(value);
        (is_access_token(name) || recognises(&value)).then(|| value.into_owned().into())
    })
}

/// Undoes `%xx`; a broken escape stands for itself. Borrows where there is none.
fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if let (b'%', Some(high), Some(low)) = (byte, digit(at + 1), digit(at + 2)) {
            plain.push((high * 16 + low) as u8);
            at += 3;
        } else {
            plain.push(byte);
            at += 1;
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Version;

    fn head(target: &[u8], authorization: &[&[u8]]) -> Head {
        let fields = authorization.iter().map(|value| (&b"authorization"[..], *value));
        Head::from_parts(Version::Http11, b"GET", target, fields)
    }

    fn ours(value: &[u8]) -> bool {
        value.starts_with(b"ours_")
    }

    fn said(target: &[u8], authorization: &[&[u8]]) -> Result<(&'static str, Vec<u8>), Refused> {
        read(&head(target, authorization), ours).map(|credential| match credential {
            Credential::Opaque(token) => ("opaque", token.to_vec()),
            Credential::Jwt(token) => ("jwt", token.to_vec()),
        })
    }

    #[test]
    fn bearer_and_one_token68_is_a_credential() {
        for (field, kind, token) in [
            (&b"Bearer abc"[..], "opaque", &b"abc"[..]),
            (b"bearer abc", "opaque", b"abc"),
            (b"BEARER   a-b._~+/9==", "opaque", b"a-b._~+/9=="),
            (b"Bearer a.b", "opaque", b"a.b"),
            (b"Bearer a.b.c", "jwt", b"a.b.c"),
            (b"Bearer ..", "jwt", b".."),
            (b"Bearer a.b.c.d.e", "opaque", b"a.b.c.d.e"),
        ] {
            assert_eq!(said(b"/", &[field]), Ok((kind, token.to_vec())));
        }
    }

    #[test]
    fn what_is_not_bearer_and_one_token68_is_malformed() {
        for field in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Bearerabc",
            b"Bearer\tabc",
            b"Bearer abc def",
            b"Bearer abc,",
            b"Bearer abc, Bearer def",
            b"Bearer \"abc\"",
            b"Bearer =",
            b"Bearer a=b",
            b"Bearer abc\x80",
            b"Bearer token=abc",
            b"Basic YTpi",
            b"Token abc",
            b"abc",
            b"Bearer: abc",
        ] {
            assert_eq!(said(b"/", &[field]), Err(Refused::CredentialMalformed), "{}", field.escape_ascii());
        }
    }

    #[test]
    fn several_credentials_are_refused_whatever_they_are() {
        let several = Err(Refused::SeveralCredentials);
        assert_eq!(said(b"/", &[b"Bearer a", b"Bearer a"]), several);
        assert_eq!(said(b"/", &[b"Basic a", b"Bearer a"]), several);
        for query in
            ["access_token=b", "access_token", "access_token=", "a=1&access%5Ftoken=b", "%61ccess_token=b"]
        {
            assert_eq!(said(format!("/?{query}").as_bytes(), &[b"Bearer a"]), several, "{query}");
        }
    }

    #[test]
    fn other_queries_are_left_alone() {
        for query in
            ["", "access_tokens=b", "Access_Token=b", "q=access_token", "q=ours_1", "access_token%=b", "&&="]
        {
            let target = format!("/?{query}");
            assert_eq!(said(target.as_bytes(), &[b"Bearer a"]), Ok(("opaque", b"a".to_vec())), "{query}");
        }
        for query in ["", "q=1", "access_toke=b", "=", "%", "q=%6furs"] {
            assert_eq!(
                said(format!("/?{query}").as_bytes(), &[]),
                Err(Refused::CredentialMissing),
                "{query}"
            );
        }
        assert_eq!(said(b"/", &[]), Err(Refused::CredentialMissing));
    }

    #[test]
    fn a_token_in_the_query_alone_is_refused_and_handed_on_for_the_report() {
        for (query, token) in [
            ("access_token=b", "b"),
            ("a=1&access%5ftoken=%62c&b=2", "bc"),
            ("access_token", ""),
            ("key=ours_1", "ours_1"),
            ("a=1&key=%6Furs_1", "ours_1"),
        ] {
            let wanted = Secret::new(token.as_bytes().into());
            assert_eq!(
                said(format!("/?{query}").as_bytes(), &[]),
                Err(Refused::CredentialInQuery(wanted)),
                "{query}"
            );
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_an_accepted_token_is_token68(
            target in prop::collection::vec(any::<u8>(), 0..200),
            field in prop::option::of(prop::collection::vec(any::<u8>(), 0..100)),
        ) {
            let fields: Vec<&[u8]> = field.as_deref().into_iter().collect();
            if let Ok((_, token)) = said(&target, &fields) {
                prop_assert!(!token.is_empty());
                prop_assert!(token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte)));
            }
        }

        #[test]
        fn every_byte_is_judged_as_the_grammar_says(byte in any::<u8>(), before in "[a-z]{0,40}", after in "[a-z]{1,40}") {
            let token = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            let wanted = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            prop_assert_eq!(is_token68(&token), wanted);
        }

        #[test]
        fn escaping_a_name_in_any_way_hides_nothing(escape in prop::collection::vec(any::<bool>(), 12)) {
            let name: String = ACCESS_TOKEN.iter().zip(escape).map(|(byte, escape)| {
                if escape { format!("%{byte:02x}") } else { char::from(*byte).to_string() }
            }).collect();
            let query = format!("a=b&{name}=c");
            prop_assert!(names_access_token(query.as_bytes()));
        }
    }
}
