//! `tollgate serve`.

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::{Error, environment};
use crate::assembly::{Running, start};
use crate::clock::Clock;
use crate::config::{Diagnostic, load};
use crate::telemetry::ProgramLog;

/// How often it is looked whether a file has changed.
const LOOK: Duration = Duration::from_millis(250);

/// Runs the gateway until SIGTERM or Ctrl-C, and drains it.
pub(super) fn run(path: &Path, clock: &Clock) -> Result<(), Error> {
    let config = load(path, &environment)?;
    let log = ProgramLog::install(&config.logs)?;
    for found in &config.warnings {
        let Diagnostic { file, line, code, reason, fix, .. } = found;
        tracing::warn!(file, line, code, fix, "{reason}");
    }
    let signals = Signals::prepare()?;
    let running = start(config, clock)?;
    for address in &running.plain {
        tracing::info!(%address, "listening (plain text)");
    }
    for address in &running.tls {
        tracing::info!(%address, "listening (TLS)");
    }
    tracing::info!(address = %running.admin, "operators' listener");
    signals.follow(running, path);
    drop(log);
    Ok(())
}

/// The signals that a running gateway listens to, noted from when this is made: before anything says that it is
/// ready.
pub(super) struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn prepare() -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let hang_up = signal(SignalKind::hangup())?;
        drop(entered);
        Ok(Self { runtime, terminate, interrupt, hang_up })
    }

    /// Reloads the configuration on SIGHUP and when a file has changed, until SIGTERM or Ctrl-C; then drains.
    pub(super) fn follow(mut self, running: Running, path: &Path) {
        let path = path.to_owned();
        let mut reloader = running.reloader(move || load(&path, &environment));
        self.runtime.block_on(async {
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = self.terminate.recv() => return,
                    _ = self.interrupt.recv() => return,
                    _ = self.hang_up.recv() => reloader.reload(),
                    _ = looks.tick() => reloader.look(),
                }
            }
        });
        running.drain();
    }
}
