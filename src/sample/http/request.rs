//! Bytes to requests (RFC 9112).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Longest head, and longest trailer section.
const HEAD_BYTES: usize = 256 * 1024;
/// Most fields in a head.
const FIELDS: usize = 256;
/// Longest body.
const BODY_BYTES: usize = 16 * 1024 * 1024;
/// Longest chunk size line, extensions included.
const CHUNK_LINE_BYTES: usize = 4 * 1024;
/// Longest wait for more bytes of a request that has begun.
const READ: Duration = Duration::from_secs(30);

/// A request as it arrived: fields in their order and case, bytes that are not UTF-8 read as Latin-1.
#[derive(Debug)]
pub(in crate::sample) struct Request {
    /// The method, any token.
    pub method: String,
    /// The request target, byte for byte.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: &'static str,
    /// Field lines.
    pub fields: Vec<(String, String)>,
    /// The body, transfer coding undone.
    pub body: Bytes,
    /// Trailer fields, in order.
    pub trailers: Vec<(String, String)>,
}

/// Why the bytes are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::sample) enum Malformed {
    /// Bad syntax or framing.
    #[error("the request cannot be read: check its request line, field lines and chunk sizes")]
    Syntax,
    /// Content-Length and Transfer-Encoding that disagree, or a bad length.
    #[error("the length of the body is in doubt: send one Content-Length or `Transfer-Encoding: chunked`")]
    Framing,
    /// The head is too long.
    #[error("the head is longer than 262,144 bytes or 256 fields")]
    HeadTooLong,
    /// The body is too long.
    #[error("the body is longer than 16,777,216 bytes")]
    BodyTooLong,
    /// A transfer coding other than chunked.
    #[error("the only transfer coding known here is chunked")]
    Coding,
    /// Not HTTP/1.
    #[error("the sample servers speak HTTP/1.1 and HTTP/1.0")]
    Version,
}

/// Why no request came.
#[derive(Debug)]
pub(super) enum Ended {
    /// The peer is gone, or too slow.
    Closed,
    /// It sent something else.
    Malformed(Malformed),
}

impl From<Malformed> for Ended {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// How the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

impl Request {
    /// The first value of a field, its name in any case.
    pub(in crate::sample) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Every value of a field.
    pub(in crate::sample) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The target up to the query; an absolute-form target loses its scheme and authority.
    pub(in crate::sample) fn path(&self) -> &str {
        let target = match self.target.split_once("://") {
            Some((_, rest)) if !self.target.starts_with('/') => {
                rest.find('/').map_or("/", |slash| &rest[slash..])
            }
            _ => &self.target,
        };
        target.split('?').next().unwrap_or_default()
    }

    /// The raw query.
    pub(in crate::sample) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Whether the connection ends with this request (RFC 9112, section 9.3).
    pub(super) fn closes(&self) -> bool {
        let listed = |option: &str| {
            self.values("connection")
                .flat_map(|v| v.split(','))
                .any(|word| word.trim().eq_ignore_ascii_case(option))
        };
        listed("close") || (self.version == "HTTP/1.0" && !listed("keep-alive"))
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(super) fn waits_for_continue(&self) -> bool {
        self.version == "HTTP/1.1"
            && self.field("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    }

    /// How the body ends (RFC 9112, section 6.3), strictly.
    pub(super) fn framing(&self) -> Result<Framing, Malformed> {
        let mut codings = self.values("transfer-encoding").peekable();
        let mut lengths = self.values("content-length");
        if codings.peek().is_some() {
            if lengths.next().is_some() || self.version == "HTTP/1.0" {
                return Err(Malformed::Framing);
            }
            let only_chunked = codings.all(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
            return if only_chunked { Ok(Framing::Chunked) } else { Err(Malformed::Coding) };
        }
        let Some(length) = lengths.next() else { return Ok(Framing::Length(0)) };
        if lengths.next().is_some() || length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Malformed::Framing);
        }
        match length.parse() {
            Ok(length) if length <= BODY_BYTES => Ok(Framing::Length(length)),
            _ => Err(Malformed::BodyTooLong),
        }
    }
}

/// Takes a complete head off the front of `buffer`; `None` when more bytes are needed.
pub(super) fn take_head(buffer: &mut BytesMut) -> Result<Option<Request>, Malformed> {
    let mut lines = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Request::new(&mut lines);
    let length = match head.parse(buffer) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES => length,
        Ok(httparse::Status::Partial) if buffer.len() < HEAD_BYTES => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Malformed::HeadTooLong),
        Err(httparse::Error::Version) => return Err(Malformed::Version),
        Err(_) => return Err(Malformed::Syntax),
    };
    let (Some(method), Some(target), Some(minor)) = (head.method, head.path, head.version) else {
        return Err(Malformed::Syntax);
    };
    let request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        version: if minor == 1 { "HTTP/1.1" } else { "HTTP/1.0" },
        fields: fields(head.headers),
        body: Bytes::new(),
        trailers: Vec::new(),
    };
    drop(buffer.split_to(length));
    Ok(Some(request))
}

/// Reads the body of `request` after its head.
pub(super) async fn read_body<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut BytesMut,
    request: &mut Request,
    framing: Framing,
) -> Result<(), Ended> {
    match framing {
        Framing::Length(length) => request.body = take(stream, buffer, length).await?,
        Framing::Chunked => {
            let mut body = BytesMut::new();
            loop {
                let line = take_line(stream, buffer).await?;
                let size = chunk_size(&line)?;
                if size == 0 {
                    break;
                }
                if body.len() + size > BODY_BYTES {
                    return Err(Malformed::BodyTooLong.into());
                }
                let chunk = take(stream, buffer, size + 2).await?;
                if !chunk.ends_with(b"\r\n") {
                    return Err(Malformed::Syntax.into());
                }
                body.extend_from_slice(&chunk[..size]);
            }
            request.body = body.freeze();
            request.trailers = take_trailers(stream, buffer).await?;
        }
    }
    Ok(())
}

/// Reads more bytes into `buffer`, within the deadline.
pub(super) async fn fill<R: AsyncRead + Unpin>(stream: &mut R, buffer: &mut BytesMut) -> Result<(), Ended> {
    timeout(READ, await_more(stream, buffer)).await.unwrap_or(Err(Ended::Closed))
}

/// Reads more bytes into `buffer`, however long it takes.
pub(super) async fn await_more<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut BytesMut,
) -> Result<(), Ended> {
    buffer.reserve(16 * 1024);
    match stream.read_buf(buffer).await {
        Ok(read) if read > 0 => Ok(()),
        Ok(_) | Err(_) => Err(Ended::Closed),
    }
}

async fn take<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut BytesMut,
    length: usize,
) -> Result<Bytes, Ended> {
    while buffer.len() < length {
        fill(stream, buffer).await?;
    }
    Ok(buffer.split_to(length).freeze())
}

async fn take_line<R: AsyncRead + Unpin>(stream: &mut R, buffer: &mut BytesMut) -> Result<Bytes, Ended> {
    loop {
        if let Some(end) = memmem::find(buffer, b"\r\n") {
            let line = buffer.split_to(end + 2).freeze();
            return Ok(line.slice(..end));
        }
        if buffer.len() > CHUNK_LINE_BYTES {
            return Err(Malformed::Syntax.into());
        }
        fill(stream, buffer).await?;
    }
}

/// The size on a chunk's line; its extensions are ignored (RFC 9112, section 7.1.1).
fn chunk_size(line: &[u8]) -> Result<usize, Malformed> {
    let digits = line.split(|&b| b == b';').next().unwrap_or_default().trim_ascii_end();
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Malformed::Syntax);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| Malformed::Syntax)?;
    usize::from_str_radix(digits, 16).map_err(|_| Malformed::Syntax)
}

async fn take_trailers<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut BytesMut,
) -> Result<Vec<(String, String)>, Ended> {
    loop {
        let mut lines = [httparse::EMPTY_HEADER; FIELDS];
        match httparse::parse_headers(buffer, &mut lines) {
            Ok(httparse::Status::Complete((length, lines))) => {
                let trailers = fields(lines);
                drop(buffer.split_to(length));
                return Ok(trailers);
            }
            Ok(httparse::Status::Partial) if buffer.len() < HEAD_BYTES => fill(stream, buffer).await?,
            Ok(httparse::Status::Partial) | Err(_) => return Err(Malformed::Syntax.into()),
        }
    }
}

fn fields(lines: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    lines.iter().map(|line| (line.name.to_owned(), text(line.value))).collect()
}

fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes)
        .map_or_else(|_| bytes.iter().map(|&byte| char::from(byte)).collect(), str::to_owned)
}
