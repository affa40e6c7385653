//! HTTP/1.1 connections: one request after the other, read strictly and answered whole.

mod connection;
mod request_body;
mod response;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::BytesMut;

use self::connection::{Connection, Next};
use self::response::{Ending, ResponseHead};
use super::drain::DrainGuard;
use super::transport::Transport;
use super::{Bounds, Peer, Service};
use crate::clock::Deadline;
use crate::message::{Head, HeadFault, Parsed, PooledHead, RequestBody, Response};

/// Bodies up to this length that arrived with their head are handed on in one piece.
const FULL_BODY_BYTES: u64 = 64 * 1024;
/// Bytes of one pipelined request behind another that are read ahead.
const READ_AHEAD_BYTES: usize = 16 * 1024;

/// Serves a connection until it ends. `first_bytes` were read from it already.
pub(super) async fn serve<IO, S>(
    io: IO,
    first_bytes: BytesMut,
    service: &S,
    peer: Peer,
    bounds: Bounds,
    drain: DrainGuard,
) where
    IO: Transport,
    S: Service,
{
    let connection = Connection::new(io, first_bytes, bounds);
    let mut deadline = Deadline::new();
    deadline.set(bounds.head_timeout);
    loop {
        let mut head = None;
        let next = connection.next_head(&mut head, &mut deadline, &drain).await;
        let ending = match next {
            Next::Closed => return connection.shut_down(&mut deadline).await,
            Next::Fault(fault) => {
                let head = head.get_or_insert_with(PooledHead::take);
                answer_fault(&connection, service, fault, head, &peer, &mut deadline).await;
                Ending::Close
            }
            Next::Request(parsed) => {
                let head = head.get_or_insert_with(PooledHead::take);
                answer_request(&connection, service, head, parsed, &peer, &mut deadline, &drain).await
            }
        };
        drop(head);
        match ending {
            Ending::Gone => return,
            Ending::KeepAlive if connection.skip_rest_of_body(&mut deadline).await => {
                deadline.set(bounds.keep_alive);
            }
            Ending::KeepAlive | Ending::Close => return connection.close_lingering(&mut deadline).await,
        }
    }
}

/// Answers a connection for which there is no place, whatever it may ask, and closes it.
pub(super) async fn turn_away<IO, S>(io: IO, service: &S, peer: Peer, bounds: Bounds)
where
    IO: Transport,
    S: Service,
{
    let connection = Connection::new(io, BytesMut::new(), bounds);
    let mut deadline = Deadline::new();
    let head = PooledHead::take();
    answer_fault(&connection, service, HeadFault::TooManyConnections, &head, &peer, &mut deadline).await;
    connection.close_lingering(&mut deadline).await;
}

async fn answer_fault<IO, S>(
    connection: &Connection<IO>,
    service: &S,
    fault: HeadFault,
    head: &Head,
    peer: &Peer,
    deadline: &mut Deadline,
) where
    IO: Transport,
    S: Service,
{
    let mut response = service.refuse(fault, head, peer);
    response.close = true;
    let shape = ResponseHead { is_http_10: false, to_head: head.method() == b"HEAD", keep_alive: false };
    connection.write_response(response, shape, deadline).await;
}

async fn answer_request<IO, S>(
    connection: &Connection<IO>,
    service: &S,
    head: &Head,
    parsed: Parsed,
    peer: &Peer,
    deadline: &mut Deadline,
    drain: &DrainGuard,
) -> Ending
where
    IO: Transport,
    S: Service,
{
    let full = connection.take_full_body(&parsed, FULL_BODY_BYTES);
    let body = match &full {
        Some(bytes) if bytes.is_empty() => RequestBody::Empty,
        Some(bytes) => RequestBody::Full(bytes),
        None => connection.stream_body(&parsed),
    };
    deadline.clear();
    let answer = pin!(service.serve(head, body, peer));
    let Some(response) = unless_gone(connection, answer).await else {
        return Ending::Gone;
    };
    let shape = ResponseHead {
        is_http_10: head.version() == crate::message::Version::Http10,
        to_head: head.method() == b"HEAD",
        keep_alive: parsed.keep_alive && !drain.is_draining(),
    };
    connection.write_response(response, shape, deadline).await
}

/// Runs `answer` to its end unless the client closes the connection first.
async fn unless_gone<'c, IO>(
    connection: &Connection<IO>,
    mut answer: Pin<&mut impl Future<Output = Response<'c>>>,
) -> Option<Response<'c>>
where
    IO: Transport,
{
    std::future::poll_fn(|cx| {
        if let Poll::Ready(response) = answer.as_mut().poll(cx) {
            return Poll::Ready(Some(response));
        }
        while connection.body_is_done() && connection.buffered() < READ_AHEAD_BYTES {
            match connection.poll_read_more(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        Poll::Pending
    })
    .await
}
