//! What a request costs beyond what was charged when it was admitted.
//!
//! A body without an announced length is charged as it streams, and what an upstream's answer says when it comes.
//! Neither refuses a request that was admitted: the debt delays later ones. Whoever would charge a stated maximum
//! when such a request arrives would refuse small uploads of clients that always stream. Invariant: a bucket owes
//! at most a second fill, so that nobody is locked out for longer than twice a bucket's own fill, whatever a client
//! sends or an upstream says.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::Counters;
use super::admission::{Admission, Decision};
use super::bucket::Verdict;
use super::cells::Debit;
use super::claims::Claim;
use super::key::Key;
use super::rules::PolicyIndex;
use crate::clock::Now;

/// A bucket of an admitted request that may be charged more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owing {
    policy: PolicyIndex,
    key: Key,
    /// Its cost is what was charged.
    debit: Debit,
    is_shared: bool,
}

/// Where a streamed body of unknown length is charged.
#[derive(Debug)]
pub struct BodyDebt {
    counters: Arc<Counters>,
    owing: Box<[(Owing, u64)]>,
    bytes: u64,
}

impl Owing {
    /// The claims of an admitted request whose policies may charge more.
    pub(super) fn of(claims: &[Claim], decided: &[super::Headroom]) -> Box<[Self]> {
        claims
            .iter()
            .zip(decided)
            .filter(|(_, headroom)| headroom.decision == Decision::Admitted)
            .map(|(claim, _)| Self {
                policy: claim.policy,
                key: claim.key,
                debit: claim.debit,
                is_shared: claim.shared.is_some(),
            })
            .collect()
    }

    fn charge(&self, counters: &Counters, cost: u64, now: Now) -> Option<Verdict> {
        let cost = u32::try_from(cost).unwrap_or(u32::MAX).min(self.debit.scale.burst.get());
        let debit = Debit { cost: NonZeroU32::new(cost)?, unix_millis: now.unix_millis, ..self.debit };
        if self.is_shared {
            return counters.shared.owe(self.key, cost, now.monotonic_nanos);
        }
        Some(counters.cells.owe(self.key, &debit, now.monotonic_nanos))
    }
}

impl Admission<'_> {
    /// Charges what the upstream's answer says that the request costs, by policies with `cost_from_header`, less
    /// what was charged already. `field` gives the value of a response field of a name in lower case. A value that
    /// is no number changes nothing, and a smaller one gives nothing back.
    pub fn charge_answer<'h>(&mut self, field: impl Fn(&[u8]) -> Option<&'h [u8]>, now: Now) {
        let limits = self.limits;
        for owing in &self.owing {
            let policy = limits.rules.policies.get(usize::from(owing.policy.0));
            let Some(name) = policy.and_then(|policy| policy.cost_from_header.as_deref()) else { continue };
            let Some(cost) = field(name.as_bytes()).and_then(number) else { continue };
            let more = cost.saturating_sub(u64::from(owing.debit.cost.get()));
            let Some(verdict) = owing.charge(&limits.counters, more, now) else { continue };
            let told = self.headrooms.iter_mut().find(|headroom| headroom.policy == owing.policy);
            if let Some(headroom) = told {
                headroom.tell(&verdict, now.monotonic_nanos);
            }
        }
    }

    /// Where to charge a body whose length was not announced; [`None`] if no policy counts bodies.
    pub fn body_debt(&self) -> Option<BodyDebt> {
        let step = |owing: &Owing| {
            let policy = self.limits.rules.policies.get(usize::from(owing.policy.0))?;
            Some((*owing, policy.body_bytes_per_cost?.get()))
        };
        let owing: Box<[_]> = self.owing.iter().filter_map(step).collect();
        (!owing.is_empty()).then(|| BodyDebt { counters: Arc::clone(&self.limits.counters), owing, bytes: 0 })
    }
}

impl BodyDebt {
    /// Charges so many further bytes.
    pub fn add(&mut self, bytes: u64, now: Now) {
        let before = self.bytes;
        self.bytes = before.saturating_add(bytes);
        for (owing, step) in &self.owing {
            let steps = self.bytes.div_ceil(*step) - before.div_ceil(*step);
            owing.charge(&self.counters, steps, now);
        }
    }
}

/// A cost as an upstream writes it: decimal digits, nothing else.
fn number(value: &[u8]) -> Option<u64> {
    let text = value.trim_ascii();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Too many digits are a very large number.
    Some(str::from_utf8(text).ok()?.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_digits_and_nothing_else() {
        for value in ["", " ", "-1", "+1", "1.5", "0x10", "1e3", "1 2", "١"] {
            assert_eq!(number(value.as_bytes()), None, "{value}");
        }
        assert_eq!(number(b" 12 "), Some(12));
        assert_eq!(number(&[b'9'; 40]), Some(u64::MAX));
    }
}
