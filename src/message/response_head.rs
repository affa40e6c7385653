//! Response heads from an upstream, which is trusted no more than a client.

use super::fault::HeadFault;
use super::framing::{ConnectionOptions, Framing, FramingFields};
use super::parse::{HEAD_END, MAX_FIELDS, refuse_bare_line_feeds, trim};
use super::{FieldName, Head, Version};

const MAX_HEAD_BYTES: usize = 64 * 1024;
const TOO_LONG: HeadFault = HeadFault::Malformed("the response head is longer than 64 KiB");

/// What a complete response head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the input that it took.
    pub length: usize,
    /// The status code, 100 to 599.
    pub status: u16,
    /// Where the body ends.
    pub framing: Framing,
    /// A length that describes a body which is not sent (`HEAD`, 304).
    pub described_length: Option<u64>,
    /// Whether the connection may be used again. Not where a body is announced that must not be there (to `HEAD`,
    /// with 204 or 304): should it come all the same, it would be read as the next answer.
    pub keep_alive: bool,
}

/// Reads one response head from the start of `input`, its fields into a cleared `head`; [`None`] if it is
/// not complete. `to_head_request` because an answer to `HEAD` has no body whatever it says.
pub fn response_head(
    input: &[u8],
    to_head_request: bool,
    head: &mut Head,
) -> Result<Option<ResponseHead>, HeadFault> {
    let Some(end) = HEAD_END.find(input) else {
        return incomplete(input).map(|()| None);
    };
    let length = end + 4;
    if length > MAX_HEAD_BYTES {
        return Err(TOO_LONG);
    }
    refuse_bare_line_feeds(&input[..length])?;
    let mut slots = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, &input[..length], &mut slots) {
        Ok(httparse::Status::Complete(parsed)) if parsed == length => {}
        Ok(_) | Err(_) => return Err(HeadFault::Malformed("the response head is not well formed")),
    }
    let (Some(status), Some(minor)) = (response.code, response.version) else {
        return Err(HeadFault::Malformed("the status line is not complete"));
    };
    if !(100..600).contains(&status) {
        return Err(HeadFault::Malformed("the status code is not between 100 and 599"));
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    head.start(version, b"", b"");
    let mut framing = FramingFields::default();
    let mut options = ConnectionOptions::default();
    for header in response.headers.iter() {
        let value = trim(header.value);
        match head.push(header.name.as_bytes(), value) {
            FieldName::ContentLength => framing.content_length(value)?,
            FieldName::TransferEncoding => framing.transfer_encoding(value)?,
            FieldName::Connection => options.line(value)?,
            _ => {}
        }
    }
    let (close, keep) = (options.close, options.keep_alive);
    let has_body = !to_head_request && status >= 200 && status != 204 && status != 304;
    let of_body = framing.of_response(minor == 0)?;
    let is_self_delimited = match of_body {
        Framing::None => true,
        Framing::UntilClose => !has_body,
        Framing::Length(_) | Framing::Chunked => has_body,
    };
    Ok(Some(ResponseHead {
        length,
        status,
        framing: if has_body { of_body } else { Framing::None },
        described_length: if status == 204 || status < 200 { None } else { framing.announced_length() },
        keep_alive: !close && (minor == 1 || keep) && is_self_delimited,
    }))
}

fn incomplete(input: &[u8]) -> Result<(), HeadFault> {
    if input.len() > MAX_HEAD_BYTES {
        return Err(TOO_LONG);
    }
    let mut slots = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        input,
        &mut slots,
    ) {
        Ok(httparse::Status::Partial) => Ok(()),
        Ok(httparse::Status::Complete(_)) | Err(_) => {
            Err(HeadFault::Malformed("the response head is not well formed"))
        }
    }
}
