//! The opaque-token registry: what a token looks like, what is stored of it, and who it stands for.
//!
//! Decides whether a token is genuine, and whether it works at a given time. Invariants: a token exists in
//! plain text only where it is made and where it is presented; at rest there is its keyed hash; no request
//! reads the store; a change is in the log or did not happen; a revocation that was acknowledged is in force
//! in every process on the same store within one look at the log. It refuses to know HTTP, endpoints, limits
//! and JWTs.
//!
//! [`Mint`] changes, [`store`] keeps, [`Registry`] answers requests from memory.

mod audit_head;
mod digest;
mod error;
mod format;
mod import;
mod jwt_revocations;
mod mint;
mod operators;
#[cfg(test)]
mod ordinary;
mod overrides;
mod pepper_file;
mod random;
mod record;
mod registry;
mod rotation;
mod settings;
mod start;
pub mod store;

pub use audit_head::{HeadKey, NotTheHead, SignedHead, hexadecimal};
pub use digest::{Digest, Peppers, Scheme};
pub use error::Error;
pub use format::Format;
pub use import::{ImportCount, ImportDefaults, LineRefused};
pub use jwt_revocations::{JwtRevocation, JwtRevocationView, JwtsRevoked};
pub use mint::{Mint, Minted, TokenRequest};
pub use operators::{MintedOperator, OPERATOR_PREFIX, OperatorRecord, OperatorView};
pub use overrides::{HeldOverride, NewOverride, OverrideRecord, OverrideView};
pub use pepper_file::pepper_file_fault;
pub use random::{Random, SystemRandom};
pub use record::{Moment, TokenRecord, TokenState, TokenView, WorkspaceRecord, WorkspaceView};
pub use registry::{
    Entry, Follower, HeldTokens, JwtNames, Lookup, MOST_UNWRITTEN, OperatorLookup, Registry, Saver,
    SightingCounts, Status, Teller,
};
pub use rotation::{PepperState, PepperView, Rotation};
pub use settings::{Beyond, Rules, Settings, Staleness};
pub use start::open;
pub use store::postgres::{PostgresAddress, PostgresStore};
pub use store::{
    Act, Leak, LeakRevocation, LeakedToken, NewWorkspace, PepperUse, Sighting, SqliteStore, Store,
    StoreAddress, TokenChange, WorkspaceChange,
};
