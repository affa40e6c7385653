//! The edge's limits and deadlines, checked and ready to use.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::Settings;
use crate::message::{HeadLimits, MAX_FIELDS};

/// Every limit and deadline of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Limits of a head.
    pub head: HeadLimits,
    /// Longest request body, in bytes.
    pub body_bytes: u64,
    /// Most streams of an HTTP/2 connection.
    pub streams: u32,
    /// Time for the TLS handshake.
    pub tls_handshake: Duration,
    /// Time for a head.
    pub head_timeout: Duration,
    /// Longest pause inside a body.
    pub body_idle: Duration,
    /// Longest pause between requests.
    pub keep_alive: Duration,
    /// Longest time in which nothing of a response can be written.
    pub write: Duration,
    /// After the signal, how long new connections are still accepted.
    pub drain_delay: Duration,
    /// After the signal, how long busy connections may take.
    pub drain_timeout: Duration,
}

/// The bounds in force, as all cores see them. A connection keeps those that it began with.
#[derive(Clone, Debug)]
pub struct LiveBounds(Arc<ArcSwap<Bounds>>);

impl LiveBounds {
    /// Bounds that can be replaced.
    pub fn new(bounds: Bounds) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(bounds)))
    }

    /// Those in force.
    pub fn get(&self) -> Bounds {
        **self.0.load()
    }

    /// Puts others in force, for connections to come.
    pub fn set(&self, bounds: Bounds) {
        self.0.store(Arc::new(bounds));
    }
}

impl From<&Settings> for Bounds {
    fn from(settings: &Settings) -> Self {
        Self {
            head: HeadLimits {
                head_bytes: settings.max_head_bytes,
                fields: settings.max_fields.min(MAX_FIELDS),
                target_bytes: settings.max_target_bytes,
            },
            body_bytes: settings.max_body_bytes,
            streams: settings.max_streams,
            tls_handshake: Duration::from_secs(settings.tls_handshake_timeout_seconds),
            head_timeout: Duration::from_secs(settings.head_timeout_seconds),
            body_idle: Duration::from_secs(settings.body_idle_timeout_seconds),
            keep_alive: Duration::from_secs(settings.keep_alive_timeout_seconds),
            write: Duration::from_secs(settings.write_timeout_seconds),
            drain_delay: Duration::from_secs(settings.drain_delay_seconds),
            drain_timeout: Duration::from_secs(settings.drain_timeout_seconds),
        }
    }
}

/// Counts open client connections of all cores against their bound.
#[derive(Clone, Debug)]
pub struct ConnectionCount {
    open: Arc<AtomicUsize>,
    limit: Arc<AtomicUsize>,
}

/// One open connection; counted until dropped.
#[derive(Debug)]
pub struct ConnectionSlot(Arc<AtomicUsize>);

impl ConnectionCount {
    /// Nothing open yet, at most `limit`.
    pub fn new(limit: usize) -> Self {
        Self { open: Arc::default(), limit: Arc::new(AtomicUsize::new(limit)) }
    }

    /// Changes the bound; connections that are open beyond it stay.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes a place; [`None`] if all are taken.
    pub fn open(&self) -> Option<ConnectionSlot> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(ConnectionSlot(Arc::clone(&self.open)))
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
