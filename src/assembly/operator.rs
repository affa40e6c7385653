//! What operators are shown of this node.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::node::Node;
use super::{BUILD, issuers};
use crate::admin::{BuildStatus, ConfigStatus, Operator, Readiness, RegistryStatus, Status, UpstreamStatus};
use crate::gateway::explain::{Explainer, Explanation, NotAQuestion, Question};
use crate::telemetry::{Gauge, Telemetry};
use crate::upstream::Checked as Upstreams;

/// Everything that an operator may ask.
pub(super) struct NodeStatus {
    node: Arc<Node>,
    upstreams: Upstreams,
}

impl NodeStatus {
    pub(super) const fn new(node: Arc<Node>, upstreams: Upstreams) -> Self {
        Self { node, upstreams }
    }

    /// Registers what a scrape reads from others than the cores.
    pub(super) fn add_gauges(&self) {
        self.add_configuration();
        self.add_upstreams();
        issuers::add_gauges(&self.node);
        self.add(|telemetry, node| {
            let help = "Tokens in memory.";
            telemetry.add_gauge(Gauge::single("tollgate_tokens", help, move || {
                count(node.registry.status().tokens)
            }));
        });
        self.add(|telemetry, node| {
            let help = "How far memory may be behind the token store.";
            telemetry.add_gauge(Gauge::single("tollgate_registry_staleness_seconds", help, move || {
                node.registry.staleness(node.clock.now()).as_secs_f64()
            }));
        });
        self.add(|telemetry, node| {
            let help = "Buckets of limits that are not full.";
            telemetry
                .add_gauge(Gauge::single("tollgate_limit_cells", help, move || count(node.counters.cells())));
        });
    }

    fn add(&self, gauge: impl FnOnce(&Telemetry, Arc<Node>)) {
        gauge(&self.node.telemetry, Arc::clone(&self.node));
    }

    fn add_configuration(&self) {
        self.add(|telemetry, node| {
            let help = "Configurations put in force since the start.";
            telemetry.add_gauge(Gauge::single("tollgate_config_generation", help, move || {
                whole(node.configuration.generation())
            }));
        });
        self.add(|telemetry, node| {
            let help = "Reloads that failed; the last good configuration stayed.";
            let failures = Gauge::single("tollgate_config_reload_failures_total", help, move || {
                whole(node.configuration.failures())
            });
            telemetry.add_gauge(failures.counted());
        });
        self.add(|telemetry, node| {
            let help = "When the configuration in force was loaded, in seconds since 1970.";
            telemetry.add_gauge(Gauge::single("tollgate_config_loaded_timestamp_seconds", help, move || {
                whole(node.configuration.loaded_unix_seconds())
            }));
        });
    }

    fn add_upstreams(&self) {
        let (upstreams, names) = (self.upstreams.clone(), self.region_names());
        let help = "Whether the last connection to an upstream could be made.";
        self.node.telemetry.add_gauge(Gauge::family(
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
    }

    fn region_names(&self) -> Vec<String> {
        self.node.snapshot.load().places.regions().iter().map(|(_, region)| region.name.to_string()).collect()
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
}

impl Operator for NodeStatus {
    fn ready(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.node.draining.load(Ordering::SeqCst) {
            reasons.push("draining: this instance is shutting down".to_owned());
        }
        Readiness { reasons, notes: issuers::notes(&self.node) }
    }

    fn metrics(&self) -> String {
        self.node.telemetry.metrics_text()
    }

    fn status(&self) -> Status {
        let now = self.node.clock.now();
        let registry = self.node.registry.status();
        let configuration = &self.node.configuration;
        Status {
            now_unix_millis: now.unix_millis,
            started_unix_seconds: self.node.started.unix_seconds(),
            readiness: self.ready(),
            build: BuildStatus {
                version: BUILD.version,
                commit: BUILD.commit,
                cores: self.node.telemetry.cores(),
            },
            config: ConfigStatus {
                generation: configuration.generation(),
                files: configuration.config().files.iter().map(|file| file.display().to_string()).collect(),
                loaded_unix_seconds: configuration.loaded_unix_seconds(),
                last_error: configuration.last_error(),
            },
            traffic: self.node.telemetry.traffic(),
            upstreams: self.upstreams(),
            issuers: issuers::status(&self.node, now),
            registry: RegistryStatus {
                store: "sqlite".to_owned(),
                workspaces: registry.workspaces as u64,
                tokens: registry.tokens as u64,
                staleness_seconds: Some(self.node.registry.staleness(now).as_secs_f64()),
                last_error: registry.error.map(|error| error.to_string()),
            },
        }
    }

    fn explain(&self, question: &Question) -> Result<Explanation, NotAQuestion> {
        let node = &self.node;
        let explainer = Explainer {
            snapshot: &node.snapshot.load(),
            registry: &node.registry,
            head_limits: node.edge.bounds.get().head,
            upstreams: &self.upstreams,
        };
        explainer.explain(question, node.clock.now())
    }

    fn each_second(&self) {
        self.node.telemetry.sample(self.node.clock.now());
    }
}

/// A count as a metric's value.
#[expect(clippy::cast_precision_loss, reason = "counts in memory stay far below 2^52")]
pub(super) const fn whole(count: u64) -> f64 {
    count as f64
}

const fn count(count: usize) -> f64 {
    whole(count as u64)
}
