//! Writing a response: head and small body in one write, larger ones as they come.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Connection, SKIP_BODY_BYTES};
use crate::clock::Deadline;
use crate::message::{BodyStream, Delivery, Part, Payload, Response, encode_chunk_size};

/// Written bytes that are gathered before a slow client is waited for.
const GATHER_BYTES: usize = 64 * 1024;

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

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<IO> {
    /// Writes one response, in time, and says how the connection goes on.
    pub(super) async fn write_response(
        &self,
        response: Response<'_>,
        shape: ResponseHead,
        deadline: &mut Deadline,
    ) -> Ending {
        self.response_started.set(true);
        deadline.clear();
        let Response { status, fields, payload, close, completion } = response;
        let answers_early = !matches!(payload, Payload::Stream { .. });
        let body_is_skipped = self.body.borrow().is_worth_skipping(SKIP_BODY_BYTES);
        let mut keep_alive = shape.keep_alive && !close && (body_is_skipped || !answers_early);
        let full_length = if let Payload::Full(body) = &payload { body.len() } else { 0 };
        let mut out = Vec::with_capacity(fields.len() + full_length + 160);
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
        let delivery = match payload {
            Payload::None { .. } => self.write_out(&mut out, deadline).await,
            Payload::Full(body) => {
                if !shape.to_head {
                    out.extend_from_slice(&body);
                    sent_bytes = body.len() as u64;
                }
                self.write_out(&mut out, deadline).await
            }
            Payload::Stream { mut stream, .. } => {
                self.write_stream(&mut out, &mut *stream, delimiter, &mut sent_bytes, deadline).await
            }
        };
        if let Some(completion) = completion {
            completion.sent(sent_bytes, delivery);
        }
        deadline.clear();
        match (delivery, keep_alive && self.body.borrow().is_worth_skipping(SKIP_BODY_BYTES)) {
            (Delivery::Broken | Delivery::ClientGone, _) => Ending::Gone,
            (Delivery::Complete, true) => Ending::KeepAlive,
            (Delivery::Complete, false) => Ending::Close,
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
            Pin::new(&mut *self.io.borrow_mut()).poll_flush(cx).map(|result| flushed(&result))
        })
        .await;
        out.clear();
        written
    }

    /// Writes the head in `out` and then the body as it arrives. Nothing more is taken from the stream while
    /// a gathered batch waits for the client.
    async fn write_stream(
        &self,
        out: &mut Vec<u8>,
        stream: &mut dyn BodyStream,
        delimiter: Delimiter,
        sent_bytes: &mut u64,
        deadline: &mut Deadline,
    ) -> Delivery {
        let mut at = 0;
        let mut ended = false;
        let mut has_last_chunk = delimiter != Delimiter::Chunks;
        poll_fn(|cx| {
            loop {
                if at == out.len() {
                    out.clear();
                    at = 0;
                }
                // A batch that is partly written is not added to: its written part would be kept as well.
                while !ended && at == 0 && out.len() < GATHER_BYTES {
                    match stream.poll_part(cx) {
                        Poll::Ready(Some(Ok(part))) => {
                            has_last_chunk |= matches!(part, Part::Trailers(_));
                            *sent_bytes += append_part(part, delimiter, out);
                        }
                        Poll::Ready(Some(Err(_))) => return Poll::Ready(Delivery::Broken),
                        Poll::Ready(None) => {
                            ended = true;
                            if !has_last_chunk {
                                out.extend_from_slice(b"0\r\n\r\n");
                            }
                        }
                        Poll::Pending => break,
                    }
                }
                if out.is_empty() {
                    let flush = Pin::new(&mut *self.io.borrow_mut()).poll_flush(cx);
                    return if ended { flush.map(|result| flushed(&result)) } else { Poll::Pending };
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
        .await
    }

    /// Writes once: how much, or [`None`] if the client is gone or too slow.
    fn poll_write(&self, bytes: &[u8], deadline: &mut Deadline, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        match Pin::new(&mut *self.io.borrow_mut()).poll_write(cx, bytes) {
            Poll::Ready(Ok(written)) if written > 0 => {
                deadline.clear();
                Poll::Ready(Some(written))
            }
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => {
                if !deadline.is_set() {
                    deadline.set(self.bounds.write);
                }
                deadline.poll_expired(cx).map(|()| None)
            }
        }
    }
}

/// What a flush says of the delivery.
fn flushed(result: &std::io::Result<()>) -> Delivery {
    if result.is_ok() { Delivery::Complete } else { Delivery::ClientGone }
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
