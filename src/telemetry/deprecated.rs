//! Who still calls versions that are going away, in fixed memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use serde::Serialize;

use super::cells::DeprecatedKey;
use super::{Core, Facts, Labels, OperationLabel, Top, TopK};
use crate::domain::ApiVersion;

/// How many versions have their callers told apart on each core; all have their requests counted.
const MOST_VERSIONS: usize = 128;

/// The workspaces that called each deprecated version on one core, since the start: rare callers are the ones
/// that are forgotten, so nothing fades.
#[derive(Debug, Default)]
pub(super) struct Deprecated(BTreeMap<(OperationLabel, ApiVersion), TopK>);

/// A version that is going away, and who still calls it.
#[derive(Clone, Debug, Serialize)]
pub struct DeprecatedTraffic {
    /// Its operation.
    pub operation: String,
    /// The version.
    pub version: String,
    /// Its requests since the start.
    pub requests: u64,
    /// The workspaces that called it most since the start, refused requests marked.
    pub workspaces: Vec<Top>,
}

impl Deprecated {
    /// Counts a request of a workspace.
    pub(super) fn add(&mut self, facts: &Facts, workspace: &str, refused: bool) {
        let Some(version) = facts.api_version else { return };
        let key = (facts.operation, version);
        if self.0.len() < MOST_VERSIONS || self.0.contains_key(&key) {
            self.0.entry(key).or_insert_with(TopK::lasting).add(workspace, refused, facts.arrived);
        }
    }
}

/// Adds up every core; the most called versions first.
pub(super) fn traffic(cores: &[Arc<Core>], labels: &Labels, callers_shown: usize) -> Vec<DeprecatedTraffic> {
    let mut requests = BTreeMap::new();
    let mut callers: BTreeMap<(OperationLabel, ApiVersion), HashMap<String, (u64, u64)>> = BTreeMap::new();
    for core in cores {
        core.cells.deprecated.sum_into(&mut requests);
        let tops = core.tops.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, top) in &tops.deprecated.0 {
            top.sum_into(callers.entry(*key).or_default());
        }
    }
    let mut all: Vec<DeprecatedTraffic> = requests
        .into_iter()
        .map(|(key, requests)| {
            let DeprecatedKey { operation, version } = DeprecatedKey::unpack(key);
            let workspaces = callers.remove(&(operation, version)).unwrap_or_default();
            DeprecatedTraffic {
                operation: labels.with_operation(operation, str::to_owned),
                version: version.to_string(),
                requests,
                workspaces: TopK::largest(workspaces, callers_shown),
            }
        })
        .collect();
    all.sort_unstable_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.operation.cmp(&b.operation)));
    all
}
