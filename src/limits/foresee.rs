//! What every limit would say to a permitted request, counting nothing: `tollgate explain`.

use std::net::IpAddr;
use std::sync::Arc;

use super::Limits;
use super::address::SITE_BITS;
use super::admission::{Decision, Exceeded, Headroom};
use super::admit::in_flight_of;
use super::claims::{Charge, Claim};
use super::policy::{Dimension, Policy};
use super::settings::Mode;
use crate::authorization::Permit;
use crate::clock::Now;
use crate::domain::Network;

/// What the limits would say.
#[derive(Debug)]
pub struct Foreseen {
    /// Every limit that the request meets, those in shadow mode last.
    pub met: Vec<Met>,
    /// The refusal that [`Limits::admit`] would answer with, if any.
    pub refused: Option<Exceeded>,
}

/// One limit that a request meets.
#[derive(Debug)]
pub struct Met {
    /// Its name.
    pub name: Arc<str>,
    /// What it counts apart and this request's value of it, in the words of `per`.
    pub key: Vec<(String, String)>,
    /// How many requests this one counts as.
    pub cost: u32,
    /// Whether it refuses.
    pub mode: Mode,
    /// Quota, what is left, and what it would decide.
    pub headroom: Headroom,
}

impl Met {
    /// Requests that it can admit in one period at worst: a full burst, and the rate for as long; by the calendar the
    /// quota.
    pub fn worst_window_requests(&self) -> u64 {
        self.headroom.quota.worst_window() / u64::from(self.cost.max(1))
    }
}

impl Limits {
    /// What [`Limits::admit`] would say to the same request at the same moment.
    pub fn foresee(&self, permit: &Permit<'_>, charge: &Charge<'_>, now: Now) -> Foreseen {
        let claims = self.claims(permit, charge, now);
        let now = now.monotonic_nanos;
        let met = claims.iter().map(|claim| self.met(claim, permit, charge, now)).collect();
        let in_flight = self.counters.in_flight.reached(in_flight_of(permit), self.rules.in_flight);
        let refused = if let Some(reached) = in_flight {
            Some(self.too_many_in_flight(reached, &claims, now))
        } else {
            // In the order of [`Limits::admit`], which decides who speaks of two that ask for the same wait.
            let enforced = claims.iter().take_while(|claim| !claim.shadow).count();
            let without_room = self.without_room(&claims, 1..enforced, now);
            let without_room = without_room.or_else(|| self.without_room(&claims, 0..enforced.min(1), now));
            without_room.map(|(place, verdict)| self.refuse(&claims, place, &verdict, now))
        };
        Foreseen { met, refused }
    }

    /// What [`Limits::charge_failure`] would refuse at the same moment.
    pub fn foresee_failure(&self, address: IpAddr, now: Now) -> Option<Exceeded> {
        if self.rules.is_exempt(address) {
            return None;
        }
        let now = now.monotonic_nanos;
        self.past_failures(&self.counters.failures.look(address, self.rules.failures_scale, now), now)
    }

    fn met(&self, claim: &Claim, permit: &Permit<'_>, charge: &Charge<'_>, now: u64) -> Met {
        let verdict = self.seen(claim, now);
        let decision = match (verdict.wait_nanos, claim.shadow) {
            (None, _) => Decision::Admitted,
            (Some(_), true) => Decision::WouldRefuse,
            (Some(_), false) => Decision::Refused,
        };
        let policy = self.rules.policies().get(usize::from(claim.policy.0));
        let own = || vec![("token".to_owned(), value(&Dimension::Token, permit, charge))];
        let key = policy.map_or_else(own, |policy| key(policy, permit, charge));
        Met {
            name: Arc::clone(self.rules.name(claim.policy)),
            key,
            cost: claim.debit.cost.get(),
            mode: self.rules.mode(claim.policy),
            headroom: Headroom::of(claim, &verdict, now, decision),
        }
    }
}

fn key(policy: &Policy, permit: &Permit<'_>, charge: &Charge<'_>) -> Vec<(String, String)> {
    let pair = |dimension: &Dimension| (dimension.name().into_owned(), value(dimension, permit, charge));
    policy.per.iter().map(pair).collect()
}

/// This request's value of a dimension, for people.
fn value(dimension: &Dimension, permit: &Permit<'_>, charge: &Charge<'_>) -> String {
    let of_caller = |text: &dyn Fn(&crate::authentication::Caller) -> String| {
        permit.caller().map_or_else(|| charge.address.to_string(), text)
    };
    match dimension {
        Dimension::Token => of_caller(&|caller| caller.token_id().to_string()),
        Dimension::Workspace => of_caller(&|caller| caller.workspace().id.to_string()),
        Dimension::Plan => of_caller(&|caller| caller.workspace().plan.name().to_owned()),
        Dimension::Endpoint => {
            permit.endpoint().map_or("(unmatched)", |endpoint| &endpoint.operation).to_owned()
        }
        Dimension::Version => permit.version().map_or("(none)".to_owned(), |version| version.to_string()),
        Dimension::Address => charge.address.to_string(),
        Dimension::Site => Network::around(charge.address, 32, SITE_BITS).to_string(),
        Dimension::PathParameter(name) => {
            let value = (charge.path_parameter)(name).unwrap_or_default();
            String::from_utf8_lossy(&value).into_owned()
        }
    }
}
