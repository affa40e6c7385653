//! Regions: where a workspace's data lives. Their names and letters are configuration.

use std::sync::Arc;

/// A region's place in [`Regions`]; only that table gives it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegionId(pub u8);

/// One region: its name in configuration, logs and metrics, and the letter that its tokens carry.
#[derive(Clone, Debug)]
pub struct Region {
    /// As configured, for example `us`.
    pub name: Arc<str>,
    /// The letter after the token prefix, for example `u`; base62.
    pub letter: char,
    /// What its callers use as base URL, for example `https://api.example.com`, without a final slash.
    pub base_url: Arc<str>,
}

/// Every region of this deployment, in configured order. There is always at least one.
#[derive(Clone, Debug)]
pub struct Regions(Arc<[Region]>);

impl Regions {
    /// Builds the table. The caller has checked that names and letters are unique and that it is not empty.
    pub fn new(regions: Vec<Region>) -> Self {
        Self(regions.into())
    }

    /// The region of an id.
    pub fn region(&self, id: RegionId) -> &Region {
        &self.0[usize::from(id.0)]
    }

    /// The name of an id.
    pub fn name(&self, id: RegionId) -> &Arc<str> {
        &self.region(id).name
    }

    /// Finds a region by its configured name.
    pub fn by_name(&self, name: &str) -> Option<RegionId> {
        self.position(|region| &*region.name == name)
    }

    /// Finds a region by its tokens' letter.
    pub fn by_letter(&self, letter: char) -> Option<RegionId> {
        self.position(|region| region.letter == letter)
    }

    /// All ids with their regions, in configured order.
    pub fn iter(&self) -> impl Iterator<Item = (RegionId, &Region)> {
        self.0.iter().enumerate().map(|(index, region)| (RegionId(index as u8), region))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true for a checked configuration.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, wanted: impl Fn(&Region) -> bool) -> Option<RegionId> {
        self.0.iter().position(wanted).map(|index| RegionId(index as u8))
    }
}
