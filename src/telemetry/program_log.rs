//! The gateway's own log: what `tracing` says, to standard error.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::lines::Lines;
use super::{Checked, Destination, Format, TelemetryError};

/// The gateway's own log, written by a thread of its own so that a dead terminal stops nobody. Dropping it
/// writes what is left, for a second at most.
#[derive(Debug)]
pub struct ProgramLog {
    lines: Arc<Lines>,
}

const LAST_WORDS: Duration = Duration::from_secs(1);

impl ProgramLog {
    /// Installs it for the whole process. A second one is an error.
    pub fn install(settings: &Checked) -> Result<Self, TelemetryError> {
        let lines = Arc::new(Lines::open(Destination::Stderr, 1).map_err(TelemetryError::Thread)?);
        let writer = LineWriter(Arc::clone(&lines));
        let filter = EnvFilter::try_new(&settings.level)
            .map_err(|error| TelemetryError::Level(settings.level.clone(), error.to_string()))?;
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(writer);
        let installed = match settings.format {
            Format::Json => builder.json().flatten_event(true).try_init(),
            Format::Text => builder.try_init(),
        };
        installed.map_err(|error| TelemetryError::Subscriber(error.to_string()))?;
        Ok(Self { lines })
    }

    /// Lines that were lost.
    pub fn dropped(&self) -> u64 {
        self.lines.dropped()
    }
}

impl Drop for ProgramLog {
    fn drop(&mut self) {
        self.lines.stop(LAST_WORDS);
    }
}

#[derive(Debug)]
pub(super) struct LineWriter(pub(super) Arc<Lines>);

/// One event; pushed whole when it is complete.
#[derive(Debug)]
pub(super) struct Event<'l> {
    lines: &'l Lines,
    text: Vec<u8>,
}

impl<'l> MakeWriter<'l> for LineWriter {
    type Writer = Event<'l>;

    fn make_writer(&'l self) -> Event<'l> {
        Event { lines: &self.0, text: Vec::new() }
    }
}

impl Write for Event<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        self.lines.push(0, |out| out.extend_from_slice(&self.text));
    }
}
