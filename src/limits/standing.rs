//! Every limit of a caller with what is left, counting nothing: `/tollgate/v1/limits` and `tollgate explain`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::Limits;
use super::admission::{Decision, Headroom};
use super::claims::{Asked, Charge, Claim, OWN_LIMIT};
use super::key::{Key, MOST_ENDPOINTS};
use super::overridden::Overridden;
use super::policy::{ENDPOINT, PATH, Policy, VERSION};
use super::rules::PolicyIndex;
use crate::authentication::Caller;
use crate::clock::Now;
use crate::domain::{ApiVersion, Quota};

/// Who will read a list of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The caller: exposed policies that refuse.
    Caller,
    /// Operators: hidden and shadow policies too.
    Operator,
}

/// One limit of a caller.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Which limit.
    pub policy: PolicyIndex,
    /// Its name.
    pub name: Arc<str>,
    /// What it counts apart, in the words of `per`.
    pub per: Vec<String>,
    /// The operations that it is for; empty for all.
    pub endpoints: Vec<Arc<str>>,
    /// The operation that this row is counted for, of a policy that counts operations apart.
    pub endpoint: Option<Arc<str>>,
    /// The version that this row is counted for, of a policy that counts versions apart.
    pub version: Option<ApiVersion>,
    /// How much.
    pub quota: Quota,
    /// What is left; [`None`] where it is counted by a path parameter, whose values a caller has to name.
    pub headroom: Option<Headroom>,
}

impl Limits {
    /// Every limit that a caller can meet on any endpoint, with what is left at `now`.
    pub fn standing(&self, caller: &Caller, address: IpAddr, now: Now, audience: Audience) -> Vec<Standing> {
        let listing = Listing { limits: self, caller, address, now };
        let own = listing.asked(MOST_ENDPOINTS, None).own_limit();
        let mut rows = Vec::new();
        let mut own_listed = own.is_none();
        for (index, policy) in (0..).zip(self.rules.policies()) {
            if !policy.plans.is_empty() && !policy.plans.contains(&caller.workspace().plan) {
                continue;
            }
            if let (Some(own), true) = (own, policy.yields_to_own_limit()) {
                if !own_listed {
                    let key = self.key(index, policy, &listing.asked(MOST_ENDPOINTS, None));
                    rows.extend(key.map(|key| {
                        listing.own_row(&self.own_claim(own, key, Some(caller), PolicyIndex(index)))
                    }));
                }
                own_listed = true;
            } else if audience == Audience::Operator || policy.is_shown() {
                listing.rows_of(index, policy, &mut rows);
            }
        }
        if !own_listed {
            let claim =
                own.and_then(|own| self.unplaced_own_claim(own, &listing.asked(MOST_ENDPOINTS, None)));
            rows.extend(claim.map(|claim| listing.own_row(&claim)));
        }
        rows
    }
}

struct Listing<'a> {
    limits: &'a Limits,
    caller: &'a Caller,
    address: IpAddr,
    now: Now,
}

impl<'a> Listing<'a> {
    fn asked(&self, endpoint_number: u32, version: Option<ApiVersion>) -> Asked<'a, 'static> {
        let charge = Charge { address: self.address, path_parameter: &|_| None, body_bytes: 0 };
        let overridden = Overridden::of(Some(self.caller), self.now);
        let unix_millis = self.now.unix_millis;
        let caller = Some(self.caller);
        Asked { caller, endpoint: None, endpoint_number, version, charge, overridden, unix_millis }
    }

    fn own_row(&self, claim: &Claim) -> Standing {
        let rules = &self.limits.rules;
        Standing {
            policy: claim.policy,
            name: Arc::clone(rules.name(rules.reserved(OWN_LIMIT))),
            per: vec!["token".to_owned()],
            endpoints: Vec::new(),
            endpoint: None,
            version: None,
            quota: claim.quota,
            headroom: Some(self.headroom(claim)),
        }
    }

    /// One row, or one for each endpoint and version that the policy counts apart.
    fn rows_of(&self, index: u16, policy: &Policy, rows: &mut Vec<Standing>) {
        let by_endpoint = policy.mask & ENDPOINT != 0;
        let by_version = policy.mask & VERSION != 0;
        let mut places = BTreeSet::new();
        for (row, (operation, applying, versions)) in self.limits.rules.rows().enumerate() {
            if !applying.contains(&index) {
                continue;
            }
            let row = (by_endpoint && operation.is_some()).then_some(row);
            let wanted =
                |version: &ApiVersion| policy.versions.is_empty() || policy.versions.contains(version);
            if by_version && !versions.is_empty() {
                places.extend(versions.iter().copied().filter(wanted).map(|version| (row, Some(version))));
            } else {
                places.insert((row, None));
            }
        }
        let rules = &self.limits.rules;
        for (row, version) in places {
            let number = row.map_or(MOST_ENDPOINTS, |row| self.limits.endpoint_numbers[row]);
            let asked = self.asked(number, version);
            let key = self.limits.key(index, policy, &asked);
            let claim = |key: Key| self.limits.claim(index, policy, key, &asked);
            let quota = asked.overridden.and_then(|overridden| overridden.quota(policy));
            let known = key.filter(|_| policy.mask & PATH == 0);
            let headroom = known.map(|key| self.headroom(&claim(key)));
            // A month of the calendar has that month's length.
            let quota = headroom.map_or(quota.unwrap_or(policy.quota), |headroom| headroom.quota);
            rows.push(Standing {
                policy: PolicyIndex(index),
                name: Arc::clone(&policy.name),
                per: policy.per.iter().map(|dimension| dimension.name().into_owned()).collect(),
                endpoints: policy.endpoints.clone(),
                endpoint: row.and_then(|row| rules.operations().nth(row).cloned()),
                version,
                quota,
                headroom,
            });
        }
    }

    fn headroom(&self, claim: &Claim) -> Headroom {
        let now = self.now.monotonic_nanos;
        let verdict = self.limits.seen(claim, now);
        let decision = if verdict.wait_nanos.is_some() { Decision::Refused } else { Decision::Admitted };
        Headroom::of(claim, &verdict, now, decision)
    }
}
