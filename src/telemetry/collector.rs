//! The cells as Prometheus families.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as Shape, LabelPair, Metric, MetricFamily, MetricType,
};

use super::cells::{Cells, ConnectionFault, Decision, DecisionKey, DeprecatedKey, Mode, RequestKey};
use super::gauges::Read;
use super::histogram::{BOUNDS, FINE, Histogram, Sum, WIDE};
use super::instruments::Shared;
use super::labels::{REGIONS, RegionLabel};
use super::{Timings, process, traffic};
use crate::domain::{Family, LimitPath, Method, Outcome};

/// Nanoseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "a sum of nanoseconds loses nothing that matters")]
pub(super) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "the format has only floating-point numbers")]
const fn float(number: u64) -> f64 {
    number as f64
}

/// Adds up all cores when asked; holds nothing of its own.
pub(super) struct Families {
    pub(super) shared: Arc<Shared>,
    descriptions: Vec<Desc>,
}

const FIXED: &[(&str, &str, &[&str])] = &[
    (
        "tollgate_requests_total",
        "Requests by operation, method, outcome, status class and region",
        &["operation", "method", "outcome", "status", "region"],
    ),
    ("tollgate_refusals_total", "Requests that the gateway answered itself, by reason", &["reason"]),
    ("tollgate_limit_decisions_total", "Decisions of limit policies", &["policy", "decision", "mode"]),
    ("tollgate_limit_path_total", "Requests by how limits that gateways share decided them", &["path"]),
    (
        "tollgate_deprecated_requests_total",
        "Requests for versions that are going away",
        &["operation", "version"],
    ),
    ("tollgate_request_seconds", "Time from arrival to the end of the answer", &["region"]),
    ("tollgate_upstream_seconds", "Time from sending a request on to the head of its answer", &["region"]),
    ("tollgate_overhead_seconds", "Time that the gateway itself took", &[]),
    ("tollgate_in_flight", "Requests being served", &[]),
    ("tollgate_connections", "Open connections of clients", &[]),
    ("tollgate_connections_opened_total", "Connections that clients opened", &[]),
    (
        "tollgate_connections_refused_total",
        "Connections that were closed before anything was served on them",
        &["reason"],
    ),
    ("tollgate_request_bytes_total", "Bytes of requests", &[]),
    ("tollgate_response_bytes_total", "Bytes of answers", &[]),
    ("tollgate_upstream_retries_total", "Requests sent to an upstream again", &[]),
    ("tollgate_exposed_tokens_total", "Live credentials seen in a query or beside a browser's Origin", &[]),
    ("tollgate_panics_total", "Panics that were caught", &[]),
    ("tollgate_log_lines_dropped_total", "Log lines lost because their destination is slow or dead", &[]),
    ("tollgate_journal_entries_dropped_total", "Requests of credentials that are not in the journal", &[]),
    ("tollgate_build_info", "Always 1; says what runs", &["version", "commit"]),
];

impl Families {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, prometheus::Error> {
        let describe = |(name, help, labels): &(&str, &str, &[&str])| {
            let labels = labels.iter().map(|&label| label.to_owned()).collect();
            Desc::new((*name).to_owned(), (*help).to_owned(), labels, HashMap::new())
        };
        let descriptions = FIXED.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(Self { shared, descriptions })
    }

    /// A sum over the cores, as a family with one value.
    fn counter(&self, name: &str, of: impl Fn(&Cells) -> &AtomicU64) -> MetricFamily {
        let sum: u64 = self.shared.cores.iter().map(|core| of(&core.cells).load(Ordering::Relaxed)).sum();
        fixed(name, MetricType::COUNTER, vec![count(&[], sum)])
    }

    fn level(&self, name: &str, of: impl Fn(&Cells) -> &AtomicI64) -> MetricFamily {
        let sum: i64 = self.shared.cores.iter().map(|core| of(&core.cells).load(Ordering::Relaxed)).sum();
        fixed(name, MetricType::GAUGE, vec![level(&[], float(u64::try_from(sum).unwrap_or(0)))])
    }

    fn connections_refused(&self) -> MetricFamily {
        let sum = |fault: ConnectionFault| {
            let cores = self.shared.cores.iter();
            let sum = cores
                .map(|core| core.cells.connections_refused[fault as usize].load(Ordering::Relaxed))
                .sum();
            count(&[("reason", fault.reason())], sum)
        };
        let values = ConnectionFault::ALL.map(sum).to_vec();
        fixed("tollgate_connections_refused_total", MetricType::COUNTER, values)
    }

    fn limit_paths(&self) -> MetricFamily {
        let sum = |path: LimitPath| {
            let cores = self.shared.cores.iter();
            let sum = cores.map(|core| core.cells.limit_paths[path as usize].load(Ordering::Relaxed)).sum();
            count(&[("path", path.name())], sum)
        };
        fixed("tollgate_limit_path_total", MetricType::COUNTER, LimitPath::ALL.map(sum).to_vec())
    }

    fn requests(&self) -> MetricFamily {
        let mut series = BTreeMap::new();
        for core in &self.shared.cores {
            core.cells.requests.sum_into(&mut series);
        }
        let labels = &self.shared.labels;
        let metrics = series.into_iter().filter_map(|(key, value)| {
            let key = RequestKey::unpack(key)?;
            let class = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
            let status = class.get(usize::from(key.class)).unwrap_or(&"none");
            Some(labels.with_operation(key.operation, |operation| {
                labels.with_region(key.region, |region| {
                    let method = key.method.map_or("OTHER", Method::name);
                    let outcome = key.outcome.reason();
                    let pairs = [
                        ("operation", operation),
                        ("method", method),
                        ("outcome", outcome),
                        ("status", status),
                        ("region", region),
                    ];
                    count(&pairs, value)
                })
            }))
        });
        fixed("tollgate_requests_total", MetricType::COUNTER, metrics.collect())
    }

    fn refusals(&self) -> MetricFamily {
        let metrics = Outcome::ALL
            .iter()
            .zip(traffic::outcomes(&self.shared.cores))
            .filter(|(outcome, _)| outcome.family() != Family::Served && **outcome != Outcome::ClientGone)
            .map(|(outcome, value)| count(&[("reason", outcome.reason())], value));
        fixed("tollgate_refusals_total", MetricType::COUNTER, metrics.collect())
    }

    fn decisions(&self) -> MetricFamily {
        let mut series = BTreeMap::new();
        for core in &self.shared.cores {
            core.cells.decisions.sum_into(&mut series);
        }
        let metrics = series.into_iter().map(|(key, value)| {
            let key = DecisionKey::unpack(key);
            let decision = match key.decision {
                Decision::Admit => "admit",
                Decision::Refuse => "refuse",
            };
            let mode = match key.mode {
                Mode::Enforce => "enforce",
                Mode::Shadow => "shadow",
            };
            self.shared.labels.with_policy(key.policy, |policy| {
                count(&[("policy", policy), ("decision", decision), ("mode", mode)], value)
            })
        });
        fixed("tollgate_limit_decisions_total", MetricType::COUNTER, metrics.collect())
    }

    fn deprecated(&self) -> MetricFamily {
        let mut series = BTreeMap::new();
        for core in &self.shared.cores {
            core.cells.deprecated.sum_into(&mut series);
        }
        let metrics = series.into_iter().map(|(key, value)| {
            let DeprecatedKey { operation, version } = DeprecatedKey::unpack(key);
            self.shared.labels.with_operation(operation, |operation| {
                count(&[("operation", operation), ("version", &version.to_string())], value)
            })
        });
        fixed("tollgate_deprecated_requests_total", MetricType::COUNTER, metrics.collect())
    }

    fn by_region(&self, name: &str, of: impl Fn(&Cells) -> &[Histogram; REGIONS]) -> MetricFamily {
        let mut metrics = Vec::new();
        for region in 0..REGIONS {
            let mut sum = Sum::default();
            for core in &self.shared.cores {
                sum.add(&of(&core.cells)[region]);
            }
            if sum.count() > 0 {
                let label = RegionLabel(region as u8);
                self.shared.labels.with_region(label, |name| {
                    metrics.push(histogram(&[("region", name)], &WIDE, &sum));
                });
            }
        }
        fixed(name, MetricType::HISTOGRAM, metrics)
    }

    fn overhead(&self) -> MetricFamily {
        let mut sum = Sum::default();
        for core in &self.shared.cores {
            sum.add(&core.cells.overhead);
        }
        fixed("tollgate_overhead_seconds", MetricType::HISTOGRAM, vec![histogram(&[], &FINE, &sum)])
    }

    fn gauges(&self) -> Vec<MetricFamily> {
        let gauges = self.shared.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |gauge: &super::Gauge| {
            let metrics = match &gauge.read {
                Read::Values(read) => {
                    let is_counter = gauge.kind == MetricType::COUNTER;
                    let metric = |(values, value): (Vec<String>, f64)| {
                        let pairs = pairs(gauge.labels, &values);
                        if is_counter { amount(&pairs, value) } else { level(&pairs, value) }
                    };
                    read().into_iter().map(metric).collect()
                }
                Read::Timings(timings) => {
                    let metric = |(values, timings): &(Vec<String>, Arc<Timings>)| {
                        let mut sum = Sum::default();
                        sum.add(&timings.0);
                        histogram(&pairs(gauge.labels, values), &FINE, &sum)
                    };
                    timings.iter().map(metric).collect()
                }
            };
            family(gauge.name, gauge.help, gauge.kind, metrics)
        };
        gauges.iter().map(read).collect()
    }
}

impl Collector for Families {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let build = &self.shared.build;
        let build_pairs = [("version", build.version), ("commit", build.commit)];
        let mut families = vec![
            self.requests(),
            self.refusals(),
            self.decisions(),
            self.limit_paths(),
            self.deprecated(),
            self.by_region("tollgate_request_seconds", |cells| &cells.request_time),
            self.by_region("tollgate_upstream_seconds", |cells| &cells.upstream_time),
            self.overhead(),
            self.level("tollgate_in_flight", |cells| &cells.in_flight),
            self.level("tollgate_connections", |cells| &cells.connections),
            self.counter("tollgate_connections_opened_total", |cells| &cells.connections_opened),
            self.connections_refused(),
            self.counter("tollgate_request_bytes_total", |cells| &cells.bytes_in),
            self.counter("tollgate_response_bytes_total", |cells| &cells.bytes_out),
            self.counter("tollgate_upstream_retries_total", |cells| &cells.retries),
            self.counter("tollgate_exposed_tokens_total", |cells| &cells.exposed_tokens),
            self.counter("tollgate_panics_total", |cells| &cells.panics),
            fixed(
                "tollgate_log_lines_dropped_total",
                MetricType::COUNTER,
                vec![count(&[], self.shared.log_lines_dropped())],
            ),
            fixed(
                "tollgate_journal_entries_dropped_total",
                MetricType::COUNTER,
                vec![count(&[], self.shared.journal_entries_dropped())],
            ),
            fixed("tollgate_build_info", MetricType::GAUGE, vec![level(&build_pairs, 1.0)]),
        ];
        families.extend(self.gauges());
        let process = process::Usage::read();
        families.extend(process.resident_bytes.map(|bytes| {
            let value = vec![level(&[], float(bytes))];
            family("process_resident_memory_bytes", "Memory in use", MetricType::GAUGE, value)
        }));
        families.extend(process.cpu_seconds.map(|seconds| {
            let help = "User and system time, in seconds";
            family("process_cpu_seconds_total", help, MetricType::COUNTER, vec![amount(&[], seconds)])
        }));
        families
    }
}

/// A family of [`FIXED`].
fn fixed(name: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let help = FIXED.iter().find(|(known, ..)| *known == name).map_or("", |(_, help, _)| help);
    family(name, help, kind, metrics)
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn pairs<'v>(labels: &[&'static str], values: &'v [String]) -> Vec<(&'static str, &'v str)> {
    labels.iter().copied().zip(values.iter().map(String::as_str)).collect()
}

fn labelled(pairs: &[(&str, &str)]) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(pairs.iter().map(pair).collect())
}

fn count(pairs: &[(&str, &str)], value: u64) -> Metric {
    amount(pairs, float(value))
}

fn amount(pairs: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = labelled(pairs);
    let mut counter = Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

fn level(pairs: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = labelled(pairs);
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

fn histogram(pairs: &[(&str, &str)], bounds: &[u64; BOUNDS], sum: &Sum) -> Metric {
    let mut metric = labelled(pairs);
    let mut shape = Shape::default();
    let mut cumulated = 0;
    let buckets = bounds.iter().zip(sum.counts).map(|(bound, count)| {
        cumulated += count;
        let mut bucket = Bucket::default();
        bucket.set_cumulative_count(cumulated);
        bucket.set_upper_bound(seconds(*bound));
        bucket
    });
    shape.set_bucket(buckets.collect());
    shape.set_sample_count(sum.count());
    shape.set_sample_sum(seconds(sum.sum_nanos));
    metric.set_histogram(shape);
    metric
}
