//! The command line.
//!
//! Decides how a command's words become calls of the rooms above and how their results are written: aligned
//! text for people, JSON for programs. Invariants: nothing is decided here that another way in (the admin
//! API) would have to decide again; a token is written once, when it is made. It refuses to know sockets.

mod error;
mod output;
mod registry;
pub mod token;
pub mod workspace;

pub use error::Error;
pub use registry::RegistryAccess;
