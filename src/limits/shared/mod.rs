//! Limits that many replicas share, through a central store that the hot path never waits for.
//!
//! A replica spends tokens that the store granted it: a lease. While one has tokens a request takes one by a single
//! compare-and-swap; nothing is awaited and nobody is asked. A request that finds none asks, together with all others that
//! wait, and waits at most for its turn (5 ms) and for the answer (5 ms). Who answers is not this room's business:
//! [`CentralStore`] says how it is asked and what it must keep.

pub(super) mod call;
pub(super) mod cell;
pub(super) mod cells;
mod lease;
#[cfg(test)]
pub(super) mod model;
mod plan;
mod share;
mod store;
pub(super) mod wanted;

pub use call::Call;
pub(super) use lease::{MOST_TOKENS, Mark};
pub use plan::{OnStoreFailure, Shared, Sharing};
pub use store::{
    Answer, Asked, Asking, Bucket, CentralStore, Grant, Held, MOST_ASKED, Outage, OutageAgo, Question,
    StoreFault,
};
pub use wanted::{Waited, Wanted};
