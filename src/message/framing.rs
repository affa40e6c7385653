//! Where a body ends (RFC 9112, section 6). Whatever two implementations could read differently is refused.

use super::fault::HeadFault;
use super::{FieldName, Head};

/// How a message's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Until the connection closes; responses only.
    UntilClose,
}

/// The length that a head of any version announces: one number, however often it is repeated.
pub fn announced_length(head: &Head) -> Result<Option<u64>, HeadFault> {
    let mut framing = FramingFields::default();
    for value in head.all(FieldName::ContentLength) {
        framing.content_length(value)?;
    }
    Ok(framing.length)
}

/// Most options that the `Connection` lines of a head may name, and most bytes that they may take: each field of
/// the head is compared with all of them.
const MAX_CONNECTION_OPTIONS: usize = 64;
const MAX_CONNECTION_BYTES: usize = 2 * 1024;

/// Collects what the `Connection` lines of one head say (RFC 9110, section 7.6.1).
#[derive(Debug, Default)]
pub(super) struct ConnectionOptions {
    number: usize,
    bytes: usize,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
}

impl ConnectionOptions {
    /// Takes a `Connection` line.
    pub(super) fn line(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        self.bytes += value.len();
        if self.bytes > MAX_CONNECTION_BYTES {
            return Err(HeadFault::Malformed("Connection is longer than 2 KiB"));
        }
        for option in value.split(|byte| *byte == b',') {
            self.number += 1;
            if self.number > MAX_CONNECTION_OPTIONS {
                return Err(HeadFault::Malformed("Connection names more than 64 options"));
            }
            let option = option.trim_ascii();
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
        Ok(())
    }
}

/// Collects the framing fields of one head.
#[derive(Debug, Default)]
pub(super) struct FramingFields {
    length: Option<u64>,
    chunked: bool,
}

impl FramingFields {
    /// Takes a `Content-Length` line: digits only. An identical second line counts as one.
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        let fault = HeadFault::Malformed("Content-Length is not one decimal number");
        if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
            return Err(fault);
        }
        let length = value.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        if self.length.is_some_and(|earlier| earlier != length) {
            return Err(HeadFault::Malformed("two Content-Length fields disagree"));
        }
        self.length = Some(length);
        Ok(())
    }

    /// Takes a `Transfer-Encoding` line: exactly one `chunked` in all.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        if self.chunked {
            return Err(HeadFault::Malformed("Transfer-Encoding is given twice"));
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Ok(());
        }
        let is_token =
            !value.is_empty() && value.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        if is_token && !value.to_ascii_lowercase().ends_with(b"chunked") {
            return Err(HeadFault::UnknownTransferCoding);
        }
        Err(HeadFault::Malformed("Transfer-Encoding is not `chunked` alone"))
    }

    /// The framing of a request (section 6.3: without either field there is no body).
    pub(super) fn of_request(&self, is_http_10: bool) -> Result<Framing, HeadFault> {
        match (self.chunked, self.length) {
            (true, Some(_)) => {
                Err(HeadFault::Malformed("Content-Length and Transfer-Encoding are both given"))
            }
            (true, None) if is_http_10 => Err(HeadFault::Malformed("Transfer-Encoding is given in HTTP/1.0")),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(0) | None) => Ok(Framing::None),
            (false, Some(length)) => Ok(Framing::Length(length)),
        }
    }

    /// The framing of a response that may have a body.
    pub(super) fn of_response(&self, is_http_10: bool) -> Result<Framing, HeadFault> {
        match (self.chunked, self.length) {
            (true, Some(_)) => {
                Err(HeadFault::Malformed("Content-Length and Transfer-Encoding are both given"))
            }
            (true, None) if is_http_10 => Err(HeadFault::Malformed("Transfer-Encoding is given in HTTP/1.0")),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(0)) => Ok(Framing::None),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::UntilClose),
        }
    }

    /// The announced length, for answers to `HEAD` and 304 whose length describes a body that is not there.
    pub(super) const fn announced_length(&self) -> Option<u64> {
        self.length
    }
}
