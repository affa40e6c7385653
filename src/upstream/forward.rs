//! The attempts of one request: an idle connection, a fresh one, another upstream.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::exchange::{Exchange, Upload, UpstreamResponse};
use super::fields::{Announced, Client};
use super::pool::{InFlight, Pool};
use super::pools::RegionPools;
use crate::clock::Now;
use crate::domain::Forwarded;
use crate::limits::Admission;
use crate::message::{BodyFault, Buffer, FieldName, Head, PooledHead, RequestBody};

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
    /// Every upstream of the region serves as many requests as it may.
    #[error("every upstream serves as many requests as it may")]
    TooManyInFlight,
    /// The workspace has as many requests in flight as its share of the region's places allows.
    #[error("the workspace holds its share of the places already")]
    OverShare {
        /// How many those are.
        held: u32,
    },
    /// The breakers of all upstreams of the region have tripped.
    #[error("every upstream's breaker has tripped")]
    Open {
        /// Time until one may be asked again.
        wait: Duration,
    },
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

/// What is known of a request that is under way; right at every moment, also when its future is dropped.
pub struct Trail<'f> {
    /// Whether an upstream may have acted on it.
    pub forwarded: &'f Cell<Forwarded>,
    /// The upstream that it was last sent to, as configured.
    pub upstream: &'f mut Option<Arc<str>>,
    /// How often it was sent again.
    pub retries: &'f mut u8,
}

/// Sends an admitted request to one of a region's upstreams, and returns the answer's head with its body still
/// arriving.
///
/// It is sent again, to another upstream and within the budget, if nothing of it was written, or if the
/// connection ended before any answer and repeating it is safe; and once for free if the connection was an idle
/// one that turned out to be closed. What was streamed is never sent again. `now` is when it is first sent.
pub async fn forward<'c>(
    pools: &RegionPools,
    _admission: &Admission<'_>,
    mut request: OutgoingRequest<'_, 'c>,
    trail: Trail<'_>,
    mut now: Now,
) -> Result<UpstreamResponse<'c>, Fault> {
    let is_whole = !matches!(request.body, RequestBody::Stream { .. });
    let is_repeatable = request.is_idempotent && is_whole;
    let (mut tried, mut is_fresh, mut last) = (0, false, None);
    pools.note_request();
    loop {
        let at = pools.choose(tried, now).map_err(|none| last.unwrap_or(none))?;
        let pool = &pools.pools[at];
        *trail.upstream = Some(Arc::clone(&pool.server.label));
        let reuse = if is_fresh { Reuse::Never } else { Reuse::Idle { surely: !is_repeatable } };
        let failed = match attempt(pool, reuse, &mut request, trail.forwarded).await {
            Ok(answer) => return Ok(answer),
            Err(failed) => failed,
        };
        let Failed { fault, was_idle, wrote } = failed;
        // That an idle connection was closed says nothing of its server.
        let is_stale = was_idle && fault == Fault::ClosedUnanswered;
        if !is_stale {
            pool.note_fault(fault);
        }
        let is_safe = match fault {
            Fault::Unreachable | Fault::ConnectTimeout | Fault::TooManyConnections => true,
            Fault::ClosedUnanswered => is_repeatable || is_whole && !wrote,
            _ => false,
        };
        if !is_safe {
            return Err(fault);
        }
        if is_stale {
            is_fresh = true;
        } else {
            tried |= 1 << at;
            if !pools.may_retry(*trail.retries, pools.clock.now()) {
                return Err(fault);
            }
        }
        *trail.retries = trail.retries.saturating_add(1);
        last = Some(fault);
        now = pools.clock.now();
    }
}

/// Whether an attempt may use an idle connection.
#[derive(Clone, Copy)]
enum Reuse {
    Never,
    /// `surely`: only one that the kernel says is open.
    Idle {
        surely: bool,
    },
}

/// An attempt that brought no answer.
struct Failed {
    fault: Fault,
    was_idle: bool,
    wrote: bool,
}

/// One connection to one server.
async fn attempt<'c>(
    pool: &Rc<Pool>,
    reuse: Reuse,
    request: &mut OutgoingRequest<'_, 'c>,
    forwarded: &Cell<Forwarded>,
) -> Result<UpstreamResponse<'c>, Failed> {
    let in_flight = InFlight::new(pool);
    let idle = match reuse {
        Reuse::Never => None,
        Reuse::Idle { surely } => pool.reuse(surely),
    };
    let connection = match idle {
        Some(connection) => connection,
        None => pool.connect().await.map_err(|fault| Failed { fault, was_idle: false, wrote: false })?,
    };
    let was_idle = connection.is_reused;
    let to_head_request = request.head.method() == b"HEAD";
    let (out, upload) = prepare(pool, request);
    let mut head = PooledHead::take();
    let mut exchange = Exchange::new(connection, in_flight, Rc::clone(pool), out, upload);
    let found = match exchange.receive_head(to_head_request, &mut head, forwarded).await {
        Ok(found) => found,
        Err(fault) => return Err(Failed { fault, was_idle, wrote: exchange.wrote }),
    };
    pool.note_answer(found.status);
    match exchange.into_payload(found).await {
        Ok(payload) => Ok(UpstreamResponse { status: found.status, head, payload }),
        Err(fault) => Err(Failed { fault, was_idle, wrote: true }),
    }
}

/// The bytes to send at once, and what follows as it arrives. A body that is whole stays with the request.
fn prepare<'c>(pool: &Pool, request: &mut OutgoingRequest<'_, 'c>) -> (Buffer, Upload<'c>) {
    let body = match &request.body {
        RequestBody::Empty => RequestBody::Empty,
        RequestBody::Full(body) => RequestBody::Full(body),
        RequestBody::Stream { .. } => std::mem::replace(&mut request.body, RequestBody::Empty),
    };
    let announced = match &body {
        RequestBody::Empty if request.head.first(FieldName::ContentLength).is_some() => Announced::Length(0),
        RequestBody::Empty => Announced::Nothing,
        RequestBody::Full(body) => Announced::Length(body.len() as u64),
        RequestBody::Stream { length: Some(length), .. } => Announced::Length(*length),
        RequestBody::Stream { length: None, .. } => Announced::Chunked,
    };
    let mut out = Buffer::take();
    pool.rules.request_head(request.head, &request.client, announced, &pool.upstream.authority, &mut out);
    let upload = match body {
        RequestBody::Empty => Upload::Done,
        RequestBody::Full(body) => {
            out.extend_from_slice(body);
            Upload::Done
        }
        RequestBody::Stream { stream, length } => Upload::Stream { stream, chunked: length.is_none() },
    };
    (out, upload)
}
