//! What is known of one request.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::masking::cut;
use super::{OperationLabel, PolicyLabel, RegionLabel, RequestId, TraceParent};
use crate::clock::Now;
use crate::domain::{ApiVersion, Forwarded, Method, Outcome};

/// What is known of a request the moment it arrives.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Its id.
    pub request_id: RequestId,
    /// The trace that it belongs to.
    pub trace: TraceParent,
    /// When it arrived.
    pub now: Now,
    /// Its method token.
    pub method: &'a [u8],
    /// Its target up to the first `?`. The query stays out: tokens end up in queries.
    pub path: &'a [u8],
    /// `User-Agent`; empty if it has none.
    pub user_agent: &'a [u8],
    /// Who sent it.
    pub peer: Option<SocketAddr>,
    /// The protocol version, `HTTP/1.1`.
    pub protocol: &'static str,
}

/// Plain data of one request. The request path fills in what it learns; what it never learned stays empty.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its id.
    pub request_id: RequestId,
    /// The trace that it belongs to.
    pub trace: TraceParent,
    /// When it arrived.
    pub arrived: Now,
    /// Its method; [`None`] for one that is not among the known.
    pub method: Option<Method>,
    /// The protocol version.
    pub protocol: &'static str,
    /// Who sent it.
    pub peer: Option<SocketAddr>,
    /// The operation that it matched.
    pub operation: OperationLabel,
    /// The version of the operation that was asked for or chosen.
    pub api_version: Option<ApiVersion>,
    /// The caller's workspace.
    pub workspace_id: Option<Arc<str>>,
    /// The credential's public name.
    pub token_id: Option<Arc<str>>,
    /// The caller's home region.
    pub region: RegionLabel,
    /// The upstream that was chosen.
    pub upstream: Option<Arc<str>>,
    /// The policy that refused.
    pub policy: Option<PolicyLabel>,
    /// Whether an upstream may have acted on it. A cell, because it changes while the request is being sent on
    /// and must be right whenever the client leaves.
    pub forwarded: Cell<Forwarded>,
    /// How it ended; [`None`] until that is decided.
    pub outcome: Option<Outcome>,
    /// The status code of the answer; 0 until there is one.
    pub status: u16,
    /// Bytes of the request's head and body.
    pub bytes_in: u64,
    /// Bytes of the answer's head and body.
    pub bytes_out: u64,
    /// How often it was sent to an upstream again.
    pub retries: u8,
    /// Time from arrival to the end of the answer. Set when the record closes.
    pub total: Duration,
    /// Time that the gateway itself took: until the request was sent on, and from the upstream's answer to ours.
    /// If it was not sent on, the whole.
    pub overhead: Option<Duration>,
    /// Time from sending the request on to the head of the upstream's answer.
    pub upstream_time: Option<Duration>,
    /// Path and user agent in one buffer, cut where they are overlong.
    pub(super) text: Box<[u8]>,
    pub(super) path_length: u16,
}

const LONGEST_PATH_BYTES: usize = 1_024;
const LONGEST_USER_AGENT_BYTES: usize = 256;

impl Facts {
    pub(super) fn at_arrival(arrival: Arrival<'_>, keep_text: bool) -> Self {
        let path = cut(arrival.path, LONGEST_PATH_BYTES);
        let agent = cut(arrival.user_agent, LONGEST_USER_AGENT_BYTES);
        let (text, path_length) =
            if keep_text { ([path, agent].concat().into(), path.len() as u16) } else { (Box::default(), 0) };
        Self {
            request_id: arrival.request_id,
            trace: arrival.trace,
            arrived: arrival.now,
            method: Method::by_name(arrival.method),
            protocol: arrival.protocol,
            peer: arrival.peer,
            operation: OperationLabel::default(),
            api_version: None,
            workspace_id: None,
            token_id: None,
            region: RegionLabel::default(),
            upstream: None,
            policy: None,
            forwarded: Cell::new(Forwarded::No),
            outcome: None,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            retries: 0,
            total: Duration::ZERO,
            overhead: None,
            upstream_time: None,
            text,
            path_length,
        }
    }

    /// The path, as far as it was kept.
    pub fn path(&self) -> &[u8] {
        &self.text[..usize::from(self.path_length)]
    }

    /// The user agent, as far as it was kept.
    pub fn user_agent(&self) -> &[u8] {
        &self.text[usize::from(self.path_length)..]
    }

    /// The method token, or `OTHER`.
    pub fn method_name(&self) -> &'static str {
        self.method.map_or("OTHER", Method::name)
    }
}
