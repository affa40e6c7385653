//! The attempts of one request: a reused connection, a fresh one, the next upstream.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::connection::Connection;
use super::exchange::{Exchange, Upload, UpstreamResponse};
use super::fields::{Announced, Client};
use super::pool::Pool;
use crate::domain::Forwarded;
use crate::limits::Admission;
use crate::message::{BodyFault, FieldName, Head, RequestBody};

/// What went wrong between the upstream and us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No connection.
    #[error("no connection could be made")]
    Unreachable,
    /// No connection in time.
    #[error("no connection was made in time")]
    ConnectTimeout,
    /// At the bound of connections.
    #[error("every connection to the upstream is in use")]
    TooManyConnections,
    /// The connection ended before any answer.
    #[error("the connection ended before an answer")]
    ClosedUnanswered,
    /// The answer is not HTTP, or broke off in its head.
    #[error("the answer is broken")]
    Broken,
    /// No answer in time.
    #[error("no answer came in time")]
    Timeout,
    /// The client's body failed on its way.
    #[error("the request's body failed: {0}")]
    Client(BodyFault),
}

/// A request on its way out.
pub struct OutgoingRequest<'r, 'c> {
    /// Its head as it arrived.
    pub head: &'r Head,
    /// Its body.
    pub body: RequestBody<'c>,
    /// What the upstream is told of its client.
    pub client: Client<'r>,
    /// Whether sending it twice is as good as once.
    pub is_idempotent: bool,
}

/// Sends an admitted request to the first of `pools` that can be reached, and returns the answer's head with
/// its body still arriving. `first` is where to start, so that load spreads.
///
/// A request is sent again only if nothing of it was sent, or if a reused connection turned out to be closed
/// before any answer and repeating the request is safe. `forwarded` says at every moment, also when this is
/// dropped, whether an upstream may have acted on the request.
pub async fn forward<'c>(
    pools: &[Rc<Pool>],
    first: usize,
    _admission: &Admission<'_>,
    request: OutgoingRequest<'_, 'c>,
    forwarded: &Cell<Forwarded>,
) -> Result<UpstreamResponse<'c>, Fault> {
    let mut fault = Fault::Unreachable;
    let mut request = Some(request);
    for offset in 0..pools.len() {
        let pool = &pools[(first + offset) % pools.len()];
        let Some(pending) = request.take() else { break };
        let is_repeatable = pending.is_idempotent && !matches!(pending.body, RequestBody::Stream { .. });
        let connection = match pool.reuse(!is_repeatable) {
            Some(connection) => connection,
            None => match pool.connect().await {
                Ok(connection) => connection,
                Err(found) => {
                    fault = found;
                    request = Some(pending);
                    continue;
                }
            },
        };
        return attempt(pool, connection, pending, forwarded).await;
    }
    Err(fault)
}

/// One upstream: a reused connection may have to be replaced by a fresh one.
async fn attempt<'c>(
    pool: &Rc<Pool>,
    connection: Connection,
    request: OutgoingRequest<'_, 'c>,
    forwarded: &Cell<Forwarded>,
) -> Result<UpstreamResponse<'c>, Fault> {
    let to_head_request = request.head.method() == b"HEAD";
    let is_idempotent = request.is_idempotent;
    let is_whole = !matches!(request.body, RequestBody::Stream { .. });
    let (out, upload) = prepare(pool, request);
    let was_reused = connection.is_reused;
    let mut head = Head::with_room();
    let mut exchange = Exchange::new(connection, Rc::clone(pool), out, upload);
    let mut result = exchange.receive_head(to_head_request, &mut head, forwarded).await;
    let mut retries = 0;
    if was_reused && is_whole && result == Err(Fault::ClosedUnanswered) && (is_idempotent || !exchange.wrote)
    {
        retries = 1;
        let out = exchange.into_request();
        let connection = pool.connect().await?;
        exchange = Exchange::new(connection, Rc::clone(pool), out, Upload::Done);
        result = exchange.receive_head(to_head_request, &mut head, forwarded).await;
    }
    let found = result?;
    let upstream = Arc::clone(&pool.upstream().url);
    let payload = exchange.into_payload(found).await?;
    Ok(UpstreamResponse { status: found.status, head, payload, upstream, retries })
}

/// The bytes to send at once, and what follows as it arrives.
fn prepare<'c>(pool: &Pool, request: OutgoingRequest<'_, 'c>) -> (Vec<u8>, Upload<'c>) {
    let announced = match &request.body {
        RequestBody::Empty if request.head.first(FieldName::ContentLength).is_some() => Announced::Length(0),
        RequestBody::Empty => Announced::Nothing,
        RequestBody::Full(body) => Announced::Length(body.len() as u64),
        RequestBody::Stream { length: Some(length), .. } => Announced::Length(*length),
        RequestBody::Stream { length: None, .. } => Announced::Chunked,
    };
    let mut out = Vec::with_capacity(1024);
    pool.rules.request_head(request.head, &request.client, announced, &pool.upstream().authority, &mut out);
    let upload = match request.body {
        RequestBody::Empty => Upload::Done,
        RequestBody::Full(body) => {
            out.extend_from_slice(body);
            Upload::Done
        }
        RequestBody::Stream { stream, length } => Upload::Stream { stream, chunked: length.is_none() },
    };
    (out, upload)
}
