//! HTTP/2 connections: hyper reads them, we bound them and turn their requests into heads.
//!
//! Decides which of an HTTP/2 connection's requests are acceptable, how long it may be idle, and when it is
//! abused. Invariants: the first request must be complete in the time for a head; a response that the client's
//! window keeps back is given up after the write time-out; more than one reset in five requests ends the
//! connection, whether the client resets before or behind the response's head or makes us reset; a connection that ends idle is told so by GOAWAY first.
//!
//! The `h2` crate is laxer than RFC 9113 in two places, which it gives no means to see from outside. Both are
//! harmless here and accepted:
//!
//! - Trailers with pseudo-fields (section 8.1 calls them malformed) are taken; the pseudo-fields are dropped
//!   and never reach the upstream.
//! - A client preface without its SETTINGS frame (section 3.4) is taken as if it were empty.
//!
//! Connection fields, upper case names, a `content-length` that is not the length of the data, and header
//! blocks over the list size that is announced are refused inside `h2`, by a reset or a bare 431, before there
//! is a request to answer or record.

mod request;
mod response;
mod streams;

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use self::response::{OutgoingBody, outgoing};
use self::streams::{Executor, OpenStream, Streams};
use super::drain::DrainGuard;
use super::{Bounds, Peer, Service};
use crate::clock::Deadline;

const PING_INTERVAL: Duration = Duration::from_secs(20);
/// After GOAWAY, how long an idle connection may still send requests that crossed it.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves a connection until it ends.
pub(super) async fn serve<IO, S>(io: IO, service: Rc<S>, peer: Peer, bounds: Bounds, drain: DrainGuard)
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service,
{
    let streams = Rc::new(Streams::default());
    let executor = Executor::new(bounds.write);
    let (shared, arrivals) = (Rc::clone(&streams), executor.clone());
    let answer = move |request: hyper::Request<Incoming>| {
        let stream = OpenStream::new(&shared, &arrivals.arrived());
        let service = Rc::clone(&service);
        async move { Ok::<_, Infallible>(answer(&*service, request, &peer, &bounds, stream).await) }
    };
    let mut builder = hyper::server::conn::http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_header_list_size(header_list_bytes(&bounds))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    let connection = builder.serve_connection(TokioIo::new(io), hyper::service::service_fn(answer));
    supervise(connection, &streams, &bounds, &drain).await;
}

/// The header list that is still read, so that one over the limit can be refused in the API's words. The list
/// counts 32 bytes more for each field (RFC 7541, section 4.1).
const fn header_list_bytes(bounds: &Bounds) -> u32 {
    (bounds.head.head_bytes * 2) as u32
}

/// Drives a connection and ends it when it is idle for too long, abused, or the core drains.
async fn supervise<IO, F>(
    connection: hyper::server::conn::http2::Connection<TokioIo<IO>, F, Executor>,
    streams: &Streams,
    bounds: &Bounds,
    drain: &DrainGuard,
) where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    F: hyper::service::HttpService<Incoming, ResBody = OutgoingBody>,
    F::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    hyper::server::conn::http2::Connection<TokioIo<IO>, F, Executor>: Future,
    F::Future: 'static,
    Executor: hyper::rt::bounds::Http2ServerConnExec<F::Future, OutgoingBody>,
{
    let mut connection = pin!(connection);
    let mut deadline = Deadline::new();
    deadline.set(bounds.head_timeout);
    let mut is_ending = false;
    let mut was_busy = false;
    std::future::poll_fn(|cx| {
        streams.wake_on_change(cx);
        loop {
            if connection.as_mut().poll(cx).is_ready() || streams.is_attack() {
                return Poll::Ready(());
            }
            let must_end = !is_ending && drain.poll_draining(cx);
            if streams.is_busy() {
                was_busy = true;
                deadline.clear();
            } else if std::mem::take(&mut was_busy) {
                deadline.set(if is_ending { GOODBYE } else { bounds.keep_alive });
            }
            if !must_end && deadline.poll_expired(cx).is_pending() {
                return Poll::Pending;
            }
            if is_ending {
                return Poll::Ready(());
            }
            is_ending = true;
            connection.as_mut().graceful_shutdown();
            if !streams.is_busy() {
                deadline.set(GOODBYE);
            }
        }
    })
    .await;
}

async fn answer<S: Service>(
    service: &S,
    request: hyper::Request<Incoming>,
    peer: &Peer,
    bounds: &Bounds,
    stream: OpenStream,
) -> hyper::Response<OutgoingBody> {
    let (parts, incoming) = request.into_parts();
    let head = request::head_of(&parts);
    let response = if let Err(fault) = request::check(&parts, &head, &incoming, bounds) {
        service.refuse(fault, &head, peer)
    } else {
        service.serve(&head, request::body_of(incoming, bounds), peer).await
    };
    stream.answered();
    outgoing(response, head.method() == b"HEAD", stream)
}
