//! How the parts of a gateway end that have still something to write.
//!
//! Each ends on a thread of its own and is waited for, but not for ever: a store or a disk that hangs keeps no gateway from
//! ending. Whatever is left behind goes when the process does, as in a crash.

use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How long the parts of a gateway have together to write what is left: two calls to a PostgreSQL that hangs, and a little.
pub(super) const LAST_WRITES: Duration = Duration::from_secs(15);
/// How long a part has though others took all of the time.
const LEAST: Duration = Duration::from_secs(1);

/// A part of the gateway.
pub(super) struct Part {
    /// What it does, for the log.
    does: &'static str,
    end: Box<dyn FnOnce() + Send>,
}

impl Part {
    /// A part, and what ends it and waits for that.
    pub(super) fn ended(does: &'static str, end: impl FnOnce() + Send + 'static) -> Self {
        Self { does, end: Box::new(end) }
    }

    /// A part that ends when it is dropped.
    pub(super) fn dropped<T: Send + 'static>(does: &'static str, part: T) -> Self {
        Self::ended(does, move || drop(part))
    }

    /// A part whose thread ends by itself.
    pub(super) fn joined(does: &'static str, thread: JoinHandle<()>) -> Self {
        Self::ended(does, move || {
            if thread.join().is_err() {
                tracing::error!(part = does, "a part of the gateway ended in a panic");
            }
        })
    }
}

/// The time in which a gateway ends.
#[derive(Debug)]
pub(super) struct Ending {
    within: Duration,
    least: Duration,
    until: Instant,
}

impl Ending {
    /// Begins now.
    pub(super) fn begin(within: Duration) -> Self {
        Self { within, least: LEAST, until: Instant::now() + within }
    }

    /// Ends parts beside each other. Those that take longer than there is time are left behind, and the log says which.
    pub(super) fn end(&self, parts: Vec<Part>) -> Vec<&'static str> {
        let mut left: Vec<&'static str> = parts.iter().map(|part| part.does).collect();
        let (ended, ends) = mpsc::channel();
        for Part { does, end } in parts {
            let ended = ended.clone();
            let run = move || {
                end();
                // Nobody waits any more if it took too long.
                let _ = ended.send(does);
            };
            if let Err(error) = Builder::new().name("tollgate-ending".to_owned()).spawn(run) {
                tracing::error!(part = does, %error, "a part of the gateway cannot be waited for");
            }
        }
        drop(ended);
        let until = self.until.max(Instant::now() + self.least);
        while let Ok(does) = ends.recv_timeout(until.saturating_duration_since(Instant::now())) {
            left.retain(|waited| *waited != does);
        }
        for part in &left {
            tracing::error!(
                part,
                seconds = self.within.as_secs(),
                "the gateway ends without waiting any longer: what this had still to write is not written; look whether \
                 its store or disk hangs"
            );
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Ends when its sender is dropped.
    struct Hangs(mpsc::Receiver<()>);

    impl Drop for Hangs {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    struct Ends(Arc<AtomicBool>);

    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_hangs_is_left_behind_and_told_and_the_rest_is_ended() {
        let (hold, received) = mpsc::channel();
        let (first, last) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let ending = Ending::begin(Duration::from_secs(1));
        let parts = vec![
            Part::dropped("hangs", Hangs(received)),
            Part::dropped("ends", Ends(Arc::clone(&first))),
            Part::joined("panics", std::thread::spawn(|| panic!("on purpose"))),
        ];
        assert_eq!(ending.end(parts), ["hangs"]);
        assert!(first.load(Ordering::SeqCst));
        assert_eq!(ending.end(vec![Part::dropped("ends", Ends(Arc::clone(&last)))]), [""; 0]);
        assert!(last.load(Ordering::SeqCst), "there is time for it, though another took all");
        drop(hold);
    }

    #[test]
    fn nothing_is_waited_for_when_all_has_ended() {
        let ending = Ending::begin(Duration::from_hours(24));
        let ended = Arc::new(AtomicBool::new(false));
        assert_eq!(ending.end(vec![Part::dropped("ends", Ends(Arc::clone(&ended)))]), [""; 0]);
        assert!(ended.load(Ordering::SeqCst));
        assert_eq!(ending.end(Vec::new()), [""; 0]);
    }
}
