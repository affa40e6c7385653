//! What the demo runs beside the gateway: sample APIs, a sample OAuth issuer, and traffic.
//!
//! Decides how a workspace API looks from the gateway's far side. Invariants: what it holds and how long it
//! waits is bounded; every answer of a sample API says its region. It refuses to know the gateway: it uses the
//! words of `domain` and the `clock` only, so that a test through both meets two independent readings of HTTP.

mod answers;
mod api;
mod call;
mod fault;
mod http;
mod inbox;
mod issuer;
mod objects;
mod operations;
mod query;
mod raw;
mod store;
mod traffic;

pub use api::SampleApi;
pub use inbox::{Channel, Inbox};
pub use issuer::{
    Client, DemoIssuer, DemoWorkspaces, Issuer, KeyError, PUBLIC_API_SCOPE, SigningAlgorithm, SigningKey,
};
pub use traffic::{Traffic, TrafficError, TrafficTarget};
