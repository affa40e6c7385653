//! One core's connections to one server.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use super::forward::Fault;
use super::groups::{Group, Member};
use super::server::Server;
use super::{FieldRules, Settings, Upstream};
use crate::clock::Clock;

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

/// One core's connections to one server. The newest idle one is used first, so that the others age.
pub(super) struct Pool {
    pub(super) upstream: Arc<Upstream>,
    pub(super) server: Arc<Server>,
    group: Arc<Group>,
    pub(super) settings: PoolSettings,
    pub(super) rules: Rc<FieldRules>,
    clock: Clock,
    idle: Rc<RefCell<Vec<Connection>>>,
    open: Rc<Cell<usize>>,
}

/// Counts a connection as open until it is dropped.
pub(super) struct OpenCount(Rc<Cell<usize>>);

impl OpenCount {
    pub(super) fn new(open: &Rc<Cell<usize>>) -> Self {
        open.set(open.get() + 1);
        Self(Rc::clone(open))
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Counts a request as in flight at its server until it is dropped.
pub(super) struct InFlight(Rc<Pool>);

impl InFlight {
    pub(super) fn new(pool: &Rc<Pool>) -> Self {
        pool.server.enter();
        Self(Rc::clone(pool))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.server.leave();
    }
}

impl Pool {
    /// An empty pool.
    pub(super) fn new(
        member: &Member,
        group: &Arc<Group>,
        settings: PoolSettings,
        rules: Rc<FieldRules>,
        clock: Clock,
    ) -> Self {
        Self {
            upstream: Arc::clone(&member.upstream),
            server: Arc::clone(&member.server),
            group: Arc::clone(group),
            settings,
            rules,
            clock,
            idle: Rc::default(),
            open: Rc::default(),
        }
    }

    /// The same with the connections of another pool for the same server.
    pub(super) fn adopting(self, other: &Self) -> Self {
        Self { idle: Rc::clone(&other.idle), open: Rc::clone(&other.open), ..self }
    }

    /// Whether both hold the same connections.
    #[cfg(test)]
    pub(super) fn shares_connections(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.idle, &other.idle)
    }

    /// An idle connection that is still good. `surely` asks the kernel too.
    pub(super) fn reuse(&self, surely: bool) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let now = Instant::now();
        while let Some(mut connection) = idle.pop() {
            let alive = if surely { connection.is_surely_alive() } else { connection.is_alive() };
            if alive && now - connection.since < self.settings.keep {
                connection.is_reused = true;
                connection.since = now;
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
        let open = OpenCount::new(&self.open);
        let opening = Connection::open(&self.upstream, self.server.address, open);
        match tokio::time::timeout(self.settings.connect, opening).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(_)) => Err(Fault::Unreachable),
            Err(_) => Err(Fault::ConnectTimeout),
        }
    }

    /// Takes a connection back whose exchange ended cleanly.
    pub(super) fn put_back(&self, mut connection: Connection) {
        connection.deadline.clear();
        connection.since = Instant::now();
        self.idle.borrow_mut().push(connection);
    }

    /// Closes connections that were idle for too long.
    pub(super) fn sweep(&self) {
        self.idle.borrow_mut().retain_mut(|connection| {
            connection.since.elapsed() < self.settings.keep && connection.is_alive()
        });
    }

    /// The server answered with this status.
    pub(super) fn note_answer(&self, status: u16) {
        self.server.breaker.succeeded();
        if status < 500 {
            self.server.outlier.succeeded();
        } else {
            self.group.server_failed(&self.server, self.clock.now());
        }
        let rules = &self.group.rules.in_flight;
        if matches!(status, 503 | 504) {
            self.server.limiter.overloaded(self.clock.now(), rules);
        } else {
            self.server.limiter.succeeded(self.server.in_flight(), rules);
        }
    }

    /// An exchange with the server failed; what the client did, and our own bounds, are not its fault.
    pub(super) fn note_fault(&self, fault: Fault) {
        let (is_down, is_slow) = match fault {
            Fault::Unreachable => (true, false),
            Fault::ConnectTimeout => (true, true),
            Fault::ClosedUnanswered | Fault::Broken => (false, false),
            Fault::Timeout => (false, true),
            Fault::TooManyConnections
            | Fault::TooManyInFlight
            | Fault::OverShare { .. }
            | Fault::Open { .. }
            | Fault::Client(_) => return,
        };
        let now = self.clock.now();
        self.group.server_failed(&self.server, now);
        if is_slow {
            self.server.limiter.overloaded(now, &self.group.rules.in_flight);
        }
        if (is_down || self.server.breaker.is_probing())
            && self.server.breaker.failed(now, &self.group.rules.breaker)
        {
            tracing::warn!(upstream = &*self.server.label, "breaker tripped: {fault}");
        }
    }
}
