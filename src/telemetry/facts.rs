//! What is known of one request.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::masking::cut;
use super::{OperationLabel, PolicyLabel, RegionLabel, RequestId, TraceParent};
use crate::clock::Now;
use crate::domain::{ApiVersion, Forwarded, Method, Outcome, Plan, Role, TokenId};

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
    /// `Accept`; empty if it has none. Says which version was asked for.
    pub accept: &'a [u8],
    /// `Content-Type`; empty if it has none. Says which version the body is of.
    pub content_type: &'a [u8],
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
    pub token_id: Option<TokenId>,
    /// The issuer of its JWT; [`None`] for an opaque token and for none.
    pub issuer: Option<Arc<str>>,
    /// The workspace's plan.
    pub plan: Option<Plan>,
    /// The caller's role.
    pub role: Option<Role>,
    /// Whether the version of the operation is marked as going away.
    pub deprecated: bool,
    /// The caller's home region.
    pub region: RegionLabel,
    /// The upstream that was chosen.
    pub upstream: Option<Arc<str>>,
    /// The policy that refused.
    pub policy: Option<PolicyLabel>,
    /// The first policy in shadow mode that would have refused.
    pub would_refuse: Option<PolicyLabel>,
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
    /// Path, user agent, `Accept` and `Content-Type` in one buffer, cut where they are overlong.
    pub(super) text: Box<[u8]>,
    /// Where each of the first three ends.
    pub(super) ends: [u16; 3],
}

const LONGEST_PATH_BYTES: usize = 1_024;
const LONGEST_USER_AGENT_BYTES: usize = 256;
const LONGEST_MEDIA_TYPES_BYTES: usize = 256;

impl Facts {
    pub(super) fn at_arrival(arrival: Arrival<'_>, keep_text: bool) -> Self {
        let path = cut(arrival.path, LONGEST_PATH_BYTES);
        let agent = cut(arrival.user_agent, LONGEST_USER_AGENT_BYTES);
        let accept = cut(arrival.accept, LONGEST_MEDIA_TYPES_BYTES);
        let content_type = cut(arrival.content_type, LONGEST_MEDIA_TYPES_BYTES);
        let (text, ends) = if keep_text {
            let [path_end, agent_end] = [path.len() as u16, (path.len() + agent.len()) as u16];
            let ends = [path_end, agent_end, agent_end + accept.len() as u16];
            ([path, agent, accept, content_type].concat().into(), ends)
        } else {
            (Box::default(), [0; 3])
        };
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
            issuer: None,
            plan: None,
            role: None,
            deprecated: false,
            region: RegionLabel::default(),
            upstream: None,
            policy: None,
            would_refuse: None,
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
            ends,
        }
    }

    /// The path, as far as it was kept.
    pub fn path(&self) -> &[u8] {
        &self.text[..usize::from(self.ends[0])]
    }

    /// The user agent, as far as it was kept.
    pub fn user_agent(&self) -> &[u8] {
        &self.text[usize::from(self.ends[0])..usize::from(self.ends[1])]
    }

    /// `Accept`, as far as it was kept.
    pub fn accept(&self) -> &[u8] {
        &self.text[usize::from(self.ends[1])..usize::from(self.ends[2])]
    }

    /// `Content-Type`, as far as it was kept.
    pub fn content_type(&self) -> &[u8] {
        &self.text[usize::from(self.ends[2])..]
    }

    /// The method token, or `OTHER`.
    pub fn method_name(&self) -> &'static str {
        self.method.map_or("OTHER", Method::name)
    }
}
