//! What operators are shown of this node.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::node::Node;
use super::{BUILD, alerts, issuers, notifier, registry, shared_limits};
use crate::admin::{BuildStatus, ConfigStatus, Control, Operator, Readiness, Status, UpstreamStatus};
use crate::clock::Now;
use crate::domain::JwtLifetime;
use crate::gateway::explain::{Explainer, Explanation, NotAQuestion, Question};
use crate::journal::Journal;
use crate::limits;
use crate::secret_scanning;
use crate::telemetry::{Gauge, Telemetry};
use crate::tokens::{Mint, Registry, SightingCounts};
use crate::upstream::{BreakerState, ServerStatus};

/// Everything that an operator may ask.
pub(super) struct NodeStatus {
    node: Arc<Node>,
    modes: shared_limits::ModeLog,
}

impl NodeStatus {
    /// Also registers what a scrape reads from others than the cores.
    pub(super) fn new(node: Arc<Node>) -> Self {
        let status = Self { node, modes: shared_limits::ModeLog::default() };
        status.add_gauges();
        status
    }

    fn add_gauges(&self) {
        self.add_configuration();
        self.add_upstreams();
        issuers::add_gauges(&self.node);
        alerts::add_gauges(&self.node);
        self.add_sightings();
        shared_limits::add_gauges(&self.node);
        registry::add_gauges(&self.node);
        self.add(|telemetry, node| {
            let help = "Buckets of limits that are not full.";
            telemetry
                .add_gauge(Gauge::single("tollgate_limit_cells", help, move || count(node.counters.cells())));
        });
        self.add(|telemetry, node| {
            let help = "Decisions on buckets that callers shared because there was no room for more.";
            let overflow = Gauge::single("tollgate_limit_overflow_total", help, move || {
                whole(node.counters.overflowed())
            });
            telemetry.add_gauge(overflow.counted());
        });
    }

    fn add(&self, gauge: impl FnOnce(&Telemetry, Arc<Node>)) {
        gauge(&self.node.telemetry, Arc::clone(&self.node));
    }

    fn add_sightings(&self) {
        type OfCounts = fn(SightingCounts) -> u64;
        let counts: [(&str, &str, OfCounts); 3] = [
            ("tollgate_decoy_uses_total", "Uses of decoys.", |counts| counts.decoy_uses),
            (
                "tollgate_new_networks_total",
                "First uses of a token from a network that were told.",
                |counts| counts.new_networks,
            ),
            ("tollgate_sightings_lost_total", "Uses that there was no room to tell of.", |counts| {
                counts.lost
            }),
        ];
        for (name, help, of) in counts {
            self.add(|telemetry, node| {
                let read = move || whole(of(node.registry.sighting_counts()));
                telemetry.add_gauge(Gauge::single(name, help, read).counted());
            });
        }
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
        let of_each: [(_, _, OfServer); 4] = [
            ("tollgate_upstream_healthy", "Whether an upstream gets requests.", |server| {
                f64::from(u8::from(server.is_usable))
            }),
            (
                "tollgate_upstream_breaker",
                "An upstream's breaker: 0 passing, 1 probing, 2 tripped.",
                |server| match server.breaker {
                    BreakerState::Passing { .. } => 0.0,
                    BreakerState::Probing { .. } => 1.0,
                    BreakerState::Tripped { .. } => 2.0,
                },
            ),
            ("tollgate_upstream_in_flight", "Requests that an upstream is serving.", |server| {
                f64::from(server.in_flight)
            }),
            (
                "tollgate_upstream_in_flight_limit",
                "The most requests that an upstream may serve at the moment.",
                |server| f64::from(server.in_flight_limit),
            ),
        ];
        for (name, help, value) in of_each {
            self.add(|telemetry, node| telemetry.add_gauge(of_servers(name, help, node, value)));
        }
        self.add(|telemetry, node| {
            let help = "How often an upstream was ejected.";
            let ejections =
                of_servers("tollgate_upstream_ejections_total", help, node, |server| whole(server.ejections));
            telemetry.add_gauge(ejections.counted());
        });
        self.add(|telemetry, node| {
            let help = "Requests that were not sent again because the budget was used up.";
            let name = "tollgate_upstream_retry_budget_exhausted_total";
            let exhausted = Gauge::family(name, help, &["region"], move || {
                let counts = node.snapshot.load().upstreams.budget_exhausted();
                counts.into_iter().map(|(region, count)| (vec![region.to_string()], whole(count))).collect()
            });
            telemetry.add_gauge(exhausted.counted());
        });
    }

    fn upstreams(&self, now: Now) -> Vec<UpstreamStatus> {
        let servers = self.node.snapshot.load().upstreams.status(now);
        servers
            .into_iter()
            .map(|server| UpstreamStatus {
                region: server.region.to_string(),
                name: server.upstream.rsplit("//").next().unwrap_or_default().to_owned(),
                address: server.upstream.to_string(),
                healthy: server.is_usable,
                detail: server.detail,
                in_flight: u64::from(server.in_flight),
                in_flight_limit: u64::from(server.in_flight_limit),
                ejections: server.ejections,
            })
            .collect()
    }
}

impl Control for NodeStatus {
    fn mint(&self) -> &Mint {
        &self.node.mint
    }

    fn registry(&self) -> &Registry {
        &self.node.registry
    }

    fn journal(&self) -> Option<&dyn Journal> {
        self.node.journal.as_deref()
    }

    fn now(&self) -> Now {
        self.node.clock.now()
    }

    fn limits(&self) -> Arc<limits::Rules> {
        Arc::clone(&self.node.configuration.config().limits)
    }

    fn accepted_jwts(&self) -> Vec<JwtLifetime> {
        self.node.configuration.config().authentication.lifetimes()
    }

    fn request_id(&self, inbound: Option<&[u8]>) -> String {
        self.node.telemetry.core(0).request_id(inbound).to_string()
    }
}

impl Operator for NodeStatus {
    fn ready(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.node.draining.load(Ordering::SeqCst) {
            reasons.push("draining: this instance is shutting down".to_owned());
        }
        if let Some(version) = self.node.registry.missing_pepper() {
            let why = "is not in `tokens.pepper_file`, and tokens are hashed under it; add it and restart";
            reasons.push(format!("pepper version {version} {why}"));
        }
        reasons.extend(registry::reason(&self.node));
        let notes = registry::note(&self.node).into_iter().chain(issuers::notes(&self.node));
        let notes = notes.chain(alerts::note(&self.node)).chain(shared_limits::notes(&self.node)).collect();
        Readiness { reasons, notes }
    }

    fn metrics(&self) -> String {
        self.node.telemetry.metrics_text()
    }

    fn status(&self) -> Status {
        let now = self.node.clock.now();
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
            upstreams: self.upstreams(now),
            issuers: issuers::status(&self.node, now),
            registry: registry::status(&self.node, now),
            shared_limits: shared_limits::status(&self.node, now),
            notifications: notifier::status(&self.node.notifications, now),
        }
    }

    fn explain(&self, question: &Question) -> Result<Explanation, NotAQuestion> {
        let node = &self.node;
        let config = node.configuration.config();
        let explainer = Explainer {
            snapshot: &node.snapshot.load(),
            registry: &node.registry,
            head_limits: node.edge.bounds.get().head,
            alert_path: config.secret_scanning.as_ref().map(secret_scanning::Checked::path),
            upstreams: &config.upstream,
        };
        explainer.explain(question, node.clock.now())
    }

    fn each_second(&self) {
        self.node.telemetry.sample(self.node.clock.now());
        self.modes.tell(&self.node);
    }
}

/// What a metric says of an upstream server.
type OfServer = fn(&ServerStatus) -> f64;

/// A value of each upstream server.
fn of_servers(name: &'static str, help: &'static str, node: Arc<Node>, value: OfServer) -> Gauge {
    Gauge::family(name, help, &["region", "upstream"], move || {
        let servers = node.snapshot.load().upstreams.status(node.clock.now());
        let labelled = |server: &ServerStatus| {
            (vec![server.region.to_string(), server.upstream.to_string()], value(server))
        };
        servers.iter().map(labelled).collect()
    })
}

/// A count as a metric's value.
#[expect(clippy::cast_precision_loss, reason = "counts in memory stay far below 2^52")]
pub(super) const fn whole(count: u64) -> f64 {
    count as f64
}

const fn count(count: usize) -> f64 {
    whole(count as u64)
}
