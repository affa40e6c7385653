//! Bodies: none, whole in memory, or streamed with backpressure, in both directions.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::Buffer;
use super::fault::BodyFault;

/// A piece of a streamed body.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Content; never empty.
    Data(Bytes),
    /// Trailer fields as `name: value` lines, each ended by CRLF. The last part of its body.
    Trailers(Vec<u8>),
}

/// A body that arrives in pieces. Nothing is read ahead of a poll, so that a slow reader slows the sender.
pub trait BodyStream {
    /// The next piece; [`None`] after the last.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part, BodyFault>>>;

    /// Goes on with work that does not depend on the reader, while the reader is slow: a response's stream
    /// goes on with the upload of its request.
    fn drive(&mut self, _cx: &mut Context<'_>) {}
}

/// A request's body as a connection hands it in.
pub enum RequestBody<'c> {
    /// There is none.
    Empty,
    /// All of it has arrived already.
    Full(&'c [u8]),
    /// It is still arriving.
    Stream {
        /// The pieces.
        stream: Box<dyn BodyStream + 'c>,
        /// Its length, if it was announced.
        length: Option<u64>,
    },
}

impl RequestBody<'_> {
    /// Its length in bytes as far as it is known before the end; 0 otherwise.
    pub fn announced_length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Full(body) => body.len() as u64,
            Self::Stream { length, .. } => length.unwrap_or(0),
        }
    }
}

/// A response's body.
pub enum Payload<'c> {
    /// There is none; the length that `HEAD` and 304 describe, if they do.
    None {
        /// `Content-Length` to announce all the same.
        described_length: Option<u64>,
    },
    /// All of it.
    Full(Buffer),
    /// It is still arriving. An error breaks the response off visibly.
    Stream {
        /// The pieces.
        stream: Box<dyn BodyStream + 'c>,
        /// Its length, if it is known.
        length: Option<u64>,
    },
}

impl Payload<'_> {
    /// The payload that an answer of this status may have: answers to `HEAD`, 204 and 304 have none, whatever
    /// was meant for them, and 204 announces none either (RFC 9110, section 8.6; RFC 9112, section 6.3).
    #[must_use]
    pub fn of_status(self, status: u16, to_head: bool) -> Self {
        if status == 204 {
            return Payload::None { described_length: None };
        }
        if !to_head && status != 304 {
            return self;
        }
        Payload::None {
            described_length: match self {
                Payload::None { described_length } => described_length,
                Payload::Full(body) => Some(body.len() as u64),
                Payload::Stream { length, .. } => length,
            },
        }
    }
}

/// How the writing of a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// All of it was handed to the client's connection.
    Complete,
    /// Its body could not be had: the answer's fault, or that of the request which was still arriving.
    Broken(BodyFault),
    /// The client left or took nothing for too long.
    ClientGone,
}

/// Told when a response is about to end and once when it was written or given up.
pub trait Completion {
    /// The last bytes are about to be handed over: from now on the client may have the whole answer, and its next
    /// request may arrive on any core. Not told of an answer that breaks off, and more than once of some.
    fn ends(&mut self) {}

    /// So many bytes of the body were handed to the client's connection, and that is how it ended.
    fn sent(self: Box<Self>, body_bytes: u64, delivery: Delivery);
}

/// A response ready to be written on any HTTP version.
pub struct Response<'c> {
    /// The status code.
    pub status: u16,
    /// Field lines `name: value`, each ended by CRLF, without framing and connection fields.
    pub fields: Buffer,
    /// The body.
    pub payload: Payload<'c>,
    /// Whether the connection has to close after it.
    pub close: bool,
    /// Told when it has been written; dropped untold if the client left before.
    pub completion: Option<Box<dyn Completion>>,
}
