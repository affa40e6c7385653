//! How many time series a configuration can make.

use super::cells::{DECISION_SERIES, OUTCOMES, REQUEST_SERIES};
use super::histogram::BOUNDS;
use crate::domain::{Endpoint, Method};

/// Label sets of requests that one worker counts apart; beyond them, operations are counted as `other`.
pub const REQUEST_COUNTERS: usize = REQUEST_SERIES / 4 * 3;

/// The most series of the families whose size follows the configuration: `tollgate_requests_total`,
/// `tollgate_refusals_total`, `tollgate_limit_decisions_total` and the histograms. `limits` counts everything that
/// can refuse.
pub fn most_series(endpoints: &[Endpoint], regions: usize, limits: usize, workers: usize) -> usize {
    // A request that got no home has the region `none`.
    let homes = regions + 1;
    // What is forwarded has a status class, or none; every other outcome has one status.
    let outcomes = OUTCOMES + 5;
    let methods = |endpoint: &Endpoint| match endpoint.method {
        Some(Method::Get) => 2,
        Some(_) => 1,
        None => Method::ALL.len(),
    };
    let matched: usize = endpoints.iter().map(methods).sum();
    let unmatched = Method::ALL.len() + 1;
    let requests = ((matched + unmatched) * outcomes * homes).min(REQUEST_SERIES * workers);
    let decisions = (limits * 2).min(DECISION_SERIES * workers);
    // Beside the buckets: infinity, sum and count.
    let histograms = (2 * homes + 1) * (BOUNDS + 3);
    requests + decisions + OUTCOMES + histograms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_too_large_is_bounded_by_the_workers_counters() {
        let least = most_series(&[], 1, 0, 1);
        assert_eq!(least - most_series(&[], 0, 0, 1), 8 * (OUTCOMES + 5) + 2 * (BOUNDS + 3));
        assert_eq!(most_series(&[], 1, 10, 1) - least, 20);
        assert_eq!(most_series(&[], 1, 10_000, 1) - least, DECISION_SERIES);
        let many = most_series(&[], 1_000, 0, 1) - OUTCOMES - 2_003 * (BOUNDS + 3);
        assert_eq!(many, REQUEST_SERIES);
    }
}
