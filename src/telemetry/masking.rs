//! What could be a credential in text that clients choose, wherever it is kept.
//!
//! Clients put tokens into paths, user agents, origins and request ids by mistake. Recognised are, also with
//! percent escapes: 40 or more letters, digits, `_` and `-` in a row with a digit among them (our own tokens,
//! those of most others, and the parts of a JWT), a compact JWS or JWE by its first part, and whatever follows
//! the word `Bearer`. Identifiers are shorter: a UUID has 36.

use std::borrow::Cow;

/// The fewest letters and digits in a row that can be a credential by themselves.
const CREDENTIAL_BYTES: usize = 40;
/// What is left of a row of them, so that two can be told apart.
const KEPT_BYTES: usize = 6;
/// How a JWT begins: `{"` in base64url.
const JWT_START: &[u8] = b"eyJ";
/// The fewest characters of a JWT's first part.
const JWT_HEADER_BYTES: usize = 12;
/// What our tokens have behind the `_` of their prefix, whatever the prefix is.
const AFTER_PREFIX: usize = 64;
const MASK: &[u8] = b"***";

/// A text of the client's with `***` in place of what could be a credential.
pub fn masked(text: &[u8]) -> Cow<'_, [u8]> {
    if text.len() < JWT_HEADER_BYTES {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::new();
    let mut written_to = 0;
    let mut before: &[u8] = b"";
    let mut in_jwt = false;
    for run in Runs(text) {
        let start = run.as_ptr() as usize - text.as_ptr() as usize;
        let end = start + run.len();
        if !is_part(run) {
            in_jwt &= run == b".";
            continue;
        }
        let follows_bearer = before.eq_ignore_ascii_case(b"bearer");
        before = run;
        in_jwt |= is_jwt_header(run);
        if in_jwt || follows_bearer || is_credential(run) {
            let kept = if is_credential(run) { KEPT_BYTES } else { 0 };
            out.extend_from_slice(&text[written_to..start + kept]);
            out.extend_from_slice(MASK);
            written_to = end;
        }
    }
    if written_to == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[written_to..]);
    Cow::Owned(out)
}

/// At most `most` bytes of a text, so cut that no part of a credential is left that is too short to be
/// recognised.
pub fn cut(text: &[u8], most: usize) -> &[u8] {
    if text.len() <= most {
        return text;
    }
    let cut = &text[..most];
    let is_between = |byte: &u8| !is_part_byte(*byte) && *byte != b'%';
    let start = cut.iter().rposition(is_between).map_or(0, |at| at + 1);
    &cut[..most.min(start + KEPT_BYTES)]
}

/// Whether a text that has to be kept as it is holds one of our tokens or a JWT.
pub fn has_token(text: &[u8]) -> bool {
    let is_ours = |run: &[u8]| {
        run.iter().enumerate().any(|(at, byte)| {
            let rest = &run[at + 1..];
            *byte == b'_'
                && rest.len() >= AFTER_PREFIX
                && rest[..AFTER_PREFIX].iter().all(u8::is_ascii_alphanumeric)
        })
    };
    Runs(text).any(|run| is_jwt_header(run) || is_part(run) && is_ours(run))
}

/// The text in runs of letters, digits, `_` and `-`, escaped or not, and what stands between them.
struct Runs<'t>(&'t [u8]);

impl<'t> Iterator for Runs<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        let (first, mut length) = unit(self.0)?;
        while let Some((byte, bytes)) = unit(&self.0[length..]) {
            if is_part_byte(byte) != is_part_byte(first) {
                break;
            }
            length += bytes;
        }
        let (run, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(run)
    }
}

/// The first byte that a text means, and how many it is written with.
fn unit(text: &[u8]) -> Option<(u8, usize)> {
    let first = *text.first()?;
    let escaped = if first == b'%' { text.get(1..3).and_then(hexadecimal) } else { None };
    Some(escaped.map_or((first, 1), |byte| (byte, 3)))
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)? as u8))
}

const fn is_part_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn is_part(run: &[u8]) -> bool {
    unit(run).is_some_and(|(byte, _)| is_part_byte(byte))
}

fn is_credential(run: &[u8]) -> bool {
    run.len() >= CREDENTIAL_BYTES && run.iter().any(u8::is_ascii_digit)
}

fn is_jwt_header(run: &[u8]) -> bool {
    run.len() >= JWT_HEADER_BYTES && run.starts_with(JWT_START)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> String {
        format!("sgp_u{}", "aB3".repeat(21))
    }

    fn text(text: &str) -> String {
        String::from_utf8(masked(text.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn what_could_be_a_credential_is_masked() {
        let token = token();
        let header = ["ey", "JhbGciOiJFUzI1NiJ9"].concat();
        for (from, expected) in [
            (format!("/sources/{token}"), "/sources/sgp_ua***"),
            (format!("/a/{token}/b/{token}.x"), "/a/sgp_ua***/b/sgp_ua***.x"),
            (format!("/x%2F{}", "ab-_9".repeat(9)), "/x%2Fab-_9a***"),
            (format!("https://{token}"), "https://sgp_ua***"),
            (format!("/%73gp_{}", &token[4..]), "/%73gp_***"),
            (format!("{}%62{}", &token[..30], &token[30..]), "sgp_ua***"),
            (format!("/x/{header}.eyJzdWIiOiJhIn0.c2ln/y"), "/x/***.***.***/y"),
            ("curl Bearer secret!".to_owned(), "curl Bearer ***!"),
            ("/bearer%20hidden/x".to_owned(), "/bearer%20***/x"),
        ] {
            assert_eq!(text(&from), expected);
        }
    }

    #[test]
    fn what_is_an_identifier_is_not() {
        for plain in [
            "/sources/0190b5c8-7a0e-7cc1-9a3f-2d5f0c1b2a3e/destinations/qz1cXr5Uo",
            "/tracking-plans/a-very-long-name-without-any-number-in-it-at-all",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
            "/eyJ/keys/100%",
            "curl/8.5.0",
            "",
        ] {
            assert_eq!(text(plain), plain);
        }
    }

    #[test]
    fn a_cut_leaves_no_piece_of_a_credential() {
        let long = format!("/sources/{}", token());
        for most in 0..long.len() {
            let kept = cut(long.as_bytes(), most);
            assert!(kept.len() <= most && kept.len() <= "/sources/sgp_ua".len());
        }
        assert_eq!(cut(long.as_bytes(), long.len()), long.as_bytes());
    }

    #[test]
    fn an_id_that_is_a_token_is_told_from_one_that_is_not() {
        let header = ["ey", "JhbGciOiJFUzI1NiJ9"].concat();
        for id in [token(), format!("a-{}-b", token()), format!("{header}.eyJzdWIiOiJhIn0.c2ln")] {
            assert!(has_token(id.as_bytes()), "{id}");
        }
        let hash = "0f".repeat(32);
        for id in ["mine", "0190b5c8-7a0e-7cc1-9a3f-2d5f0c1b2a3e", &hash] {
            assert!(!has_token(id.as_bytes()), "{id}");
        }
    }
}
