//! One request and its answer on one connection, both directions at once.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Buf;
use tokio::time::Instant;

use super::body::ResponseStream;
use super::connection::Connection;
use super::forward::Fault;
use super::pool::{InFlight, Pool};
use crate::domain::Forwarded;
use crate::message::{
    BodyFault, BodyStream, Buffer, Framing, Head, Part, Payload, PooledHead, ResponseHead, encode_chunk_size,
    response_head,
};

/// Interim answers that one request may get before its final one.
const MAX_INTERIM: usize = 8;
/// Upload bytes that are gathered before the upstream takes them.
const GATHER_BYTES: usize = 64 * 1024;

/// An upstream's answer.
pub struct UpstreamResponse<'c> {
    /// Its status, 200 to 599.
    pub status: u16,
    /// Its fields, all of them.
    pub head: PooledHead,
    /// Its body.
    pub payload: Payload<'c>,
}

/// What is still to be sent of the request's body.
pub(super) enum Upload<'c> {
    Done,
    Stream { stream: Box<dyn BodyStream + 'c>, chunked: bool },
}

/// The state of an exchange, from its first byte to the end of the answer's body.
pub(super) struct Exchange<'c> {
    pub(super) connection: Connection,
    pub(super) pool: Rc<Pool>,
    out: Buffer,
    out_at: usize,
    upload: Upload<'c>,
    pub(super) latest: Instant,
    /// Whether any byte was taken by the connection.
    pub(super) wrote: bool,
    /// Whether any byte of an answer came.
    pub(super) answered: bool,
    client_fault: Option<BodyFault>,
    upload_broken: bool,
    _in_flight: InFlight,
}

impl<'c> Exchange<'c> {
    /// Ready to send `out`, which holds the head and whatever of the body is there already.
    pub(super) fn new(
        mut connection: Connection,
        in_flight: InFlight,
        pool: Rc<Pool>,
        out: Buffer,
        upload: Upload<'c>,
    ) -> Self {
        let settings = pool.settings;
        let latest = connection.since + settings.total;
        connection.deadline.set_at(latest.min(connection.since + settings.first_byte));
        Self {
            connection,
            pool,
            out,
            out_at: 0,
            upload,
            latest,
            wrote: false,
            answered: false,
            client_fault: None,
            upload_broken: false,
            _in_flight: in_flight,
        }
    }

    /// Whether the whole request has been sent.
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.upload, Upload::Done) && self.out_at == self.out.len() && !self.upload_broken
    }

    /// Whether the upstream has everything that there is and the client owes the rest: a pause that the
    /// client's own deadline measures, not the upstream's.
    pub(super) fn waits_for_client(&self) -> bool {
        matches!(self.upload, Upload::Stream { .. }) && self.out_at == self.out.len() && !self.upload_broken
    }

    /// Sends and receives until the answer's head is there. `forwarded` follows what the upstream has seen.
    pub(super) async fn receive_head(
        &mut self,
        to_head_request: bool,
        head: &mut Head,
        forwarded: &Cell<Forwarded>,
    ) -> Result<ResponseHead, Fault> {
        let mut interim = 0;
        poll_fn(|cx| {
            loop {
                self.poll_upload(cx);
                if self.wrote && forwarded.get() == Forwarded::No {
                    forwarded.set(Forwarded::Maybe);
                }
                if let Some(fault) = self.client_fault {
                    return Poll::Ready(Err(Fault::Client(fault)));
                }
                if !self.connection.input.is_empty() {
                    head.clear();
                    match response_head(&self.connection.input, to_head_request, head) {
                        Err(_) => return Poll::Ready(Err(Fault::Broken)),
                        Ok(None) => {}
                        Ok(Some(found)) if found.status >= 200 => {
                            self.connection.input.advance(found.length);
                            return Poll::Ready(Ok(found));
                        }
                        Ok(Some(found)) if found.status == 101 || interim == MAX_INTERIM => {
                            return Poll::Ready(Err(Fault::Broken));
                        }
                        Ok(Some(found)) => {
                            interim += 1;
                            self.connection.input.advance(found.length);
                            continue;
                        }
                    }
                }
                match self.connection.poll_read_more(cx) {
                    Poll::Ready(Ok(0) | Err(_)) if self.answered => return Poll::Ready(Err(Fault::Broken)),
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Fault::ClosedUnanswered)),
                    Poll::Ready(Ok(_)) => {
                        self.answered = true;
                        forwarded.set(Forwarded::Yes);
                    }
                    Poll::Pending => {
                        if self.waits_for_client() {
                            self.connection.deadline.set_within(self.pool.settings.first_byte, self.latest);
                        }
                        return self.connection.deadline.poll_expired(cx).map(|()| Err(Fault::Timeout));
                    }
                }
            }
        })
        .await
    }

    /// Sends on as much of the request as is there and as the upstream takes. An upstream that stops reading
    /// may still answer, so that its error only ends the upload.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        while !self.upload_broken && self.client_fault.is_none() {
            self.gather(cx);
            if self.out_at == self.out.len() {
                if self.connection.poll_flush(cx).is_ready() && matches!(self.upload, Upload::Stream { .. }) {
                    self.out.clear();
                    self.out_at = 0;
                }
                return;
            }
            match self.connection.poll_write(cx, &self.out[self.out_at..]) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    self.out_at += written;
                    if !matches!(self.upload, Upload::Done) {
                        self.connection.deadline.set_within(self.pool.settings.first_byte, self.latest);
                    }
                    self.wrote = true;
                }
                Poll::Ready(_) => self.upload_broken = true,
                Poll::Pending => return,
            }
        }
    }

    /// Takes what is there of the body, up to a batch.
    fn gather(&mut self, cx: &mut Context<'_>) {
        while let Upload::Stream { stream, chunked } = &mut self.upload {
            if self.out_at == self.out.len() {
                self.out.clear();
                self.out_at = 0;
            }
            // A batch that is partly written is not added to: its written part would be kept as well.
            if self.out_at > 0 || self.out.len() >= GATHER_BYTES {
                return;
            }
            let chunked = *chunked;
            match stream.poll_part(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(Part::Data(data)))) => {
                    if chunked {
                        encode_chunk_size(data.len(), &mut self.out);
                    }
                    self.out.extend_from_slice(&data);
                    if chunked {
                        self.out.extend_from_slice(b"\r\n");
                    }
                }
                Poll::Ready(Some(Ok(Part::Trailers(lines)))) => {
                    if chunked {
                        self.out.extend_from_slice(b"0\r\n");
                        self.pool.rules.trailer_lines(&lines, &mut self.out);
                        self.out.extend_from_slice(b"\r\n");
                    }
                    self.upload = Upload::Done;
                }
                Poll::Ready(Some(Err(fault))) => {
                    self.client_fault = Some(fault);
                    return;
                }
                Poll::Ready(None) => {
                    if chunked {
                        self.out.extend_from_slice(b"0\r\n\r\n");
                    }
                    self.upload = Upload::Done;
                }
            }
        }
    }

    /// The client's fault that ended the upload.
    pub(super) const fn client_fault(&self) -> Option<BodyFault> {
        self.client_fault
    }

    /// The answer's body: whole if it is here already, else streamed. The connection goes back to its pool
    /// when the body ends cleanly. A body that is seen to be broken already makes the answer none.
    pub(super) async fn into_payload(mut self, found: ResponseHead) -> Result<Payload<'c>, Fault> {
        let complete = match found.framing {
            Framing::None => Some(0),
            Framing::Length(length) if self.connection.input.len() as u64 >= length => Some(length as usize),
            Framing::Length(_) | Framing::Chunked | Framing::UntilClose => None,
        };
        let reusable = found.keep_alive;
        match complete {
            Some(length) if self.is_sent() => {
                let mut body = Buffer::take();
                body.extend_from_slice(&self.connection.input[..length]);
                self.connection.input.advance(length);
                if reusable && self.connection.input.is_empty() {
                    self.pool.put_back(self.connection);
                }
                Ok(match found.framing {
                    Framing::None => Payload::None { described_length: found.described_length },
                    Framing::Length(_) | Framing::Chunked | Framing::UntilClose => Payload::Full(body),
                })
            }
            _ if found.framing == Framing::None => {
                Ok(Payload::None { described_length: found.described_length })
            }
            _ => {
                let length = if let Framing::Length(length) = found.framing { Some(length) } else { None };
                let mut stream = Box::new(ResponseStream::new(self, found.framing, reusable));
                poll_fn(|cx| Poll::Ready(stream.read_ahead(cx))).await?;
                Ok(Payload::Stream { stream, length })
            }
        }
    }
}
