//! The thread that saves the registry now and then.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Registry;
use crate::clock::Clock;

/// How often a registry is saved that has not changed: whoever starts from the file alone can tell no better how old it is.
const UNCHANGED: Duration = Duration::from_hours(1);

impl Registry {
    /// Starts a thread that saves the registry to a file every so often, if it has changed, and hourly if it has not.
    pub fn save_every(
        self: &Arc<Self>,
        clock: Clock,
        file: PathBuf,
        every: Duration,
    ) -> std::io::Result<Saver> {
        let (stop, stopped) = mpsc::channel();
        let registry = Arc::clone(self);
        let thread = thread::Builder::new().name("tollgate-saver".to_owned()).spawn(move || {
            let (mut saved, mut saved_at, mut last_failure) = (None, clock.now(), None);
            loop {
                let goes_on = stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout);
                let status = registry.status();
                let is_due = status.error.is_none() && clock.now().since(saved_at) >= UNCHANGED;
                if is_due || saved != Some(status.applied_seq) {
                    match registry.save(&file, clock.now()) {
                        Ok(seq) => (saved, saved_at, last_failure) = (seq, clock.now(), None),
                        Err(error) => {
                            let failure = error.to_string();
                            if last_failure.as_ref() != Some(&failure) {
                                tracing::warn!(
                                    error = failure,
                                    "the registry was not saved; it is tried again"
                                );
                                last_failure = Some(failure);
                            }
                        }
                    }
                }
                if !goes_on {
                    break;
                }
            }
        })?;
        Ok(Saver { stop: Some(stop), thread: Some(thread) })
    }
}

/// The thread behind [`Registry::save_every`]. Dropping it saves the registry once more, if it has changed, and ends
/// the thread.
#[derive(Debug)]
pub struct Saver {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Saver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
