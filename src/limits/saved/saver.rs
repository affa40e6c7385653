//! The thread that saves the state now and then, and at the end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::Clock;
use crate::limits::Counters;

/// The time over which the work is spread, a quarter of the time between two savings at most.
const SPREAD_OVER: Duration = Duration::from_millis(500);
/// A shorter pause is not worth waking up for.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);

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
        let spread_over = SPREAD_OVER.min(every / 4);
        loop {
            let goes_on = self.stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout);
            // Nothing is used and the file says so already.
            let is_empty = self.counters.cells() == 0;
            if !(goes_on && is_empty && was_empty) {
                was_empty = self.save(if goes_on { spread_over } else { Duration::ZERO }) && is_empty;
            }
            if !goes_on {
                break;
            }
        }
    }

    /// Spreads the work over a time. It never falls behind that by its pauses: on a busy machine, where each of them takes
    /// many times as long as it should, there are fewer.
    fn save(&mut self, spread_over: Duration) -> bool {
        let Self { stopped, clock, .. } = self;
        let begun = clock.now();
        let saved = self.counters.save(&self.file, &self.key, begun, |done, all| {
            let due = spread_over.saturating_mul(done as u32) / all.max(1) as u32;
            let passed =
                Duration::from_nanos(clock.now().monotonic_nanos.saturating_sub(begun.monotonic_nanos));
            let ahead = due.saturating_sub(passed);
            if ahead >= SHORTEST_PAUSE {
                // Whoever waits for the end does not wait for the pauses: then this returns at once.
                let _ = stopped.recv_timeout(ahead);
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
