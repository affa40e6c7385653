//! The target's form and the `Host` field (RFC 9112, section 3.2; RFC 3986, section 3.2).

use super::fault::HeadFault;
use super::{FieldName, Head, Version};

/// The origin form of a request target, and the authority if the target was in absolute form.
pub(super) fn split_target(target: &[u8]) -> Result<(&[u8], Option<&[u8]>), HeadFault> {
    if target.contains(&b'#') {
        return Err(HeadFault::Malformed("the request target has a fragment (`#`)"));
    }
    if target.first() == Some(&b'/') {
        return Ok((target, None));
    }
    let rest = strip_scheme(target)
        .ok_or(HeadFault::Malformed("the request target is neither a path nor an http or https URI"))?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match path.first() {
        Some(b'/') => Ok((path, Some(authority))),
        None => Ok((b"/", Some(authority))),
        Some(_) => Err(HeadFault::Malformed("the absolute request target has no path before its query")),
    }
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// Exactly one well-formed `Host` in HTTP/1.1 (section 3.2: anything else MUST be 400), at most one in
/// HTTP/1.0, and the same as an absolute target's authority.
pub(super) fn check_host(head: &Head, target_authority: Option<&[u8]>) -> Result<(), HeadFault> {
    let mut hosts = head.all(FieldName::Host);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(HeadFault::Malformed("Host is given twice"));
    }
    let Some(host) = host else {
        return if head.version() == Version::Http10 {
            Ok(())
        } else {
            Err(HeadFault::Malformed("Host is missing"))
        };
    };
    if !is_authority(host) {
        return Err(HeadFault::Malformed("Host is not a host name or address with an optional port"));
    }
    if target_authority.is_some_and(|authority| !authority.eq_ignore_ascii_case(host)) {
        return Err(HeadFault::Malformed("Host and the authority of the request target differ"));
    }
    Ok(())
}

/// Whether bytes are `host [":" port]` without user information.
pub fn is_authority(value: &[u8]) -> bool {
    let (host, port) = match value.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let literal = &rest[..end];
            if literal.is_empty()
                || !literal.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
            {
                return false;
            }
            (literal, &rest[end + 1..])
        }
        None => value.split_at(memchr::memchr(b':', value).unwrap_or(value.len())),
    };
    let host_is_good =
        value.starts_with(b"[") || host.iter().fold(true, |all, &byte| all & is_name_byte(byte));
    let port_is_good = match port.strip_prefix(b":") {
        Some(digits) => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        None => port.is_empty(),
    };
    !host.is_empty() && host_is_good && port_is_good
}

/// An unreserved byte (RFC 3986, section 2.3). Bitwise rather than lazy, so that many are looked at at once.
#[expect(clippy::needless_bitwise_bool, reason = "branches would keep the loop from being vectorised")]
const fn is_name_byte(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let digit = byte.wrapping_sub(b'0') < 10;
    letter | digit | (byte == b'-') | (byte == b'.') | (byte == b'_') | (byte == b'~')
}
