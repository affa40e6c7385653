//! One upstream server at one address, as all cores see it. Everything here is an atomic that a configuration with
//! the same rules takes over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::breaker::{Breaker, BreakerState};
use super::ejection::Outlier;
use super::health_check::Checked;
use super::limiter::Limiter;
use super::rules::Rules;
use crate::clock::Now;

/// The state of a server.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Server {
    /// As configured, with the address behind it if that came from a name.
    pub(super) label: Arc<str>,
    pub(super) address: SocketAddr,
    in_flight: AtomicU32,
    pub(super) limiter: Limiter,
    pub(super) breaker: Breaker,
    pub(super) outlier: Outlier,
    pub(super) checked: Checked,
}

impl Server {
    pub(super) fn new(label: Arc<str>, address: SocketAddr, rules: &Rules) -> Self {
        Self {
            label,
            address,
            in_flight: AtomicU32::new(0),
            limiter: Limiter::new(&rules.in_flight),
            breaker: Breaker::default(),
            outlier: Outlier::default(),
            checked: Checked::default(),
        }
    }

    /// Requests that it is serving.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Places that are left.
    pub(super) fn free(&self) -> u32 {
        self.limiter.limit().saturating_sub(self.in_flight())
    }

    /// Whether nothing speaks against sending it requests.
    pub(super) fn is_usable(&self, now: Now) -> bool {
        !self.checked.is_down() && !self.outlier.is_ejected(now) && self.breaker.may_pass(now)
    }

    /// Counts a request; [`Server::leave`] uncounts it.
    pub(super) fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// What an operator is told beyond whether it is usable.
    pub(super) fn detail(&self, now: Now) -> String {
        if self.checked.is_down() {
            return "its health checks fail".to_owned();
        }
        match self.breaker.state() {
            BreakerState::Tripped { .. } => {
                let seconds = self.breaker.wait(now).as_secs_f64();
                format!("breaker tripped for another {seconds:.1} s")
            }
            BreakerState::Probing { .. } => "breaker probing with one request".to_owned(),
            BreakerState::Passing { .. } if self.outlier.is_ejected(now) => {
                "ejected: failures or 5xx in a row".to_owned()
            }
            BreakerState::Passing { failures: 0 } => String::new(),
            BreakerState::Passing { failures } => format!("the last {failures} exchanges failed"),
        }
    }
}

/// How a server is, for operators.
#[derive(Clone, Debug)]
pub struct ServerStatus {
    /// Its region's name.
    pub region: Arc<str>,
    /// As configured, with the address behind it if that came from a name.
    pub upstream: Arc<str>,
    /// Whether it gets requests.
    pub is_usable: bool,
    /// Where its breaker stands.
    pub breaker: BreakerState,
    /// Requests that it is serving.
    pub in_flight: u32,
    /// The most that it may serve at the moment.
    pub in_flight_limit: u32,
    /// How often it was ejected since the start.
    pub ejections: u64,
    /// In words; empty if there is nothing to say.
    pub detail: String,
}

impl ServerStatus {
    pub(super) fn of(region: &Arc<str>, server: &Server, now: Now) -> Self {
        Self {
            region: Arc::clone(region),
            upstream: Arc::clone(&server.label),
            is_usable: server.is_usable(now),
            breaker: server.breaker.state(),
            in_flight: server.in_flight(),
            in_flight_limit: server.limiter.limit(),
            ejections: server.outlier.total(),
            detail: server.detail(now),
        }
    }
}

/// The shortest time after which one of some tripped servers may be asked again.
pub(super) fn shortest_wait<'s>(servers: impl Iterator<Item = &'s Server>, now: Now) -> Duration {
    servers.map(|server| server.breaker.wait(now)).min().unwrap_or_default()
}
