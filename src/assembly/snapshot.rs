//! One configuration as the request path wants it.

use std::sync::Arc;
use std::time::Duration;

use super::shared_limits;
use crate::authentication::{Authenticator, Refresher, SubjectKey};
use crate::authorization::UnmatchedNeeds;
use crate::central_store::Link;
use crate::clock::Now;
use crate::config::Config;
use crate::gateway::Snapshot;
use crate::limits::{Counters, Limits};
use crate::reply::Replies;
use crate::telemetry::Labels;
use crate::tokens::Mint;
use crate::upstream::Groups;

/// Derives JWT clients' subjects from the oldest pepper, so that a restart gives nobody fresh buckets.
const SUBJECTS: &[u8] = b"tollgate: subjects of JWT clients";

/// How long names of upstreams without an address are waited for. A name that takes longer starts without one,
/// and its requests are answered 502 meanwhile.
const FIRST_RESOLUTION: Duration = Duration::from_secs(2);

/// Builds the first snapshot, and the tasks that load its issuers' keys.
pub(super) fn first(
    config: &Config,
    mint: &Mint,
    (counters, links): (&Arc<Counters>, &[Arc<Link>]),
    labels: &Labels,
    now: Now,
) -> (Snapshot, Vec<Refresher>) {
    let subjects = SubjectKey::new(&mint.peppers().derive(SUBJECTS));
    let (authenticator, refreshers) = Authenticator::new(config.authentication.clone(), subjects, now);
    let upstreams = Groups::new(config.upstream.clone(), None);
    (build(config, authenticator, upstreams, (counters, links), labels), refreshers)
}

/// Builds the snapshot that replaces another, and the tasks of issuers that are new in it.
pub(super) fn next(
    config: &Config,
    previous: &Snapshot,
    (counters, links): (&Arc<Counters>, &[Arc<Link>]),
    labels: &Labels,
    now: Now,
) -> (Snapshot, Vec<Refresher>) {
    let (authenticator, refreshers) = previous.authenticator.reloaded(config.authentication.clone(), now);
    let upstreams = Groups::new(config.upstream.clone(), Some(&previous.upstreams));
    (build(config, authenticator, upstreams, (counters, links), labels), refreshers)
}

fn build(
    config: &Config,
    authenticator: Authenticator,
    upstreams: Groups,
    (counters, links): (&Arc<Counters>, &[Arc<Link>]),
    labels: &Labels,
) -> Snapshot {
    let ceiling = Duration::from_secs(u64::from(config.retry_after_ceiling_seconds));
    let operations = config.table.endpoints().iter().map(|row| labels.operation(&row.operation));
    let regions = config.places.regions().iter().map(|(_, region)| labels.region(&region.name));
    let policies = config.limits.names().iter().map(|name| labels.policy(name));
    upstreams.resolve(FIRST_RESOLUTION);
    let limits = Limits::new(Arc::clone(&config.limits), Arc::clone(counters));
    Snapshot {
        operation_labels: operations.collect(),
        region_labels: regions.collect(),
        policy_labels: policies.collect(),
        unmatched: UnmatchedNeeds {
            scope: config.table.default_scope().cloned(),
            plans: config.table.default_plans().to_vec(),
        },
        table: config.table.clone(),
        authenticator,
        limits: limits
            .shared_through(shared_limits::stores(links, config.places.regions()), config.places.own()),
        input: config.input.clone(),
        places: config.places.clone(),
        upstreams: Arc::new(upstreams),
        alerts: None,
        replies: Replies::new(config.replies.clone()).with_retry_after_ceiling(ceiling),
    }
}
