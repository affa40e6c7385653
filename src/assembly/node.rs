//! What outlives a configuration, and which configuration is in force.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::runtime::Handle;

use crate::central_store::Link;
use crate::clock::{Clock, Now};
use crate::config::Config;
use crate::gateway::{Owners, Parts, Snapshot};
use crate::journal::Journal;
use crate::limits::Counters;
use crate::listen::{self, Bound, Certificates, ConnectionCount, Edge, LiveBounds};
use crate::notifications;
use crate::telemetry::Telemetry;
use crate::tokens::{Mint, Registry};

/// A running gateway's parts, whatever its configuration is.
pub(super) struct Node {
    pub(super) clock: Clock,
    pub(super) started: Now,
    pub(super) telemetry: Arc<Telemetry>,
    /// What changes the token store.
    pub(super) mint: Arc<Mint>,
    pub(super) registry: Arc<Registry>,
    /// What kind of store the registry follows.
    pub(super) store_kind: &'static str,
    pub(super) owners: Arc<Owners>,
    /// How owners are told of leaks.
    pub(super) notifications: Arc<notifications::Counts>,
    /// What tokens did, if that is kept.
    pub(super) journal: Option<Arc<dyn Journal>>,
    pub(super) counters: Arc<Counters>,
    /// Where limits are shared, by region.
    pub(super) links: Vec<Arc<Link>>,
    pub(super) draining: AtomicBool,
    /// What requests are decided by.
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) edge: LiveEdge,
    pub(super) configuration: InForce,
    /// Where tasks run that no request waits for.
    pub(super) background: Handle,
}

/// What a reload changes about the listeners while they listen.
pub(super) struct LiveEdge {
    pub(super) bounds: LiveBounds,
    pub(super) connections: ConnectionCount,
    pub(super) certificates: Vec<(SocketAddr, Arc<Certificates>)>,
}

impl Node {
    /// What a core needs to answer requests.
    pub(super) fn parts(&self) -> Parts {
        let (snapshot, registry) = (Arc::clone(&self.snapshot), Arc::clone(&self.registry));
        Parts { snapshot, registry, owners: Arc::clone(&self.owners), clock: self.clock.clone() }
    }
}

impl LiveEdge {
    /// What a configuration starts with, with room for so many connections.
    pub(super) fn new(listen: &listen::Checked, connections: usize) -> Self {
        Self {
            bounds: LiveBounds::new(listen.bounds),
            connections: ConnectionCount::new(connections),
            certificates: listen.tls.iter().map(|(at, files)| (at.address, Arc::clone(files))).collect(),
        }
    }

    /// What a core needs to listen.
    pub(super) fn with_sockets(&self, sockets: Vec<Bound>) -> Edge {
        Edge { sockets, bounds: self.bounds.clone(), count: self.connections.clone() }
    }
}

/// The configuration in force, and how the attempts to replace it went.
pub(super) struct InForce {
    config: ArcSwap<Config>,
    loaded_unix_seconds: AtomicU64,
    generation: AtomicU64,
    failures: AtomicU64,
    last_error: ArcSwapOption<String>,
}

impl InForce {
    pub(super) fn new(config: Arc<Config>, now: Now) -> Self {
        Self {
            config: ArcSwap::new(config),
            loaded_unix_seconds: AtomicU64::new(now.unix_seconds()),
            generation: AtomicU64::new(1),
            failures: AtomicU64::new(0),
            last_error: ArcSwapOption::empty(),
        }
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Configurations that were put in force since the start, the first included.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(super) fn loaded_unix_seconds(&self) -> u64 {
        self.loaded_unix_seconds.load(Ordering::Relaxed)
    }

    /// Attempts that failed since the start.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Why the last attempt failed, if it did.
    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.load().as_deref().cloned()
    }

    pub(super) fn replaced(&self, config: Arc<Config>, now: Now) {
        self.config.store(config);
        self.loaded_unix_seconds.store(now.unix_seconds(), Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.last_error.store(None);
    }

    pub(super) fn failed(&self, error: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.last_error.store(Some(Arc::new(error)));
    }
}
