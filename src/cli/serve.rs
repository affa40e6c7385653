//! `tollgate serve`.

use std::path::Path;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Error, environment, listed};
use crate::assembly::{Running, start};
use crate::clock::Clock;
use crate::config::load;
use crate::telemetry::ProgramLog;

/// Runs the gateway until SIGTERM or Ctrl-C, and drains it.
pub(super) fn run(path: &Path, clock: &Clock) -> Result<(), Error> {
    let config = load(path, &environment).map_err(|found| Error::Config(listed(&found)))?;
    let log = ProgramLog::install(&config.logs)?;
    let ending = Ending::prepare()?;
    let running = start(config, clock)?;
    for address in &running.plain {
        tracing::info!(%address, "listening (plain text)");
    }
    for address in &running.tls {
        tracing::info!(%address, "listening (TLS)");
    }
    tracing::info!(address = %running.admin, "operators' listener");
    ending.drain(running);
    drop(log);
    Ok(())
}

/// SIGTERM and Ctrl-C, noted from when this is made: before anything says that it is ready.
pub(super) struct Ending {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    pub(super) fn prepare() -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        drop(entered);
        Ok(Self { runtime, terminate, interrupt })
    }

    /// Waits for one of them, then drains.
    pub(super) fn drain(mut self, running: Running) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        });
        running.drain();
    }
}
