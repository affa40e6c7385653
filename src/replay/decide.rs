//! The request path's steps up to the admission, on a clock that the log drives.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::Error;
use super::callers::{Callers, OneCaller, STAND_IN};
use super::line::Line;
use crate::authentication::{Attempt, Authenticator, Caller, Refused, SubjectKey, TokenLookup};
use crate::authorization::{UnmatchedNeeds, permit};
use crate::clock::Now;
use crate::config::Config;
use crate::domain::{ApiVersion, Family, Outcome};
use crate::gateway::refuse;
use crate::limits::{Charge, Counters, InFlightGuard, Limits};
use crate::message::{Head, Version};
use crate::place::Places;
use crate::reply::Refusal;
use crate::routing::{Match, Table, is_own};
use crate::tokens::Store;

/// How many requests are kept as in flight at most.
const MOST_IN_FLIGHT: usize = 100_000;
/// Steps of the sweep of full buckets after each line: a pass over all of them every 256 lines or so.
const SWEEP_STEPS: usize = 1;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// What the configuration says of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing can be said: it was refused before its caller was known, or is a page of the gateway's own.
    Unsaid,
    /// Served, of this version if it is going away.
    Served(Option<(Arc<str>, ApiVersion)>),
    /// Refused.
    Refused(Why),
}

/// Why a line would be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Why {
    pub(super) outcome: Outcome,
    pub(super) status: u16,
    /// The policy, if one refused.
    pub(super) policy: Option<Arc<str>>,
}

impl Decision {
    fn refused(refusal: &Refusal) -> Self {
        Self::Refused(Why { outcome: refusal.outcome(), status: refusal.status(), policy: None })
    }
}

/// A configuration's steps over live state of their own.
pub(super) struct Decider {
    table: Table,
    authenticator: Authenticator,
    issuers: HashSet<Arc<str>>,
    unmatched: UnmatchedNeeds,
    limits: Limits,
    places: Places,
    callers: Callers,
    started_unix_millis: Option<u64>,
    now: Now,
    in_flight: BinaryHeap<Reverse<(u64, u64)>>,
    guards: BTreeMap<u64, InFlightGuard>,
    next: u64,
}

impl Decider {
    pub(super) fn new(config: &Config, store: Option<Arc<dyn Store>>) -> Result<Self, Error> {
        let subjects = SubjectKey::random().ok_or(Error::Random)?;
        let now = Now { monotonic_nanos: 3_600_000 * NANOS_PER_MILLI, unix_millis: 0 };
        let (authenticator, _refreshers) = Authenticator::new(config.authentication.clone(), subjects, now);
        let issuers = authenticator.issuers(now).map(|issuer| issuer.issuer).collect();
        Ok(Self {
            table: config.table.clone(),
            authenticator,
            issuers,
            unmatched: UnmatchedNeeds {
                scope: config.table.default_scope().cloned(),
                plans: config.table.default_plans().to_vec(),
            },
            limits: Limits::new(Arc::clone(&config.limits), Counters::new([0; 32])),
            places: config.places.clone(),
            callers: Callers::new(store, config.places.regions().clone()),
            started_unix_millis: None,
            now,
            in_flight: BinaryHeap::new(),
            guards: BTreeMap::new(),
            next: 0,
        })
    }

    pub(super) const fn has_registry(&self) -> bool {
        self.callers.has_registry()
    }

    /// Decides the next line; lines come in the order of their times.
    pub(super) fn decide(&mut self, line: &Line) -> Result<Decision, Error> {
        self.advance(line.unix_millis);
        let unsaid = line.workspace.is_none() && line.outcome.family() == Family::Caller;
        let is_page = line.outcome == Outcome::Answered || is_own(&line.path);
        if unsaid || line.outcome == Outcome::BrowserPreflight || is_page {
            return Ok(Decision::Unsaid);
        }
        let fields = [
            (&b"authorization"[..], STAND_IN),
            (&b"accept"[..], &*line.accept),
            (&b"content-type"[..], &*line.content_type),
        ];
        let fields = fields.into_iter().filter(|(name, value)| match *name {
            b"authorization" => line.token.is_some(),
            _ => !value.is_empty(),
        });
        let head = Head::from_parts(Version::Http11, &line.method, &line.path, fields);
        let caller = match self.lookup(line, &head)? {
            Some(lookup) => self.identify(&head, lookup),
            None => Ok(None),
        };
        Ok(match caller {
            Ok(caller) => self.admit(line, &head, caller).unwrap_or_else(|decision| decision),
            Err(refusal) => Decision::refused(&refusal),
        })
    }

    /// What the registry says of the line's caller; [`None`] for a request without one.
    fn lookup(&mut self, line: &Line, head: &Head) -> Result<Option<TokenLookup>, Error> {
        let (Some(token), Some(workspace)) = (&line.token, &line.workspace) else { return Ok(None) };
        if line.issuer.as_ref().is_some_and(|issuer| !self.issuers.contains(&**issuer)) {
            return Ok(Some(TokenLookup::Unknown));
        }
        let endpoint = match self.table.find(head) {
            Ok(Match::Matched(matched)) => Some(matched.endpoint),
            Ok(Match::Unmatched(_)) | Err(_) => None,
        };
        Ok(Some(self.callers.of(line, (token, workspace), endpoint, self.table.default_scope())?))
    }

    fn identify(&self, head: &Head, lookup: TokenLookup) -> Result<Option<Caller>, Refusal> {
        let told = |refused: &Refused| refuse::identify(refused, self.places.regions());
        match self.authenticator.try_identify(head, &OneCaller(lookup), self.now) {
            Attempt::Decided(Ok(caller)) => Ok(Some(caller)),
            Attempt::Decided(Err(refused)) => Err(told(&refused)),
            // The stand-in for a credential is no JWT, so nobody is asked for a key.
            Attempt::NeedsKeys(_) => Err(Refusal::Internal),
        }
    }

    fn admit(&mut self, line: &Line, head: &Head, caller: Option<Caller>) -> Result<Decision, Decision> {
        let refused = |refusal: Refusal| Decision::refused(&refusal);
        let matched = self.table.find(head).map_err(|fault| refused(refuse::path(fault)))?;
        if let Some(caller) = &caller {
            let serves = self.places.serves(caller.workspace().region);
            serves.map_err(|wrong| refused(refuse::wrong_region(wrong.0, self.places.regions())))?;
        }
        let (endpoint, version) = refuse::unless_forwarded(&matched).map_err(refused)?;
        let permit = permit(caller, endpoint, version, &self.unmatched)
            .map_err(|denied| refused(refuse::permit(denied)))?;
        let parameter = |name: &str| match &matched {
            Match::Matched(matched) => matched.params.canonical(name, head),
            Match::Unmatched(_) => None,
        };
        let address = line.peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let charge = Charge { address, path_parameter: &parameter, body_bytes: 0 };
        let mut admission = self.limits.admit(permit, &charge, self.now).map_err(|exceeded| {
            let refusal = refuse::exceeded(&exceeded);
            let policy = Some(Arc::clone(&exceeded.name));
            Decision::Refused(Why { outcome: refusal.outcome(), status: refusal.status(), policy })
        })?;
        let guard = admission.take_in_flight();
        drop(admission);
        let deprecated = match &matched {
            Match::Matched(matched) => matched
                .deprecation
                .and(matched.version)
                .map(|version| (Arc::clone(&matched.endpoint.operation), version)),
            Match::Unmatched(_) => None,
        };
        self.keep_in_flight(line, guard);
        Ok(Decision::Served(deprecated))
    }

    /// Moves the clock to a line's time, never back, and ends what is no longer in flight.
    fn advance(&mut self, unix_millis: u64) {
        let started = *self.started_unix_millis.get_or_insert(unix_millis);
        let passed = unix_millis.saturating_sub(started);
        self.now.unix_millis = self.now.unix_millis.max(unix_millis);
        let monotonic = (3_600_000 + passed).saturating_mul(NANOS_PER_MILLI);
        self.now.monotonic_nanos = self.now.monotonic_nanos.max(monotonic);
        while let Some(Reverse((end, number))) = self.in_flight.peek().copied()
            && end <= self.now.unix_millis
        {
            self.in_flight.pop();
            self.guards.remove(&number);
        }
        for _ in 0..SWEEP_STEPS {
            self.limits.counters().sweep(self.now);
        }
    }

    fn keep_in_flight(&mut self, line: &Line, guard: InFlightGuard) {
        if self.guards.len() >= MOST_IN_FLIGHT
            && let Some(Reverse((_, number))) = self.in_flight.pop()
        {
            self.guards.remove(&number);
        }
        let end = self.now.unix_millis + line.total_micros.div_ceil(1_000);
        self.in_flight.push(Reverse((end, self.next)));
        self.guards.insert(self.next, guard);
        self.next += 1;
    }
}
