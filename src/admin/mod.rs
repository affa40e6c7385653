//! The operator's listener: health, metrics and the status page.
//!
//! Decides what is shown to whoever reaches the gateway's own port, which is a loopback address. Invariants: it
//! only reads; it answers no page of another origin (no `Access-Control-*`, and a `Host` that a rebound name
//! would carry is refused); it runs on a thread of its own with bounded connections, so that neither a scrape
//! nor a flood of it touches the request path. It refuses to know how the gateway is put together: all it shows
//! comes from an [`Operator`].
//!
//! # Security considerations
//!
//! `/metrics`, `/livez` and `/readyz` need no credential by design. The status page shows ids of workspaces and
//! tokens, never a credential; it is served because the listener is bound to loopback, which
//! [`from_settings`] insists on.

mod answer;
mod explain;
mod host;
mod server;
mod settings;
mod status;

pub use answer::Admin;
pub use explain::{AskFailed, ask};
pub use server::{AdminError, Running, serve, start};
pub use settings::{Checked, Settings, from_settings};
pub use status::{
    BuildStatus, ConfigStatus, IssuerStatus, Operator, Readiness, RegistryStatus, Status, UpstreamStatus,
};

#[cfg(test)]
mod tests;
