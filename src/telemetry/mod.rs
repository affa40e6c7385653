//! What the gateway says about itself: one record of each request, metrics, and its own log.
//!
//! Decides how a request is counted and written down, never what happens to it. Invariants: a [`Record`] is
//! written exactly once, when it is finished or dropped; no label value comes from a client; nothing here
//! waits for a disk, a pipe or a scrape: what cannot be taken at once is dropped and counted; every value in a
//! line is escaped, so that a request cannot forge a second line; no credential and no query string is ever
//! written. It refuses to know messages, credentials and upstreams: the request path tells it plain facts.
//!
//! Each core counts in cells of its own, which a scrape adds up ([`Core`], [`Telemetry::metrics_text`]).

mod access_line;
mod cardinality;
mod cells;
mod collector;
mod deprecated;
mod facts;
mod gauges;
mod histogram;
mod instruments;
mod journal_lines;
mod labels;
mod lines;
mod masking;
mod panics;
mod per_core;
mod process;
mod program_log;
mod record;
mod request_id;
mod series;
mod settings;
mod timings;
mod topk;
mod trace;
mod traffic;

pub use cardinality::{REQUEST_COUNTERS, most_series};
pub use cells::{ConnectionFault, Decision, Mode};
use deprecated::Deprecated;
pub use deprecated::DeprecatedTraffic;
pub use facts::{Arrival, Facts};
pub use gauges::Gauge;
pub use instruments::{Build, Telemetry, TelemetryError};
pub use labels::{Labels, OperationLabel, PolicyLabel, RegionLabel};
pub use lines::Destination;
pub use masking::{cut, has_token, masked};
pub use panics::tell_panics_by_place;
pub use per_core::{Connection, Core};
pub use program_log::ProgramLog;
pub use record::Record;
pub use request_id::{RequestId, RequestIds, split_mix};
pub use settings::{Access, Checked, Format, Settings, from_settings};
pub use timings::Timings;
pub use topk::{Top, TopK};
pub use trace::TraceParent;
pub use traffic::{Latency, OperationTraffic, OutcomeCount, Second, Traffic};

#[cfg(test)]
mod tests;
