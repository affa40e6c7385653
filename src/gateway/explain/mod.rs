//! What the gateway would do with a request, and why: the same steps as [`super::Gateway`] walks, on the same state,
//! counting nothing, forwarding nothing, noting no use.
//!
//! Not foreseen: what only a body or an upstream shows (its length, time-outs, its own answer), and where a request
//! would have waited for an issuer's keys.

mod change;
mod question;
mod view;

use std::net::{IpAddr, SocketAddr};

use super::decide::{self, Asked};
use super::snapshot::PlacedTokens;
use super::{Snapshot, alerts, preflight, refuse};
use crate::authentication::{Attempt, Authenticator, Caller, InvalidJwt, Refused, TokenLookup, Whose};
use crate::authorization::Permit;
use crate::clock::Now;
use crate::domain::Outcome;
use crate::limits::Charge;
use crate::listen::Peer;
use crate::message::{FieldName, Head, HeadLimits, request_head};
use crate::reply::Refusal;
use crate::routing::Match;
use crate::tokens::Registry;
use crate::upstream::Checked as Upstreams;

pub use question::{AsIf, Asker, NotAQuestion, Question};
pub use view::{
    DeadlinesView, EndpointView, Explanation, IdentityView, LimitView, PlaceView, RefusalView, WorstWindow,
};

/// The state that a question is answered from.
pub struct Explainer<'s> {
    /// The configuration in force.
    pub snapshot: &'s Snapshot,
    /// Opaque tokens and workspaces.
    pub registry: &'s Registry,
    /// What a request's head may cost.
    pub head_limits: HeadLimits,
    /// Where alerts of leaked tokens are taken, if they are.
    pub alert_path: Option<&'s str>,
    /// Where requests go.
    pub upstreams: &'s Upstreams,
}

impl Explainer<'_> {
    /// What would be done with a request at `now`. An error is a question that describes no request.
    pub fn explain(&self, question: &Question, now: Now) -> Result<Explanation, NotAQuestion> {
        let mut explanation = Explanation::default();
        let lookup = self.lookup(&question.asker, now)?;
        let mut head = Head::new();
        let end = match request_head(&question.request()?, &self.head_limits, &mut head) {
            Ok(Some(_)) => self.decide(&mut explanation, question, &head, lookup, now),
            Ok(None) => return Err(NotAQuestion::Incomplete),
            Err(fault) => Err(refuse::head(fault)),
        };
        match end {
            Ok(outcome) => outcome.reason().clone_into(&mut explanation.outcome),
            Err(refusal) => explanation.refused(&refusal, &self.snapshot.replies),
        }
        Ok(explanation)
    }

    /// What is said of the asker's token, unless the request itself proves who it is.
    fn lookup(&self, asker: &Asker, now: Now) -> Result<Option<TokenLookup>, NotAQuestion> {
        let (snapshot, registry) = (self.snapshot, self.registry);
        match asker {
            Asker::Request | Asker::Token(_) => Ok(None),
            Asker::TokenId(id) => {
                let found = PlacedTokens::unnoted(registry, &snapshot.places).find_by_id(id, now);
                found.map(Some).ok_or_else(|| NotAQuestion::NoSuchToken(id.clone()))
            }
            Asker::AsIf(as_if) => as_if.lookup(snapshot, registry).map(Some),
        }
    }

    /// The steps of [`super::Gateway`] in their order, to the end that the request would come to.
    fn decide(
        &self,
        explanation: &mut Explanation,
        question: &Question,
        head: &Head,
        lookup: Option<TokenLookup>,
        now: Now,
    ) -> Result<Outcome, Refusal> {
        let snapshot = self.snapshot;
        preflight::check(head)?;
        if self.alert_path.is_some_and(|path| path.as_bytes() == head.path()) {
            let note =
                "An alert of leaked tokens: it needs no credential, and is judged by GitHub's signature.";
            explanation.notes.push(note.to_owned());
            alerts::check(head)?;
            return Ok(Outcome::Answered);
        }
        let matched = decide::matched(snapshot, head)?;
        explanation.matched(&matched);
        let identified = match lookup {
            Some(lookup) => Authenticator::as_if(lookup),
            None => self.identify(explanation, head, now),
        };
        let caller = decide::caller(identified, &matched, question.address).map_err(|refused| {
            explanation.notes.extend(note_on(&refused));
            self.unidentified(&refused, question.address, now)
        })?;
        explanation.identified(caller.as_ref(), snapshot.places.regions());
        match decide::asked(snapshot, &matched, caller, head)? {
            Asked::OwnPage(page, caller) => {
                let peer = peer(question.address);
                page.answer(snapshot, caller, (head, &peer), "", now).map(|_| Outcome::Answered)
            }
            Asked::Endpoint(permit) => self.admit(explanation, question, (head, &matched), &permit, now),
        }
    }

    /// Whom the request's own credential proves.
    fn identify(&self, explanation: &mut Explanation, head: &Head, now: Now) -> Result<Caller, Refused> {
        let tokens = PlacedTokens::unnoted(self.registry, &self.snapshot.places);
        match self.snapshot.authenticator.try_identify(head, &tokens, now) {
            Attempt::Decided(identified) => identified,
            Attempt::NeedsKeys(_) => {
                let note = "The token's key is not known. A request would wait up to 7 s for the issuer's keys, and be \
                            served if the key is among them.";
                explanation.notes.push(note.to_owned());
                Err(InvalidJwt::KeyUnknown.into())
            }
        }
    }

    /// A failed authentication is charged to its address, which may have nothing left.
    fn unidentified(&self, refused: &Refused, address: IpAddr, now: Now) -> Refusal {
        let charged = refused.counts_against_address();
        let exceeded = charged.then(|| self.snapshot.limits.foresee_failure(address, now)).flatten();
        exceeded.map_or_else(
            || refuse::identify(refused, self.snapshot.places.regions()),
            |exceeded| refuse::exceeded(&exceeded),
        )
    }

    fn admit(
        &self,
        explanation: &mut Explanation,
        question: &Question,
        (head, matched): (&Head, &Match<'_>),
        permit: &Permit<'_>,
        now: Now,
    ) -> Result<Outcome, Refusal> {
        let snapshot = self.snapshot;
        let path_parameter = |name: &str| decide::parameter(matched, name, head);
        let charge = Charge {
            address: question.address,
            path_parameter: &path_parameter,
            body_bytes: announced_bytes(head),
        };
        let foreseen = snapshot.limits.foresee(permit, &charge, now);
        explanation.limits = foreseen.met.iter().map(LimitView::of).collect();
        if let Some(exceeded) = foreseen.refused {
            return Err(refuse::exceeded(&exceeded));
        }
        let regions = snapshot.places.regions();
        let home = snapshot.places.home(permit.caller());
        let region = home.map_err(|wrong| refuse::wrong_region(wrong.0, regions))?;
        explanation.place = Some(PlaceView::of(region, regions, self.upstreams));
        Ok(Outcome::Forwarded)
    }
}

/// What whoever runs the gateway is told of a refusal beyond what its caller is.
fn note_on(refused: &Refused) -> Option<String> {
    match refused {
        Refused::JwtInvalid(why) => Some(format!("What does not hold of the JWT: {why}.")),
        Refused::Decoy(Whose { token_id, workspace_id }) => Some(format!(
            "The token is {token_id}, a decoy of workspace {workspace_id}. Its use is told to the workspace's contacts \
             and the operator."
        )),
        Refused::AddressNotAllowed { whose: Whose { token_id, .. }, address } => Some(format!(
            "Token {token_id} is bound to networks, and {address} is in none of them; `tollgate token show {token_id}` \
             lists them."
        )),
        _ => None,
    }
}

/// The length that a body would have; nothing is sent with a question.
fn announced_bytes(head: &Head) -> u64 {
    let length = head.first(FieldName::ContentLength).and_then(|value| std::str::from_utf8(value).ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

fn peer(address: IpAddr) -> Peer {
    let address = SocketAddr::new(address, 0);
    Peer { address, local: address, is_tls: false }
}
