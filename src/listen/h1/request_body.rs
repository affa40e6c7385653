//! A request body that is still arriving.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};

use super::connection::Connection;
use crate::clock::Deadline;
use crate::listen::transport::Transport;
use crate::message::{BodyFault, BodyStream, ChunkDecoder, Decoded, Framing, Parsed, Part};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Where the current request's body stands. It outlives the stream, so that what nobody read can be skipped.
pub(super) struct BodyState {
    left: Left,
    read_bytes: u64,
    continue_left: &'static [u8],
    deadline: Deadline,
}

enum Left {
    Length(u64),
    Chunks(ChunkDecoder),
    Nothing,
    Broken,
}

impl BodyState {
    /// No body, or one that was read already.
    pub(super) const fn none() -> Self {
        Self { left: Left::Nothing, read_bytes: 0, continue_left: b"", deadline: Deadline::new() }
    }

    /// A body of which nothing was read.
    pub(super) fn new(parsed: &Parsed) -> Self {
        let left = match parsed.framing {
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunks(ChunkDecoder::new()),
            Framing::None | Framing::UntilClose => Left::Nothing,
        };
        Self { left, continue_left: if parsed.expects_continue { CONTINUE } else { b"" }, ..Self::none() }
    }

    /// Whether the next byte of the connection belongs to the next request.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.left, Left::Nothing)
    }

    /// Whether so little is left, and certain to come, that skipping it keeps the connection.
    pub(super) const fn is_worth_skipping(&self, limit_bytes: u64) -> bool {
        match self.left {
            Left::Nothing => true,
            Left::Length(left) => left <= limit_bytes && self.continue_left.is_empty(),
            Left::Chunks(_) | Left::Broken => false,
        }
    }
}

/// The stream over a connection's current body.
pub(super) struct StreamedBody<'c, IO> {
    connection: &'c Connection<IO>,
}

impl<'c, IO> StreamedBody<'c, IO> {
    pub(super) const fn new(connection: &'c Connection<IO>) -> Self {
        Self { connection }
    }
}

impl<IO: Transport> BodyStream for StreamedBody<'_, IO> {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part, BodyFault>>> {
        let polled = self.connection.poll_body(cx);
        if matches!(polled, Poll::Ready(Some(Err(_)))) {
            self.connection.body.borrow_mut().left = Left::Broken;
        }
        polled
    }
}

impl<IO: Transport> Connection<IO> {
    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Part, BodyFault>>> {
        loop {
            if let Some(part) = self.decode_buffered() {
                self.body.borrow_mut().deadline.clear();
                return Poll::Ready(part);
            }
            if self.poll_continue(cx).is_pending() {
                return Poll::Pending;
            }
            match self.poll_read_more(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Some(Err(BodyFault::Gone))),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    let mut body = self.body.borrow_mut();
                    if !body.deadline.is_set() {
                        body.deadline.set(self.bounds.body_idle);
                    }
                    let limit_seconds = self.bounds.body_idle.as_secs();
                    return body
                        .deadline
                        .poll_expired(cx)
                        .map(|()| Some(Err(BodyFault::Timeout { limit_seconds })));
                }
            }
        }
    }

    /// The next part from what was read; the outer [`None`] if more must be read.
    #[expect(
        clippy::option_option,
        reason = "`None` inside is the end of the body, outside it is no answer yet"
    )]
    fn decode_buffered(&self) -> Option<Option<Result<Part, BodyFault>>> {
        let mut body = self.body.borrow_mut();
        let mut input = self.input.borrow_mut();
        let (part, left) = match &mut body.left {
            Left::Nothing | Left::Broken => return Some(None),
            Left::Length(_) if input.is_empty() => return None,
            Left::Length(left) => {
                let take = (*left).min(input.len() as u64);
                let rest = *left - take;
                let part = input.split_to(take as usize).freeze();
                (Part::Data(part), if rest == 0 { Left::Nothing } else { Left::Length(rest) })
            }
            Left::Chunks(decoder) => match decoder.decode(&input) {
                Err(fault) => return Some(Some(Err(fault))),
                Ok(Decoded::NeedMore { consumed }) => {
                    input.advance(consumed);
                    return None;
                }
                Ok(Decoded::End { consumed, trailers }) => {
                    input.advance(consumed);
                    body.left = Left::Nothing;
                    return Some((!trailers.is_empty()).then_some(Ok(Part::Trailers(trailers))));
                }
                Ok(Decoded::Data(range)) => {
                    input.advance(range.start);
                    let part = input.split_to(range.len()).freeze();
                    (Part::Data(part), Left::Chunks(std::mem::take(decoder)))
                }
            },
        };
        body.left = left;
        body.continue_left = b"";
        let Part::Data(data) = part else { return Some(Some(Ok(part))) };
        body.read_bytes += data.len() as u64;
        let limit_bytes = self.bounds.body_bytes;
        Some(Some(if body.read_bytes > limit_bytes {
            Err(BodyFault::TooLarge { limit_bytes })
        } else {
            Ok(Part::Data(data))
        }))
    }

    /// Writes `100 Continue` once, when the body is first wanted and nothing else was answered.
    fn poll_continue(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut body = self.body.borrow_mut();
        while !body.continue_left.is_empty() && !self.response_started.get() {
            match Pin::new(&mut *self.io.borrow_mut()).poll_write(cx, body.continue_left) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    body.continue_left = &body.continue_left[written..];
                }
                Poll::Ready(_) => body.continue_left = b"",
                Poll::Pending => return Poll::Pending,
            }
            if body.continue_left.is_empty() {
                let _ = Pin::new(&mut *self.io.borrow_mut()).poll_flush(cx);
            }
        }
        Poll::Ready(())
    }

    /// Reads and drops a piece of the body: its length, or [`None`] at its end or when it breaks.
    pub(super) fn poll_skip(&self, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let length = |data: &Bytes| data.len() as u64;
        match self.poll_body(cx) {
            Poll::Ready(Some(Ok(Part::Data(data)))) => Poll::Ready(Some(length(&data))),
            Poll::Ready(Some(Ok(Part::Trailers(_)))) => Poll::Ready(Some(0)),
            Poll::Ready(Some(Err(_))) => {
                self.body.borrow_mut().left = Left::Broken;
                Poll::Ready(None)
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}
