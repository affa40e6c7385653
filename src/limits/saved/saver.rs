//! The thread that saves the state now and then, and at the end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::Clock;
use crate::limits::Counters;
use crate::limits::cells::SEGMENTS;

/// The longest pause between two parts of the work, which so takes half a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(1);

impl Counters {
    /// Starts a thread that saves the state to a file every so often, by a key that [`Counters::restored`] is to have
    /// among its own. A kill then forgets at most what was used in
    /// twice that time.
    pub fn save_every(
        self: &Arc<Self>,
        clock: Clock,
        file: PathBuf,
        key: [u8; 32],
        every: Duration,
    ) -> io::Result<Saver> {
        let (stop, stopped) = mpsc::channel();
        let saving = Thread { counters: Arc::clone(self), clock, file, key, stopped, told: None };
        let name = "tollgate-limits-saver".to_owned();
        let thread = thread::Builder::new().name(name).spawn(move || saving.run(every))?;
        Ok(Saver { stop: Some(stop), thread: Some(thread) })
    }
}

struct Thread {
    counters: Arc<Counters>,
    clock: Clock,
    file: PathBuf,
    key: [u8; 32],
    stopped: Receiver<()>,
    /// The failure that was told last.
    told: Option<String>,
}

impl Thread {
    fn run(mut self, every: Duration) {
        let mut was_empty = false;
        let pause = LONGEST_PAUSE.min(every / (4 * SEGMENTS as u32));
        loop {
            let goes_on = self.stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout);
            // Nothing is used and the file says so already.
            let is_empty = self.counters.cells() == 0;
            if !(goes_on && is_empty && was_empty) {
                was_empty = self.save(if goes_on { pause } else { Duration::ZERO }) && is_empty;
            }
            if !goes_on {
                break;
            }
        }
    }

    fn save(&mut self, pause: Duration) -> bool {
        let stopped = &self.stopped;
        let saved = self.counters.save(&self.file, &self.key, self.clock.now(), || {
            if !pause.is_zero() {
                // Whoever waits for the end does not wait for the pauses: then this returns at once.
                let _ = stopped.recv_timeout(pause);
            }
        });
        match saved {
            Ok(()) => self.told = None,
            Err(error) => {
                let error = error.to_string();
                if self.told.as_ref() != Some(&error) {
                    let file = self.file.display();
                    tracing::warn!(%file, error, "the limits were not saved; it is tried again");
                    self.told = Some(error);
                }
            }
        }
        self.told.is_none()
    }
}

/// The thread behind [`Counters::save_every`]. Dropping it saves the state once more and ends the thread: drop it when
/// no request is counted any more.
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
