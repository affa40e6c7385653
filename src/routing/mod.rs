//! Which endpoint: path, method and API version.
//!
//! Decides from a request head and the endpoint table alone whether the request is [`Match::Matched`] or
//! [`Match::Unmatched`], and refuses a target that two implementations could read differently. Invariants:
//!
//! - A [`PathFault`] depends on nothing but the target; whatever depends on the table is a [`Match`], so that
//!   a stranger who asks before being identified learns nothing of the table.
//! - The target is never rewritten: what was matched is what is forwarded, byte for byte.
//! - A path that a lenient upstream could take for another endpoint than the one whose rules were applied is
//!   not matched: see [`UnmatchedReason::EscapedSlash`] and [`UnmatchedReason::Misspelled`].
//! - A match allocates nothing unless the path holds `%2F` or `%25`; its cost follows the path's length, not
//!   the table's.
//!
//! How a path is read: split at literal `/`; escapes of unreserved characters are undone for comparison
//! (`%73ources` is `sources`); case matters; `;` is an ordinary character of a parameter; a final `/` makes
//! another path. It refuses to know callers, limits and what becomes of a match.

mod check;
mod doubts;
mod matched;
mod media_type;
mod params;
mod path;
mod row;
mod settings;
mod table;
mod template;
mod trie;

pub use doubts::doubts;
pub use matched::{Deprecation, Match, Matched, Unmatched, UnmatchedReason};
pub use params::Params;
pub use path::{PathFault, is_own};
pub use row::{DeprecationRow, EndpointFile, EndpointRow, LimitRow};
pub use settings::{EscapedSlash, Settings, UnknownVersion, UnmatchedPolicy};
pub use table::Table;
pub use trie::Allow;

/// The endpoint table of Segment's Public API, as `config/endpoints.toml` holds it.
pub const SEGMENT_TABLE: &str = include_str!("../../config/endpoints.toml");

#[cfg(test)]
mod tests;
