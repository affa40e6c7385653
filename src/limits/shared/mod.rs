//! Limits that many replicas share, through a central store that the hot path never waits for.
//!
//! This room says how the store is asked ([`CentralStore`], [`Question`], [`Answer`]); who answers is not its business.

mod store;

pub use store::{
    Answer, Asked, Asking, Bucket, CentralStore, Grant, Held, MOST_ASKED, Outage, OutageAgo, Question,
    StoreFault,
};
