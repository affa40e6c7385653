//! Lines on their way to a file or pipe that may be slow or dead.
//!
//! Each core appends to buffers of its own; one writer thread takes whole buffers and writes them at once.
//! Nobody who appends ever waits for I/O: a buffer that is full drops the line and counts it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to, made if missing.
    File(PathBuf),
}

impl Destination {
    fn open(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::Stderr => Box::new(io::stderr()),
            Self::File(path) => Box::new(open_file(path)?),
        })
    }
}

fn open_file(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// A buffer is handed to the writer at once when it holds this much.
const WAKE_BYTES: usize = 256 * 1_024;
/// A buffer never holds more than this.
const MOST_BYTES: usize = 1_024 * 1_024;
/// Buffers that grew beyond this in a burst are given back.
const KEEP_BYTES: usize = 512 * 1_024;
/// Lines wait this long at most while the destination takes them.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// One core's buffers. There are two, of which the writer holds at most one, for as long as an exchange of
/// pointers takes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct CoreLines {
    buffers: [Mutex<Vec<u8>>; 2],
    dropped: AtomicU64,
}

struct Shared {
    cores: Box<[CoreLines]>,
    write_failed: AtomicU64,
    wake_asked: AtomicBool,
    reopen_asked: AtomicBool,
    flush_asked: AtomicU64,
    /// The last flush that was done, and what tells of it.
    flushed: (Mutex<u64>, Condvar),
    stop: AtomicBool,
}

/// The buffers of all cores and the thread that writes them.
pub(super) struct Lines {
    shared: Arc<Shared>,
    writer: Thread,
    stopped: Mutex<Receiver<()>>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("cores", &self.shared.cores.len()).finish_non_exhaustive()
    }
}

impl Lines {
    /// Opens the destination and starts the writer.
    pub(super) fn open(destination: Destination, cores: usize) -> io::Result<Self> {
        let out = destination.open()?;
        Self::start("tollgate-log", out, Some(destination), cores)
    }

    /// Starts the writer, a thread of this name, on `out`; a file is opened again when asked.
    pub(super) fn start(
        thread_name: &str,
        out: Box<dyn Write + Send>,
        destination: Option<Destination>,
        cores: usize,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            cores: (0..cores.max(1)).map(|_| CoreLines::default()).collect(),
            write_failed: AtomicU64::new(0),
            wake_asked: AtomicBool::new(false),
            reopen_asked: AtomicBool::new(false),
            flush_asked: AtomicU64::new(0),
            flushed: (Mutex::new(0), Condvar::new()),
            stop: AtomicBool::new(false),
        });
        let (tell_stopped, stopped) = sync_channel(1);
        let writer = Writer { shared: Arc::clone(&shared), out, destination, spare: Vec::new() };
        let thread = thread::Builder::new()
            .name(thread_name.to_owned())
            .spawn(move || writer.run(&tell_stopped))?
            .thread()
            .clone();
        Ok(Self { shared, writer: thread, stopped: Mutex::new(stopped) })
    }

    /// Appends what `write` writes, which ends in a line feed. A full buffer drops it.
    pub(super) fn push(&self, core: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let lines = &self.shared.cores[core % self.shared.cores.len()];
        let mut buffer = lines.buffer();
        if buffer.len() >= MOST_BYTES {
            drop(buffer);
            return self.drop_line(core);
        }
        write(&mut buffer);
        let length = buffer.len();
        drop(buffer);
        if length >= WAKE_BYTES && !self.shared.wake_asked.swap(true, Ordering::Relaxed) {
            self.writer.unpark();
        }
    }

    /// Counts a line that is not even tried.
    pub(super) fn drop_line(&self, core: usize) {
        self.shared.cores[core % self.shared.cores.len()].dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until everything that was appended before is written; says whether it was within `deadline`.
    pub(super) fn flush(&self, deadline: Duration) -> bool {
        let asked = self.shared.flush_asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.writer.unpark();
        let (done, changed) = &self.shared.flushed;
        let done = done.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(done, deadline, |done| *done < asked);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Lines that were lost: buffers were full, or the destination failed.
    pub(super) fn dropped(&self) -> u64 {
        let full: u64 = self.shared.cores.iter().map(|core| core.dropped.load(Ordering::Relaxed)).sum();
        full + self.shared.write_failed.load(Ordering::Relaxed)
    }

    /// Has a file opened again under its name, as after a rotation.
    pub(super) fn reopen(&self) {
        self.shared.reopen_asked.store(true, Ordering::Release);
        self.writer.unpark();
    }

    /// Writes what is left and ends the writer; says whether that was done within `deadline`.
    pub(super) fn stop(&self, deadline: Duration) -> bool {
        self.shared.stop.store(true, Ordering::Release);
        self.writer.unpark();
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(stopped.recv_timeout(deadline), Err(std::sync::mpsc::RecvTimeoutError::Timeout))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.writer.unpark();
    }
}

impl CoreLines {
    /// Whichever buffer is free.
    fn buffer(&self) -> MutexGuard<'_, Vec<u8>> {
        self.buffers[0]
            .try_lock()
            .or_else(|_| self.buffers[1].try_lock())
            .unwrap_or_else(|_| self.buffers[0].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Writer {
    shared: Arc<Shared>,
    out: Box<dyn Write + Send>,
    destination: Option<Destination>,
    spare: Vec<u8>,
}

impl Writer {
    fn run(mut self, stopped: &SyncSender<()>) {
        loop {
            let last = self.shared.stop.load(Ordering::Acquire);
            self.shared.wake_asked.store(false, Ordering::Relaxed);
            if self.shared.reopen_asked.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            let flush_asked = self.shared.flush_asked.load(Ordering::Acquire);
            self.drain();
            self.tell_flushed(flush_asked);
            if last {
                let _ = stopped.try_send(());
                return;
            }
            thread::park_timeout(FLUSH_EVERY);
        }
    }

    fn drain(&mut self) {
        let shared = Arc::clone(&self.shared);
        for buffer in shared.cores.iter().flat_map(|core| &core.buffers) {
            {
                let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
                if buffer.is_empty() {
                    continue;
                }
                std::mem::swap(&mut *buffer, &mut self.spare);
            }
            if self.out.write_all(&self.spare).and_then(|()| self.out.flush()).is_err() {
                let lines = memchr::memchr_iter(b'\n', &self.spare).count();
                shared.write_failed.fetch_add(lines as u64, Ordering::Relaxed);
            }
            self.spare.clear();
            self.spare.shrink_to(KEEP_BYTES);
        }
    }

    fn tell_flushed(&self, asked: u64) {
        let (done, changed) = &self.shared.flushed;
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        if *done != asked {
            *done = asked;
            changed.notify_all();
        }
    }

    fn reopen(&mut self) {
        if let Some(destination @ Destination::File(_)) = &self.destination
            && let Ok(out) = destination.open()
        {
            self.out = out;
        }
    }
}
