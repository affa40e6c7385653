//! The decision: every policy that a request meets admits it, or nothing is counted.

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::Limits;
use super::admission::{Admission, Decision, Exceeded, ExceededKind, Headroom, tightest};
use super::bucket::{Scale, Verdict};
use super::cells::{Debit, Taken};
use super::in_flight::{InFlightGuard, Reached};
use super::inline::Inline;
use super::key::{Key, MOST_ENDPOINTS, Parts};
use super::policy::{ADDRESS, ENDPOINT, PATH, PLAN, Policy, TOKEN, VERSION, WORKSPACE};
use super::rules::PolicyIndex;
use super::settings::Mode;
use crate::authentication::Caller;
use crate::authorization::Permit;
use crate::clock::Now;
use crate::domain::{ApiVersion, Endpoint, Quota};

/// What limits need to know of a request beside its permit.
#[derive(Clone, Copy)]
pub struct Charge<'a> {
    /// Where it comes from.
    pub address: IpAddr,
    /// The canonical value of a path parameter of the matched endpoint, by its name in the template.
    pub path_parameter: &'a dyn Fn(&str) -> Option<Cow<'a, [u8]>>,
}

impl std::fmt::Debug for Charge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Charge").field("address", &self.address).finish_non_exhaustive()
    }
}

/// One policy that a request meets, and the cell and quota it is counted by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) policy: PolicyIndex,
    pub(super) quota: Quota,
    pub(super) exposed: bool,
    pub(super) shadow: bool,
    pub(super) key: Key,
    pub(super) debit: Debit,
}

/// Places of the reserved names after the policies.
pub(super) const OWN_LIMIT: usize = 0;
const IN_FLIGHT: usize = 1;
const FAILURES: usize = 4;

/// The longest wait that is told for requests in flight, which nobody can foresee.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(1);

const A_DAY_SECONDS: u32 = 86_400;

/// Whose request it is and what it asks for, as keys see it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a, 'c> {
    pub(super) caller: Option<&'a Caller>,
    pub(super) endpoint_number: u32,
    pub(super) version: Option<ApiVersion>,
    pub(super) charge: Charge<'c>,
}

impl Limits {
    /// Counts a permitted request against every policy that it meets, and as in flight. All admit it, or nothing
    /// is counted.
    ///
    /// Where several policies are met all are looked at before any is charged. If another thread takes the last
    /// of one in between, what was charged is given back; in that moment a third request may be refused that
    /// could have been admitted, never the reverse.
    pub fn admit<'r>(
        &'r self,
        permit: Permit<'r>,
        charge: &Charge<'_>,
        now: Now,
    ) -> Result<Admission<'r>, Exceeded> {
        let mut claims = self.claims(&permit, charge);
        let now = now.monotonic_nanos;
        let enforced = claims.iter().filter(|claim| !claim.shadow).count();
        let counts_in_flight = !self.rules.in_flight.is_none();
        if enforced > 1 || counts_in_flight {
            self.look(&claims, now)?;
        }
        let in_flight =
            if counts_in_flight { self.enter(&permit, &claims, now)? } else { InFlightGuard::default() };
        let headrooms = self.take(&mut claims, now)?;
        Ok(Admission { permit, limits: self, headrooms, in_flight })
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
        let claim = Claim { policy: rules.reserved(FAILURES), quota: rules.failures, ..self.blank() };
        match verdict.wait_nanos {
            None => Ok(()),
            Some(wait) => Err(self.exceeded(&claim, &verdict, wait, Vec::new(), now)),
        }
    }

    fn claims(&self, permit: &Permit<'_>, charge: &Charge<'_>) -> Inline<Claim> {
        let asked = Asked {
            caller: permit.caller(),
            endpoint_number: self.endpoint_number(permit.endpoint()),
            version: permit.version(),
            charge: *charge,
        };
        let plan = asked.caller.map(|caller| caller.workspace().plan);
        let own = asked.caller.and_then(Caller::own_limit);
        let mut own_claimed = own.is_none();
        let mut claims = Inline::new(self.blank());
        for &index in self.rules.applying(permit.endpoint()) {
            let policy = &self.rules.policies[usize::from(index)];
            if !policy.is_for_request(plan, asked.version) {
                continue;
            }
            if policy.mode == Mode::Shadow && !own_claimed {
                claims.extend(self.unplaced_own_claim(&asked));
                own_claimed = true;
            }
            let Some(key) = self.key(index, policy, &asked) else { continue };
            match own {
                Some(own) if policy.yields_to_own_limit() => {
                    if !own_claimed {
                        claims.push(self.own_claim(own, key));
                    }
                    own_claimed = true;
                }
                _ => claims.push(self.claim(index, policy, key)),
            }
        }
        if !own_claimed {
            claims.extend(self.unplaced_own_claim(&asked));
        }
        claims
    }

    pub(super) fn claim(&self, index: u16, policy: &Policy, key: Key) -> Claim {
        let debit = Debit { scale: policy.scale, cost: policy.cost, revision: self.revision, own: false };
        Claim {
            policy: PolicyIndex(index),
            quota: policy.quota,
            exposed: policy.expose && policy.mode == Mode::Enforce,
            shadow: policy.mode == Mode::Shadow,
            key,
            debit,
        }
    }

    /// A caller's own limit, counted in the cell of the policy that it stands in place of, so that setting or
    /// ending it hands out no fresh bucket.
    pub(super) fn own_claim(&self, own: Quota, key: Key) -> Claim {
        let scale = Scale::of(&own);
        let debit = Debit { scale, cost: NonZeroU32::MIN, revision: self.revision, own: true };
        Claim { policy: self.rules.reserved(OWN_LIMIT), quota: own, key, debit, ..self.blank() }
    }

    /// A caller's own limit where it stands in place of no policy.
    pub(super) fn unplaced_own_claim(&self, asked: &Asked<'_, '_>) -> Option<Claim> {
        let caller = asked.caller?;
        let policy = self.policy_numbers[self.rules.policies.len()];
        let key = Key::packed(&Parts { subject: Some(caller.subject()), ..Parts::of_policy(policy) });
        Some(self.own_claim(caller.own_limit()?, key))
    }

    /// The cell of a policy for a request; [`None`] if it counts by something that the request has not.
    pub(super) fn key(&self, index: u16, policy: &Policy, asked: &Asked<'_, '_>) -> Option<Key> {
        if policy.needs_caller() && asked.caller.is_none() {
            return None;
        }
        let has = |bits: u8| policy.mask & bits != 0;
        let subject = asked.caller.and_then(|caller| {
            if has(TOKEN) {
                Some(caller.subject())
            } else {
                has(WORKSPACE | PATH).then(|| caller.workspace().subject)
            }
        });
        let parts = Parts {
            policy: self.policy_numbers[usize::from(index)],
            subject,
            endpoint: if has(ENDPOINT) { asked.endpoint_number } else { MOST_ENDPOINTS },
            version: asked.version.filter(|_| has(VERSION)),
            plan: asked.caller.map(|caller| caller.workspace().plan).filter(|_| has(PLAN)),
            anonymous: asked.caller.is_none(),
        };
        if !has(ADDRESS | PATH) {
            return Some(Key::packed(&parts));
        }
        let address = has(ADDRESS).then_some(asked.charge.address);
        Some(Key::hashed(&self.counters.secret, &parts, address, &mut |each| {
            for name in policy.path_parameters() {
                each(&(asked.charge.path_parameter)(name).unwrap_or_default());
            }
        }))
    }

    fn endpoint_number(&self, endpoint: Option<&Endpoint>) -> u32 {
        let number = endpoint.and_then(|endpoint| self.endpoint_numbers.get(usize::from(endpoint.index)));
        number.copied().unwrap_or(MOST_ENDPOINTS)
    }

    fn look(&self, claims: &Inline<Claim>, now: u64) -> Result<(), Exceeded> {
        for (place, claim) in claims.iter().enumerate().filter(|(_, claim)| !claim.shadow) {
            let verdict = self.counters.cells.peek(claim.key, &claim.debit, now);
            if verdict.wait_nanos.is_some() {
                return Err(self.refuse(claims, place, &verdict, now));
            }
        }
        Ok(())
    }

    fn take(&self, claims: &mut Inline<Claim>, now: u64) -> Result<Inline<Headroom>, Exceeded> {
        let mut headrooms = Inline::new(Headroom::BLANK);
        let mut lost = None;
        for (place, claim) in claims.iter_mut().enumerate() {
            let Taken { key, verdict } = self.counters.cells.take(claim.key, &claim.debit, now);
            claim.key = key;
            let decision = match verdict.wait_nanos {
                None => Decision::Admitted,
                Some(_) if claim.shadow => Decision::WouldRefuse,
                Some(_) => {
                    lost = Some((place, verdict));
                    break;
                }
            };
            headrooms.push(Headroom::of(claim, &verdict, now, decision));
        }
        match lost {
            None => Ok(headrooms),
            Some((place, verdict)) => {
                self.give_back(claims, &headrooms, now);
                Err(self.refuse(claims, place, &verdict, now))
            }
        }
    }

    /// Returns what was taken. Enforcing claims come first, so all that were taken from had admitted.
    #[cold]
    fn give_back(&self, claims: &Inline<Claim>, taken: &Inline<Headroom>, now: u64) {
        for (claim, headroom) in claims.iter().zip(taken.iter()) {
            let scale = Scale { interval_nanos: headroom.interval_nanos, burst: headroom.quota.burst };
            let verdict = Verdict { tat: now + headroom.debt_nanos, wait_nanos: None, scale };
            self.counters.cells.give_back(&Taken { key: claim.key, verdict }, claim.debit.cost);
        }
    }

    fn enter(
        &self,
        permit: &Permit<'_>,
        claims: &Inline<Claim>,
        now: u64,
    ) -> Result<InFlightGuard, Exceeded> {
        let caller = permit.caller().map(|caller| (caller.subject(), caller.workspace().subject));
        let entered = self.counters.in_flight.enter(caller, self.rules.in_flight, self.rules.max_cells);
        entered.map_err(|(reached, cap)| {
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
                headrooms: self.looked_at(claims, None, now).map(|(_, headroom)| headroom).collect(),
                rules: Arc::clone(&self.rules),
            }
        })
    }

    /// Composes the refusal: of all that refuse, the one with the longest wait.
    #[cold]
    fn refuse(&self, claims: &Inline<Claim>, place: usize, verdict: &Verdict, now: u64) -> Exceeded {
        let mut longest = (place, verdict.wait_nanos.unwrap_or(0), *verdict);
        let mut headrooms: Vec<(usize, Headroom)> = Vec::with_capacity(claims.len());
        for (other, (verdict, headroom)) in self.looked_at(claims, Some((place, *verdict)), now).enumerate() {
            if let Some(wait) = verdict.wait_nanos
                && wait > longest.1
            {
                longest = (other, wait, verdict);
            }
            headrooms.push((other, headroom));
        }
        let (speaks, wait, verdict) = longest;
        let others =
            headrooms.into_iter().filter(|(other, _)| *other != speaks).map(|(_, headroom)| headroom);
        let claim = claims.iter().nth(speaks).copied().unwrap_or_else(|| self.blank());
        self.exceeded(&claim, &verdict, wait, others.collect(), now)
    }

    /// What the enforcing claims have left, counting nothing; `known` is a verdict that stands.
    fn looked_at<'c>(
        &'c self,
        claims: &'c Inline<Claim>,
        known: Option<(usize, Verdict)>,
        now: u64,
    ) -> impl Iterator<Item = (Verdict, Headroom)> + 'c {
        claims.iter().enumerate().filter(|(_, claim)| !claim.shadow).map(move |(place, claim)| {
            let verdict = match known {
                Some((at, verdict)) if at == place => verdict,
                Some(_) | None => self.counters.cells.peek(claim.key, &claim.debit, now),
            };
            let decision = if verdict.wait_nanos.is_some() { Decision::Refused } else { Decision::Admitted };
            (verdict, Headroom::of(claim, &verdict, now, decision))
        })
    }

    fn exceeded(
        &self,
        claim: &Claim,
        verdict: &Verdict,
        wait_nanos: u64,
        others: Vec<Headroom>,
        now: u64,
    ) -> Exceeded {
        let own = Headroom::of(claim, verdict, now, Decision::Refused);
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
            headrooms: std::iter::once(own).chain(others).collect(),
            rules: Arc::clone(&self.rules),
        }
    }

    fn blank(&self) -> Claim {
        let quota = self.rules.failures;
        let scale = self.rules.failures_scale;
        Claim {
            policy: self.rules.reserved(OWN_LIMIT),
            quota,
            exposed: true,
            shadow: false,
            key: Key::packed(&Parts::of_policy(0)),
            debit: Debit { scale, cost: NonZeroU32::MIN, revision: self.revision, own: false },
        }
    }
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
