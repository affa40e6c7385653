//! Forward: pools of keep-alive connections, deadlines, fields, and bodies streamed both ways.
//!
//! Decides how a request that was admitted travels to its region's upstream and how the answer comes back.
//! Invariants: nothing is sent without an [`Admission`](crate::limits::Admission); a connection carries one
//! exchange at a time and is used again only if both messages ended cleanly; what may have reached the
//! upstream is never sent twice unless repeating it is safe; an answer that breaks off is seen to break off.
//! An upstream is trusted no more than a client. It refuses to know tokens, limits and the words of refusals.

mod body;
mod check;
mod connection;
mod exchange;
mod fields;
mod forward;
mod pool;
mod settings;
mod target;

pub use check::{Checked, RegionServers, from_settings};
pub use exchange::UpstreamResponse;
pub use fields::{Client, FieldRules, OwnFields, response_lines, varies_by_accept};
pub use forward::{Fault, OutgoingRequest, forward};
pub use pool::{Pool, PoolSettings};
pub use settings::{ForwardedFields, HostSetting, IdentityFields, Settings};
pub use target::{Health, Upstream, UpstreamError};
