//! What becomes of claims that no lease has a token for: they are refused, wait for the central store, or are decided
//! without it.
//!
//! Buckets of one workspace are asked of in one question, so that the store grants all or none.

use std::sync::Arc;

use super::Limits;
use super::admission::{Exceeded, ExceededKind};
use super::attempt::{Asker, Short, Source, path_without};
use super::claims::Claim;
use super::inline::Inline;
use super::shared::call::{Want, state_of};
use super::shared::cell::{Cell, Lacking, StoreState};
use super::shared::wanted::{Until, Waiting, Waits};
use super::shared::{Call, CentralStore, MOST_ASKED, OnStoreFailure, Shared, Wanted};
use crate::domain::LimitPath;

/// Where a bucket is kept.
type Store<'a> = &'a Arc<dyn CentralStore>;
/// Buckets that are asked of together, by the group's name.
type Group<'a> = (Arc<str>, Store<'a>, Vec<Want>);

impl Limits {
    /// Finds out how claims without a token are decided: refused, by waiting, or without the store.
    #[cold]
    pub(super) fn obtain(
        &self,
        claims: &mut [Claim],
        lacking: &[usize],
        sources: &mut Inline<Source>,
        asker: &Asker<'_, '_>,
        waits: Waits,
    ) -> Result<(), Short> {
        let now = asker.now;
        for &place in lacking {
            self.place(&mut claims[place], asker);
        }
        // Past the bound on buckets it is counted in another, which may have tokens, or refuse.
        let lacking = &*self.without_token(claims, lacking.iter().copied(), asker)?;
        let lacking = &*self.without_store(claims, lacking, sources, waits, now)?;
        if lacking.is_empty() {
            return Ok(());
        }
        let (mut pending, mut due, mut unasked) = (None, None, Vec::new());
        for &place in lacking {
            let claim = &claims[place];
            let lacks = |cell: &Cell| cell.lacking(claim.tokens(), now);
            match self.counters.shared.with(claim.key, &claim.debit, now, lacks) {
                Some(Lacking::Denied(verdict)) => return Err(self.exceeds(claims, place, &verdict, now)),
                Some(Lacking::Pending(one)) => pending = Some(one),
                Some(Lacking::Due(at)) => due = due.max(Some(at)),
                Some(Lacking::Unasked) | None => unasked.push(place),
            }
        }
        let may_wait = match due.filter(|_| pending.is_none()) {
            Some(due) => waits.may_wait_until(due),
            None => waits.may_ask(now),
        };
        if !may_wait {
            let place = lacking[0];
            let claim = &claims[place];
            let verdict =
                self.counters.shared.with(claim.key, &claim.debit, now, |cell| cell.out_of_patience(now));
            let verdict = verdict.unwrap_or_else(|| self.seen(claim, now));
            return Err(self.exceeds(claims, place, &verdict, now));
        }
        let keys = lacking.iter().map(|&place| (claims[place].key, claims[place].tokens())).collect();
        let mut wanted = Wanted::new(waits, self.until(claims, lacking, waits, now), now);
        if let Some(one) = pending {
            wanted.pending.push(one);
        } else if due.is_some() {
            wanted.due = due;
        } else {
            for (store, wants) in self.questions(claims, &unasked) {
                match Call::begin(&self.counters.shared, store, &wants, now) {
                    Some((call, pending)) => {
                        wanted.calls.push(call);
                        wanted.pending.push(pending);
                    }
                    // Another thread asks at this moment; what it asks is looked for at once.
                    None => wanted.due = Some(now),
                }
            }
        }
        wanted.waiting = Waiting::at(&self.counters.shared, keys);
        Err(Short::Wanted(Box::new(wanted)))
    }

    /// Until when claims wait for an answer.
    fn until(&self, claims: &[Claim], lacking: &[usize], waits: Waits, now: u64) -> Until {
        let (mut patience, mut deadline, mut is_closed) = (0, 0, false);
        for claim in lacking.iter().map(|&place| &claims[place]) {
            let (Some(shared), Some(state)) = (claim.shared, self.state_of(claim)) else { continue };
            patience = patience.max(state.longest_wait_nanos);
            deadline = deadline.max(state.deadline_nanos);
            is_closed |= shared.on_store_failure == OnStoreFailure::Closed;
        }
        if is_closed {
            // It ends by itself within the deadline, unless its thread hangs.
            return Until::Deadline(now.saturating_add(deadline.saturating_mul(2)));
        }
        Until::Patience(waits.since(now).saturating_add(patience))
    }

    /// Decides claims whose store does not answer, or has not in time: all or none. Answers with the others, which are to be
    /// asked for.
    fn without_store(
        &self,
        claims: &[Claim],
        lacking: &[usize],
        sources: &mut Inline<Source>,
        waits: Waits,
        now: u64,
    ) -> Result<Inline<usize>, Short> {
        let mut others = Inline::new(0);
        for &place in lacking {
            let claim = &claims[place];
            let (Some(shared), Some(state)) = (claim.shared, self.state_of(claim)) else { continue };
            if state.down_since.is_none()
                && !waits.in_vain
                && !self.is_overdue(claim, shared, state, waits, now)
            {
                others.push(place);
                continue;
            }
            let decided = self.counters.shared.with(claim.key, &claim.debit, now, |cell| {
                cell.without_store(claim.tokens(), shared, state, now, false)
            });
            match decided.flatten() {
                None => return Err(self.unavailable(claim)),
                Some(verdict) if verdict.wait_nanos.is_some() => {
                    let mut exceeded = self.refuse(claims, place, &verdict, now);
                    exceeded.path = Some(path_without(state, LimitPath::Share));
                    return Err(Short::Exceeded(Box::new(exceeded)));
                }
                Some(_) => sources[place] = Source::WithoutStore(state),
            }
        }
        Ok(others)
    }

    /// Whether an answer for a claim is not waited for any longer. One that refuses without an answer waits for it.
    fn is_overdue(&self, claim: &Claim, shared: Shared, state: StoreState, waits: Waits, now: u64) -> bool {
        if shared.on_store_failure == OnStoreFailure::Closed {
            return false;
        }
        let is_overdue = |cell: &Cell| cell.is_overdue(waits.since(now), state, now);
        self.counters.shared.with(claim.key, &claim.debit, now, is_overdue) == Some(true)
    }

    /// Where a claim's bucket is kept.
    fn store_of(&self, claim: &Claim) -> Option<Store<'_>> {
        self.stores.of(claim.home)
    }

    pub(super) fn state_of(&self, claim: &Claim) -> Option<StoreState> {
        self.store_of(claim).map(|store| state_of(&**store))
    }

    /// Makes a claim's shared cell, if need be.
    pub(super) fn place(&self, claim: &mut Claim, asker: &Asker<'_, '_>) {
        let (key, debit) = (claim.key, claim.debit);
        let name = |is_overflow| self.bucket_name(claim, is_overflow, asker.permit, asker.charge);
        claim.key = self.counters.shared.make(key, &debit, asker.now, &name);
    }

    /// Wants by question: the buckets of one group together.
    fn questions(&self, claims: &[Claim], places: &[usize]) -> Vec<(Store<'_>, Vec<Want>)> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for &place in places {
            let claim = &claims[place];
            let Some(shared) = claim.shared else { continue };
            let want = Want { key: claim.key, debit: claim.debit, shared, cost: claim.tokens() };
            let group = |cell: &Cell| Arc::clone(&cell.name.group);
            let Some(group) = self.counters.shared.with_known(claim.key, group) else { continue };
            match groups.iter_mut().find(|(known, _, wants)| *known == group && wants.len() < MOST_ASKED) {
                Some((.., wants)) if wants.iter().any(|other| other.key == want.key) => {}
                Some((.., wants)) => wants.push(want),
                None => groups.extend(self.store_of(claim).map(|store| (group, store, vec![want]))),
            }
        }
        groups.into_iter().map(|(_, store, wants)| (store, wants)).collect()
    }

    /// Renews leases that an admitted request has nearly spent, each by a question of its own.
    #[cold]
    pub(super) fn ask_ahead(&self, claims: &[Claim], places: &[usize], asker: &Asker<'_, '_>) -> Vec<Call> {
        let call = |&place: &usize| {
            let claim = &claims[place];
            let store = self.store_of(claim).filter(|store| store.is_up())?;
            let want = Want { key: claim.key, debit: claim.debit, shared: claim.shared?, cost: 0 };
            Call::begin(&self.counters.shared, store, &[want], asker.now).map(|(call, _)| call)
        };
        places.iter().filter_map(call).collect()
    }

    /// The refusal of a policy that refuses while the store does not answer.
    #[cold]
    fn unavailable(&self, claim: &Claim) -> Short {
        Short::Exceeded(Box::new(Exceeded {
            kind: ExceededKind::LimitsUnavailable,
            policy: claim.policy,
            name: Arc::clone(self.rules.name(claim.policy)),
            quota: None,
            burst: claim.quota.burst.get(),
            wait: std::time::Duration::from_secs(1),
            remaining: 0,
            consumed: 0,
            exposed: false,
            path: Some(LimitPath::Closed),
            headrooms: Box::default(),
            rules: Arc::clone(&self.rules),
        }))
    }
}
