//! CORS preflights: refused before credentials, matching or any state (Fetch standard, CORS protocol).

use crate::clock::Now;
use crate::message::{FieldName, Head};
use crate::reply::Refusal;
use crate::telemetry::Core;

/// Refuses a preflight, and counts whose page sent it.
pub(super) fn refuse(head: &Head, core: &Core, now: Now) -> Result<(), Refusal> {
    let Some(origin) = origin(head) else { return Ok(()) };
    core.preflight(origin, now);
    Err(Refusal::BrowserPreflight)
}

/// Whether a request is a preflight, counting nothing.
pub(super) fn check(head: &Head) -> Result<(), Refusal> {
    origin(head).map_or(Ok(()), |_| Err(Refusal::BrowserPreflight))
}

/// The `Origin` of a preflight, if the request is one.
fn origin(head: &Head) -> Option<&[u8]> {
    if head.method() != b"OPTIONS" {
        return None;
    }
    head.first(FieldName::AccessControlRequestMethod)?;
    head.first(FieldName::Origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Version;

    fn head(method: &[u8], fields: &[(&'static [u8], &'static [u8])]) -> Head {
        Head::from_parts(Version::Http11, method, b"/", fields.iter().copied())
    }

    #[test]
    fn only_a_whole_preflight_is_one() {
        let origin_field: (&[u8], &[u8]) = (b"Origin", b"https://app.example");
        let asked: (&[u8], &[u8]) = (b"Access-Control-Request-Method", b"POST");
        assert_eq!(origin(&head(b"OPTIONS", &[origin_field, asked])), Some(&b"https://app.example"[..]));
        assert_eq!(origin(&head(b"OPTIONS", &[asked])), None);
        assert_eq!(origin(&head(b"OPTIONS", &[origin_field])), None);
        assert_eq!(origin(&head(b"GET", &[origin_field, asked])), None);
    }
}
