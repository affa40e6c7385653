//! Everything that one request decides by, and everything that outlives it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::authentication::Authenticator;
use crate::authorization::UnmatchedNeeds;
use crate::clock::Clock;
use crate::limits::{Cells, Failures, InFlight, Rules};
use crate::place::Places;
use crate::reply::Replies;
use crate::routing::Table;
use crate::telemetry::{OperationLabel, PolicyLabel, RegionLabel};
use crate::tokens::Registry;

/// One configuration, ready for the request path; immutable.
pub struct Snapshot {
    /// Which endpoint.
    pub table: Table,
    /// Who.
    pub authenticator: Authenticator,
    /// What is asked of a caller whose request matched nothing.
    pub unmatched: UnmatchedNeeds,
    /// How much.
    pub rules: Rules,
    /// Where.
    pub places: Places,
    /// What we say ourselves.
    pub replies: Replies,
    /// Labels by endpoint index.
    pub operation_labels: Vec<OperationLabel>,
    /// Labels by region id.
    pub region_labels: Vec<RegionLabel>,
    /// Labels by policy index.
    pub policy_labels: Vec<PolicyLabel>,
}

/// What all cores share.
#[derive(Clone)]
pub struct Parts {
    /// The configuration in force.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Opaque tokens and workspaces.
    pub registry: Arc<Registry>,
    /// What of each limit is used.
    pub cells: Arc<Cells>,
    /// Requests that are being served.
    pub in_flight: Arc<InFlight>,
    /// Failed authentications by address.
    pub failures: Arc<Failures>,
    /// Time.
    pub clock: Clock,
}
