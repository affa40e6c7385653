//! Files to checked settings: one TOML file, the endpoint tables that it names, and every mistake at once.
//!
//! Decides whether a configuration may start. Invariants: no part of a configuration is used unless the whole
//! is without mistake; every mistake is told with file, line, reason and fix; what came from the environment is
//! never told. Each room owns its section's keys
//! and checks them; this room composes them and knows where they stand in the text. It refuses to know what
//! the settings do.

mod check;
mod diagnostic;
mod document;
mod doubts;
mod environment;
mod file;
mod found;
mod lines;
mod load;
mod redaction;
mod schema;
mod spans;
mod typed;

pub use diagnostic::{Diagnostic, Severity};
pub use file::{Config, File, RegistryConfig};
pub use load::{load, load_registry, load_text, parse};
pub use redaction::Redaction;
pub use schema::{configuration_schema, endpoints_schema};

#[cfg(test)]
mod stated_limits;
#[cfg(test)]
mod untold;
