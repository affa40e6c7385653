//! The operator's listener: health, metrics, the status page and the admin API.
//!
//! Decides what is shown to whoever reaches the gateway's own port, which is a loopback address. Invariants:
//! without an operator's token there are probes, metrics and a page without data, and nothing else; a change is one
//! of the registry's, checked and logged there under the operator's name; what a request may send has a size, a count
//! and a deadline; the registry's work, which blocks, is done off the listener's thread; it answers no page of another
//! origin (no `Access-Control-*`, and a `Host` that a rebound name would carry is refused); it runs on a thread of its
//! own with bounded connections, so that neither a scrape nor a flood of it touches the request path. It refuses to know how the gateway is put together: all it shows
//! and changes comes from an [`Operator`].
//!
//! # Security considerations
//!
//! `/metrics`, `/livez` and `/readyz` need no credential by design. The page at `/` is static: it asks a person for
//! an operator's token, keeps it for the tab, and sends it with each request; there are no cookies, so no other page
//! can make a browser act. The listener speaks plain text and is bound to loopback, which [`from_settings`] insists
//! on. No answer holds a token's plain text but the one that made it.

mod answer;
mod api;
mod control;
mod door;
mod explain;
mod host;
mod server;
mod settings;
mod status;

pub use answer::Admin;
pub use api::overrides::{OverrideRefused, check as check_override};
pub use control::Control;
pub use explain::{AskFailed, ask};
pub use server::{AdminError, Running, serve, start};
pub use settings::{Checked, Settings, from_settings};
pub use status::{
    BuildStatus, ConfigStatus, IssuerStatus, NotificationStatus, Operator, Readiness, RegistryStatus,
    SharedLimitsStatus, Status, UpstreamStatus,
};

#[cfg(test)]
mod tests;
