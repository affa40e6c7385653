//! How much: named policies, the cells that requests are counted in, and the headers that tell of them.
//!
//! Decides whether a permitted request is within every limit that it meets. governor's GCRA decides each one,
//! on cells of our own; a limit (q, w, burst) admits in any window W at most `burst + q / w × W` requests.
//!
//! - [`Rules`] are checked settings: immutable, part of the configuration's snapshot.
//! - [`Counters`] are the live state: made once, they outlive every configuration. A bucket belongs to its
//!   policy's name; under another quota the same share of it stays used, so that a reload hands out no fresh
//!   bucket and locks nobody out for longer than the new quota's own fill.
//!   They can be saved to a file and restored from it ([`Counters::save_every`], [`Counters::restored`]).
//! - [`Limits`] are the two together: [`Limits::admit`] turns a [`Permit`](crate::authorization::Permit) into an
//!   [`Admission`] or an [`Exceeded`].
//!
//! Invariants: a refused request counts nowhere; memory is bounded and no flood of keys wins a fresh bucket; a
//! stranger takes no tenant's place; a request in flight is uncounted whatever becomes of it.
//!
//! It refuses to know who the caller is beyond its subjects, what the path means, and what time it is: the
//! monotonic reading comes with the request, and a jump of the wall clock moves nothing but a printed date and
//! what counts by the calendar.

mod address;
mod admission;
mod admit;
mod attempt;
mod bucket;
mod bucket_name;
mod calendar;
mod cell;
mod cells;
mod changes;
mod check;
mod claims;
mod doubts;
mod failures;
mod foresee;
mod headers;
mod in_flight;
mod inline;
mod key;
mod modes;
mod names;
mod obtain;
mod overridable;
mod overridden;
mod owing;
mod policy;
mod room;
mod rules;
mod saved;
mod settings;
pub mod shared;
mod standing;
mod tables;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::authentication::Caller;
use crate::clock::Now;
use crate::domain::RegionId;

pub use admission::{Admission, Decision, Exceeded, ExceededKind, Headroom};
pub use attempt::Attempt;
pub use cells::Swept;
pub use claims::Charge;
pub use doubts::doubts;
pub use foresee::{Foreseen, Met};
pub use headers::Strictest;
pub use in_flight::InFlightGuard;
pub use modes::SharedMode;
pub use overridable::{Ceiling, NotOverridable};
pub use owing::BodyDebt;
pub use policy::{Dimension, Policy};
pub use rules::{PolicyIndex, Rules};
pub use saved::{Saver, Saving};
pub use settings::{FailedAuthenticationSettings, InFlightSettings, Mode, PolicySettings, Settings};
use shared::CentralStore;
pub use standing::{Audience, Standing};

/// The live state of all limits. One for a process; outlives every configuration.
pub struct Counters {
    cells: cells::Cells,
    shared: Arc<shared::cells::SharedCells>,
    in_flight: in_flight::InFlight,
    failures: failures::Failures,
    policies: names::Names,
    endpoints: names::Names,
    revisions: AtomicU32,
    secret: [u8; 32],
}

impl Counters {
    /// Nobody has asked for anything. `secret` is 32 bytes that nobody else knows: they keep clients from choosing
    /// whose cell they are counted in.
    pub fn new(secret: [u8; 32]) -> Arc<Self> {
        Self::with_room(secret, settings::cells_in(Settings::default().memory_bytes))
    }

    /// The same, prepared for rules whose [`Rules::max_cells`] is `most`.
    pub fn with_room(secret: [u8; 32], most: usize) -> Arc<Self> {
        Arc::new(Self {
            cells: cells::Cells::new(&secret, most),
            shared: Arc::new(shared::cells::SharedCells::new(&secret)),
            in_flight: in_flight::InFlight::new(&secret),
            failures: failures::Failures::new(&secret),
            policies: names::Names::new(key::MOST_POLICIES),
            endpoints: names::Names::new(key::MOST_ENDPOINTS),
            revisions: AtomicU32::new(0),
            secret,
        })
    }

    /// Says that rules were put in force at a time: until then what was used comes back by the quotas before.
    /// For whoever replaces rules upon the same counters.
    pub fn changed(&self, now: Now) {
        self.cells.change(now.monotonic_nanos);
    }

    /// Drops what is full, a small part of the cells a call. Call it every 20 ms or so, from one place.
    pub fn sweep(&self, now: Now) -> Swept {
        let swept = self.cells.sweep(now);
        self.shared.sweep(now.monotonic_nanos);
        if swept.pass_ended {
            self.in_flight.sweep();
        }
        swept
    }

    /// Buckets that are not full, or were not a moment ago, shared ones among them; at most [`Rules::max_cells`].
    pub fn cells(&self) -> usize {
        self.cells.len() + self.shared.len()
    }

    /// Decisions made on a bucket that callers share because there was no room for one of their own.
    pub fn overflowed(&self) -> u64 {
        self.cells.overflowed() + self.shared.overflowed()
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counters").field("cells", &self.cells()).finish_non_exhaustive()
    }
}

/// The rules of one configuration upon the live state.
#[derive(Debug)]
pub struct Limits {
    rules: Arc<Rules>,
    counters: Arc<Counters>,
    policy_numbers: Box<[u32]>,
    endpoint_numbers: Box<[u32]>,
    revision: u32,
    stores: Stores,
}

/// The central stores of the regions, in their order, and the region of who has none.
struct Stores {
    by_region: Box<[Option<Arc<dyn CentralStore>>]>,
    own: RegionId,
}

impl Stores {
    fn of(&self, region: RegionId) -> Option<&Arc<dyn CentralStore>> {
        self.by_region.get(usize::from(region.0)).and_then(Option::as_ref)
    }

    /// The region in whose store a caller's limits are counted; what is nobody's own, in the gateway's.
    fn home(&self, owner: Option<&Caller>) -> RegionId {
        owner.map_or(self.own, |owner| owner.workspace().region)
    }
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").field("regions", &self.by_region.len()).finish_non_exhaustive()
    }
}

impl Limits {
    /// Puts rules in force. Of several upon the same counters the latest made wins where they disagree about a
    /// bucket's scale, so that requests which still hold an older snapshot cannot undo a reload.
    pub fn new(rules: Arc<Rules>, counters: Arc<Counters>) -> Self {
        counters.cells.set_cap(rules.max_cells);
        let policy_numbers = policy_numbers(&rules, &counters.policies);
        let counted = rules.policies.iter().map(Policy::measure);
        let counted = policy_numbers.iter().copied().zip(counted).collect();
        let endpoint_numbers = rules.operations().map(|name| counters.endpoints.number(name)).collect();
        let stores = Stores { by_region: Box::default(), own: RegionId(0) };
        let revision = counters.revisions.fetch_add(1, Ordering::Relaxed) + 1;
        counters.cells.changes.prepare(revision, counted);
        Self { rules, counters, policy_numbers, endpoint_numbers, revision, stores }
    }

    /// The same, shared with other replicas through the central stores of the regions, in the regions' order; decided by
    /// [`Limits::try_admit`]. A region without one is not shared. What is not counted by token or
    /// workspace is counted in `own`'s.
    #[must_use]
    pub fn shared_through(self, by_region: Vec<Option<Arc<dyn CentralStore>>>, own: RegionId) -> Self {
        if by_region.iter().any(Option::is_some) {
            // The memory is the same: half of it for buckets that are shared.
            let shared = self.rules.max_cells / 2;
            self.counters.cells.set_cap(self.rules.max_cells - shared);
            self.counters.shared.set_cap(shared);
        }
        Self { stores: Stores { by_region: by_region.into(), own }, ..self }
    }

    /// The rules.
    pub const fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The live state.
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

/// The number of each name of the rules. One that comes back while a policy that took its place is in force counts
/// anew.
fn policy_numbers(rules: &Rules, known: &names::Names) -> Box<[u32]> {
    let mut given = HashSet::new();
    let former = |place: usize| rules.policies.get(place).and_then(|policy| policy.formerly.as_ref());
    let number = |(place, name): (usize, &Arc<str>)| {
        let number = former(place).map_or_else(|| known.number(name), |former| known.renamed(former, name));
        if given.insert(number) { number } else { known.anew(name) }
    };
    rules.names().iter().enumerate().map(number).collect()
}

#[cfg(test)]
mod tests;
