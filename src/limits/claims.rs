//! Which policies a request meets, and the cell and quota that each counts it by.

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::NonZeroU32;

use super::Limits;
use super::bucket::Scale;
use super::calendar::Refill;
use super::cells::Debit;
use super::inline::Inline;
use super::key::{Key, MOST_ENDPOINTS, Parts};
use super::overridden::Overridden;
use super::policy::{ENDPOINT, PATH, PLAN, Policy, TOKEN, VERSION, WORKSPACE};
use super::rules::PolicyIndex;
use super::settings::Mode;
use super::shared::{Shared, Sharing};
use crate::authentication::Caller;
use crate::authorization::Permit;
use crate::clock::Now;
use crate::domain::{ApiVersion, Endpoint, Quota, RegionId};

/// The place of callers' own limits among the reserved names.
pub(super) const OWN_LIMIT: usize = 0;

/// What limits need to know of a request beside its permit.
#[derive(Clone, Copy)]
pub struct Charge<'a> {
    /// Where it comes from.
    pub address: IpAddr,
    /// The canonical value of a path parameter of the matched endpoint, by its name in the template.
    pub path_parameter: &'a dyn Fn(&str) -> Option<Cow<'a, [u8]>>,
    /// The length of its body as far as it is known; of a streamed one 0.
    pub body_bytes: u64,
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
    /// How it is shared; [`None`] where it is counted here.
    pub(super) shared: Option<Shared>,
    /// The policy whose bucket it is counted in: another where it stands in that one's place.
    pub(super) bucket: PolicyIndex,
    /// The region in whose store it is counted where it is shared.
    pub(super) home: RegionId,
}

/// Whose request it is and what it asks for, as keys see it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a, 'c> {
    pub(super) caller: Option<&'a Caller>,
    pub(super) endpoint: Option<&'a Endpoint>,
    pub(super) endpoint_number: u32,
    pub(super) version: Option<ApiVersion>,
    pub(super) charge: Charge<'c>,
    pub(super) overridden: Option<Overridden<'a>>,
    pub(super) unix_millis: u64,
}

impl Limits {
    /// Every policy that a request meets, those in shadow mode last.
    pub(super) fn claims(&self, permit: &Permit<'_>, charge: &Charge<'_>, now: Now) -> Inline<Claim> {
        let asked = Asked {
            caller: permit.caller(),
            endpoint: permit.endpoint(),
            endpoint_number: self.endpoint_number(permit.endpoint()),
            version: permit.version(),
            charge: *charge,
            overridden: Overridden::of(permit.caller(), now),
            unix_millis: now.unix_millis,
        };
        let plan = asked.caller.map(|caller| caller.workspace().plan);
        let own = asked.own_limit();
        let mut own_claimed = own.is_none();
        let mut claims = Inline::new(self.blank());
        for &index in self.rules.applying(permit.endpoint()) {
            let policy = &self.rules.policies[usize::from(index)];
            if !policy.is_for_request(plan, asked.version) {
                continue;
            }
            if policy.mode == Mode::Shadow && !own_claimed {
                claims.extend(own.and_then(|own| self.unplaced_own_claim(own, &asked)));
                own_claimed = true;
            }
            let Some(key) = self.key(index, policy, &asked) else { continue };
            match own {
                Some(own) if policy.yields_to_own_limit() => {
                    if !own_claimed {
                        claims.push(self.own_claim(own, key, asked.caller, PolicyIndex(index)));
                    }
                    own_claimed = true;
                }
                _ => claims.push(self.claim(index, policy, key, &asked)),
            }
        }
        if !own_claimed {
            claims.extend(own.and_then(|own| self.unplaced_own_claim(own, &asked)));
        }
        claims
    }

    /// A policy's claim; under another quota, in the same cell, where the caller's is overridden.
    pub(super) fn claim(&self, index: u16, policy: &Policy, key: Key, asked: &Asked<'_, '_>) -> Claim {
        let own = asked.overridden.and_then(|overridden| overridden.quota(policy));
        let (quota, scale, refill) = match own {
            Some(quota) => (quota, Scale::of(&quota), Refill::of(&quota)),
            None => (policy.quota, policy.scale, policy.refill),
        };
        let cost = policy.cost_of(asked.endpoint, asked.charge.body_bytes, scale.burst);
        let own = own.is_some();
        let unix_millis = asked.unix_millis;
        let debit = Debit { scale, refill, cost, revision: self.revision, own, unix_millis };
        let is_callers = policy.counts_workspaces_apart();
        let owner = asked.caller.filter(|_| is_callers);
        let (shared, home) = self.shared(policy.shared, owner);
        Claim {
            policy: PolicyIndex(index),
            quota,
            exposed: policy.is_shown(),
            shadow: policy.mode == Mode::Shadow,
            key,
            debit,
            shared,
            bucket: PolicyIndex(index),
            home,
        }
    }

    /// How a bucket is shared, and in which region's store: that of `owner`, if it is one caller's.
    fn shared(&self, shared: Shared, owner: Option<&Caller>) -> (Option<Shared>, RegionId) {
        let home = self.stores.home(owner);
        let is_shared = shared.sharing != Sharing::Off;
        (self.stores.of(home).filter(|_| is_shared).map(|_| shared), home)
    }

    /// A caller's own limit, counted in the cell of the policy that it stands in place of, so that setting or
    /// ending it hands out no fresh bucket.
    pub(super) fn own_claim(
        &self,
        own: Quota,
        key: Key,
        caller: Option<&Caller>,
        bucket: PolicyIndex,
    ) -> Claim {
        let scale = Scale::of(&own);
        let debit = Debit { scale, own: true, ..self.blank().debit };
        let (shared, home) = self.shared(self.rules.shared, caller);
        let policy = self.rules.reserved(OWN_LIMIT);
        Claim { policy, quota: own, key, bucket, debit, shared, home, ..self.blank() }
    }

    /// A caller's own limit where it stands in place of no policy.
    pub(super) fn unplaced_own_claim(&self, own: Quota, asked: &Asked<'_, '_>) -> Option<Claim> {
        let caller = asked.caller?;
        let policy = self.policy_numbers[self.rules.policies.len()];
        let key = Key::packed(&Parts { subject: Some(caller.subject()), ..Parts::of_policy(policy) });
        Some(self.own_claim(own, key, Some(caller), self.rules.reserved(OWN_LIMIT)))
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
        let block = policy.block(asked.charge.address, parts.anonymous);
        let by_path = has(PATH) && !parts.anonymous;
        if block.is_none() && !by_path {
            return Some(Key::packed(&parts));
        }
        Some(Key::hashed(&self.counters.secret, &parts, |chosen| {
            if let Some(block) = block {
                chosen.block(block);
            }
            for name in policy.path_parameters() {
                chosen.value(&(asked.charge.path_parameter)(name).unwrap_or_default());
            }
        }))
    }

    fn endpoint_number(&self, endpoint: Option<&Endpoint>) -> u32 {
        let number = endpoint.and_then(|endpoint| self.endpoint_numbers.get(usize::from(endpoint.index)));
        number.copied().unwrap_or(MOST_ENDPOINTS)
    }

    /// A claim to fill lists with and to start others from.
    pub(super) fn blank(&self) -> Claim {
        let quota = self.rules.failures;
        let scale = self.rules.failures_scale;
        Claim {
            policy: self.rules.reserved(OWN_LIMIT),
            quota,
            exposed: true,
            shadow: false,
            key: Key::packed(&Parts::of_policy(0)),
            debit: Debit {
                scale,
                refill: Refill::Gradual,
                cost: NonZeroU32::MIN,
                revision: self.revision,
                own: false,
                unix_millis: 0,
            },
            shared: None,
            bucket: self.rules.reserved(OWN_LIMIT),
            home: RegionId(0),
        }
    }
}
