//! Another configuration while the gateway runs.
//!
//! A configuration is put in force whole or not at all; after a mistake the last good one stays. Requests,
//! connections, buckets of limits, issuers' keys and counts go on. What a process has for life (addresses,
//! threads, the store, where logs go) stays as it was started, and is named. Certificates are read again on
//! their own when their files change, also while the configuration has a mistake.

use std::path::PathBuf;
use std::sync::Arc;

use super::files::FileWatch;
use super::node::Node;
use super::{alerts, snapshot};
use crate::config::{Config, Diagnostic};
use crate::domain::Regions;
use crate::effects::{self, Effect};
use crate::listen;

/// The most changes that one reload lists in the log.
const MOST_TOLD: usize = 100;

/// Reads the configuration once more.
type Load = Box<dyn Fn() -> Result<Config, Vec<Diagnostic>>>;

/// Why a configuration was not put in force.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("{}", listed(.0))]
    Mistakes(Vec<Diagnostic>),
    #[error(
        "the names, letters or order of `[regions]` changed, and tokens are bound to them: restart to put this in force"
    )]
    Regions,
    #[error(
        "the alerts that wait for another region cannot be read: {0}; check `secret_scanning.queue_folder`"
    )]
    AlertQueue(std::io::Error),
}

/// Puts changed configurations in force, on a signal or when a file has changed.
pub struct Reloader {
    node: Arc<Node>,
    /// What the process was started with.
    started: Arc<Config>,
    load: Load,
    files: FileWatch,
    certificates: FileWatch,
}

impl Reloader {
    pub(super) fn new(node: Arc<Node>, load: Load) -> Self {
        let started = node.configuration.config();
        let files = FileWatch::new(started.files.clone());
        let certificates = FileWatch::new(certificate_files(&node));
        Self { node, started, load, files, certificates }
    }

    /// Looks whether a file has changed, and acts on it. Call it twice a second or so: a change is acted on
    /// when two looks see the same.
    pub fn look(&mut self) {
        if self.files.has_changed() {
            self.load_again();
        }
        if self.certificates.has_changed() {
            self.read_certificates();
        }
    }

    /// What an operator's SIGHUP asks for: the configuration is read again, changed or not, and the access log's
    /// file is opened again under its name.
    pub fn reload(&mut self) {
        self.node.telemetry.reopen_log();
        self.load_again();
    }

    /// Reads the configuration and puts it in force if it has no mistakes; says in the log what came of it.
    fn load_again(&mut self) {
        self.files.look();
        let certificates = FileWatch::new(certificate_files(&self.node));
        match self.try_reload() {
            Ok(effects) => {
                self.certificates = certificates;
                self.certificates.watch(certificate_files(&self.node));
                let generation = self.node.configuration.generation();
                tracing::info!(generation, "the configuration was reloaded");
                self.tell(&effects);
            }
            Err(error) => {
                let error = error.to_string();
                tracing::error!(
                    error,
                    "the configuration was not reloaded; the last good one stays in force"
                );
                self.node.configuration.failed(error);
            }
        }
    }

    /// Logs what changed since the last reload, and what is still not in force since the start.
    fn tell(&self, effects: &[Effect]) {
        for effect in effects.iter().filter(|effect| !effect.restart).take(MOST_TOLD) {
            tracing::info!(callers = effect.callers, %effect, "changed");
        }
        if effects.len() > MOST_TOLD {
            tracing::info!(effects = effects.len(), "changed; only the first are listed");
        }
        let in_force = self.node.configuration.config();
        for effect in effects::between(&self.started, &in_force).iter().filter(|effect| effect.restart) {
            tracing::warn!(%effect, "changed in the configuration, and takes a restart");
        }
    }

    /// Puts the configuration in force; what changed.
    fn try_reload(&mut self) -> Result<Vec<Effect>, ReloadError> {
        let config = Arc::new((self.load)().map_err(ReloadError::Mistakes)?);
        let node = &self.node;
        if !same_places(self.started.places.regions(), config.places.regions()) {
            return Err(ReloadError::Regions);
        }
        let previous = node.snapshot.load_full();
        let labels = node.telemetry.labels();
        let now = node.clock.now();
        let receiver =
            alerts::receiver(&config, previous.alerts.as_deref(), (&node.mint, &node.registry), &node.clock);
        let (receiver, alert_tasks) = receiver.map_err(ReloadError::AlertQueue)?;
        let (mut snapshot, refreshers) =
            snapshot::next(&config, &previous, (&node.counters, &node.links), labels, now);
        for refresher in refreshers {
            node.background.spawn(refresher.run(node.clock.clone()));
        }
        snapshot.alerts = receiver;
        alert_tasks.spawn(&node.background, &node.clock);
        node.counters.changed(node.clock.now());
        node.snapshot.store(Arc::new(snapshot));
        node.edge.bounds.set(config.listen.bounds);
        let connections =
            listen::affordable_connections(config.listen.max_connections, node.telemetry.cores());
        node.edge.connections.set_limit(connections);
        for (address, certificates) in &node.edge.certificates {
            if let Some((_, new)) = config.listen.tls.iter().find(|(new, _)| new.address == *address) {
                certificates.replace_with(new);
            }
        }
        let effects = effects::between(&node.configuration.config(), &config);
        self.files.watch(config.files.clone());
        node.configuration.replaced(config, node.clock.now());
        Ok(effects)
    }

    fn read_certificates(&self) {
        for (address, certificates) in &self.node.edge.certificates {
            match certificates.read_again() {
                Ok(()) => tracing::info!(%address, "the listener's certificates were read again"),
                Err(error) => {
                    let error = error.to_string();
                    tracing::error!(%address, error, "the listener's certificates stay as they were");
                }
            }
        }
    }
}

/// Regions are numbered by their order, and tokens carry their letters.
fn same_places(old: &Regions, new: &Regions) -> bool {
    old.iter()
        .map(|(_, region)| (&region.name, region.letter))
        .eq(new.iter().map(|(_, region)| (&region.name, region.letter)))
}

fn certificate_files(node: &Node) -> Vec<PathBuf> {
    node.edge.certificates.iter().flat_map(|(_, certificates)| certificates.files()).collect()
}

fn listed(mistakes: &[Diagnostic]) -> String {
    let all: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    all.join("\n")
}
