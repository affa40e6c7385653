//! tollgate: a rate-limiting, authenticating gateway in front of a public, multi-tenant REST API.
//!
//! The rooms below stand in reading order, which is the order of a request: **a room uses only rooms listed
//! above it** (`tests/rooms.rs` holds this). The path itself is [`gateway`].
//!
//! Invariants:
//!
//! - Every request gets exactly one response and exactly one record.
//! - Nothing is forwarded without an admission, nothing admitted without a permit, nothing permitted
//!   without a proven caller, unless the endpoint is public by configuration.
//! - A credential is not forwarded unless the configuration asks for it; a secret cannot be formatted.
//! - A refused request consumes nothing.
//! - The decisions of one request share one `now` and one configuration.
//! - Nothing waits, queues or grows without a limit.

pub mod domain;
pub mod clock;
pub mod telemetry;
pub mod message;
pub mod listen;
pub mod routing;
pub mod tokens;
pub mod journal;
pub mod fetch;
pub mod notifications;
pub mod authentication;
pub mod authorization;
pub mod limits;
pub mod central_store;
pub mod input;
pub mod place;
pub mod secret_scanning;
pub mod upstream;
pub mod reply;
pub mod gateway;
pub mod admin;
pub mod config;
pub mod effects;
pub mod assembly;
pub mod replay;
pub mod scan;
pub mod sample;
pub mod cli;
