//! One core's pools: a pool for each server, made when a group has got it and given up when it has not.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::balance::pick;
use super::budget::RetryBudget;
use super::groups::{Group, Groups, Member};
use super::pool::Pool;
use super::server::{Server, shortest_wait};
use super::{Fault, FieldRules};
use crate::clock::{Clock, Now};
use crate::domain::RegionId;

/// One core's connections to the upstreams of every region. Follows the groups of whichever configuration a
/// request comes with; idle connections to servers that stay are kept.
pub struct Pools {
    followed: RefCell<Option<Followed>>,
    random: Cell<u64>,
    clock: Clock,
}

/// The groups of one configuration and the pools for them.
struct Followed {
    groups: Arc<Groups>,
    fields: Rc<FieldRules>,
    regions: Vec<Rc<RegionPools>>,
}

/// One core's pools for one region.
pub struct RegionPools {
    pub(super) group: Arc<Group>,
    members: Arc<Vec<Member>>,
    pub(super) pools: Vec<Rc<Pool>>,
    budget: Rc<RetryBudget>,
    random: Cell<u64>,
    pub(super) clock: Clock,
}

impl Pools {
    /// No pools yet. `seed` is random for each core.
    pub fn new(clock: Clock, seed: u64) -> Self {
        Self { followed: RefCell::default(), random: Cell::new(seed), clock }
    }

    /// A region's pools under these groups; [`None`] if there is no such region.
    pub fn region(&self, groups: &Arc<Groups>, region: RegionId) -> Option<Rc<RegionPools>> {
        let at = usize::from(region.0);
        let mut followed = self.followed.borrow_mut();
        if let Some(followed) = &*followed
            && Arc::ptr_eq(&followed.groups, groups)
            && let Some(pools) = followed.regions.get(at)
            && pools.group.has_members(&pools.members)
        {
            return Some(Rc::clone(pools));
        }
        let next = self.follow(groups, followed.take());
        followed.insert(next).regions.get(at).cloned()
    }

    /// Makes the pools of these groups, out of those that there are.
    fn follow(&self, groups: &Arc<Groups>, before: Option<Followed>) -> Followed {
        let fields = match &before {
            Some(before) if Arc::ptr_eq(&before.groups, groups) => Rc::clone(&before.fields),
            Some(_) | None => Rc::new(groups.fields.clone()),
        };
        let before = before.map(|before| before.regions).unwrap_or_default();
        let region = |(at, group): (usize, &Arc<Group>)| {
            let before = before.get(at);
            let members = group.members();
            let pool = |member: &Member| {
                let same = |pool: &&Rc<Pool>| Arc::ptr_eq(&pool.server, &member.server);
                let adopted = before.and_then(|before| before.pools.iter().find(same));
                let pool = Pool::new(member, group, groups.pool, Rc::clone(&fields), self.clock.clone());
                Rc::new(match adopted {
                    Some(adopted) => pool.adopting(adopted),
                    None => pool,
                })
            };
            Rc::new(RegionPools {
                pools: members.iter().map(pool).collect(),
                members,
                group: Arc::clone(group),
                budget: before.map_or_else(Rc::default, |before| Rc::clone(&before.budget)),
                random: Cell::new(next_random(&self.random)),
                clock: self.clock.clone(),
            })
        };
        let regions = groups.by_region.iter().enumerate().map(region).collect();
        Followed { groups: Arc::clone(groups), fields, regions }
    }

    /// Closes connections that were idle for too long; called now and then.
    pub fn sweep(&self) {
        let followed = self.followed.borrow();
        for pool in followed.iter().flat_map(|followed| &followed.regions).flat_map(|region| &region.pools) {
            pool.sweep();
        }
    }
}

impl RegionPools {
    /// The pool of the server that the next attempt goes to: the less busy of two among those that are usable.
    /// Where none is, those whose breakers pass must do: an upstream that only seems bad is better than none.
    /// `tried` are the places of servers that have failed this request.
    pub(super) fn choose(&self, tried: u64, now: Now) -> Result<usize, Fault> {
        let server = |at: usize| -> &Server { &self.pools[at].server };
        let count = self.pools.len();
        let any_is_usable = (0..count).any(|at| server(at).is_usable(now));
        let mut tried = tried;
        loop {
            let may_serve = |at: usize| {
                tried >> at & 1 == 0
                    && if any_is_usable {
                        server(at).is_usable(now)
                    } else {
                        server(at).breaker.may_pass(now)
                    }
            };
            let has_room = |at: usize| may_serve(at) && server(at).free() > 0;
            let chosen = pick(count, has_room, |at| server(at).in_flight(), next_random(&self.random));
            match chosen {
                Some(at) if server(at).breaker.enter(now) => return Ok(at),
                // Another core sends the probe.
                Some(at) => tried |= 1 << at,
                None if count == 0 => return Err(Fault::Unreachable),
                None if (0..count).any(may_serve) => return Err(Fault::TooManyInFlight),
                None => {
                    let wait = shortest_wait((0..count).map(server), now);
                    return Err(Fault::Open { wait });
                }
            }
        }
    }

    /// Counts a request that is sent for the first time.
    pub(super) fn note_request(&self) {
        self.budget.request(&self.group.rules.retries);
    }

    /// Whether a request that was sent again so many times may be sent once more.
    pub(super) fn may_retry(&self, retries: u8, now: Now) -> bool {
        let rules = &self.group.rules.retries;
        if u32::from(retries) >= rules.most {
            return false;
        }
        let is_granted = self.budget.withdraw(now, rules);
        if !is_granted {
            self.group.budget_exhausted.fetch_add(1, Ordering::Relaxed);
        }
        is_granted
    }
}

/// `SplitMix64` (Steele, Lea, Flood, 2014).
fn next_random(state: &Cell<u64>) -> u64 {
    let mut number = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    state.set(number);
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests;
