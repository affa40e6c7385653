//! What is legal in a configuration, but surely not what was meant. Nothing here stops a start.

mod deadlines;
mod files;
mod scopes;

use std::path::Path;

use super::file::File;
use crate::domain::{Endpoint, Problems};
use crate::place::ModeSetting;
use crate::routing::UnmatchedPolicy;
use crate::{limits, routing, telemetry};

/// Looks through every section; there are no `endpoints` if the endpoint table has mistakes.
pub(super) fn doubts(file: &File, endpoints: Option<&[Endpoint]>, folder: &Path, warnings: &mut Problems) {
    let forwards = file.endpoints.unmatched == UnmatchedPolicy::Forward;
    if let Some(endpoints) = endpoints {
        let unmatched_plans = forwards.then_some(&*file.endpoints.plans);
        limits::doubts(&file.limits, endpoints, unmatched_plans, warnings);
        routing::doubts(endpoints, file.listen.max_target_bytes, warnings);
        scopes::doubts(file, endpoints, warnings);
        metric_series(file, endpoints, warnings);
    }
    deadlines::doubts(file, warnings);
    files::doubts(file, folder, warnings);
    issuers(file, warnings);
    if file.endpoints.misspelled == UnmatchedPolicy::Forward && !forwards {
        warnings.add(
            "endpoints.misspelled",
            "misspelled_refused",
            "`misspelled` forwards only where `unmatched` forwards",
            "remove it, or write `unmatched = \"forward\"`",
        );
    }
}

/// Issuers whose callers are all turned away at a fence.
fn issuers(file: &File, warnings: &mut Problems) {
    if file.place.mode != ModeSetting::Fence {
        return;
    }
    let own = &file.place.region;
    for (place, issuer) in file.authentication.issuers.iter().enumerate() {
        if !issuer.regions.is_empty() && !issuer.regions.contains(own) {
            warnings.add(
                format!("authentication.issuers[{place}].regions"),
                "issuer_elsewhere",
                "this gateway serves none of the issuer's regions, so it turns all of its callers away",
                format!("add `{own}`, or remove the issuer here"),
            );
        }
    }
}

/// So many operations that some of them would be counted together.
fn metric_series(file: &File, endpoints: &[Endpoint], warnings: &mut Problems) {
    let regions = if file.place.mode == ModeSetting::Fence { 1 } else { file.regions.len() };
    let counters = endpoints.len() * regions;
    if counters > telemetry::REQUEST_COUNTERS {
        warnings.add(
            "endpoints",
            "metric_series_many",
            format!(
                "{} operations in {regions} regions are more than the {} counters of requests that a worker has, \
                 so that some operations are counted together as `other`",
                endpoints.len(),
                telemetry::REQUEST_COUNTERS
            ),
            "match several operations by one template",
        );
    }
}
