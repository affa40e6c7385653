//! The central store of shared limits: a Redis or Valkey server in each region.
//!
//! Decides when the server is asked, and when it is given up. It answers [`limits::shared`](crate::limits::shared)'s
//! questions, each by one script on the server (`grant.lua`), which keeps what that room says.
//!
//! Invariants: every await has a deadline, and the server does nothing that nobody waits for any more; nobody waits for a
//! connection to be made; calls that wait for an answer are bounded; a server that fails, or does not do all that is
//! needed, is left alone until a probe of its own is answered; a key holds no token, and a password is never shown. It
//! refuses to know policies, callers, and what becomes of a request without an answer.

mod address;
mod breaker;
mod connect;
mod counts;
mod fault;
mod link;
mod round_trips;
mod script;
mod server_time;
mod settings;

pub use address::{StoreAddress, StoreAddressError};
pub use counts::CallEnd;
pub use link::{Link, LinkState, LinkStatus, Store};
pub use settings::{RegionServer, Server, Settings, from_settings};

#[cfg(test)]
#[path = "../../tests/redis/server.rs"]
mod server;
#[cfg(test)]
mod tests;
