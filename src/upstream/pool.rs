//! Idle connections of one core to one upstream.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use super::forward::Fault;
use super::{FieldRules, Settings, Upstream};

/// What a pool is bounded by, and the deadlines of its exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Time to connect.
    pub connect: Duration,
    /// Time to the answer's head.
    pub first_byte: Duration,
    /// Longest pause inside an answer.
    pub idle: Duration,
    /// Time for the whole exchange.
    pub total: Duration,
    /// How long an unused connection is kept.
    pub keep: Duration,
    /// Most connections, used and unused.
    pub max_connections: usize,
}

impl From<&Settings> for PoolSettings {
    fn from(settings: &Settings) -> Self {
        Self {
            connect: Duration::from_millis(settings.connect_timeout_milliseconds),
            first_byte: Duration::from_secs(settings.first_byte_timeout_seconds),
            idle: Duration::from_secs(settings.idle_timeout_seconds),
            total: Duration::from_secs(settings.total_timeout_seconds),
            keep: Duration::from_secs(settings.pool_idle_timeout_seconds),
            max_connections: settings.max_connections,
        }
    }
}

/// One core's connections to one upstream. The newest idle one is used first, so that the others age.
pub struct Pool {
    upstream: Upstream,
    pub(super) settings: PoolSettings,
    pub(super) rules: Rc<FieldRules>,
    idle: RefCell<Vec<Connection>>,
    open: Rc<Cell<usize>>,
}

/// Counts a connection as open until it is dropped.
pub(super) struct OpenCount(Rc<Cell<usize>>);

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(upstream: Upstream, settings: PoolSettings, rules: Rc<FieldRules>) -> Self {
        Self { upstream, settings, rules, idle: RefCell::default(), open: Rc::default() }
    }

    /// Its upstream.
    pub const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Connections, used and unused.
    pub fn open_connections(&self) -> usize {
        self.open.get()
    }

    /// An idle connection that is still good. `surely` asks the kernel too.
    pub(super) fn reuse(&self, surely: bool) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut connection) = idle.pop() {
            let alive = if surely { connection.is_surely_alive() } else { connection.is_alive() };
            if alive && connection.idle_since.elapsed() < self.settings.keep {
                connection.is_reused = true;
                return Some(connection);
            }
        }
        None
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Connection, Fault> {
        if self.open.get() >= self.settings.max_connections && self.idle.borrow_mut().pop().is_none() {
            return Err(Fault::TooManyConnections);
        }
        self.open.set(self.open.get() + 1);
        let open = OpenCount(Rc::clone(&self.open));
        match tokio::time::timeout(self.settings.connect, Connection::open(&self.upstream, open)).await {
            Ok(Ok(connection)) => {
                self.upstream.health.connected();
                Ok(connection)
            }
            Ok(Err(_)) => {
                self.upstream.health.failed();
                Err(Fault::Unreachable)
            }
            Err(_) => {
                self.upstream.health.failed();
                Err(Fault::ConnectTimeout)
            }
        }
    }

    /// Takes a connection back whose exchange ended cleanly.
    pub(super) fn put_back(&self, mut connection: Connection) {
        connection.deadline.clear();
        connection.idle_since = Instant::now();
        self.idle.borrow_mut().push(connection);
    }

    /// Closes connections that were idle for too long; called now and then.
    pub fn sweep(&self) {
        self.idle.borrow_mut().retain_mut(|connection| {
            connection.idle_since.elapsed() < self.settings.keep && connection.is_alive()
        });
    }
}
