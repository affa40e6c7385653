//! The checked rules: an immutable part of the configuration's snapshot.

use std::net::IpAddr;
use std::sync::Arc;

use super::bucket::Scale;
use super::check;
use super::in_flight::Caps;
use super::policy::Policy;
use super::settings::{Mode, Settings};
use super::shared::Shared;
use crate::domain::{ApiVersion, Endpoint, Network, Problems, Quota};

/// A policy's place in [`Rules::names`]; used as an index of metric cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicyIndex(pub u16);

/// Limits that no list configures: a token's own limit, the caps on requests in flight, and the budget of failed
/// authentications. Their names are reserved.
pub(super) const RESERVED: [&str; 5] =
    ["token", "in_flight_token", "in_flight_workspace", "in_flight_total", "failed_authentications"];

/// Every limit of one configuration.
#[derive(Debug)]
pub struct Rules {
    pub(super) policies: Vec<Policy>,
    names: Vec<Arc<str>>,
    endpoints: Vec<(Arc<str>, Box<[u16]>)>,
    versions: Vec<Vec<ApiVersion>>,
    unmatched: Box<[u16]>,
    /// Whether any policy may charge a request more after it was admitted.
    pub(super) defers_costs: bool,
    pub(super) max_cells: usize,
    pub(super) retry_after_ceiling_seconds: u64,
    pub(super) in_flight: Caps,
    pub(super) failures: Quota,
    pub(super) failures_scale: Scale,
    exempt: Vec<Network>,
    /// How tokens' own limits are shared.
    pub(super) shared: Shared,
}

impl Rules {
    /// Checks `[limits]` against the endpoint table, whose rows stand at their indexes. [`None`] if anything was added to
    /// `problems`.
    pub fn from_settings(
        settings: &Settings,
        endpoints: &[Endpoint],
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.0.len();
        let mut policies = policies(settings, endpoints, problems);
        let failures = check::quota(
            "limits.failed_authentications.quota",
            &settings.failed_authentications.quota,
            None,
            problems,
        );
        let exempt = &settings.failed_authentications.exempt;
        let exempt = Network::read_all(exempt, "limits.failed_authentications.exempt", problems);
        let in_flight = check::in_flight(settings, problems);
        check::bounds(settings, problems);
        let failures = failures.filter(|_| problems.0.len() == before)?;
        // Enforcing first, so that a shadow policy is charged only for what is admitted.
        policies.sort_by_key(|policy| policy.mode == Mode::Shadow);
        let applying = |endpoint: Option<&Endpoint>| {
            (0_u16..)
                .zip(&policies)
                .filter(|(_, policy)| policy.is_for(endpoint))
                .map(|(index, _)| index)
                .collect()
        };
        Some(Self {
            endpoints: endpoints
                .iter()
                .map(|row| (Arc::clone(&row.operation), applying(Some(row))))
                .collect(),
            versions: endpoints.iter().map(|row| row.versions.clone()).collect(),
            unmatched: applying(None),
            names: policies
                .iter()
                .map(|policy| Arc::clone(&policy.name))
                .chain(RESERVED.map(Arc::from))
                .collect(),
            defers_costs: policies.iter().any(Policy::defers_cost),
            policies,
            max_cells: super::settings::cells_in(settings.memory_bytes),
            retry_after_ceiling_seconds: u64::from(settings.retry_after_ceiling_seconds),
            in_flight,
            failures,
            failures_scale: Scale::of(&failures),
            exempt,
            shared: check::shared(settings),
        })
    }

    /// The rate policies, by [`PolicyIndex`].
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The name of everything that can refuse, by [`PolicyIndex`]: the policies, then a token's own limit, the
    /// caps on requests in flight, and the budget of failed authentications. The label of metrics.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The name of an index that these rules gave out.
    pub fn name(&self, index: PolicyIndex) -> &Arc<str> {
        &self.names[usize::from(index.0)]
    }

    /// Whether the policy of an index refuses; the reserved ones do.
    pub fn mode(&self, index: PolicyIndex) -> Mode {
        self.policies.get(usize::from(index.0)).map_or(Mode::Enforce, |policy| policy.mode)
    }

    /// The most buckets that `limits.memory_bytes` has room for.
    pub const fn max_cells(&self) -> usize {
        self.max_cells
    }

    /// The policies that a request may meet by its endpoint alone.
    pub(super) fn applying(&self, endpoint: Option<&Endpoint>) -> &[u16] {
        endpoint
            .and_then(|endpoint| self.endpoints.get(usize::from(endpoint.index)))
            .map_or(&self.unmatched, |(_, applying)| applying)
    }

    /// Every endpoint: its operation, the policies that it may meet and its versions; last, with no name, what
    /// matches no endpoint.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Option<&Arc<str>>, &[u16], &[ApiVersion])> {
        self.endpoints
            .iter()
            .zip(&self.versions)
            .map(|((operation, applying), versions)| (Some(operation), &**applying, &**versions))
            .chain([(None, &*self.unmatched, &[][..])])
    }

    /// The operations in table order.
    pub(super) fn operations(&self) -> impl Iterator<Item = &Arc<str>> {
        self.endpoints.iter().map(|(operation, _)| operation)
    }

    pub(super) fn reserved(&self, place: usize) -> PolicyIndex {
        PolicyIndex((self.policies.len() + place) as u16)
    }

    pub(super) fn is_exempt(&self, address: IpAddr) -> bool {
        self.exempt.iter().any(|network| network.contains(address))
    }
}

/// The endpoints' own limits, then the written policies.
fn policies(settings: &Settings, endpoints: &[Endpoint], problems: &mut Problems) -> Vec<Policy> {
    let mut policies = check::of_endpoints(endpoints, check::shared(settings), problems);
    for (place, written) in settings.policies.iter().enumerate() {
        let key = format!("limits.policies[{place}]");
        if policies.iter().any(|policy| *policy.name == *written.name) {
            problems.add(
                format!("{key}.name"),
                "limit_policy_duplicate",
                format!("the name `{}` is taken", written.name),
                "give each policy a name of its own; operations of the endpoint table are names too",
            );
        }
        check::former_name(&key, written, &settings.policies, problems);
        let policy = check::policy(&key, written, check::shared(settings), endpoints, problems);
        if let Some(policy) = &policy {
            check::endpoint_costs(&key, policy, endpoints, problems);
        }
        policies.extend(policy);
    }
    if policies.len() + RESERVED.len() > usize::from(u16::MAX) {
        problems.add(
            "limits.policies",
            "limit_policies_too_many",
            "there are too many policies",
            "use fewer",
        );
    }
    policies
}
