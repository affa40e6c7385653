//! The gateway's promises, end to end: the binary is started as a user starts it, and only what leaves it is
//! looked at. One file for each promise.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::panic, reason = "a test may panic")]

mod admin;
mod browser;
mod canary;
mod care;
mod demo;
mod disk_full;
mod drain;
mod faults;
mod fleet;
mod explain;
mod guide;
mod input;
mod jwks;
mod in_flight;
mod jwt;
mod jwt_revocation;
mod killed;
mod killed_admin;
mod killed_import;
mod killed_writer;
mod leaks;
mod limits;
mod limits_restart;
mod metrics;
mod overrides;
mod owners;
mod pages;
mod providers;
mod peppers;
mod powers;
mod recorded;
mod regions;
mod reload;
mod replay;
mod revocation;
mod secret_scanning;
mod shadow;
mod shared_limits;
mod signed_heads;
mod sites;
mod streaming;
mod support;
mod token_life;
mod tokens;
mod versions;
