//! Answers to bytes.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Longest wait for a client that does not read.
const WRITE: Duration = Duration::from_mins(1);
/// A block of filler.
static FILLER: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// What an answer carries.
#[derive(Clone, Debug)]
pub(in crate::sample) enum Content {
    /// These bytes, with their length.
    Bytes(Bytes),
    /// This many bytes of `x`, made while they are sent.
    Filler {
        /// How many.
        bytes: u64,
        /// Chunked, or with their length.
        chunked: bool,
    },
}

/// Where an answer breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sample) enum Break {
    /// Nowhere.
    Never,
    /// Before the first byte of its head.
    BeforeHead,
    /// In the middle of its content.
    InContent,
}

/// One answer.
#[derive(Clone, Debug)]
pub(in crate::sample) struct Answer {
    /// 200 to 599.
    pub status: u16,
    /// Fields, less framing, `date` and `connection`.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub content: Content,
    /// Trailer fields; any makes the answer chunked.
    pub trailers: Vec<(String, String)>,
    /// Where it breaks off.
    pub breaks: Break,
}

impl Answer {
    /// An answer in JSON.
    pub(in crate::sample) fn json(status: u16, value: &serde_json::Value) -> Self {
        Self {
            status,
            fields: vec![("content-type".to_owned(), "application/json".to_owned())],
            content: Content::Bytes(value.to_string().into()),
            trailers: Vec::new(),
            breaks: Break::Never,
        }
    }

    /// Adds a field.
    pub(in crate::sample) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// Writes the answer; true when the connection can carry another.
    pub(super) async fn write<W: AsyncWrite + Unpin>(
        &self,
        stream: &mut W,
        head_only: bool,
        old: bool,
        close: bool,
    ) -> bool {
        if self.breaks == Break::BeforeHead {
            return false;
        }
        let bodiless = matches!(self.status, 204 | 304);
        let chunked = !old
            && (!self.trailers.is_empty() || matches!(self.content, Content::Filler { chunked: true, .. }));
        let close = close || (old && matches!(self.content, Content::Filler { chunked: true, .. }));
        let mut out = self.head(bodiless, chunked, close).into_bytes();
        if bodiless || head_only {
            return send(stream, &out).await && !close;
        }
        let complete = match &self.content {
            Content::Bytes(bytes) => {
                let sent = if self.breaks == Break::InContent { &bytes[..bytes.len() / 2] } else { bytes };
                frame(&mut out, sent, chunked);
                self.end(&mut out, chunked);
                send(stream, &out).await
            }
            Content::Filler { bytes, .. } => {
                send(stream, &out).await && self.fill(stream, *bytes, chunked).await
            }
        };
        complete && !close && self.breaks == Break::Never
    }

    fn head(&self, bodiless: bool, chunked: bool, close: bool) -> String {
        use std::fmt::Write as _;
        let reason = http::StatusCode::from_u16(self.status).ok().and_then(|s| s.canonical_reason());
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or("Sample"));
        for (name, value) in &self.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
        let length = match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Filler { bytes, .. } => *bytes,
        };
        if chunked && !bodiless {
            head.push_str("transfer-encoding: chunked\r\n");
        } else if self.status != 204
            && !(close && matches!(self.content, Content::Filler { chunked: true, .. }))
        {
            let _ = write!(head, "content-length: {length}\r\n");
        }
        head.push_str(if close { "connection: close\r\n\r\n" } else { "\r\n" });
        head
    }

    async fn fill<W: AsyncWrite + Unpin>(&self, stream: &mut W, bytes: u64, chunked: bool) -> bool {
        let mut left = if self.breaks == Break::InContent { bytes / 2 } else { bytes };
        let mut framed = Vec::new();
        while left > 0 {
            let block = &FILLER[..usize::try_from(left).map_or(FILLER.len(), |left| left.min(FILLER.len()))];
            left -= block.len() as u64;
            let sent = if chunked {
                framed.clear();
                frame(&mut framed, block, true);
                send(stream, &framed).await
            } else {
                send(stream, block).await
            };
            if !sent {
                return false;
            }
        }
        framed.clear();
        self.end(&mut framed, chunked);
        send(stream, &framed).await
    }

    fn end(&self, out: &mut Vec<u8>, chunked: bool) {
        if !chunked || self.breaks == Break::InContent {
            return;
        }
        out.extend_from_slice(b"0\r\n");
        for (name, value) in &self.trailers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn frame(out: &mut Vec<u8>, block: &[u8], chunked: bool) {
    if !chunked {
        out.extend_from_slice(block);
    } else if !block.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", block.len()).as_bytes());
        out.extend_from_slice(block);
        out.extend_from_slice(b"\r\n");
    }
}

async fn send<W: AsyncWrite + Unpin>(stream: &mut W, bytes: &[u8]) -> bool {
    let mut left = bytes;
    while !left.is_empty() {
        match timeout(WRITE, stream.write(left)).await {
            Ok(Ok(written)) if written > 0 => left = &left[written..],
            Ok(Ok(_) | Err(_)) | Err(_) => return false,
        }
    }
    true
}
