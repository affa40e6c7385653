//! One configuration as the request path wants it.

use std::sync::Arc;
use std::time::Duration;

use crate::authentication::{Authenticator, Refresher, SubjectKey};
use crate::authorization::UnmatchedNeeds;
use crate::config::Config;
use crate::gateway::Snapshot;
use crate::limits::{Counters, Limits};
use crate::reply::Replies;
use crate::telemetry::Labels;
use crate::tokens::Mint;

/// Derives JWT clients' subjects from the pepper, so that a restart gives nobody fresh buckets.
const SUBJECTS: &[u8] = b"tollgate: subjects of JWT clients";

/// Builds the snapshot, and the tasks that load its issuers' keys.
pub(super) fn build(
    config: Config,
    mint: &Mint,
    counters: &Arc<Counters>,
    labels: &Labels,
) -> (Snapshot, Vec<Refresher>) {
    let subjects = SubjectKey::new(&mint.peppers().derive(SUBJECTS));
    let (authenticator, refreshers) = Authenticator::new(config.authentication, subjects);
    let ceiling = Duration::from_secs(u64::from(config.retry_after_ceiling_seconds));
    let regions = config.places.regions();
    let snapshot = Snapshot {
        operation_labels: config
            .table
            .endpoints()
            .iter()
            .map(|row| labels.operation(&row.operation))
            .collect(),
        region_labels: regions.iter().map(|(_, region)| labels.region(&region.name)).collect(),
        policy_labels: config.limits.names().iter().map(|name| labels.policy(name)).collect(),
        unmatched: UnmatchedNeeds {
            scope: config.table.default_scope().cloned(),
            plans: config.table.default_plans().to_vec(),
        },
        table: config.table,
        authenticator,
        limits: Limits::new(Arc::new(config.limits), Arc::clone(counters)),
        places: config.places,
        replies: Replies::new(config.replies).with_retry_after_ceiling(ceiling),
    };
    (snapshot, refreshers)
}
