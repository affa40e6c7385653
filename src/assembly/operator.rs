//! What operators are shown of this node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::BUILD;
use crate::admin::{
    BuildStatus, ConfigStatus, IssuerStatus, Operator, Readiness, RegistryStatus, Status, UpstreamStatus,
};
use crate::clock::{Clock, Now};
use crate::gateway::Snapshot;
use crate::limits::Counters;
use crate::telemetry::{Gauge, Telemetry};
use crate::tokens::Registry;
use crate::upstream::Checked as Upstreams;

/// Everything that an operator may ask.
pub(super) struct NodeStatus {
    clock: Clock,
    started: Now,
    telemetry: Arc<Telemetry>,
    registry: Arc<Registry>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    upstreams: Upstreams,
    files: Vec<String>,
    draining: Arc<AtomicBool>,
}

impl NodeStatus {
    pub(super) fn new(
        clock: Clock,
        telemetry: Arc<Telemetry>,
        registry: Arc<Registry>,
        snapshot: Arc<ArcSwap<Snapshot>>,
        upstreams: Upstreams,
        files: Vec<String>,
        draining: Arc<AtomicBool>,
    ) -> Self {
        Self { started: clock.now(), clock, telemetry, registry, snapshot, upstreams, files, draining }
    }

    /// Registers what a scrape reads from others than the cores.
    pub(super) fn add_gauges(&self, counters: &Arc<Counters>) {
        let telemetry = &self.telemetry;
        let registry = Arc::clone(&self.registry);
        telemetry.add_gauge(Gauge::single("tollgate_tokens", "Tokens in memory.", move || {
            count(registry.status().tokens)
        }));
        let (registry, clock) = (Arc::clone(&self.registry), self.clock.clone());
        let help = "How far memory may be behind the token store.";
        telemetry.add_gauge(Gauge::single("tollgate_registry_staleness_seconds", help, move || {
            registry.staleness(clock.now()).as_secs_f64()
        }));
        let (snapshot, clock) = (Arc::clone(&self.snapshot), self.clock.clone());
        let help = "Age of an issuer's keys; absent while none were ever loaded.";
        telemetry.add_gauge(Gauge::family("tollgate_jwks_age_seconds", help, &["issuer"], move || {
            let loaded = |issuer: crate::authentication::IssuerStatus| {
                issuer
                    .age_seconds
                    .map(|age| (vec![issuer.issuer.to_string()], Duration::from_secs(age).as_secs_f64()))
            };
            snapshot.load().authenticator.issuers(clock.now()).filter_map(loaded).collect()
        }));
        let (upstreams, names) = (self.upstreams.clone(), self.region_names());
        let help = "Whether the last connection to an upstream could be made.";
        telemetry.add_gauge(Gauge::family(
            "tollgate_upstream_healthy",
            help,
            &["region", "upstream"],
            move || {
                let servers = upstreams.regions.iter().zip(&names);
                servers
                    .flat_map(|(servers, region)| servers.iter().map(move |server| (region, server)))
                    .map(|(region, server)| {
                        let labels = vec![region.clone(), server.url.to_string()];
                        (labels, f64::from(u8::from(server.health.is_healthy())))
                    })
                    .collect()
            },
        ));
        telemetry.add_gauge(Gauge::single(
            "tollgate_config_generation",
            "Configurations loaded since the start.",
            || 1.0,
        ));
        let cells = Arc::clone(counters);
        telemetry.add_gauge(Gauge::single(
            "tollgate_limit_cells",
            "Buckets of limits that are not full.",
            move || count(cells.cells()),
        ));
    }

    fn region_names(&self) -> Vec<String> {
        self.snapshot.load().places.regions().iter().map(|(_, region)| region.name.to_string()).collect()
    }

    fn upstreams(&self) -> Vec<UpstreamStatus> {
        let names = self.region_names();
        let servers = self.upstreams.regions.iter().zip(names);
        servers
            .flat_map(|(servers, region)| servers.iter().map(move |server| (region.clone(), server)))
            .map(|(region, server)| UpstreamStatus {
                region,
                name: server.authority.clone(),
                address: server.url.to_string(),
                healthy: server.health.is_healthy(),
                detail: match server.health.failures() {
                    0 => String::new(),
                    failures => format!("the last {failures} connections could not be made"),
                },
                in_flight: server.health.in_flight(),
            })
            .collect()
    }

    fn issuers(&self, now: Now) -> Vec<IssuerStatus> {
        self.snapshot
            .load()
            .authenticator
            .issuers(now)
            .map(|issuer| IssuerStatus {
                issuer: issuer.issuer.to_string(),
                keys: issuer.keys,
                age_seconds: issuer.age_seconds,
                last_error: issuer.last_load_failed.then(|| "the last load of its keys failed".to_owned()),
            })
            .collect()
    }
}

impl Operator for NodeStatus {
    fn ready(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.draining.load(Ordering::SeqCst) {
            reasons.push("draining: this instance is shutting down".to_owned());
        }
        Readiness { reasons }
    }

    fn metrics(&self) -> String {
        self.telemetry.metrics_text()
    }

    fn status(&self) -> Status {
        let now = self.clock.now();
        let registry = self.registry.status();
        Status {
            now_unix_millis: now.unix_millis,
            started_unix_seconds: self.started.unix_seconds(),
            readiness: self.ready(),
            build: BuildStatus {
                version: BUILD.version,
                commit: BUILD.commit,
                cores: self.telemetry.cores(),
            },
            config: ConfigStatus {
                generation: 1,
                files: self.files.clone(),
                loaded_unix_seconds: self.started.unix_seconds(),
                last_error: None,
            },
            traffic: self.telemetry.traffic(),
            upstreams: self.upstreams(),
            issuers: self.issuers(now),
            registry: RegistryStatus {
                store: "sqlite".to_owned(),
                workspaces: registry.workspaces as u64,
                tokens: registry.tokens as u64,
                staleness_seconds: Some(self.registry.staleness(now).as_secs_f64()),
                last_error: registry.error.map(|error| error.to_string()),
            },
        }
    }

    fn each_second(&self) {
        self.telemetry.sample(self.clock.now());
    }
}

/// A count as a metric's value.
#[expect(clippy::cast_precision_loss, reason = "counts in memory stay far below 2^52")]
const fn count(count: usize) -> f64 {
    count as f64
}
