//! Who may come in: the right `Host`, no other origin's page, and an operator's token.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};

use super::{Control, host};
use crate::reply::Refusal;
use crate::tokens::OperatorLookup;

/// Whether the `Host` of a request is one by which this listener is called.
pub(super) fn is_called_by_name(headers: &HeaderMap, names: &[String]) -> bool {
    host::is_expected(headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes), names)
}

/// The name of the operator whose token a request carries. A page of another origin is refused whatever it
/// carries; a page of this listener may send the token that a person gave it. There are no cookies.
pub(super) fn operator(headers: &HeaderMap, control: &dyn Control) -> Result<Arc<str>, Refusal> {
    if is_foreign(headers) {
        return Err(Refusal::BrowserPreflight);
    }
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let field = fields.next().ok_or(Refusal::CredentialMissing)?;
    if fields.next().is_some() {
        return Err(Refusal::SeveralCredentials);
    }
    let token = bearer(field.as_bytes()).ok_or(Refusal::CredentialMalformed)?;
    match control.registry().operator(token, control.now()) {
        OperatorLookup::Found(name) => Ok(name),
        OperatorLookup::Unknown => Err(Refusal::TokenUnknown),
        OperatorLookup::Revoked => Err(Refusal::TokenRevoked),
        OperatorLookup::Expired => Err(Refusal::TokenExpired),
    }
}

/// Whether a page of another origin sends the request. The listener speaks plain text alone, so its own origin is
/// `http://` and its `Host`.
fn is_foreign(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let own = headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    origin.as_bytes().strip_prefix(b"http://") != Some(own)
}

/// `"Bearer" 1*SP token` with nothing behind it (RFC 6750, section 2.1); what a token is, its format says.
fn bearer(field: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = field.split_at_checked(6)?;
    let token = rest.trim_ascii_start();
    let is_one = !token.is_empty() && token.len() < rest.len() && token.iter().all(u8::is_ascii_graphic);
    (scheme.eq_ignore_ascii_case(b"bearer") && is_one).then_some(token)
}
