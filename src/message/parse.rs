//! Request heads from bytes (RFC 9112, sections 2 to 6), stricter than httparse where a peer could be laxer.

use std::sync::LazyLock;

use memchr::{memchr, memmem};

use super::fault::HeadFault;
use super::framing::{ConnectionOptions, Framing, FramingFields};
use super::{FieldName, Head, Version, authority};
use crate::domain::Method;

/// Most field lines of a head, whatever the configuration says.
pub const MAX_FIELDS: usize = 128;

/// An incomplete head is looked at for syntax only up to this length, so that a head that comes byte by byte
/// is not parsed once per byte.
const EARLY_BYTES: usize = 512;

/// Finds the empty line that ends a head; built once.
pub(super) static HEAD_END: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(b"\r\n\r\n"));

/// Longest method that is waited for; all that are known are shorter.
const METHOD_BYTES: usize = 32;

/// What a head may cost.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Longest head with its request line, in bytes.
    pub head_bytes: usize,
    /// Most field lines; at most [`MAX_FIELDS`].
    pub fields: usize,
    /// Longest request target, in bytes.
    pub target_bytes: usize,
}

/// What a complete head says about its message and connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Bytes of the input that the head took.
    pub length: usize,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client lets the connection stay open.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// Reads one request head from the start of `input` into a cleared `head`; [`None`] if it is not complete.
///
/// Whatever can be seen to be wrong in an incomplete head is told at once.
pub fn request_head(input: &[u8], limits: &HeadLimits, head: &mut Head) -> Result<Option<Parsed>, HeadFault> {
    let Some(end) = HEAD_END.find(input) else {
        return incomplete(input, limits).map(|()| None);
    };
    let length = end + 4;
    if length > limits.head_bytes {
        return Err(too_large(input, limits));
    }
    let lines = &input[..length];
    refuse_bare_line_feeds(lines)?;
    let mut slots = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(lines, &mut slots) {
        Ok(httparse::Status::Complete(parsed)) if parsed == length => {}
        Ok(_) => return Err(HeadFault::Malformed("the head has an empty line before its end")),
        Err(error) => return Err(syntax_fault(error, limits)),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(HeadFault::Malformed("the request line is not complete"));
    };
    if request.headers.len() > limits.fields {
        return Err(HeadFault::TooManyFields { limit_fields: limits.fields });
    }
    if Method::by_name(method.as_bytes()).is_none() {
        return Err(HeadFault::UnknownMethod);
    }
    if target.len() > limits.target_bytes {
        return Err(HeadFault::TargetTooLong { limit_bytes: limits.target_bytes });
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let (origin_form, target_authority) = authority::split_target(target.as_bytes())?;
    head.start(version, method.as_bytes(), origin_form);
    for header in request.headers.iter() {
        head.push(header.name.as_bytes(), trim(header.value));
    }
    authority::check_host(head, target_authority)?;
    let (framing, keep_alive, expects_continue) = connection_facts(head)?;
    Ok(Some(Parsed { length, framing, keep_alive, expects_continue }))
}

/// What the fields say of body and connection.
fn connection_facts(head: &Head) -> Result<(Framing, bool, bool), HeadFault> {
    let is_http_10 = head.version() == Version::Http10;
    let mut framing = FramingFields::default();
    let mut options = ConnectionOptions::default();
    let mut expects_continue = false;
    for field in head.fields() {
        match field.known {
            FieldName::ContentLength => framing.content_length(field.value)?,
            FieldName::TransferEncoding => framing.transfer_encoding(field.value)?,
            FieldName::Connection => options.line(field.value)?,
            FieldName::Expect if !is_http_10 => {
                if !field.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(HeadFault::UnknownExpectation);
                }
                expects_continue = true;
            }
            _ => {}
        }
    }
    let framing = framing.of_request(is_http_10)?;
    let keep_alive = !options.close && (options.keep_alive || !is_http_10);
    Ok((framing, keep_alive, expects_continue && framing != Framing::None))
}

/// Limits and syntax that an incomplete head already breaks.
fn incomplete(input: &[u8], limits: &HeadLimits) -> Result<(), HeadFault> {
    if input.len() >= limits.head_bytes {
        return Err(too_large(input, limits));
    }
    if input.len() > METHOD_BYTES && input[..=METHOD_BYTES].iter().all(|byte| is_token_byte(*byte)) {
        return Err(HeadFault::UnknownMethod);
    }
    if memchr(b'\n', input).is_none() && input.len() > limits.target_bytes + 64 {
        return Err(HeadFault::TargetTooLong { limit_bytes: limits.target_bytes });
    }
    if input.len() > EARLY_BYTES {
        return Ok(());
    }
    refuse_bare_line_feeds(input)?;
    let mut slots = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
    match httparse::Request::new(&mut []).parse_with_uninit_headers(input, &mut slots) {
        Ok(_) => Ok(()),
        Err(error) => Err(syntax_fault(error, limits)),
    }
}

/// A byte of a token (RFC 9110, section 5.6.2).
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

fn too_large(input: &[u8], limits: &HeadLimits) -> HeadFault {
    match memchr(b'\n', &input[..input.len().min(limits.head_bytes)]) {
        Some(_) => HeadFault::TooLarge { limit_bytes: limits.head_bytes },
        None => HeadFault::TargetTooLong { limit_bytes: limits.target_bytes },
    }
}

/// Every line ends in CRLF: some readers take a bare LF for the end of a line, and others do not.
pub(super) fn refuse_bare_line_feeds(lines: &[u8]) -> Result<(), HeadFault> {
    if lines.starts_with(b"\r") || lines.starts_with(b"\n") {
        return Err(HeadFault::Malformed("the head starts with an empty line"));
    }
    let is_bare = |(before, byte): (&u8, &u8)| u8::from(*byte == b'\n') & u8::from(*before != b'\r');
    // Without a way out in the middle, the compiler looks at many bytes at once.
    match lines.iter().zip(lines.iter().skip(1)).map(is_bare).fold(0, |any, bare| any | bare) {
        0 => Ok(()),
        _ => Err(HeadFault::Malformed("a line ends in LF without CR")),
    }
}

fn syntax_fault(error: httparse::Error, limits: &HeadLimits) -> HeadFault {
    match error {
        httparse::Error::HeaderName => {
            HeadFault::Malformed("a field name is not a token followed by a colon")
        }
        httparse::Error::HeaderValue => HeadFault::Malformed("a field value holds a control byte"),
        httparse::Error::NewLine => HeadFault::Malformed("a line does not end in CRLF"),
        httparse::Error::Token => HeadFault::Malformed("the request line is not `METHOD target HTTP/1.1`"),
        httparse::Error::TooManyHeaders => HeadFault::TooManyFields { limit_fields: limits.fields },
        httparse::Error::Version => HeadFault::Malformed("the version is neither HTTP/1.1 nor HTTP/1.0"),
        httparse::Error::Status => HeadFault::Malformed("the status line is broken"),
    }
}

/// Optional white space around a field value is not part of it (RFC 9110, section 5.5).
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |at| at + 1);
    &value[start..end]
}

#[cfg(test)]
mod tests;
