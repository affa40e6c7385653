//! The decision where limits are shared: by what is leased, at once; else by what the central store answers.
//!
//! All or nothing over local and shared policies: what is taken before another refuses is given back, to the same cell
//! and the same lease. While one of a request's buckets refuses, no other is asked of.

use super::Limits;
use super::admission::{Admission, Decision, Exceeded, Headroom};
use super::bucket::{Scale, Verdict};
use super::cells::Taken;
use super::claims::{Charge, Claim};
use super::in_flight::InFlightGuard;
use super::inline::Inline;
use super::owing::Owing;
use super::shared::cell::count::untouched;
use super::shared::cell::{Cell, StoreState};
use super::shared::{Call, Mark, OnStoreFailure, Waited, Wanted};
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
pub(super) enum Short {
    Exceeded(Box<Exceeded>),
    Wanted(Box<Wanted>),
}

/// Where a claim's tokens come from.
#[derive(Clone, Copy)]
pub(super) enum Source {
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
        (OnStoreFailure::Open, Source::WithoutStore(state)) => path_without(*state, LimitPath::Open),
        (_, Source::WithoutStore(state)) => path_without(*state, LimitPath::Share),
    })
}

/// How a claim was decided without the store: so while it is away.
pub(super) const fn path_without(state: StoreState, away: LimitPath) -> LimitPath {
    if state.down_since.is_some() { away } else { LimitPath::Unanswered }
}

const fn waited_path(has_waited: bool) -> LimitPath {
    if has_waited { LimitPath::Store } else { LimitPath::Lease }
}

/// One decision's circumstances.
pub(super) struct Asker<'a, 'c> {
    pub(super) permit: &'a Permit<'a>,
    pub(super) charge: &'a Charge<'c>,
    pub(super) now: u64,
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
        let waits = so_far.waits;
        let mut so_far = Some(so_far);
        // The first claim is taken without a look; it is looked at when that fails. Losing every race twice is rare
        // enough to be told to come back.
        for first in [1, 0, 0] {
            let held = |place: &usize| matches!(sources[*place], Source::Held);
            if !self.without_token(claims, (first..enforced).filter(held), asker)?.is_empty() {
                // All of them: one that refuses keeps the others from being asked of, and all are asked of together.
                let lacking = self.without_token(claims, (0..enforced).filter(held), asker)?;
                // It is counted among those that wait until it asks.
                drop(so_far.take());
                self.obtain(claims, &lacking, &mut sources, asker, waits)?;
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

    /// Of the claims in some places those whose bucket is not known to have room, unless one is known to refuse.
    pub(super) fn without_token(
        &self,
        claims: &[Claim],
        places: impl Iterator<Item = usize>,
        asker: &Asker<'_, '_>,
    ) -> Result<Inline<usize>, Short> {
        let mut lacking = Inline::new(0);
        for place in places {
            match self.look(&claims[place], asker) {
                Some(verdict) if verdict.wait_nanos.is_none() => {}
                Some(verdict) => return Err(self.exceeds(claims, place, &verdict, asker.now)),
                None => lacking.push(place),
            }
        }
        Ok(lacking)
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

    #[cold]
    pub(super) fn exceeds(&self, claims: &[Claim], place: usize, verdict: &Verdict, now: u64) -> Short {
        let path = claims[place].shared.map(|_| LimitPath::Denied);
        Short::Exceeded(Box::new(Exceeded { path, ..self.refuse(claims, place, verdict, now) }))
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
