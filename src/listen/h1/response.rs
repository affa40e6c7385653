//! Writing a response: head and small body in one write, larger ones as they come.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::connection::{Connection, SKIP_BODY_BYTES};
use crate::clock::Deadline;
use crate::listen::transport::Transport;
use crate::message::{BodyStream, Delivery, Part, Payload, Response, encode_chunk_size};

/// Written bytes that are gathered before a slow client is waited for.
const GATHER_BYTES: usize = 64 * 1024;

thread_local! {
    /// The buffer that the core's last response was written from. A response that has to wait for its client
    /// keeps it, and the next makes itself another.
    static OUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What happens to the connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    KeepAlive,
    Close,
    Gone,
}

/// What the request decides about its response's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseHead {
    pub(super) is_http_10: bool,
    pub(super) to_head: bool,
    pub(super) keep_alive: bool,
}

/// How the body is delimited on this connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Length(u64),
    Chunks,
    Close,
}

impl<IO: Transport> Connection<IO> {
    /// Writes one response, in time, and says how the connection goes on.
    pub(super) async fn write_response(
        &self,
        response: Response<'_>,
        shape: ResponseHead,
        deadline: &mut Deadline,
    ) -> Ending {
        self.response_started.set(true);
        deadline.clear();
        let Response { status, fields, payload, close, mut completion } = response;
        let answers_early = !matches!(payload, Payload::Stream { .. });
        let payload = payload.of_status(status, shape.to_head);
        let body_is_skipped = self.body.borrow().is_worth_skipping(SKIP_BODY_BYTES);
        let mut keep_alive = shape.keep_alive && !close && (body_is_skipped || !answers_early);
        let full_length = if let Payload::Full(body) = &payload { body.len() } else { 0 };
        let mut out = OUT.take();
        out.reserve(fields.len() + full_length + 160);
        write_status_line(status, &mut out);
        out.extend_from_slice(&fields);
        let delimiter = write_framing(status, &payload, shape, &mut out);
        keep_alive &= delimiter != Delimiter::Close;
        if !keep_alive {
            out.extend_from_slice(b"connection: close\r\n");
        } else if shape.is_http_10 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
        let mut sent_bytes = 0;
        let mut ends = || completion.iter_mut().for_each(|completion| completion.ends());
        let delivery = match payload {
            Payload::None { .. } => {
                ends();
                self.write_out(&mut out, deadline).await
            }
            Payload::Full(body) => {
                out.extend_from_slice(&body);
                sent_bytes = body.len() as u64;
                ends();
                self.write_out(&mut out, deadline).await
            }
            Payload::Stream { mut stream, .. } => {
                self.write_stream(&mut out, (&mut *stream, delimiter, &mut sent_bytes), &mut ends, deadline)
                    .await
            }
        };
        if out.capacity() <= 2 * GATHER_BYTES {
            out.clear();
            OUT.set(out);
        }
        if let Some(completion) = completion {
            completion.sent(sent_bytes, delivery);
        }
        deadline.clear();
        let keep_alive = keep_alive && self.body.borrow().is_worth_skipping(SKIP_BODY_BYTES);
        self.ending(delivery, delimiter, keep_alive)
    }

    /// How the connection goes on. A message that was cut ends visibly: short of its length, without its last
    /// chunk, or by a reset where only the end of the connection would have ended it (RFC 9112, section 8).
    fn ending(&self, delivery: Delivery, delimiter: Delimiter, keep_alive: bool) -> Ending {
        match delivery {
            Delivery::Complete if keep_alive => Ending::KeepAlive,
            Delivery::Complete => Ending::Close,
            Delivery::Broken(_) if delimiter != Delimiter::Close => Ending::Close,
            Delivery::Broken(_) | Delivery::ClientGone => {
                self.io.borrow().set_reset_when_closed(true);
                Ending::Gone
            }
        }
    }

    /// Writes and empties `out`.
    async fn write_out(&self, out: &mut Vec<u8>, deadline: &mut Deadline) -> Delivery {
        let mut at = 0;
        let written = poll_fn(|cx| {
            while at < out.len() {
                match self.poll_write(&out[at..], deadline, cx) {
                    Poll::Ready(Some(written)) => at += written,
                    Poll::Ready(None) => return Poll::Ready(Delivery::ClientGone),
                    Poll::Pending => return Poll::Pending,
                }
            }
            self.poll_flush(deadline, cx)
        })
        .await;
        out.clear();
        written
    }

    /// Writes the head in `out` and then the body as it arrives. Nothing more is taken from the stream while
    /// a gathered batch waits for the client. Where only the end of the connection ends the body, it is a
    /// reset until the body is complete, whatever may end this connection before. `ends` is told before the
    /// batch with the body's end is written.
    async fn write_stream(
        &self,
        out: &mut Vec<u8>,
        (stream, delimiter, sent_bytes): (&mut dyn BodyStream, Delimiter, &mut u64),
        ends: &mut impl FnMut(),
        deadline: &mut Deadline,
    ) -> Delivery {
        if delimiter == Delimiter::Close {
            self.io.borrow().set_reset_when_closed(true);
        }
        let mut at = 0;
        let mut ended = None;
        let mut has_last_chunk = delimiter != Delimiter::Chunks;
        let delivery = poll_fn(|cx| {
            loop {
                if at == out.len() {
                    out.clear();
                    at = 0;
                }
                // A batch that is partly written is not added to: its written part would be kept as well.
                while ended.is_none() && at == 0 && out.len() < GATHER_BYTES {
                    match stream.poll_part(cx) {
                        Poll::Ready(Some(Ok(part))) => {
                            has_last_chunk |= matches!(part, Part::Trailers(_));
                            *sent_bytes += append_part(part, delimiter, out);
                        }
                        Poll::Ready(Some(Err(fault))) => ended = Some(Delivery::Broken(fault)),
                        Poll::Ready(None) => {
                            ended = Some(Delivery::Complete);
                            if !has_last_chunk {
                                out.extend_from_slice(b"0\r\n\r\n");
                            }
                        }
                        Poll::Pending => break,
                    }
                }
                if out.is_empty() {
                    return match (self.poll_flush(deadline, cx), ended) {
                        (Poll::Ready(Delivery::Complete), Some(ended)) => Poll::Ready(ended),
                        (Poll::Ready(Delivery::Complete), None) | (Poll::Pending, _) => Poll::Pending,
                        (Poll::Ready(gone), _) => Poll::Ready(gone),
                    };
                }
                if ended == Some(Delivery::Complete) || delimiter == Delimiter::Length(*sent_bytes) {
                    ends();
                }
                match self.poll_write(&out[at..], deadline, cx) {
                    Poll::Ready(Some(written)) => at += written,
                    Poll::Ready(None) => return Poll::Ready(Delivery::ClientGone),
                    Poll::Pending => {
                        stream.drive(cx);
                        return Poll::Pending;
                    }
                }
            }
        })
        .await;
        if delimiter == Delimiter::Close && delivery == Delivery::Complete {
            self.io.borrow().set_reset_when_closed(false);
        }
        delivery
    }

    /// Writes once: how much, or [`None`] if the client is gone or too slow.
    fn poll_write(&self, bytes: &[u8], deadline: &mut Deadline, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let io = &mut *self.io.borrow_mut();
        let taken_before = io.taken_bytes();
        match Pin::new(&mut *io).poll_write(cx, bytes) {
            Poll::Ready(Ok(written)) if written > 0 => {
                deadline.clear();
                Poll::Ready(Some(written))
            }
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => self.poll_too_slow(io.taken_bytes() > taken_before, deadline, cx).map(|()| None),
        }
    }

    /// Waits until the client's system has what was written, as long as it takes some of it in time.
    fn poll_flush(&self, deadline: &mut Deadline, cx: &mut Context<'_>) -> Poll<Delivery> {
        let io = &mut *self.io.borrow_mut();
        let taken_before = io.taken_bytes();
        match Pin::new(&mut *io).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                deadline.clear();
                Poll::Ready(Delivery::Complete)
            }
            Poll::Ready(Err(_)) => Poll::Ready(Delivery::ClientGone),
            Poll::Pending => {
                let took_some = io.taken_bytes() > taken_before;
                self.poll_too_slow(took_some, deadline, cx).map(|()| Delivery::ClientGone)
            }
        }
    }

    /// Ready when the client has taken nothing for too long.
    fn poll_too_slow(&self, took_some: bool, deadline: &mut Deadline, cx: &mut Context<'_>) -> Poll<()> {
        if took_some || !deadline.is_set() {
            deadline.set(self.bounds.write);
        }
        deadline.poll_expired(cx)
    }
}

fn write_status_line(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    out.extend_from_slice(reason.unwrap_or("Unknown").as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_framing(status: u16, payload: &Payload<'_>, shape: ResponseHead, out: &mut Vec<u8>) -> Delimiter {
    let length = match payload {
        Payload::None { described_length: Some(length) } | Payload::Stream { length: Some(length), .. } => {
            *length
        }
        Payload::None { described_length: None } if shape.to_head || status == 204 || status == 304 => {
            return Delimiter::Length(0);
        }
        Payload::None { described_length: None } => 0,
        Payload::Full(body) => body.len() as u64,
        Payload::Stream { length: None, .. } if shape.is_http_10 => return Delimiter::Close,
        Payload::Stream { length: None, .. } => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            return Delimiter::Chunks;
        }
    };
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
    Delimiter::Length(length)
}

/// Appends a part as this connection delimits it; content bytes.
fn append_part(part: Part, delimiter: Delimiter, out: &mut Vec<u8>) -> u64 {
    match (part, delimiter) {
        (Part::Data(data), Delimiter::Chunks) => {
            encode_chunk_size(data.len(), out);
            out.extend_from_slice(&data);
            out.extend_from_slice(b"\r\n");
            data.len() as u64
        }
        (Part::Data(data), Delimiter::Length(_) | Delimiter::Close) => {
            out.extend_from_slice(&data);
            data.len() as u64
        }
        (Part::Trailers(lines), Delimiter::Chunks) => {
            out.extend_from_slice(b"0\r\n");
            out.extend_from_slice(&lines);
            out.extend_from_slice(b"\r\n");
            0
        }
        (Part::Trailers(_), Delimiter::Length(_) | Delimiter::Close) => 0,
    }
}
