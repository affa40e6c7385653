//! Forward: pools of keep-alive connections, deadlines, fields, and bodies streamed both ways.
//!
//! Decides how a request that was admitted travels to its region's upstream and how the answer comes back.
//! Invariants: nothing is sent without an [`Admission`](crate::limits::Admission); a connection carries one
//! exchange at a time and is used again only if both messages ended cleanly; what may have reached the
//! upstream is never sent twice unless repeating it is safe; an answer that breaks off is seen to break off;
//! regions share nothing. An upstream is trusted no more than a client. It refuses to know tokens, limits and
//! the words of refusals.
//!
//! A configuration's [`Groups`] hold what all cores see of the upstreams, in atomics: who is down, how busy, how
//! trusted. Each core's [`Pools`] hold connections. [`care()`] does beside the requests what no request waits for.
//! Time and randomness are arguments throughout.

mod balance;
mod body;
mod breaker;
mod budget;
mod care;
mod care_settings;
mod check;
mod connection;
mod ejection;
mod exchange;
mod fields;
mod forward;
mod groups;
mod health_check;
mod limiter;
mod names;
mod pool;
mod pools;
mod rules;
mod server;
mod settings;
mod share;
mod target;

pub use breaker::BreakerState;
pub use care::care;
pub use care_settings::{
    BreakerSettings, EjectionSettings, HealthCheckSettings, InFlightSettings, RetrySettings,
};
pub use check::{Checked, RegionServers, from_settings};
pub use exchange::UpstreamResponse;
pub use fields::{Client, FieldRules, OwnFields, response_lines, varies_by_accept};
pub use forward::{Fault, OutgoingRequest, Trail, forward};
pub use groups::Groups;
pub use pool::PoolSettings;
pub use pools::{Pools, RegionPools};
pub use server::ServerStatus;
pub use settings::{ForwardedFields, HostSetting, IdentityFields, Settings};
pub use share::Place;
pub use target::{Upstream, UpstreamError};
