//! The request path itself.

use std::cell::Cell;
use std::future::Future;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::answer::{self, Common};
use super::{Parts, Snapshot, own_pages, preflight, refuse};
use crate::authentication::{Attempt, Caller, Refused};
use crate::authorization::permit;
use crate::clock::Now;
use crate::domain::{Forwarded, Method};
use crate::limits::{Admission, Charge};
use crate::listen::{Peer, Service};
use crate::message::{FieldName, Head, HeadFault, RequestBody, Response};
use crate::reply::{Exhausted, Refusal};
use crate::routing::{Match, Matched};
use crate::telemetry::{Arrival, Core, Record};
use crate::upstream::{Client, OutgoingRequest, Pool, UpstreamResponse, forward};

/// One core's gateway: what all cores share, and this core's own connections and counts.
pub struct Gateway {
    parts: Parts,
    core: Arc<Core>,
    /// Upstream pools by region id.
    pools: Vec<Vec<Rc<Pool>>>,
    next_pool: Cell<usize>,
}

/// What one request has come to know on its way, also when it is refused later.
struct Progress {
    record: Record,
    limit_lines: Vec<u8>,
    forwarded: Forwarded,
}

/// What a request that was not refused is answered with.
enum Answer<'c> {
    Forwarded(UpstreamResponse<'c>),
    OwnPage(crate::reply::Rendered),
}

impl Gateway {
    /// One core's gateway over its pools, by region id.
    pub fn new(parts: Parts, core: Arc<Core>, pools: Vec<Vec<Rc<Pool>>>) -> Self {
        Self { parts, core, pools, next_pool: Cell::new(0) }
    }

    /// This core's upstream pools, by region id.
    pub fn pools(&self) -> &[Vec<Rc<Pool>>] {
        &self.pools
    }

    fn open_record(&self, head: &Head, peer: &Peer, now: Now) -> Record {
        self.core.open(Arrival {
            request_id: self.core.request_id(head.first(FieldName::RequestId)),
            now,
            method: head.method(),
            path: head.path(),
            user_agent: head.first(FieldName::UserAgent).unwrap_or_default(),
            peer: Some(peer.address),
            protocol: head.version().name(),
        })
    }

    /// The steps, in their order. Everything up to the admission is decided from memory; only a JWT whose key
    /// is being fetched waits.
    async fn decide_and_forward<'c>(
        &self,
        snapshot: &Snapshot,
        progress: &mut Progress,
        (head, body, peer): (&Head, RequestBody<'c>, &Peer),
        now: Now,
    ) -> Result<(Answer<'c>, Option<MatchedFacts>), Refusal> {
        if let Some(origin) = preflight::origin(head) {
            self.core.preflight(origin, now);
            return Err(Refusal::BrowserPreflight);
        }
        let matched = snapshot.table.find(head).map_err(refuse::path)?;
        let facts = note_match(snapshot, &matched, &mut progress.record);
        let caller = self.identify(snapshot, &matched, (head, peer), progress, now).await?;
        if own_pages::is_own(head) {
            return own_pages::answer(&self.parts, snapshot, caller.as_ref(), head, progress.record.request_id(), now)
                .map(|page| (Answer::OwnPage(page), None));
        }
        let (endpoint, version) = match &matched {
            Match::Matched(matched) => (Some(matched.endpoint), matched.version),
            Match::Unmatched(unmatched) => match refuse::unmatched(unmatched) {
                Some(refusal) => return Err(refusal),
                None => (None, None),
            },
        };
        let permit = permit(caller, endpoint, version, &snapshot.unmatched).map_err(refuse::permit)?;
        let charge = Charge { address: peer.address.ip(), parameter: &|name| parameter(&matched, name, head) };
        let admission = self.admit(snapshot, progress, permit, &charge, now)?;
        let region = snapshot
            .places
            .place(&admission)
            .map_err(|wrong| refuse::wrong_region(wrong.0, snapshot.places.regions()))?;
        let answer = self.forward(snapshot, progress, &admission, region, (head, body, peer)).await?;
        Ok((Answer::Forwarded(answer), facts))
    }

    /// Who is calling; [`None`] only where the endpoint is public and no credential came.
    async fn identify(
        &self,
        snapshot: &Snapshot,
        matched: &Match<'_>,
        (head, peer): (&Head, &Peer),
        progress: &mut Progress,
        now: Now,
    ) -> Result<Option<Caller>, Refusal> {
        let tokens = super::snapshot::PlacedTokens { registry: &self.parts.registry, places: &snapshot.places };
        let identified = match snapshot.authenticator.try_identify(head, &tokens, now) {
            Attempt::Decided(identified) => identified,
            Attempt::NeedsKeys(wanted) => {
                let arrived = wanted.arrived().await;
                snapshot.authenticator.identify_after(arrived, head, &tokens, self.parts.clock.now())
            }
        };
        let refused = match identified {
            Ok(caller) => {
                let facts = &mut progress.record.facts;
                facts.workspace_id = Some(Arc::clone(&caller.workspace().id));
                facts.token_id = Some(Arc::clone(caller.token_id()));
                facts.region = snapshot.region_labels[usize::from(caller.workspace().region.0)];
                if head.first(FieldName::Origin).is_some() {
                    self.core.token_exposed(caller.token_id(), now);
                }
                return Ok(Some(caller));
            }
            Err(Refused::CredentialMissing) if is_public(matched) => return Ok(None),
            Err(refused) => refused,
        };
        if let Refused::CredentialInQuery(value) = &refused
            && let Some(exposed) = snapshot.authenticator.exposed(value.expose(), &tokens, now)
        {
            self.core.token_exposed(exposed.token_id(), now);
        }
        if refused.counts_against_address() {
            self.charge_failure(snapshot, peer.address.ip(), now)?;
        }
        Err(refuse::identify(&refused, snapshot.places.regions()))
    }

    /// Past its budget of failed authentications an address is told to wait; a valid credential never asks.
    fn charge_failure(&self, snapshot: &Snapshot, address: IpAddr, now: Now) -> Result<(), Refusal> {
        snapshot.rules.charge_failure(&self.parts.failures, address, now).map_err(|wait| {
            Refusal::RateLimited(Exhausted {
                policy: Arc::from("failed_authentications"),
                wait,
                remaining: 0,
                consumed: snapshot.rules.failure_budget(),
            })
        })
    }
}

/// What the answer needs of the match, without its borrow of the request.
struct MatchedFacts {
    endpoint: u16,
    version: Option<crate::domain::ApiVersion>,
}
