//! The request path: match, identify, permit, admit, place, forward, answer.
//!
//! Decides the order of the steps and nothing within them. Invariants: one snapshot and one `now` serve a
//! whole request; every request gets one answer and one record, whatever fails, panics included; a step
//! that was refused ends the path. Skipping a step does not compile, because each asks for the ticket of the
//! one before it:
//!
//! ```compile_fail
//! // Only `tollgate::limits` makes an `Admission`, and nothing is forwarded without one.
//! let admission = tollgate::limits::Admission { permit: todo!() };
//! ```

mod alerts;
mod answer;
mod decide;
pub mod explain;
mod metered;
mod owners;
mod own_pages;
mod pipeline;
mod preflight;
mod progress;
pub(crate) mod refuse;
pub(crate) mod refuse_change;
mod snapshot;

pub use owners::Owners;
pub(crate) use owners::decoded;
pub use pipeline::Gateway;
pub use snapshot::{Parts, PlacedTokens, Snapshot};
