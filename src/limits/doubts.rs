//! What of `[limits]` is legal, but can never do anything.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;

use super::Dimension;
use super::calendar::Refill;
use super::check;
use super::policy::Policy;
use super::settings::{InFlightSettings, Mode, Settings};
use super::shared::Shared;
use crate::domain::{Endpoint, Plan, Problems};

/// A policy, where it is written, and what it may meet: endpoints, and requests that match none ([`None`]).
struct Written<'e> {
    key: String,
    policy: Policy,
    targets: Vec<Option<&'e Endpoint>>,
}

/// Reports policies that match nothing, limits that can never refuse because another refuses first, and caps that
/// a wider cap makes idle. `unmatched_plans` may make requests that match no endpoint; [`None`] where those are
/// refused. Mistakes of the settings are not told again.
pub fn doubts(
    settings: &Settings,
    endpoints: &[Endpoint],
    unmatched_plans: Option<&[Plan]>,
    problems: &mut Problems,
) {
    let policies = written(settings, endpoints);
    let beside = Beside::of(&policies);
    for (place, candidate) in policies.iter().enumerate() {
        if !candidate.policy.of_endpoint && !matches_something(candidate, unmatched_plans) {
            problems.add(
                &candidate.key,
                "limit_matches_nothing",
                format!("no request can meet the limit `{}`", candidate.policy.name),
                "name endpoints, plans and versions that go together, or remove it",
            );
        } else if let Some(narrower) = beside.narrower(&policies, place) {
            problems.add(
                format!("{}.quota", candidate.key),
                "limit_never_binds",
                format!(
                    "`{}` never refuses: whatever it counts is counted by `{}` too, which has no more to give ({})",
                    candidate.policy.name, narrower.name, narrower.quota,
                ),
                format!("remove it, or make it narrower than `{}`", narrower.name),
            );
        }
    }
    in_flight(&settings.in_flight, problems);
}

/// Which limits can stand beside which, so that not every pair has to be compared: an endpoint's own limits are
/// for it alone.
struct Beside {
    own: HashMap<u16, Range<usize>>,
    configured: Range<usize>,
}

impl Beside {
    /// The endpoints' own limits come first, those of one endpoint together.
    fn of(policies: &[Written<'_>]) -> Self {
        let first_configured = policies.iter().take_while(|written| written.policy.of_endpoint).count();
        let mut own: HashMap<u16, Range<usize>> = HashMap::new();
        for (place, written) in policies[..first_configured].iter().enumerate() {
            for endpoint in written.targets.iter().flatten() {
                own.entry(endpoint.index).or_insert(place..place).end = place + 1;
            }
        }
        Self { own, configured: first_configured..policies.len() }
    }

    /// A limit that refuses whenever the one at `place` would; of two that are alike, the first is kept.
    fn narrower<'p>(&self, policies: &'p [Written<'_>], place: usize) -> Option<&'p Policy> {
        let candidate = &policies[place];
        let own = match candidate.targets[..] {
            [Some(endpoint)] => self.own.get(&endpoint.index).cloned().unwrap_or_default(),
            _ => 0..0,
        };
        let binds_first = |other: &usize| {
            let narrow = &policies[*other];
            *other != place && covers(narrow, candidate) && (*other < place || !covers(candidate, narrow))
        };
        own.chain(self.configured.clone()).find(binds_first).map(|other| &policies[other].policy)
    }
}

/// The endpoints' own limits and the policies, without those that have mistakes.
fn written<'e>(settings: &Settings, endpoints: &'e [Endpoint]) -> Vec<Written<'e>> {
    let mut told_already = Problems::new();
    let mut all = Vec::new();
    for endpoint in endpoints {
        // The order in which `of_endpoints` gives them.
        let mut places: Vec<usize> = (0..endpoint.limits.len()).collect();
        places.sort_by_key(|place| endpoint.limits[*place].quota.period_seconds);
        let policies =
            check::of_endpoints(std::slice::from_ref(endpoint), Shared::default(), &mut told_already);
        all.extend(places.into_iter().zip(policies).map(|(place, policy)| Written {
            key: format!("endpoints[{}].limits[{place}]", endpoint.index),
            policy,
            targets: vec![Some(endpoint)],
        }));
    }
    for (place, settings) in settings.policies.iter().enumerate() {
        let key = format!("limits.policies[{place}]");
        let before = told_already.0.len();
        let policy = check::policy(&key, settings, Shared::default(), endpoints, &mut told_already);
        let Some(policy) = policy.filter(|_| told_already.0.len() == before) else { continue };
        let rows = endpoints.iter().map(Some).chain([None]);
        let targets = rows.filter(|row| policy.is_for(*row)).collect();
        all.push(Written { key, policy, targets });
    }
    all
}

fn matches_something(candidate: &Written<'_>, unmatched_plans: Option<&[Plan]>) -> bool {
    let Policy { plans, versions, .. } = &candidate.policy;
    if plans.is_empty() && versions.is_empty() {
        return true;
    }
    candidate.targets.iter().any(|target| match target {
        None => versions.is_empty() && unmatched_plans.is_some_and(|allowed| meet(plans, allowed)),
        Some(row) => {
            (row.public || meet(plans, &row.plans))
                && (versions.is_empty() || versions.iter().any(|version| row.versions.contains(version)))
        }
    })
}

/// Whether a policy for these plans (none: all) is for one that is allowed.
fn meet(plans: &[Plan], allowed: &[Plan]) -> bool {
    plans.is_empty() || plans.iter().any(|plan| allowed.contains(plan))
}

/// Whether a limit refuses whenever another would: it enforces, is for every request of the other, counts at least
/// as many of them together, and gives no more.
fn covers(narrow: &Written<'_>, wide: &Written<'_>) -> bool {
    let (narrow, targets, wide) = (&narrow.policy, &wide.targets, &wide.policy);
    let stranger_escapes = narrow.needs_caller()
        && !wide.needs_caller()
        && targets.iter().flatten().any(|endpoint| endpoint.public);
    narrow.mode == Mode::Enforce
        && !wide.defers_cost()
        && gives_no_more(narrow, wide, targets)
        && counts_together(narrow, wide)
        && includes(&narrow.plans, &wide.plans)
        && includes(&narrow.versions, &wide.versions)
        && !stranger_escapes
        && targets.iter().all(|target| narrow.is_for(*target))
}

/// Whether a narrowing (empty: everything) is no narrower than another.
fn includes<T: PartialEq>(of: &[T], other: &[T]) -> bool {
    of.is_empty() || (!other.is_empty() && other.iter().all(|item| of.contains(item)))
}

/// Rate and burst, each in requests of their own cost. A window by the calendar and one that rolls bound nothing of
/// each other: the one admits two quotas around midnight, the other two in one day. An endpoint's cost multiplies that of every policy alike,
/// but not that of the endpoint's own limits.
fn gives_no_more(narrow: &Policy, wide: &Policy, targets: &[Option<&Endpoint>]) -> bool {
    let number = |number: NonZeroU32| u128::from(number.get());
    let endpoint_cost = match targets {
        [Some(endpoint)] if narrow.of_endpoint && !wide.of_endpoint => number(endpoint.cost),
        _ => 1,
    };
    let (narrow_cost, wide_cost) = (number(narrow.cost), number(wide.cost) * endpoint_cost);
    let days_of_a_period = match (narrow.refill, wide.refill) {
        (Refill::Gradual, Refill::Gradual) => 0,
        (Refill::Gradual, _) | (_, Refill::Gradual) => return false,
        // The longest month.
        (Refill::Daily, Refill::Monthly) => 31,
        (Refill::Daily, Refill::Daily) | (Refill::Monthly, Refill::Monthly | Refill::Daily) => 1,
    };
    if days_of_a_period > 0 {
        let most = number(narrow.quota.requests) * days_of_a_period;
        return most * wide_cost <= number(wide.quota.requests) * narrow_cost;
    }
    let rate = |policy: &Policy, other: &Policy| {
        number(policy.quota.requests) * u128::from(other.quota.period_seconds)
    };
    rate(narrow, wide) * wide_cost <= rate(wide, narrow) * narrow_cost
        && number(narrow.quota.burst) * wide_cost <= number(wide.quota.burst) * narrow_cost
}

/// Whether requests that `wide` counts together are counted together by `narrow` as well: a token belongs to one
/// workspace, which has one plan; a path parameter is counted within its workspace; an address is of one site.
fn counts_together(narrow: &Policy, wide: &Policy) -> bool {
    let counts = |wanted: &[Dimension]| wide.per.iter().any(|dimension| wanted.contains(dimension));
    let by_path = wide.path_parameters().next().is_some();
    let by_workspace = by_path || counts(&[Dimension::Token, Dimension::Workspace]);
    narrow.per.iter().all(|dimension| match dimension {
        Dimension::Workspace => by_workspace,
        Dimension::Plan => by_workspace || counts(&[Dimension::Plan]) || wide.plans.len() == 1,
        Dimension::Endpoint => counts(&[Dimension::Endpoint]) || wide.endpoints.len() == 1,
        Dimension::Version => counts(&[Dimension::Version]) || wide.versions.len() == 1,
        Dimension::Site => counts(&[Dimension::Site, Dimension::Address]),
        Dimension::Token | Dimension::Address | Dimension::PathParameter(_) => wide.per.contains(dimension),
    })
}

fn in_flight(settings: &InFlightSettings, problems: &mut Problems) {
    let InFlightSettings { per_token, per_workspace, total } = settings;
    let caps = [("per_token", per_token), ("per_workspace", per_workspace), ("total", total)];
    for (place, (name, cap)) in caps.iter().enumerate() {
        let Some(cap) = cap else { continue };
        let wider = caps[place + 1..].iter().find(|(_, wider)| wider.is_some_and(|wider| wider <= *cap));
        if let Some((wider, _)) = wider {
            problems.add(
                format!("limits.in_flight.{name}"),
                "limit_never_binds",
                format!(
                    "`{name}` never refuses: `{wider}` counts the same requests and more, and allows no more"
                ),
                format!("make it smaller than `{wider}`, or remove it"),
            );
        }
    }
}
