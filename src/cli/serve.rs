//! `tollgate serve`.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use super::{Error, environment, listed};
use crate::assembly::{Running, start};
use crate::clock::Clock;
use crate::config::load;
use crate::telemetry::ProgramLog;

/// Runs the gateway until SIGTERM or Ctrl-C, and drains it.
pub(super) fn run(path: &Path, clock: &Clock) -> Result<(), Error> {
    let config = load(path, &environment).map_err(|found| Error::Config(listed(&found)))?;
    let log = ProgramLog::install(&config.logs)?;
    let running = start(config, clock)?;
    for address in &running.plain {
        tracing::info!(%address, "listening (plain text)");
    }
    for address in &running.tls {
        tracing::info!(%address, "listening (TLS)");
    }
    tracing::info!(address = %running.admin, "operators' listener");
    until_told(running)?;
    drop(log);
    Ok(())
}

/// Waits for SIGTERM or Ctrl-C, then drains.
pub(super) fn until_told(running: Running) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(told())?;
    running.drain();
    Ok(())
}

/// Resolves when the process is told to end.
pub(super) async fn told() -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
