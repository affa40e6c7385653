//! The decision where limits are shared: by what is leased, at once; else by what the central store answers.
//!
//! All or nothing over local and shared policies: what is taken before another refuses is given back, to the same cell
//! and the same lease. Buckets of one workspace are asked of in one question, so that the store grants all or none. While
//! one of a request's buckets refuses, no other is asked of.

use std::sync::Arc;

use super::Limits;
use super::admission::{Admission, Decision, Exceeded, ExceededKind, Headroom};
use super::bucket::{Scale, Verdict};
use super::cells::Taken;
use super::claims::{Charge, Claim};
use super::in_flight::InFlightGuard;
use super::inline::Inline;
use super::owing::Owing;
use super::shared::call::{Want, state_of};
use super::shared::cell::count::untouched;
use super::shared::cell::{Cell, Lacking, StoreState};
use super::shared::wanted::Waiting;
use super::shared::{Call, CentralStore, MOST_ASKED, Mark, OnStoreFailure, Waited, Wanted};
use crate::authorization::Permit;
use crate::clock::Now;
use crate::domain::LimitPath;

/// What can be said of a request without waiting.
#[derive(Debug)]
pub enum Attempt<'r> {
    /// Admitted, or what refused.
    Decided(Result<Admission<'r>, Exceeded>),
    /// A shared limit has to ask: await [`Wanted::settled`], then call [`Limits::admit_after`].
    NeedsShared(Permit<'r>, Wanted),
}

/// Why nothing was taken.
enum Short {
    Exceeded(Box<Exceeded>),
    Wanted(Box<Wanted>),
}

/// Where a claim's tokens come from.
#[derive(Clone, Copy)]
enum Source {
    /// The cell here, or the lease.
    Held,
    /// What is done without the store.
    WithoutStore(StoreState),
}

/// What was taken for a claim, and where it goes back to.
#[derive(Clone, Copy)]
enum Took {
    Local,
    Leased(Mark),
    /// A share or nothing, which does not go back: the share refuses a little too much for it.
    Uncounted,
}

/// How a claim was decided; [`None`] if it is not shared.
fn path((claim, source): (&Claim, &Source)) -> Option<LimitPath> {
    Some(match (claim.shared?.on_store_failure, source) {
        (_, Source::Held) => LimitPath::Lease,
        (OnStoreFailure::Open, Source::WithoutStore(_)) => LimitPath::Open,
        (_, Source::WithoutStore(_)) => LimitPath::Share,
    })
}

const fn waited_path(has_waited: bool) -> LimitPath {
    if has_waited { LimitPath::Store } else { LimitPath::Lease }
}

/// Where a bucket is kept.
type Store<'a> = &'a Arc<dyn CentralStore>;
/// Buckets that are asked of together, by the group's name.
type Group<'a> = (Arc<str>, Store<'a>, Vec<Want>);

/// One decision's circumstances.
struct Asker<'a, 'c> {
    permit: &'a Permit<'a>,
    charge: &'a Charge<'c>,
    now: u64,
    /// When it began to wait, or now: it may spend a token that lived then, or is granted since.
    since: u64,
}

impl Limits {
    /// What [`Limits::admit`] says where limits are shared through a central store, and the same where they are not.
    /// Nothing is counted unless it is admitted.
    pub fn try_admit<'r>(&'r self, permit: Permit<'r>, charge: &Charge<'_>, now: Now) -> Attempt<'r> {
        if self.stores.by_region.is_empty() {
            return Attempt::Decided(self.admit(permit, charge, now));
        }
        self.attempt(permit, charge, Waited::not(), now)
    }

    /// Decides a request that has waited. It may have to wait again: for its turn to ask, and for one answer.
    pub fn admit_after<'r>(
        &'r self,
        so_far: Waited,
        permit: Permit<'r>,
        charge: &Charge<'_>,
        now: Now,
    ) -> Attempt<'r> {
        self.attempt(permit, charge, so_far, now)
    }

    fn attempt<'r>(
        &'r self,
        permit: Permit<'r>,
        charge: &Charge<'_>,
        so_far: Waited,
        now: Now,
    ) -> Attempt<'r> {
        let mut claims = self.claims(&permit, charge, now);
        let nanos = now.monotonic_nanos;
        let in_flight = if self.rules.in_flight.is_none() {
            InFlightGuard::default()
        } else {
            match self.enter(&permit, &claims, nanos) {
                Ok(guard) => guard,
                Err(exceeded) => return Attempt::Decided(Err(exceeded)),
            }
        };
        let mut headrooms = Inline::new(Headroom::BLANK);
        let (since, has_waited) = (so_far.waits.since(nanos), so_far.waits.has_waited());
        let asker = Asker { permit: &permit, charge, now: nanos, since };
        let taken = self.take_everywhere(&mut claims, &mut headrooms, &asker, so_far);
        let (ahead, path) = match taken {
            Ok((ahead, path)) => (ahead, path.map(|path| path.max(waited_path(has_waited)))),
            Err(Short::Exceeded(mut exceeded)) => {
                exceeded.path = exceeded.path.map(|path| path.max(waited_path(has_waited)));
                return Attempt::Decided(Err(*exceeded));
            }
            Err(Short::Wanted(wanted)) => return Attempt::NeedsShared(permit, *wanted),
        };
        let owing = if self.rules.defers_costs { Owing::of(&claims, &headrooms) } else { Box::default() };
        Attempt::Decided(Ok(Admission { permit, limits: self, headrooms, in_flight, owing, ahead, path }))
    }

    /// Takes for every claim, or for none. Answers with leases to be renewed in the background, and how it was decided.
    fn take_everywhere(
        &self,
        claims: &mut [Claim],
        headrooms: &mut Inline<Headroom>,
        asker: &Asker<'_, '_>,
        so_far: Waited,
    ) -> Result<(Vec<Call>, Option<LimitPath>), Short> {
        let enforced = claims.iter().take_while(|claim| !claim.shadow).count();
        let mut sources = Inline::new(Source::Held);
        (0..claims.len()).for_each(|_| sources.push(Source::Held));
        let mut so_far = Some(so_far);
        // The first claim is taken without a look; it is looked at when that fails. Losing every race twice is rare
        // enough to be told to come back.
        for first in [1, 0, 0] {
            let mut lacking = Inline::new(0);
            for place in first..enforced {
                if let Source::WithoutStore(_) = sources[place] {
                    continue;
                }
                let claim = &claims[place];
                match self.look(claim, asker) {
                    Some(verdict) if verdict.wait_nanos.is_none() => {}
                    Some(verdict) => return Err(self.exceeds(claims, place, &verdict, asker.now)),
                    None => lacking.push(place),
                }
            }
            if !lacking.is_empty() {
                self.obtain(claims, &lacking, &mut sources, asker, so_far.take())?;
            }
            match self.take_each(claims, headrooms, &sources, asker) {
                Ok(renew) => {
                    let path = claims.iter().zip(sources.iter()).filter_map(path).max();
                    let ahead =
                        if renew.is_empty() { Vec::new() } else { self.ask_ahead(claims, &renew, asker) };
                    return Ok((ahead, path));
                }
                Err(None) => headrooms.clear(),
                Err(Some((place, verdict))) => {
                    headrooms.clear();
                    return Err(self.exceeds(claims, place, &verdict, asker.now));
                }
            }
        }
        let verdict = self.seen(&claims[0], asker.now);
        let verdict = Verdict { wait_nanos: verdict.wait_nanos.or(Some(1_000_000)), ..verdict };
        Err(self.exceeds(claims, 0, &verdict, asker.now))
    }

    /// Room or refusal as far as it is known here; [`None`] if the store has to be asked.
    fn look(&self, claim: &Claim, asker: &Asker<'_, '_>) -> Option<Verdict> {
        let Asker { now, since, .. } = *asker;
        if claim.shared.is_none() {
            return Some(self.counters.cells.peek(claim.key, &claim.debit, now));
        }
        let look = |cell: &Cell| cell.look(claim.tokens(), since, now);
        self.counters.shared.with(claim.key, &claim.debit, now, look).flatten()
    }

    /// What is known of a claim's bucket, asking nobody.
    pub(super) fn seen(&self, claim: &Claim, now: u64) -> Verdict {
        let Some(shared) = claim.shared else {
            return self.counters.cells.peek(claim.key, &claim.debit, now);
        };
        let full = Verdict { tat: 0, wait_nanos: None, scale: claim.debit.scale, counted: None };
        let seen = self.counters.shared.with(claim.key, &claim.debit, now, |cell| {
            let cost = claim.tokens();
            let without_store = || {
                let state = self.state_of(claim)?;
                state.down_since?;
                cell.without_store(cost, shared, state, now, false)
            };
            cell.look(cost, now, now).or_else(without_store).unwrap_or_else(|| cell.told(now))
        });
        seen.or_else(|| untouched(&claim.debit, now)).unwrap_or(full)
    }

    /// Finds out how claims without a token are decided: refused, by waiting, or without the store.
    #[cold]
    fn obtain(
        &self,
        claims: &mut [Claim],
        lacking: &[usize],
        sources: &mut Inline<Source>,
        asker: &Asker<'_, '_>,
        so_far: Option<Waited>,
    ) -> Result<(), Short> {
        let now = asker.now;
        let so_far = so_far.unwrap_or_else(Waited::not);
        let waits = so_far.waits;
        drop(so_far);
        for &place in lacking {
            self.place(&mut claims[place], asker);
        }
        if self.without_store(claims, lacking, sources, waits.in_vain, now)? {
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
        let deadlines = lacking.iter().filter_map(|&place| self.state_of(&claims[place]));
        let deadline_nanos = deadlines.map(|state| state.deadline_nanos).max().unwrap_or(0);
        let mut wanted = Wanted::new(waits, deadline_nanos, now);
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

    /// Decides claims whose store does not answer, or has not in time: all or none. Answers whether it decided all; if
    /// not, the others are to be asked for.
    fn without_store(
        &self,
        claims: &[Claim],
        lacking: &[usize],
        sources: &mut Inline<Source>,
        in_vain: bool,
        now: u64,
    ) -> Result<bool, Short> {
        let mut all = true;
        for &place in lacking {
            let claim = &claims[place];
            let (Some(shared), Some(state)) = (claim.shared, self.state_of(claim)) else { continue };
            if state.down_since.is_none() && !in_vain {
                all = false;
                continue;
            }
            let decided = self.counters.shared.with(claim.key, &claim.debit, now, |cell| {
                cell.without_store(claim.tokens(), shared, state, now, false)
            });
            match decided.flatten() {
                None => return Err(self.unavailable(claim)),
                Some(verdict) if verdict.wait_nanos.is_some() => {
                    let mut exceeded = self.refuse(claims, place, &verdict, now);
                    exceeded.path = Some(LimitPath::Share);
                    return Err(Short::Exceeded(Box::new(exceeded)));
                }
                Some(_) => sources[place] = Source::WithoutStore(state),
            }
        }
        Ok(all)
    }

    /// Takes for each claim from its source. Otherwise what was taken is given back, and the answer is who refused;
    /// [`None`] if a lease was spent by others meanwhile.
    fn take_each(
        &self,
        claims: &mut [Claim],
        headrooms: &mut Inline<Headroom>,
        sources: &[Source],
        asker: &Asker<'_, '_>,
    ) -> Result<Inline<usize>, Option<(usize, Verdict)>> {
        let now = asker.now;
        let mut renew = Inline::new(0);
        let mut took = Inline::new(Took::Uncounted);
        for place in 0..claims.len() {
            let taken = self.take_one(&mut claims[place], sources[place], asker);
            let claim = &claims[place];
            let decision = match taken {
                Some((from, verdict, renews)) if verdict.wait_nanos.is_none() => {
                    took.push(from);
                    if renews {
                        renew.push(place);
                    }
                    headrooms.push(Headroom::of(claim, &verdict, now, Decision::Admitted));
                    continue;
                }
                Some((_, verdict, _)) if claim.shadow => {
                    took.push(Took::Uncounted);
                    headrooms.push(Headroom::of(claim, &verdict, now, Decision::WouldRefuse));
                    continue;
                }
                Some((_, verdict, _)) => Some((place, verdict)),
                None => None,
            };
            self.give_all_back(&claims[..place], &took, headrooms, now);
            return Err(decision);
        }
        Ok(renew)
    }

    /// Takes for one claim; [`None`] if its lease has no token. A claim in shadow mode never waits: what it finds no token
    /// for is charged when the next are granted.
    fn take_one(
        &self,
        claim: &mut Claim,
        source: Source,
        asker: &Asker<'_, '_>,
    ) -> Option<(Took, Verdict, bool)> {
        let now = asker.now;
        let Some(shared) = claim.shared else {
            let Taken { key, verdict } = self.counters.cells.take(claim.key, &claim.debit, now);
            claim.key = key;
            return Some((Took::Local, verdict, false));
        };
        let cost = claim.tokens();
        let cells = &self.counters.shared;
        if let Source::WithoutStore(state) = source {
            let take = |cell: &Cell| cell.without_store(cost, shared, state, now, true);
            let verdict = cells.with(claim.key, &claim.debit, now, take).flatten()?;
            return Some((Took::Uncounted, verdict, false));
        }
        let take = |cell: &Cell| cell.take(cost, asker.since, now);
        let taken = cells.with(claim.key, &claim.debit, now, take).flatten();
        if let Some((mark, verdict, renews)) = taken {
            return Some((Took::Leased(mark), verdict, renews));
        }
        if !claim.shadow {
            return None;
        }
        if let Some(denied) = self.look(claim, asker) {
            return Some((Took::Uncounted, denied, false));
        }
        self.place(claim, asker);
        let state = self.state_of(claim)?;
        cells.with(claim.key, &claim.debit, now, |cell| match state.down_since {
            Some(_) => {
                let verdict = cell.without_store(cost, shared, state, now, true);
                (Took::Uncounted, verdict.unwrap_or_else(|| cell.told(now)), false)
            }
            None => (Took::Uncounted, cell.owe(cost, now), true),
        })
    }

    #[cold]
    fn give_all_back(&self, claims: &[Claim], took: &[Took], taken: &[Headroom], now: u64) {
        for ((claim, took), headroom) in claims.iter().zip(took).zip(taken) {
            match *took {
                Took::Leased(mark) => {
                    let back = |cell: &Cell| cell.give_back(mark, claim.tokens());
                    self.counters.shared.with_known(claim.key, back);
                }
                Took::Local => {
                    let scale =
                        Scale { interval_nanos: headroom.interval_nanos, burst: headroom.quota.burst };
                    let counted = headroom.counted;
                    let verdict =
                        Verdict { tat: now + headroom.debt_nanos, wait_nanos: None, scale, counted };
                    self.counters.cells.give_back(&Taken { key: claim.key, verdict }, claim.debit.cost);
                }
                Took::Uncounted => {}
            }
        }
    }

    /// Where a claim's bucket is kept.
    fn store_of(&self, claim: &Claim) -> Option<Store<'_>> {
        self.stores.of(claim.home)
    }

    fn state_of(&self, claim: &Claim) -> Option<StoreState> {
        self.store_of(claim).map(|store| state_of(&**store))
    }

    /// Makes a claim's shared cell, if need be.
    fn place(&self, claim: &mut Claim, asker: &Asker<'_, '_>) {
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
    fn ask_ahead(&self, claims: &[Claim], places: &[usize], asker: &Asker<'_, '_>) -> Vec<Call> {
        let call = |&place: &usize| {
            let claim = &claims[place];
            let store = self.store_of(claim).filter(|store| store.is_up())?;
            let want = Want { key: claim.key, debit: claim.debit, shared: claim.shared?, cost: 0 };
            Call::begin(&self.counters.shared, store, &[want], asker.now).map(|(call, _)| call)
        };
        places.iter().filter_map(call).collect()
    }

    #[cold]
    fn exceeds(&self, claims: &[Claim], place: usize, verdict: &Verdict, now: u64) -> Short {
        let path = claims[place].shared.map(|_| LimitPath::Denied);
        Short::Exceeded(Box::new(Exceeded { path, ..self.refuse(claims, place, verdict, now) }))
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

impl Claim {
    /// Its cost in tokens that a lease can hold.
    pub(super) fn tokens(&self) -> u32 {
        self.debit.cost.get().min(super::shared::MOST_TOKENS)
    }
}

impl Admission<'_> {
    /// Leases that are nearly spent, to be renewed in the background.
    pub fn ask_ahead(&mut self, clock: &crate::clock::Clock) {
        for call in self.ahead.drain(..) {
            tokio::spawn(call.run(clock.clone()));
        }
    }
}
