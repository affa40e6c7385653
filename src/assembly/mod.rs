//! From a checked configuration to a running gateway, and to its end.
//!
//! Decides what lives once per process (registry, counters, telemetry), once per configuration (the snapshot)
//! and once per core (sockets, pools). The one room that knows all others. Invariants: nothing listens before
//! everything else is ready; a start that fails leaves nothing running; the end follows the order of a drain:
//! readiness, listeners, connections, deadline; a reload replaces what belongs to a configuration, and nothing
//! else. It refuses to know requests.

mod alerts;
mod ending;
mod files;
mod heads;
mod issuers;
mod journal;
mod node;
mod notifier;
mod offline;
mod operator;
mod registry;
mod reload;
mod saved_limits;
mod shared_limits;
mod snapshot;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Builder as RuntimeBuilder;
use tokio::sync::watch;

pub use self::offline::explain;
pub use self::reload::Reloader;

use self::ending::{Ending, LAST_WRITES, Part};
use self::node::{InForce, LiveEdge, Node};
use self::operator::NodeStatus;
use crate::admin;
use crate::clock::Clock;
use crate::config::{Config, Diagnostic};
use crate::gateway::Owners;
use crate::journal::{Forwarder, JournalError};
use crate::limits;
use crate::listen::{self, Bound, Certificates, TlsError};
use crate::telemetry::{Build, Telemetry, TelemetryError};
use crate::tokens::{self, Follower, Random as _, Saver, SystemRandom, Teller};

/// What runs, for metrics and the status page.
pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    commit: match option_env!("TOLLGATE_COMMIT") {
        Some(commit) => commit,
        None => "unknown",
    },
};

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken or not to be had.
    #[error(
        "cannot listen on {address}: {source}; end the process that has it, change the address in `[listen]`, or say \
         `share_port = true` there if two gateways are to share it during an upgrade"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The registry cannot be opened.
    #[error("the token registry cannot be opened: {0}")]
    Registry(#[from] tokens::Error),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Metrics or logs cannot be started.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The folder of alerts that wait for another region cannot be read.
    #[error(
        "the alerts that wait for another region cannot be read: {0}; check `secret_scanning.queue_folder`"
    )]
    AlertQueue(#[source] io::Error),
    /// The operator's listener cannot be started.
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
    /// A thread or runtime cannot be started.
    #[error("a thread cannot be started: {0}; raise the limit of threads or open files")]
    Thread(#[source] io::Error),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes; check /dev/urandom")]
    Random,
}

/// A running gateway.
pub struct Running {
    /// Where plain text is spoken, in configured order.
    pub plain: Vec<SocketAddr>,
    /// Where TLS is spoken, in configured order.
    pub tls: Vec<SocketAddr>,
    /// Where operators look.
    pub admin: SocketAddr,
    node: Arc<Node>,
    stop: watch::Sender<bool>,
    /// Ends the background thread: what requests in a drain may still need goes on until there are none.
    end_background: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    background: JoinHandle<()>,
    notifier: JoinHandle<()>,
    shared_limits: Option<shared_limits::Running>,
    admin_listener: admin::Running,
    registry_follower: Follower,
    registry_saver: Option<Saver>,
    limits_saver: Option<limits::Saver>,
    sightings_teller: Teller,
    journal_forwarder: Option<Forwarder>,
}

/// Sockets of every worker, and where they listen.
struct Sockets {
    by_worker: Vec<Vec<Bound>>,
    plain: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
}

/// Starts a gateway. It serves when this returns.
pub fn start(config: Config, clock: &Clock) -> Result<Running, StartError> {
    let now = clock.now();
    let config = Arc::new(config);
    let (mint, registry) =
        tokens::open(&config.tokens, config.places.regions(), || Box::new(SystemRandom), now)?;
    let telemetry = Arc::new(Telemetry::new(&config.logs, config.listen.workers, clock, seed()?, BUILD)?);
    let journal::OpenJournal { journal, forwarder: journal_forwarder } =
        journal::open(&config, &telemetry, clock)?;
    let counters = saved_limits::counters(&config, &mint, secret()?, now);
    let Sockets { by_worker, plain, tls } = open_sockets(&config)?;
    let connections = listen::affordable_connections(config.listen.max_connections, config.listen.workers);
    let links = shared_limits::links(&config.redis, seed()?, clock);
    let limits = (&counters, &*links);
    let (mut snapshot, refreshers) = snapshot::first(&config, &mint, limits, telemetry.labels(), now);
    let alerts = alerts::receiver(&config, (None, None), (&mint, &registry), clock);
    let (receiver, alert_tasks) = alerts.map_err(StartError::AlertQueue)?;
    snapshot.alerts = receiver;
    let runtime = RuntimeBuilder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let owners = Owners::new(Arc::clone(&mint), Arc::clone(&registry), journal.clone(), clock.clone());
    let node = Arc::new(Node {
        clock: clock.clone(),
        started: now,
        telemetry,
        owners: Arc::new(owners),
        notifications: Arc::default(),
        journal,
        mint,
        registry,
        store_kind: config.tokens.store.kind(),
        counters,
        links,
        draining: AtomicBool::new(false),
        snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
        edge: LiveEdge::new(&config.listen, connections),
        configuration: InForce::new(Arc::clone(&config), now),
        background: runtime.handle().clone(),
    });
    alert_tasks.spawn(&node.background, clock);
    let status = NodeStatus::new(Arc::clone(&node));
    let (stop, stopped) = watch::channel(false);
    let (end_background, background_ended) = watch::channel(false);
    heads::start(&node, &config, clock)?;
    let background = worker::background(runtime, refreshers, Arc::clone(&node), background_ended)?;
    let notifier = notifier::start(&node, end_background.subscribe())?;
    let shared_limits = shared_limits::start(&node.links, seed()?, end_background.subscribe())?;
    let registry_follower = start_follower(&node, &config)?;
    let registry_saver = start_saver(&node, &config)?;
    let limits_saver = saved_limits::save_every(&config, &node).map_err(StartError::Thread)?;
    let sightings_teller = start_teller(&node, &config)?;
    let admin_listener = admin::start(&config.admin, Arc::new(status))?;
    let workers = start_workers(&node, by_worker, &stopped)?;
    Ok(Running {
        plain,
        tls,
        admin: admin_listener.address(),
        node,
        stop,
        end_background,
        workers,
        background,
        notifier,
        shared_limits,
        admin_listener,
        registry_follower,
        registry_saver,
        limits_saver,
        sightings_teller,
        journal_forwarder,
    })
}

impl Running {
    /// What puts other configurations in force; `load` reads the configuration once more.
    pub fn reloader(&self, load: impl Fn() -> Result<Config, Vec<Diagnostic>> + 'static) -> Reloader {
        Reloader::new(Arc::clone(&self.node), Box::new(load))
    }

    /// Drains and ends: readiness goes first, then the listeners, then the connections.
    pub fn drain(self) {
        self.node.draining.store(true, Ordering::SeqCst);
        tracing::info!("draining: no new connections, open ones finish");
        // Nobody listens any more only if every worker has ended already.
        let _ = self.stop.send(true);
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a worker ended in a panic");
            }
        }
        let ending = Ending::begin(LAST_WRITES);
        // Nothing is counted any more.
        let _ = self.end_background.send(true);
        let mut parts = vec![
            Part::dropped("saving the limits", self.limits_saver),
            Part::joined("the background's work", self.background),
            Part::joined("delivering messages", self.notifier),
        ];
        parts.extend(self.shared_limits.map(|running| Part::joined("sharing limits", running)));
        ending.end(parts);
        ending.end(vec![
            Part::dropped("writing when tokens were used and what is revoked", self.registry_follower),
            Part::dropped("telling of networks and decoys", self.sightings_teller),
        ]);
        let admin_listener = self.admin_listener;
        ending.end(vec![
            Part::dropped("saving the registry", self.registry_saver),
            Part::ended("answering operators", move || admin_listener.stop()),
        ]);
        self.node.telemetry.stop(Duration::from_secs(2));
        ending.end(vec![Part::dropped("handing on the journal", self.journal_forwarder)]);
    }
}

fn start_follower(node: &Node, config: &Config) -> Result<Follower, StartError> {
    let follower = node.registry.follow(node.clock.clone(), config.tokens.poll, config.tokens.last_used);
    follower.map_err(StartError::Thread)
}

fn start_saver(node: &Node, config: &Config) -> Result<Option<Saver>, StartError> {
    let Some(file) = config.tokens.snapshot_file.clone() else { return Ok(None) };
    let saver = node.registry.save_every(node.clock.clone(), file, config.tokens.snapshot_every);
    saver.map(Some).map_err(StartError::Thread)
}

fn start_teller(node: &Node, config: &Config) -> Result<Teller, StartError> {
    let teller = node.registry.tell_sightings(node.clock.clone(), config.tokens.network_learning);
    teller.map_err(StartError::Thread)
}

fn start_workers(
    node: &Node,
    sockets: Vec<Vec<Bound>>,
    stopped: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let start = |(index, sockets)| {
        let edge = node.edge.with_sockets(sockets);
        worker::start(index, edge, node.parts(), node.telemetry.core(index), seed()?, stopped.clone())
    };
    sockets.into_iter().enumerate().map(start).collect()
}

fn open_sockets(config: &Config) -> Result<Sockets, StartError> {
    let workers = config.listen.workers;
    let mut by_worker: Vec<Vec<Bound>> = (0..workers).map(|_| Vec::new()).collect();
    let plain = config.listen.plain.iter().map(|at| (at, None));
    let tls = config.listen.tls.iter().map(|(at, certificates)| (at, Some(certificates)));
    let shares_port = config.listen.shares_port;
    let (mut plain_addresses, mut tls_addresses) = (Vec::new(), Vec::new());
    for (at, certificates) in plain.chain(tls) {
        let acceptor = certificates.map(Certificates::acceptor).transpose()?;
        let fault = |source| StartError::Listen { address: at.address, source };
        let bound = Bound::open(at, workers, acceptor.as_ref(), shares_port).map_err(fault)?;
        let addresses = if acceptor.is_some() { &mut tls_addresses } else { &mut plain_addresses };
        if let Some(first) = bound.first() {
            addresses.push(first.local_addr().map_err(fault)?);
        }
        for (sockets, bound) in by_worker.iter_mut().zip(bound) {
            sockets.push(bound);
        }
    }
    Ok(Sockets { by_worker, plain: plain_addresses, tls: tls_addresses })
}

fn secret() -> Result<[u8; 32], StartError> {
    let mut secret = [0; 32];
    SystemRandom.fill(&mut secret).map_err(|_| StartError::Random)?;
    Ok(secret)
}

fn seed() -> Result<u64, StartError> {
    let mut seed = [0; 8];
    SystemRandom.fill(&mut seed).map_err(|_| StartError::Random)?;
    Ok(u64::from_le_bytes(seed))
}
