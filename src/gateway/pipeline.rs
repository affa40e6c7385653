//! The request path itself.

use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use super::decide::{self, Asked};
use super::metered::metered;
use super::own_pages::OwnPage;
use super::progress::Progress;
use super::snapshot::PlacedTokens;
use super::{Parts, Snapshot, alerts, answer, preflight, refuse};
use crate::authentication::{self, Caller, CredentialKind, Refused};
use crate::authorization::Permit;
use crate::clock::Now;
use crate::domain::{Forwarded, Method, Outcome, TokenId, Workspace};
use crate::limits::shared::Wanted;
use crate::limits::{Admission, Attempt, Charge, Decision, Exceeded, Mode, PolicyIndex, Strictest};
use crate::listen::{Peer, Service};
use crate::message::{FieldName, Head, HeadFault, RequestBody, Response};
use crate::reply::{Refusal, Rendered};
use crate::routing::{Deprecation, Match};
use crate::secret_scanning::Receiver;
use crate::telemetry::{self, Arrival, ConnectionFault, Core, Record, cut};
use crate::tokens::Sighting;
use crate::upstream::{Client, OutgoingRequest, Pools, Trail, UpstreamResponse, forward};

/// One core's gateway: what all cores share, and this core's own connections and counts.
pub struct Gateway {
    parts: Parts,
    core: Arc<Core>,
    pools: Pools,
}

/// What a request that was not refused is answered with.
enum Answer<'c> {
    Forwarded { answer: UpstreamResponse<'c>, is_versioned: bool, deprecation: Option<Deprecation> },
    OwnPage(Rendered),
}

impl<'c> Answer<'c> {
    fn forwarded(answer: UpstreamResponse<'c>, matched: &Match<'_>) -> Self {
        match matched {
            Match::Matched(matched) => Self::Forwarded {
                answer,
                is_versioned: !matched.endpoint.versions.is_empty(),
                deprecation: matched.deprecation.cloned(),
            },
            Match::Unmatched(_) => Self::Forwarded { answer, is_versioned: false, deprecation: None },
        }
    }
}

impl Gateway {
    /// One core's gateway over its pools.
    pub const fn new(parts: Parts, core: Arc<Core>, pools: Pools) -> Self {
        Self { parts, core, pools }
    }

    /// This core's upstream connections.
    pub const fn pools(&self) -> &Pools {
        &self.pools
    }

    fn open_record(&self, head: &Head, peer: &Peer, now: Now) -> Record {
        self.core.open(Arrival {
            request_id: self.core.request_id(head.first(FieldName::RequestId)),
            trace: self.core.trace(only(head.all(FieldName::Traceparent))),
            now,
            method: head.method(),
            path: head.path(),
            user_agent: head.first(FieldName::UserAgent).unwrap_or_default(),
            accept: head.first(FieldName::Accept).unwrap_or_default(),
            content_type: head.first(FieldName::ContentType).unwrap_or_default(),
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
    ) -> Result<Answer<'c>, Refusal> {
        preflight::refuse(head, &self.core, now)?;
        if let Some(receiver) = snapshot.alerts.as_ref().filter(|receiver| receiver.is_at(head.path())) {
            let taken = self.take_alert(snapshot, receiver, progress, (head, body, peer), now);
            // Boxed: no other request makes room for it.
            return Box::pin(taken).await.map(Answer::OwnPage);
        }
        let matched = decide::matched(snapshot, head)?;
        note_match(snapshot, &matched, &mut progress.record);
        let caller = self.identify(snapshot, &matched, (head, peer), progress, now).await?;
        let permit = match decide::asked(snapshot, &matched, caller, head)? {
            Asked::Endpoint(permit) => permit,
            Asked::OwnPage(OwnPage::Owners(resource), caller) => {
                let request_id = progress.record.request_id();
                let answer = self.parts.owners.answer(snapshot, resource, caller, (head, body), request_id);
                // Boxed, so that the path's own future, which every request pays for, stays as small as it is.
                return Box::pin(answer).await.map(Answer::OwnPage);
            }
            Asked::OwnPage(page, caller) => {
                let request_id = progress.record.request_id();
                return page.answer(snapshot, caller, (head, peer), request_id, now).map(Answer::OwnPage);
            }
        };
        if let Some(caller) = permit.caller() {
            let Workspace { region, subject, .. } = **caller.workspace();
            snapshot.upstreams.has_room(region, subject, now).map_err(refuse::forward)?;
        }
        let charge = Charge {
            address: peer.address.ip(),
            path_parameter: &|name| decide::parameter(&matched, name, head),
            body_bytes: body.announced_length(),
        };
        let admitted = match snapshot.limits.try_admit(permit, &charge, now) {
            Attempt::Decided(admitted) => admitted,
            // Boxed: nearly no request makes room for it.
            Attempt::NeedsShared(permit, wanted) => {
                Box::pin(self.admit_shared(snapshot, permit, &charge, wanted)).await
            }
        };
        let mut admission = admitted.map_err(|exceeded| {
            exceeded.write_headers(&mut progress.limit_lines, now);
            self.note_refused(snapshot, progress, &exceeded)
        })?;
        self.note_admitted(snapshot, progress, &mut admission);
        let body = metered(body, &admission, &self.parts.clock);
        let body = snapshot.input.hold(admission.permit().endpoint(), head, body).await.map_err(|fault| {
            admission.write_headers(&mut progress.limit_lines, now, Strictest::Ours);
            refuse::input(fault)
        })?;
        let answer = self.forward(snapshot, progress, &mut admission, (head, body, peer), now).await?;
        Ok(Answer::forwarded(answer, &matched))
    }

    /// An alert of leaked tokens. It needs no credential: its signature says who sent it.
    async fn take_alert(
        &self,
        snapshot: &Snapshot,
        receiver: &Receiver,
        progress: &mut Progress,
        (head, body, peer): (&Head, RequestBody<'_>, &Peer),
        now: Now,
    ) -> Result<Rendered, Refusal> {
        let (from, request_id) = (peer.address.ip(), progress.record.request_id());
        let taken = alerts::take(receiver, head, body, (from, request_id)).await;
        match taken {
            Ok(page) => Ok(page),
            Err((refusal, is_forged)) => {
                if is_forged {
                    self.charge_failure(snapshot, progress, from, now)?;
                }
                Err(refusal)
            }
        }
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
        let tokens = PlacedTokens::new(&self.parts.registry, &snapshot.places);
        let identified = match snapshot.authenticator.try_identify(head, &tokens, now) {
            authentication::Attempt::Decided(identified) => identified,
            authentication::Attempt::NeedsKeys(wanted) => {
                let arrived = wanted.arrived().await;
                snapshot.authenticator.identify_after(arrived, head, &tokens, self.parts.clock.now())
            }
        };
        let refused = match decide::caller(identified, matched, peer.address.ip()) {
            Ok(None) => return Ok(None),
            Ok(Some(caller)) => {
                let facts = &mut progress.record.facts;
                facts.workspace_id = Some(Arc::clone(&caller.workspace().id));
                facts.token_id = Some(caller.token_id().clone());
                facts.issuer = caller.issuer().cloned();
                facts.plan = Some(caller.workspace().plan);
                facts.role = Some(caller.role());
                facts.region = snapshot.region_labels[usize::from(caller.workspace().region.0)];
                if head.first(FieldName::Origin).is_some() {
                    self.core.token_exposed(caller.token_id(), now);
                }
                if caller.kind() == CredentialKind::Opaque {
                    let sighting = || sighting(caller.token_id(), head, peer, &progress.record, now);
                    let registry = &self.parts.registry;
                    registry.note_network(caller.subject(), peer.address.ip(), now, sighting);
                }
                return Ok(Some(caller));
            }
            Err(refused) => refused,
        };
        if let Some(whose) = refused.whose() {
            let facts = &mut progress.record.facts;
            facts.token_id = Some(whose.token_id.clone());
            facts.workspace_id = Some(Arc::clone(&whose.workspace_id));
        }
        if let Refused::Decoy(whose) = &refused {
            let used = sighting(&whose.token_id, head, peer, &progress.record, now);
            self.parts.registry.note_decoy(used);
        }
        if let Refused::CredentialInQuery(value) = &refused {
            match snapshot.authenticator.exposed(value.expose(), &tokens, now) {
                Ok(exposed) => self.core.token_exposed(exposed.token_id(), now),
                Err(Refused::Decoy(whose)) => {
                    let used = sighting(&whose.token_id, head, peer, &progress.record, now);
                    self.parts.registry.note_decoy(used);
                }
                Err(_) => {}
            }
        }
        if refused.counts_against_address() {
            self.charge_failure(snapshot, progress, peer.address.ip(), now)?;
        }
        Err(refuse::identify(&refused, snapshot.places.regions()))
    }

    /// Past its budget of failed authentications an address is told to wait; a valid credential never asks.
    fn charge_failure(
        &self,
        snapshot: &Snapshot,
        progress: &mut Progress,
        address: IpAddr,
        now: Now,
    ) -> Result<(), Refusal> {
        snapshot.limits.charge_failure(address, now).map_err(|exceeded| {
            exceeded.write_headers(&mut progress.limit_lines, now);
            self.note_refused(snapshot, progress, &exceeded)
        })
    }

    /// Waits for tokens of limits that replicas share: for the turn to ask, and for one answer.
    async fn admit_shared<'r>(
        &self,
        snapshot: &'r Snapshot,
        mut permit: Permit<'r>,
        charge: &Charge<'_>,
        mut wanted: Wanted,
    ) -> Result<Admission<'r>, Exceeded> {
        let clock = &self.parts.clock;
        loop {
            let so_far = wanted.settled(clock).await;
            match snapshot.limits.admit_after(so_far, permit, charge, clock.now()) {
                Attempt::Decided(admitted) => return admitted,
                Attempt::NeedsShared(again, more) => (permit, wanted) = (again, more),
            }
        }
    }

    fn note_admitted(&self, snapshot: &Snapshot, progress: &mut Progress, admission: &mut Admission<'_>) {
        admission.ask_ahead(&self.parts.clock);
        if let Some(path) = admission.path() {
            self.core.limit_path(path);
        }
        for (policy, decision) in admission.decisions() {
            self.count_decision(snapshot, policy, decision);
            if decision == Decision::WouldRefuse && progress.record.facts.would_refuse.is_none() {
                progress.record.facts.would_refuse =
                    snapshot.policy_labels.get(usize::from(policy.0)).copied();
            }
        }
        progress.in_flight = admission.take_in_flight();
    }

    fn note_refused(&self, snapshot: &Snapshot, progress: &mut Progress, exceeded: &Exceeded) -> Refusal {
        progress.record.facts.policy = snapshot.policy_labels.get(usize::from(exceeded.policy.0)).copied();
        if let Some(path) = exceeded.path {
            self.core.limit_path(path);
        }
        for (policy, decision) in exceeded.decisions() {
            self.count_decision(snapshot, policy, decision);
        }
        refuse::exceeded(exceeded)
    }

    fn count_decision(&self, snapshot: &Snapshot, policy: PolicyIndex, decision: Decision) {
        let Some(label) = snapshot.policy_labels.get(usize::from(policy.0)) else { return };
        let mode = match snapshot.limits.rules().mode(policy) {
            Mode::Enforce => telemetry::Mode::Enforce,
            Mode::Shadow => telemetry::Mode::Shadow,
        };
        let decision = match decision {
            Decision::Admitted => telemetry::Decision::Admit,
            Decision::Refused | Decision::WouldRefuse => telemetry::Decision::Refuse,
        };
        self.core.limit_decision(*label, decision, mode);
    }

    async fn forward<'c>(
        &self,
        snapshot: &Snapshot,
        progress: &mut Progress,
        admission: &mut Admission<'_>,
        (head, body, peer): (&Head, RequestBody<'c>, &Peer),
        now: Now,
    ) -> Result<UpstreamResponse<'c>, Refusal> {
        let regions = snapshot.places.regions();
        let region =
            snapshot.places.place(admission).map_err(|wrong| refuse::wrong_region(wrong.0, regions))?;
        let pools = self.pools.region(&snapshot.upstreams, region).ok_or(Refusal::UpstreamUnreachable)?;
        if let Some(caller) = admission.permit().caller() {
            progress.place = snapshot.upstreams.take_place(region, caller.workspace().subject);
        }
        let sent = self.parts.clock.now_after(now);
        let facts = &mut progress.record.facts;
        facts.region = snapshot.region_labels[usize::from(region.0)];
        facts.overhead = Some(sent.since(now));
        let client = Client {
            address: peer.address,
            is_tls: peer.is_tls,
            request_id: facts.request_id.as_str(),
            trace: &facts.trace,
            caller: admission.permit().caller(),
            region: regions.name(region),
        };
        let is_idempotent = Method::by_name(head.method()).is_some_and(Method::is_idempotent);
        let request = OutgoingRequest { head, body, client, is_idempotent };
        let trail =
            Trail { forwarded: &facts.forwarded, upstream: &mut facts.upstream, retries: &mut facts.retries };
        let result = forward(&pools, admission, request, trail, sent).await;
        let answered = self.parts.clock.now_after(sent);
        facts.upstream_time = Some(answered.since(sent));
        match result {
            Ok(answer) => {
                admission.charge_answer(|name| first_field(&answer.head, name), answered);
                let whose = whose_limits(admission, &answer.head);
                progress.keeps_limits = whose == Strictest::Upstream;
                admission.write_headers(&mut progress.limit_lines, now, whose);
                Ok(answer)
            }
            Err(fault) => {
                admission.write_headers(&mut progress.limit_lines, now, Strictest::Ours);
                Err(refuse::forward(fault))
            }
        }
    }
}

impl Service for Gateway {
    async fn serve<'c>(&self, head: &Head, body: RequestBody<'c>, peer: &Peer) -> Response<'c> {
        let now = self.parts.clock.now();
        let snapshot = self.parts.snapshot.load_full();
        let mut progress = Progress::new(self.open_record(head, peer, now), now);
        progress.record.facts.bytes_in = head.len() as u64 + body.announced_length();
        let decided = {
            // Pinned where it is made: this future is large, and moving it would cost more than most of its steps.
            let path = pin!(self.decide_and_forward(&snapshot, &mut progress, (head, body, peer), now));
            caught(path).await
        };
        match decided {
            Some(Ok(Answer::Forwarded { answer, is_versioned, deprecation })) => {
                answer::forwarded(answer, is_versioned, deprecation.as_ref(), progress)
            }
            Some(Ok(Answer::OwnPage(page))) => answer::own(page, Outcome::Answered, progress),
            Some(Err(refusal)) => answer::refusal(&refusal, &snapshot.replies, head, progress),
            None => {
                self.core.panicked();
                progress.record.facts.forwarded.set(Forwarded::Maybe);
                answer::refusal(&Refusal::Internal, &snapshot.replies, head, progress)
            }
        }
    }

    fn refuse(&self, fault: HeadFault, head: &Head, peer: &Peer) -> Response<'static> {
        let now = self.parts.clock.now();
        let snapshot = self.parts.snapshot.load_full();
        let progress = Progress::new(self.open_record(head, peer, now), now);
        answer::refusal(&refuse::head(fault), &snapshot.replies, head, progress)
    }

    fn opened(&self) -> Box<dyn std::any::Any> {
        Box::new(self.core.connection())
    }

    fn turned_away(&self, fault: ConnectionFault, peer: &Peer) {
        self.core.connection_refused(fault);
        tracing::debug!(peer = %peer.address, reason = fault.reason(), "a connection was closed unserved");
    }
}

/// What is told of a token's use, if it has to be.
fn sighting(token_id: &TokenId, head: &Head, peer: &Peer, record: &Record, now: Now) -> Sighting {
    let user_agent = head.first(FieldName::UserAgent).unwrap_or_default();
    Sighting {
        token_id: token_id.to_string(),
        address: peer.address.ip(),
        user_agent: String::from_utf8_lossy(cut(user_agent, LONGEST_USER_AGENT_BYTES)).into_owned(),
        request_id: record.request_id().to_owned(),
        at_unix_seconds: now.unix_seconds(),
    }
}

/// The most bytes of a user agent that are kept of a use.
const LONGEST_USER_AGENT_BYTES: usize = 256;

/// Whose `X-RateLimit-*` the caller sees: the upstream's own where they leave less.
fn whose_limits(admission: &Admission<'_>, head: &Head) -> Strictest {
    admission.strictest(first_field(head, b"x-ratelimit-remaining"))
}

/// The first field of a name, in any case.
fn first_field<'h>(head: &'h Head, name: &[u8]) -> Option<&'h [u8]> {
    head.fields().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// Runs the path and catches a panic in it, which costs one request its answer and no other: [`None`].
async fn caught<T>(mut path: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| path.as_mut().poll(cx))) {
        Ok(Poll::Ready(answer)) => Poll::Ready(Some(answer)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// The only value; [`None`] where there is no other or none.
fn only<'v>(mut values: impl Iterator<Item = &'v [u8]>) -> Option<&'v [u8]> {
    values.next().filter(|_| values.next().is_none())
}

fn note_match(snapshot: &Snapshot, matched: &Match<'_>, record: &mut Record) {
    if let Match::Matched(matched) = matched {
        record.facts.operation = snapshot.operation_labels[usize::from(matched.endpoint.index)];
        record.facts.api_version = matched.version;
        record.facts.deprecated = matched.deprecation.is_some();
    }
}
