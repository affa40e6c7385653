//! Gauges, counters and times that other rooms' states are read from, when a scrape asks.

use std::fmt;
use std::sync::Arc;

use prometheus::proto::MetricType;

use super::Timings;

/// What is read, by the values of its labels.
pub(super) enum Read {
    /// Numbers.
    Values(Box<dyn Fn() -> Vec<(Vec<String>, f64)> + Send + Sync>),
    /// Histograms.
    Timings(Vec<(Vec<String>, Arc<Timings>)>),
}

/// A gauge, or a counter or histogram that another room keeps, whose values are read at scrape time.
pub struct Gauge {
    pub(super) kind: MetricType,
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
    pub(super) read: Read,
}

impl Gauge {
    /// A gauge with one value. `name` is the whole name, for example `tollgate_tokens`.
    pub fn single(
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        let read = Read::Values(Box::new(move || vec![(Vec::new(), read())]));
        Self { kind: MetricType::GAUGE, name, help, labels: &[], read }
    }

    /// The same values as those of a counter: they never go down.
    #[must_use]
    pub fn counted(self) -> Self {
        Self { kind: MetricType::COUNTER, ..self }
    }

    /// A gauge with a value for each set of label values, in the order of `labels`. Their values come from
    /// configuration, never from a client.
    pub fn family(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        read: impl Fn() -> Vec<(Vec<String>, f64)> + Send + Sync + 'static,
    ) -> Self {
        Self { kind: MetricType::GAUGE, name, help, labels, read: Read::Values(Box::new(read)) }
    }

    /// A histogram for each set of label values, in the order of `labels`.
    pub const fn timings(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        timings: Vec<(Vec<String>, Arc<Timings>)>,
    ) -> Self {
        Self { kind: MetricType::HISTOGRAM, name, help, labels, read: Read::Timings(timings) }
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauge").field("name", &self.name).finish_non_exhaustive()
    }
}
