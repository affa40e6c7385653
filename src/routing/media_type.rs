//! Which version a request asks for: `application/vnd.segment.v1beta+json` in `Accept` and, where there is a
//! body, in `Content-Type` (RFC 9110, sections 8.3 and 12.5.1).
//!
//! `application/json` and the ranges that hold it stand for the endpoint's most stable version. Any other
//! type neither asks for a version nor stands in the way of one.

use crate::domain::{ApiVersion, Endpoint, Stability};
use crate::message::{FieldName, Head, Version};

/// The most versions that one endpoint may have.
pub(super) const MAX_VERSIONS: usize = 32;

/// The longest name of a version that is looked at, in bytes: `v65535alpha`.
const MAX_NAME_BYTES: usize = 16;

/// What a request and an endpoint agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Negotiated {
    /// This version; [`None`] if the endpoint has none.
    Version(Option<ApiVersion>),
    /// `Accept` names versions, and none that the endpoint has.
    NotAcceptable,
    /// `Content-Type` names a version that the endpoint lacks.
    UnsupportedMediaType,
}

/// What `Accept` asks for, as places in the endpoint's list of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    Named(usize),
    Any { but: u32 },
    Nothing,
}

enum MediaType {
    /// A vendor type; the place of its version in the endpoint's list, if it is there.
    Vendor(Option<usize>),
    /// `application/json`, or a range that holds it.
    Json,
    Other,
}

/// Settles the version of a request. `lenient` takes a version that the endpoint lacks as none named.
pub(super) fn negotiate(vendor: &str, endpoint: &Endpoint, head: &Head, lenient: bool) -> Negotiated {
    let versions = &endpoint.versions;
    if versions.is_empty() {
        return Negotiated::Version(None);
    }
    let (sent, sent_unknown) = content_version(vendor, versions, head);
    if sent_unknown && !lenient {
        return Negotiated::UnsupportedMediaType;
    }
    let place = match accepted(vendor, versions, head) {
        Accepted::Named(place) => place,
        Accepted::Any { but } => sent.unwrap_or_else(|| (!but).trailing_zeros() as usize),
        Accepted::Nothing if lenient => sent.unwrap_or(0),
        Accepted::Nothing => return Negotiated::NotAcceptable,
    };
    Negotiated::Version(versions.get(place).or(versions.first()).copied())
}

/// The version that the body's type names, and whether it names one that is not there.
fn content_version(vendor: &str, versions: &[ApiVersion], head: &Head) -> (Option<usize>, bool) {
    let (mut known, mut unknown) = (None, false);
    for value in head.all(FieldName::ContentType) {
        match media_type(essence(value), vendor, versions) {
            MediaType::Vendor(Some(place)) => known = Some(place),
            MediaType::Vendor(None) => unknown = true,
            MediaType::Json | MediaType::Other => {}
        }
    }
    if (known.is_some() || unknown) && !has_body(head) { (None, false) } else { (known, unknown) }
}

/// Whether a body follows. HTTP/2 need not say its length; there the method tells.
fn has_body(head: &Head) -> bool {
    if head.first(FieldName::TransferEncoding).is_some() {
        return true;
    }
    match head.first(FieldName::ContentLength) {
        Some(length) => length.iter().any(|digit| *digit != b'0'),
        None => head.version() == Version::Http2 && !matches!(head.method(), b"GET" | b"HEAD"),
    }
}

fn accepted(vendor: &str, versions: &[ApiVersion], head: &Head) -> Accepted {
    let mut named = false;
    let mut best: Option<(u16, usize)> = None;
    let mut json = 0;
    let mut excluded = 0u32;
    for range in head.all(FieldName::Accept).flat_map(|value| members(value, b',')) {
        let kind = media_type(essence(range), vendor, versions);
        if matches!(kind, MediaType::Other) {
            continue;
        }
        let weight = weight(range);
        match kind {
            MediaType::Json => json = weight.max(json),
            MediaType::Vendor(place) => {
                named = true;
                match place {
                    Some(place) if weight == 0 => excluded |= 1 << place,
                    Some(place) if best.is_none_or(|(other, at)| (weight, at) > (other, place)) => {
                        best = Some((weight, place));
                    }
                    Some(_) | None => {}
                }
            }
            MediaType::Other => {}
        }
    }
    match best {
        Some((weight, place)) if weight >= json => Accepted::Named(place),
        _ if json > 0 || !named => Accepted::Any { but: excluded },
        _ => Accepted::Nothing,
    }
}

fn media_type(essence: &[u8], vendor: &str, versions: &[ApiVersion]) -> MediaType {
    let Some(subtype) = after(essence, b"application/") else {
        return if essence == b"*/*" { MediaType::Json } else { MediaType::Other };
    };
    if subtype == b"*" || subtype.eq_ignore_ascii_case(b"json") {
        return MediaType::Json;
    }
    let Some(rest) = after(subtype, vendor.as_bytes()) else { return MediaType::Other };
    match rest {
        [] | [b'+', ..] => MediaType::Vendor(None),
        [b'.', name @ ..] => MediaType::Vendor(place(name, versions)),
        _ => MediaType::Other,
    }
}

/// The place of the version that `v1beta+json` or `beta+json` names.
fn place(name: &[u8], versions: &[ApiVersion]) -> Option<usize> {
    let (name, suffix) = name.split_at_checked(name.len().checked_sub(5)?)?;
    let mut lower = [0; MAX_NAME_BYTES];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    if !suffix.eq_ignore_ascii_case(b"+json") {
        return None;
    }
    let stability = match &*lower {
        b"stable" => Stability::Stable,
        b"beta" => Stability::Beta,
        b"alpha" => Stability::Alpha,
        name => {
            let version = ApiVersion::by_name(std::str::from_utf8(name).ok()?)?;
            return versions.iter().position(|other| *other == version);
        }
    };
    versions.iter().position(|version| version.stability == stability)
}

/// A media type without its parameters.
fn essence(value: &[u8]) -> &[u8] {
    value[..memchr::memchr(b';', value).unwrap_or(value.len())].trim_ascii()
}

/// The weight of a range in thousandths; 1,000 where there is none, or one that cannot be read.
fn weight(range: &[u8]) -> u16 {
    members(range, b';')
        .skip(1)
        .find_map(|parameter| after(parameter, b"q="))
        .and_then(qvalue)
        .unwrap_or(1_000)
}

/// Reads a qvalue (RFC 9110, section 12.4.2).
fn qvalue(text: &[u8]) -> Option<u16> {
    let (whole, digits) = match text {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut value = u16::from(char::from(*whole).to_digit(2)? == 1) * 1_000;
    for (digit, scale) in digits.iter().zip([100, 10, 1]) {
        value += u16::try_from(char::from(*digit).to_digit(10)?).ok()? * scale;
    }
    (value <= 1_000).then_some(value)
}

/// The members of a list, without white space and empty ones. A separator inside quotes separates nothing.
fn members(mut rest: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = member_end(rest, separator);
            let member = rest[..end].trim_ascii();
            rest = rest.get(end + 1..).unwrap_or_default();
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    })
}

fn member_end(text: &[u8], separator: u8) -> usize {
    let (mut quoted, mut at) = (false, 0);
    while at < text.len() {
        match text[at] {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            byte if byte == separator && !quoted => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

fn after<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
