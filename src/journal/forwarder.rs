//! From a gateway's own file to the journal that all share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use std::{io, mem};

use super::postgres::{Part, PostgresJournal};
use super::{Asked, Journal as _, JournalError, SqliteJournal};
use crate::clock::{Clock, Now};

/// The most entries of one transaction.
const BATCH: u32 = 2_000;
/// Time between two looks for new entries and for whoever asks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The longest time between two looks while the database is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the database is told that this gateway lives, while there is nothing else to tell.
const SEEN_EVERY: Duration = Duration::from_secs(15);
/// How long what the cores noted may take to reach the file.
const FLUSH: Duration = Duration::from_secs(1);
/// The most transactions with which a gateway that ends hands on what is left; the rest stays in its file for its next
/// start, so that a backlog does not hold up a restart.
const MOST_LAST_BATCHES: u32 = 5;
/// Time between two looks at the file's bounds.
const KEEP_HOUSE_EVERY: Duration = Duration::from_secs(10);

/// What a [`Forwarder`] works with.
pub struct Parts {
    /// The gateway's own file. What is in it was not forwarded yet.
    pub spool: Arc<SqliteJournal>,
    /// The journal of all.
    pub shared: Arc<PostgresJournal>,
    /// Has everything that was noted before written to the file, within a time; blocks.
    pub flush: Box<dyn Fn(Duration) -> bool + Send>,
    /// The time.
    pub clock: Clock,
    /// Where entries are counted.
    pub counts: Arc<Forwarded>,
}

/// What became of entries, for metrics.
#[derive(Debug, Default)]
pub struct Forwarded {
    entries: AtomicU64,
    waiting: AtomicU64,
    lost: AtomicU64,
}

impl Forwarded {
    /// Entries that were handed on since the start.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Entries that waited when this was last looked at.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Entries that waited until the file's bounds let them go.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// A thread that hands entries on. Dropping it has it hand on what is left, up to 10,000 entries and if the database
/// takes them, and ends it.
#[derive(Debug)]
pub struct Forwarder {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Starts the thread; [`JournalError::Failed`] if the file cannot be read.
    pub fn start(parts: Parts) -> Result<Self, StartFault> {
        let spool_id = parts.spool.spool_id()?;
        let stop: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let stopped = Arc::clone(&stop);
        let work = Work { parts, spool_id, answered: Asked(0), seen: None, house_kept: None };
        let run = move || work.run(&stopped);
        let thread = Builder::new().name("tollgate-forward".to_owned()).spawn(run)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

/// Why a [`Forwarder`] does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The file cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is no thread to be had.
    #[error(transparent)]
    Thread(#[from] io::Error),
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that forwards the journal ended in a panic");
        }
    }
}

struct Work {
    parts: Parts,
    spool_id: String,
    answered: Asked,
    seen: Option<Now>,
    house_kept: Option<Now>,
}

impl Work {
    fn run(mut self, stop: &(Mutex<bool>, Condvar)) {
        let (mut pause, mut failed, mut has_more) = (LOOK_EVERY, false, false);
        loop {
            let is_last = is_stopped(stop, pause);
            self.keep_house();
            match self.pass(stop, is_last) {
                Ok(more) => {
                    has_more = more;
                    if mem::take(&mut failed) {
                        tracing::info!("what tokens do is handed on to the shared journal again");
                    }
                    pause = LOOK_EVERY;
                }
                Err(error) => {
                    if !mem::replace(&mut failed, true) {
                        tracing::warn!(%error, "what tokens do waits in this gateway's file for the shared journal");
                    }
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
            if is_last {
                break;
            }
        }
        self.count_waiting();
        if has_more {
            tracing::warn!(
                "what is left of this gateway's part of the journal is handed on after its next start"
            );
        } else if !failed && let Err(error) = self.parts.shared.leave(&self.spool_id) {
            tracing::warn!(%error, "others wait for this gateway's part of the journal for a minute");
        }
    }

    /// Hands on what is in the file, and answers who asks; whether there may be more in it.
    fn pass(&mut self, stop: &(Mutex<bool>, Condvar), is_last: bool) -> Result<bool, JournalError> {
        let Parts { spool, shared, flush, clock, counts } = &self.parts;
        let asked = shared.asked()?;
        let may_answer = asked != self.answered && !is_last && flush(FLUSH);
        let mut batches = 0;
        loop {
            let entries = spool.oldest(BATCH)?;
            let is_all = entries.len() < BATCH as usize;
            let answers = (may_answer && is_all).then_some(asked);
            let now = clock.now();
            let is_seen = self.seen.is_some_and(|before| now.since(before) < SEEN_EVERY);
            if entries.is_empty() && answers.is_none() && is_seen {
                return Ok(false);
            }
            shared.take(Part { spool: &self.spool_id, entries: &entries, answers })?;
            self.seen = Some(now);
            if let Some(last) = entries.last() {
                spool.forget_through(last.number)?;
                counts.entries.fetch_add(entries.len() as u64, Ordering::Relaxed);
            }
            self.answered = answers.unwrap_or(self.answered);
            batches += 1;
            let has_to_end =
                if is_last { batches == MOST_LAST_BATCHES } else { is_stopped(stop, Duration::ZERO) };
            if is_all || has_to_end {
                return Ok(!is_all);
            }
        }
    }

    /// Keeps the file within its bounds: what goes there was not handed on.
    fn keep_house(&mut self) {
        let now = self.parts.clock.now();
        if self.house_kept.is_some_and(|before| now.since(before) < KEEP_HOUSE_EVERY) {
            return;
        }
        self.house_kept = Some(now);
        match self.parts.spool.sweep(now) {
            Ok(lost) => {
                self.parts.counts.lost.fetch_add(lost, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(%error, "what waits for the shared journal is not kept within its bounds");
            }
        }
        self.count_waiting();
    }

    fn count_waiting(&self) {
        if let Ok(waiting) = self.parts.spool.held() {
            self.parts.counts.waiting.store(waiting, Ordering::Relaxed);
        }
    }
}

/// Waits for at most a time until it is to end.
fn is_stopped(stop: &(Mutex<bool>, Condvar), pause: Duration) -> bool {
    let (stopped, changed) = stop;
    let stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = changed.wait_timeout_while(stopped, pause, |stopped| !*stopped);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}
