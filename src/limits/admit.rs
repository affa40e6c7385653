//! The decision: every policy that a request meets admits it, or nothing is counted.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::Limits;
use super::admission::{Admission, Decision, Exceeded, ExceededKind, Headroom, tightest};
use super::bucket::{Scale, Verdict};
use super::cells::Taken;
use super::claims::{Charge, Claim};
use super::in_flight::{InFlightGuard, Reached};
use super::inline::Inline;
use super::owing::Owing;
use crate::authorization::Permit;
use crate::clock::Now;
use crate::domain::Subject;

/// Places of the reserved names after the policies.
const IN_FLIGHT: usize = 1;
const FAILURES: usize = 4;

/// The longest wait that is told for requests in flight, which nobody can foresee.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(1);

const A_DAY_SECONDS: u32 = 86_400;

impl Limits {
    /// Counts a permitted request against every policy that it meets, and as in flight. All admit it, or nothing
    /// is counted.
    ///
    /// Where several policies are met, all but one are looked at before any is charged, and that one is charged
    /// first. If another thread takes the last of a policy in between, what was charged is given back; in that
    /// moment a third request may be refused that could have been admitted, never the reverse.
    pub fn admit<'r>(
        &'r self,
        permit: Permit<'r>,
        charge: &Charge<'_>,
        now: Now,
    ) -> Result<Admission<'r>, Exceeded> {
        let mut claims = self.claims(&permit, charge, now);
        let now = now.monotonic_nanos;
        let in_flight = if self.rules.in_flight.is_none() {
            InFlightGuard::default()
        } else {
            self.enter(&permit, &claims, now)?
        };
        let headrooms = Inline::new(Headroom::BLANK);
        let (owing, ahead) = (Box::default(), Vec::new());
        let mut admission =
            Admission { permit, limits: self, headrooms, in_flight, owing, ahead, path: None };
        self.take(&mut claims, &mut admission.headrooms, now)?;
        if self.rules.defers_costs {
            admission.owing = Owing::of(&claims, &admission.headrooms);
        }
        Ok(admission)
    }

    /// Charges a failed authentication to an address. Refused, the address is past its budget; a valid
    /// credential from it is to be served all the same.
    pub fn charge_failure(&self, address: IpAddr, now: Now) -> Result<(), Exceeded> {
        let rules = &self.rules;
        if rules.is_exempt(address) {
            return Ok(());
        }
        let now = now.monotonic_nanos;
        let verdict = self.counters.failures.charge(address, rules.failures_scale, now);
        self.past_failures(&verdict, now).map_or(Ok(()), Err)
    }

    /// What a failed authentication's budget has no room for.
    pub(super) fn past_failures(&self, verdict: &Verdict, now: u64) -> Option<Exceeded> {
        let wait = verdict.wait_nanos?;
        let rules = &self.rules;
        let claim = Claim { policy: rules.reserved(FAILURES), quota: rules.failures, ..self.blank() };
        let own = Headroom::of(&claim, verdict, now, Decision::Refused);
        Some(self.exceeded(&claim, wait, vec![own]))
    }

    fn take(&self, claims: &mut [Claim], headrooms: &mut Inline<Headroom>, now: u64) -> Result<(), Exceeded> {
        let cells = &self.counters.cells;
        let enforced = claims.iter().take_while(|claim| !claim.shadow).count();
        if let Some((place, verdict)) = self.without_room(claims, 1..enforced, now) {
            return Err(self.refuse(claims, place, &verdict, now));
        }
        for place in 0..claims.len() {
            let claim = &mut claims[place];
            let Taken { key, verdict } = cells.take(claim.key, &claim.debit, now);
            claim.key = key;
            let decision = match verdict.wait_nanos {
                None => Decision::Admitted,
                Some(_) if claim.shadow => Decision::WouldRefuse,
                Some(_) => {
                    self.give_back(&claims[..place], headrooms, now);
                    return Err(self.refuse(claims, place, &verdict, now));
                }
            };
            headrooms.push(Headroom::of(claim, &verdict, now, decision));
        }
        Ok(())
    }

    /// The first of some claims that has no room, with what it says.
    pub(super) fn without_room(
        &self,
        claims: &[Claim],
        mut places: Range<usize>,
        now: u64,
    ) -> Option<(usize, Verdict)> {
        places.find_map(|place| {
            let claim = &claims[place];
            let verdict = self.seen(claim, now);
            verdict.wait_nanos.is_some().then_some((place, verdict))
        })
    }

    /// Returns what was taken.
    #[cold]
    fn give_back(&self, claims: &[Claim], taken: &[Headroom], now: u64) {
        for (claim, headroom) in claims.iter().zip(taken.iter()) {
            let scale = Scale { interval_nanos: headroom.interval_nanos, burst: headroom.quota.burst };
            let counted = headroom.counted;
            let verdict = Verdict { tat: now + headroom.debt_nanos, wait_nanos: None, scale, counted };
            self.counters.cells.give_back(&Taken { key: claim.key, verdict }, claim.debit.cost);
        }
    }

    pub(super) fn enter(
        &self,
        permit: &Permit<'_>,
        claims: &[Claim],
        now: u64,
    ) -> Result<InFlightGuard, Exceeded> {
        let caller = in_flight_of(permit);
        let entered = self.counters.in_flight.enter(caller, self.rules.in_flight, self.rules.max_cells);
        entered.map_err(|reached| self.too_many_in_flight(reached, claims, now))
    }

    #[cold]
    pub(super) fn too_many_in_flight(
        &self,
        (reached, cap): (Reached, u32),
        claims: &[Claim],
        now: u64,
    ) -> Exceeded {
        let place = match reached {
            Reached::Token => 0,
            Reached::Workspace => 1,
            Reached::Total => 2,
        };
        let policy = self.rules.reserved(IN_FLIGHT + place);
        Exceeded {
            kind: ExceededKind::TooManyInFlight,
            policy,
            name: Arc::clone(self.rules.name(policy)),
            quota: None,
            burst: cap,
            wait: IN_FLIGHT_WAIT,
            remaining: 0,
            consumed: cap,
            exposed: true,
            path: None,
            headrooms: self.looked_at(claims, None, now).map(|(_, headroom)| headroom).collect(),
            rules: Arc::clone(&self.rules),
        }
    }

    /// Composes the refusal: of all that refuse, the one with the longest wait.
    #[cold]
    pub(super) fn refuse(&self, claims: &[Claim], place: usize, verdict: &Verdict, now: u64) -> Exceeded {
        let mut speaks = (place, verdict.wait_nanos.unwrap_or(0));
        let mut headrooms = Vec::with_capacity(claims.len());
        for (other, (verdict, headroom)) in self.looked_at(claims, Some((place, *verdict)), now).enumerate() {
            if let Some(wait) = verdict.wait_nanos
                && wait > speaks.1
            {
                speaks = (other, wait);
            }
            headrooms.push(headroom);
        }
        let (speaks, wait) = speaks;
        headrooms[..=speaks].rotate_right(1);
        self.exceeded(&claims[speaks], wait, headrooms)
    }

    /// What the enforcing claims have left, counting nothing; `known` is a verdict that stands.
    fn looked_at<'c>(
        &'c self,
        claims: &'c [Claim],
        known: Option<(usize, Verdict)>,
        now: u64,
    ) -> impl Iterator<Item = (Verdict, Headroom)> + 'c {
        claims.iter().enumerate().filter(|(_, claim)| !claim.shadow).map(move |(place, claim)| {
            let verdict = match known {
                Some((at, verdict)) if at == place => verdict,
                Some(_) | None => self.seen(claim, now),
            };
            let decision = if verdict.wait_nanos.is_some() { Decision::Refused } else { Decision::Admitted };
            (verdict, Headroom::of(claim, &verdict, now, decision))
        })
    }

    /// What is said of a claim that must wait; its own headroom is the first.
    fn exceeded(&self, claim: &Claim, wait_nanos: u64, headrooms: Vec<Headroom>) -> Exceeded {
        let own = headrooms[0];
        let long = claim.quota.period_seconds >= A_DAY_SECONDS;
        Exceeded {
            kind: if long { ExceededKind::QuotaExceeded } else { ExceededKind::RateLimited },
            policy: claim.policy,
            name: Arc::clone(self.rules.name(claim.policy)),
            quota: Some(own.quota),
            burst: own.quota.burst.get(),
            wait: Duration::from_nanos(wait_nanos),
            remaining: own.remaining(),
            consumed: own.consumed(),
            exposed: claim.exposed,
            path: None,
            headrooms: headrooms.into(),
            rules: Arc::clone(&self.rules),
        }
    }
}

/// Whom a request in flight counts for: its token and its workspace.
pub(super) fn in_flight_of(permit: &Permit<'_>) -> Option<(Subject, Subject)> {
    permit.caller().map(|caller| (caller.subject(), caller.workspace().subject))
}

impl Exceeded {
    /// The exposed policy that `X-RateLimit-*` describes: the one that refused, or else the tightest.
    pub(super) fn described(&self) -> Option<&Headroom> {
        self.headrooms
            .first()
            .filter(|first| self.quota.is_some() && first.exposed)
            .or_else(|| tightest(self.headrooms.iter()))
    }
}
