//! One connection's bytes: what was read and not yet used, and where the current body ends.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;

use super::request_body::{BodyState, StreamedBody};
use crate::clock::Deadline;
use crate::listen::Bounds;
use crate::listen::drain::{DRAIN_IDLE, DrainGuard};
use crate::listen::transport::Transport;
use crate::message::{Framing, HeadFault, Parsed, PooledHead, RequestBody, request_head};

/// Unread bytes of a body that are worth reading so that the connection can stay open.
pub(super) const SKIP_BODY_BYTES: u64 = 64 * 1024;
/// How long a connection that must close still reads, so that its last answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(2);
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    /// Every read of a core goes through one buffer, so that idle connections hold none.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// What came next on a connection.
pub(super) enum Next {
    /// A complete request head.
    Request(Parsed),
    /// Bytes that are no acceptable head.
    Fault(HeadFault),
    /// The end, or nothing in time, or the drain.
    Closed,
}

/// An HTTP/1.1 connection. All of it lives on one task; the cells are borrowed only inside a poll.
pub(super) struct Connection<IO> {
    pub(super) io: RefCell<IO>,
    pub(super) input: RefCell<BytesMut>,
    pub(super) body: RefCell<BodyState>,
    pub(super) response_started: Cell<bool>,
    pub(super) bounds: Bounds,
}

impl<IO: Transport> Connection<IO> {
    pub(super) fn new(io: IO, first_bytes: BytesMut, bounds: Bounds) -> Self {
        Self {
            io: RefCell::new(io),
            input: RefCell::new(first_bytes),
            body: RefCell::new(BodyState::none()),
            response_started: Cell::new(false),
            bounds,
        }
    }

    /// Reads what has arrived behind the unread bytes; 0 is the end of the connection.
    pub(super) fn poll_read_more(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with(|scratch| {
            let mut scratch = scratch.borrow_mut();
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *self.io.borrow_mut()).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => {
                    self.input.borrow_mut().extend_from_slice(buffer.filled());
                    Poll::Ready(Ok(buffer.filled().len()))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            }
        })
    }

    pub(super) fn buffered(&self) -> usize {
        self.input.borrow().len()
    }

    pub(super) fn body_is_done(&self) -> bool {
        self.body.borrow().is_done()
    }

    /// Waits for the next request head. `deadline` has been set to the longest idle time.
    pub(super) async fn next_head(
        &self,
        head: &mut Option<PooledHead>,
        deadline: &mut Deadline,
        drain: &DrainGuard,
    ) -> Next {
        let mut draining = false;
        let mut started = false;
        self.response_started.set(false);
        poll_fn(|cx| {
            loop {
                if self.buffered() > 0 {
                    match self.try_head(head) {
                        Ok(Some(parsed)) => return Poll::Ready(Next::Request(parsed)),
                        Ok(None) => {}
                        Err(fault) => return Poll::Ready(Next::Fault(fault)),
                    }
                    if !std::mem::replace(&mut started, true) {
                        deadline.set(self.bounds.head_timeout);
                    }
                }
                match self.poll_read_more(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Closed),
                    Poll::Ready(Ok(_)) => continue,
                    Poll::Pending => {}
                }
                if !started {
                    *self.input.borrow_mut() = BytesMut::new();
                    if !draining && drain.poll_draining(cx) {
                        draining = true;
                        deadline.set(DRAIN_IDLE);
                    }
                }
                return deadline.poll_expired(cx).map(|()| {
                    let limit_seconds = self.bounds.head_timeout.as_secs();
                    if started { Next::Fault(HeadFault::Timeout { limit_seconds }) } else { Next::Closed }
                });
            }
        })
        .await
    }

    fn try_head(&self, pooled: &mut Option<PooledHead>) -> Result<Option<Parsed>, HeadFault> {
        let mut input = self.input.borrow_mut();
        let head = pooled.get_or_insert_with(PooledHead::take);
        head.clear();
        let Some(parsed) = request_head(&input, &self.bounds.head, head)? else { return Ok(None) };
        input.advance(parsed.length);
        if matches!(parsed.framing, Framing::Length(length) if length > self.bounds.body_bytes) {
            return Err(HeadFault::BodyTooLarge { limit_bytes: self.bounds.body_bytes });
        }
        Ok(Some(parsed))
    }

    /// The whole body if it has arrived with its head and is short; an empty one if there is none.
    pub(super) fn take_full_body(&self, parsed: &Parsed, limit_bytes: u64) -> Option<BytesMut> {
        let mut input = self.input.borrow_mut();
        let length = match parsed.framing {
            Framing::None => 0,
            Framing::Length(length) if length <= limit_bytes && input.len() as u64 >= length => {
                length as usize
            }
            Framing::Length(_) | Framing::Chunked | Framing::UntilClose => return None,
        };
        *self.body.borrow_mut() = BodyState::none();
        Some(if length == 0 { BytesMut::new() } else { input.split_to(length) })
    }

    /// The body as it arrives.
    pub(super) fn stream_body<'c>(&'c self, parsed: &Parsed) -> RequestBody<'c> {
        let length = if let Framing::Length(length) = parsed.framing { Some(length) } else { None };
        *self.body.borrow_mut() = BodyState::new(parsed);
        RequestBody::Stream { stream: Box::new(StreamedBody::new(self)), length }
    }

    /// Reads and drops what is left of a body, if that is little. False if the connection has to close.
    pub(super) async fn skip_rest_of_body(&self, deadline: &mut Deadline) -> bool {
        if self.body_is_done() {
            return true;
        }
        deadline.set(self.bounds.body_idle.min(LINGER));
        let mut skipped = 0;
        poll_fn(|cx| {
            loop {
                match self.poll_skip(cx) {
                    Poll::Ready(Some(length)) => skipped += length,
                    Poll::Ready(None) => return Poll::Ready(self.body_is_done()),
                    Poll::Pending => return deadline.poll_expired(cx).map(|()| false),
                }
                if skipped > SKIP_BODY_BYTES {
                    return Poll::Ready(false);
                }
            }
        })
        .await
    }

    /// Ends a connection on which nothing is under way; over TLS the client is told so.
    pub(super) async fn shut_down(&self, deadline: &mut Deadline) {
        deadline.set(LINGER);
        poll_fn(|cx| match Pin::new(&mut *self.io.borrow_mut()).poll_shutdown(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => deadline.poll_expired(cx),
        })
        .await;
    }

    /// Ends the connection so that the client still reads its last answer: no more is written, and for a
    /// short while what arrives is read and dropped (RFC 9112, section 9.6).
    pub(super) async fn close_lingering(&self, deadline: &mut Deadline) {
        deadline.set(LINGER);
        let mut skipped = 0;
        let mut shut = false;
        poll_fn(|cx| {
            if !shut {
                match Pin::new(&mut *self.io.borrow_mut()).poll_shutdown(cx) {
                    Poll::Ready(_) => shut = true,
                    Poll::Pending => return deadline.poll_expired(cx),
                }
            }
            loop {
                self.input.borrow_mut().clear();
                match self.poll_read_more(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(length)) => skipped += length as u64,
                    Poll::Pending => return deadline.poll_expired(cx),
                }
                if skipped > 16 * SKIP_BODY_BYTES {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }
}
