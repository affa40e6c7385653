//! The weather between replicas and the store.

use super::SECOND;

/// How the store and its network are.
#[derive(Clone)]
pub(in crate::limits::tests) struct Weather {
    /// A way takes between this
    pub(super) least_way: u64,
    /// and this long.
    pub(super) most_way: u64,
    /// Messages lost of a thousand.
    pub(super) lost_permille: u64,
    /// Whether it answers nothing, and connections hang.
    pub(super) is_frozen: bool,
    /// Whether connections are refused, and those that were are closed.
    pub(super) is_dead: bool,
    /// Replicas that do not reach it.
    pub(super) cut_off: Vec<usize>,
    /// What its clock is ahead; it starts at an hour.
    pub(super) clock_ahead: i64,
}

impl Weather {
    /// The longest.
    pub(super) const fn round_trip(&self) -> u64 {
        2 * self.most_way
    }
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            least_way: 200_000,
            most_way: 700_000,
            lost_permille: 0,
            is_frozen: false,
            is_dead: false,
            cut_off: Vec::new(),
            clock_ahead: 3_600 * SECOND as i64,
        }
    }
}
