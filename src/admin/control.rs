//! What the admin API works on.

use std::sync::Arc;

use crate::clock::Now;
use crate::domain::JwtLifetime;
use crate::journal::Journal;
use crate::limits;
use crate::tokens::{Mint, Registry};

/// The registry of workspaces, tokens and operators, and what else the API needs to know of this node.
pub trait Control: Send + Sync + 'static {
    /// Changes workspaces and tokens. Its methods block.
    fn mint(&self) -> &Mint;
    /// Knows operators, and follows every change.
    fn registry(&self) -> &Registry;
    /// What tokens did, if that is kept. Its methods block.
    fn journal(&self) -> Option<&dyn Journal>;
    /// The time.
    fn now(&self) -> Now;
    /// The limits of the configuration in force.
    fn limits(&self) -> Arc<limits::Rules>;
    /// The issuers of the configuration in force, and how long their tokens live.
    fn accepted_jwts(&self) -> Vec<JwtLifetime>;
    /// The id of a request; an inbound one is kept if it is well-formed.
    fn request_id(&self, inbound: Option<&[u8]>) -> String;
}
