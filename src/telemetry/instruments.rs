//! All cores' telemetry together: what is made at start and asked by the operator's listener.

use std::io::{self, Write};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::{Registry, TextEncoder};

use super::cells::Cells;
use super::collector::Families;
use super::journal_lines::JournalLines;
use super::lines::Lines;
use super::per_core::{AccessLog, Tops};
use super::trace::TraceParents;
use super::traffic::{self, History};
use super::{Access, Checked, Core, Destination, Gauge, Labels, RequestIds, Traffic};
use crate::clock::{Clock, Now};

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The access log's destination cannot be opened.
    #[error(
        "the access log {0:?} cannot be opened: {1}; check `logs.destination`, that its folder exists and may be written to"
    )]
    Destination(Destination, #[source] io::Error),
    /// A thread cannot be started.
    #[error("the log's thread cannot be started: {0}; raise the limit of threads or memory")]
    Thread(#[source] io::Error),
    /// The level cannot be read.
    #[error("`{0}` is not a log level: {1}; write error, warn, info, debug or trace in `logs.level`")]
    Level(String, String),
    /// Something else already receives the process's events.
    #[error("the gateway's own log cannot be installed: {0}; install it once a process")]
    Subscriber(String),
    /// The metrics' descriptions contradict each other.
    #[error("the metrics cannot be registered: {0}; this is a fault of the gateway's code")]
    Metrics(#[source] prometheus::Error),
}

/// What runs.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// The version of the package.
    pub version: &'static str,
    /// The commit that it was built from; `unknown` if that was not told.
    pub commit: &'static str,
}

/// What the cores and the scrape share.
pub(super) struct Shared {
    pub(super) cores: Box<[Arc<Core>]>,
    pub(super) labels: Arc<Labels>,
    pub(super) gauges: Mutex<Vec<Gauge>>,
    pub(super) build: Build,
    lines: Option<Arc<Lines>>,
    journal: OnceLock<Arc<Lines>>,
}

impl Shared {
    pub(super) fn log_lines_dropped(&self) -> u64 {
        self.lines.as_ref().map_or(0, |lines| lines.dropped())
    }

    pub(super) fn journal_entries_dropped(&self) -> u64 {
        self.journal.get().map_or(0, |lines| lines.dropped())
    }
}

/// Everything that the gateway says about itself.
pub struct Telemetry {
    shared: Arc<Shared>,
    registry: Registry,
    history: Mutex<History>,
}

impl Telemetry {
    /// Starts telemetry for so many cores. `seed` is random for each process; it sets request ids of processes
    /// apart.
    pub fn new(
        settings: &Checked,
        cores: usize,
        clock: &Clock,
        seed: u64,
        build: Build,
    ) -> Result<Self, TelemetryError> {
        let lines = match settings.access {
            Access::Off => None,
            Access::All | Access::Refused => {
                let opened = Lines::open(settings.destination.clone(), cores);
                let fault = |error| TelemetryError::Destination(settings.destination.clone(), error);
                Some(Arc::new(opened.map_err(fault)?))
            }
        };
        Self::with_lines(settings, lines, cores, clock, seed, build)
    }

    pub(super) fn with_lines(
        settings: &Checked,
        lines: Option<Arc<Lines>>,
        cores: usize,
        clock: &Clock,
        seed: u64,
        build: Build,
    ) -> Result<Self, TelemetryError> {
        let labels = Arc::new(Labels::default());
        let core = |index: usize| {
            Arc::new(Core {
                index,
                cells: Cells::default(),
                tops: Mutex::new(Tops::default()),
                ids: RequestIds::new(seed, index as u64),
                traces: TraceParents::new(seed, index as u64),
                labels: Arc::clone(&labels),
                log: lines.as_ref().map(|lines| AccessLog {
                    lines: Arc::clone(lines),
                    format: settings.format,
                    access: settings.access,
                    sample: settings.access_sample,
                }),
                journal: OnceLock::new(),
                served: AtomicU64::new(0),
                clock: clock.clone(),
            })
        };
        let cores = (0..cores.max(1)).map(core).collect();
        let gauges = Mutex::new(Vec::new());
        let shared = Arc::new(Shared { cores, labels, gauges, build, lines, journal: OnceLock::new() });
        let registry = Registry::new();
        let families = Families::new(Arc::clone(&shared)).map_err(TelemetryError::Metrics)?;
        registry.register(Box::new(families)).map_err(TelemetryError::Metrics)?;
        Ok(Self { shared, registry, history: Mutex::new(History::default()) })
    }

    /// Hands the writes and refusals of every credential to `out` as well, from a thread of its own, as lines of
    /// the access log's JSON. Once; to be called before the cores are in use.
    pub fn keep_journal(&self, out: Box<dyn Write + Send>) -> Result<(), TelemetryError> {
        let lines = Lines::start("tollgate-journal", out, None, self.cores());
        let lines = Arc::new(lines.map_err(TelemetryError::Thread)?);
        if self.shared.journal.set(Arc::clone(&lines)).is_ok() {
            for core in &self.shared.cores {
                // Set together with the one above, which was not set before.
                let _ = core.journal.set(JournalLines::new(Arc::clone(&lines)));
            }
        }
        Ok(())
    }

    /// What flushes the journal: it waits, blocking, until everything that was noted before is handed on, and says
    /// whether that was done within its time.
    pub fn journal_flush(&self) -> impl Fn(Duration) -> bool + Send + Sync + 'static {
        let lines = self.shared.journal.get().cloned();
        move |deadline| lines.as_ref().is_none_or(|lines| lines.flush(deadline))
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.shared.cores.len()
    }

    /// One core's end; indexes beyond the last begin again.
    pub fn core(&self, index: usize) -> Arc<Core> {
        Arc::clone(&self.shared.cores[index % self.shared.cores.len()])
    }

    /// The names behind labels, for a configuration that is loaded.
    pub fn labels(&self) -> &Labels {
        &self.shared.labels
    }

    /// Has a gauge read at each scrape; one of the same name is replaced.
    pub fn add_gauge(&self, gauge: Gauge) {
        let mut gauges = self.shared.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.retain(|known| known.name != gauge.name);
        gauges.push(gauge);
    }

    /// All metrics in Prometheus's text format 0.0.4.
    pub fn metrics_text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be written as text");
        }
        text
    }

    /// The media type of [`Telemetry::metrics_text`].
    pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Notes the last second's requests for the status page; to be called once a second.
    pub fn sample(&self, now: Now) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.sample(&self.shared.cores, now);
    }

    /// What happens at this moment.
    pub fn traffic(&self) -> Traffic {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner).seconds();
        traffic::traffic(&self.shared.cores, &self.shared.labels, history, self.shared.log_lines_dropped())
    }

    /// Has the access log's file opened again under its name, as after a rotation.
    pub fn reopen_log(&self) {
        if let Some(lines) = &self.shared.lines {
            lines.reopen();
        }
    }

    /// Lets go of the gauges and writes the lines that are left; says whether that was done within `deadline`.
    pub fn stop(&self, deadline: Duration) -> bool {
        self.shared.gauges.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let journal = self.shared.journal.get().is_none_or(|lines| lines.stop(deadline));
        self.shared.lines.as_ref().is_none_or(|lines| lines.stop(deadline)) && journal
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").field("cores", &self.shared.cores.len()).finish_non_exhaustive()
    }
}
