//! Gauges and counters that other rooms' states are read from, when a scrape asks.

use std::fmt;

use prometheus::proto::MetricType;

/// Values by the values of their labels.
pub(super) type Read = Box<dyn Fn() -> Vec<(Vec<String>, f64)> + Send + Sync>;

/// A gauge, or a counter that another room keeps, whose values are read at scrape time.
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
        let read: Read = Box::new(move || vec![(Vec::new(), read())]);
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
        Self { kind: MetricType::GAUGE, name, help, labels, read: Box::new(read) }
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauge").field("name", &self.name).finish_non_exhaustive()
    }
}
