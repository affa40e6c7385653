//! Names of configured things as small numbers, so that a request counts without touching a text.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// An operation of the endpoint table in metrics and records. The default is `unmatched`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationLabel(pub(super) u16);

/// A region in metrics and records. The default is `none`: the request never got a home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegionLabel(pub(super) u8);

/// A limit policy in metrics and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyLabel(pub(super) u16);

/// How many regions are told apart, `none` and `other` included.
pub(super) const REGIONS: usize = 16;
const OPERATIONS: usize = 4_096;
const POLICIES: usize = 4_096;

/// The names behind the labels. Numbers are given out once and outlive a reload, so that counters keep their
/// meaning; a name that comes back gets its old number. Beyond a fixed count, all share `other`.
#[derive(Debug)]
pub struct Labels {
    operations: Names,
    regions: Names,
    policies: Names,
}

impl Default for Labels {
    fn default() -> Self {
        Self {
            operations: Names::new("unmatched", OPERATIONS),
            regions: Names::new("none", REGIONS),
            policies: Names::new("other", POLICIES),
        }
    }
}

impl Labels {
    /// The label of an operation. Takes a copy of the names: call it when a configuration is loaded, not when
    /// a request comes.
    pub fn operation(&self, name: &str) -> OperationLabel {
        OperationLabel(self.operations.number(name) as u16)
    }

    /// The label of a region; as [`Labels::operation`].
    pub fn region(&self, name: &str) -> RegionLabel {
        RegionLabel(self.regions.number(name) as u8)
    }

    /// The label of a policy; as [`Labels::operation`].
    pub fn policy(&self, name: &str) -> PolicyLabel {
        PolicyLabel(self.policies.number(name) as u16)
    }

    /// Calls `with` with an operation's name.
    pub(super) fn with_operation<R>(&self, label: OperationLabel, with: impl FnOnce(&str) -> R) -> R {
        self.operations.with(usize::from(label.0), with)
    }

    /// Calls `with` with a region's name.
    pub(super) fn with_region<R>(&self, label: RegionLabel, with: impl FnOnce(&str) -> R) -> R {
        self.regions.with(usize::from(label.0), with)
    }

    /// Calls `with` with a policy's name.
    pub(super) fn with_policy<R>(&self, label: PolicyLabel, with: impl FnOnce(&str) -> R) -> R {
        self.policies.with(usize::from(label.0), with)
    }
}

#[derive(Debug)]
struct Names {
    texts: ArcSwap<Vec<Arc<str>>>,
    most: usize,
}

impl Names {
    fn new(first: &str, most: usize) -> Self {
        Self { texts: ArcSwap::from_pointee(vec![first.into()]), most }
    }

    fn number(&self, name: &str) -> usize {
        let find = |texts: &[Arc<str>]| texts.iter().position(|text| &**text == name);
        if let Some(known) = find(&self.texts.load()) {
            return known;
        }
        let other = self.most - 1;
        self.texts.rcu(|texts| {
            let mut texts = Vec::clone(texts);
            if find(&texts).is_none() && texts.len() < other {
                texts.push(name.into());
            }
            texts
        });
        find(&self.texts.load()).unwrap_or(other)
    }

    fn with<R>(&self, number: usize, with: impl FnOnce(&str) -> R) -> R {
        let texts = self.texts.load();
        with(texts.get(number).map_or("other", |text| text))
    }
}
