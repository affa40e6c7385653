//! What the requests of one connection share: how many are open, how many were reset, and how long a client
//! may leave a response untaken.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::Deadline;

/// Resets that a connection may send before more than one in five of its requests counts as an attack
/// (CVE-2023-44487).
const FREE_RESETS: usize = 50;

/// Counts of one connection's requests.
#[derive(Default)]
pub(super) struct Streams {
    open: Cell<usize>,
    finished: Cell<usize>,
    reset: Cell<usize>,
    changed: RefCell<Option<Waker>>,
}

impl Streams {
    /// Whether a request is being answered.
    pub(super) const fn is_busy(&self) -> bool {
        self.open.get() > 0
    }

    /// Whether so many requests were reset that it counts as an attack.
    pub(super) fn is_attack(&self) -> bool {
        let reset = self.reset.get();
        reset > FREE_RESETS && reset * 5 > self.finished.get() + reset
    }

    /// Wakes the task when a request begins or ends.
    pub(super) fn wake_on_change(&self, cx: &Context<'_>) {
        *self.changed.borrow_mut() = Some(cx.waker().clone());
    }

    fn wake(&self) {
        if let Some(waker) = self.changed.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Counts one request as open, and then as finished or, if the client ended it before its answer was complete,
/// as reset. Resets behind the answer's head count too: they cost us the whole request (CVE-2023-44487), and so
/// do streams that the client makes us reset (CVE-2025-8671).
pub(super) struct OpenStream {
    streams: Rc<Streams>,
    stall: Rc<Stall>,
    finished: bool,
}

impl OpenStream {
    pub(super) fn new(streams: &Rc<Streams>, stall: &Rc<Stall>) -> Self {
        streams.open.set(streams.open.get() + 1);
        streams.wake();
        Self { streams: Rc::clone(streams), stall: Rc::clone(stall), finished: false }
    }

    /// Its response's head is ready.
    pub(super) fn answered(&self) {
        self.stall.waits_for_client();
    }

    /// Its response is complete, or was cut by somebody else than the client.
    pub(super) const fn finished(&mut self) {
        self.finished = true;
    }

    pub(super) fn stall(&self) -> &Stall {
        &self.stall
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let streams = &self.streams;
        streams.open.set(streams.open.get() - 1);
        let count = if self.finished { &streams.finished } else { &streams.reset };
        count.set(count.get() + 1);
        streams.wake();
    }
}

/// When a client must have taken more of one response. hyper asks for the next piece of a body only while the
/// stream's window has room, so that the time between two questions is the client's.
pub(super) struct Stall {
    deadline: RefCell<Deadline>,
    write: Duration,
}

impl Stall {
    fn new(write: Duration) -> Rc<Self> {
        Rc::new(Self { deadline: RefCell::default(), write })
    }

    /// The next step is the client's.
    pub(super) fn waits_for_client(&self) {
        self.deadline.borrow_mut().set(self.write);
    }

    /// The next step is the gateway's or the upstream's.
    pub(super) fn waits_for_us(&self) {
        self.deadline.borrow_mut().clear();
    }

    fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.borrow_mut().poll_expired(cx)
    }
}

/// Runs the requests of one connection on its core. hyper hands over each request first and then the future
/// that answers it, one pair after the other.
#[derive(Clone)]
pub(super) struct Executor {
    next: Rc<RefCell<Option<Rc<Stall>>>>,
    write: Duration,
}

impl Executor {
    pub(super) fn new(write: Duration) -> Self {
        Self { next: Rc::default(), write }
    }

    /// The stall of the request that has just arrived.
    pub(super) fn arrived(&self) -> Rc<Stall> {
        let stall = Stall::new(self.write);
        *self.next.borrow_mut() = Some(Rc::clone(&stall));
        stall
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        let stall = self.next.borrow_mut().take();
        tokio::task::spawn_local(async move {
            let mut future = pin!(future);
            poll_fn(|cx| match (future.as_mut().poll(cx), &stall) {
                (Poll::Ready(()), _) => Poll::Ready(()),
                (Poll::Pending, Some(stall)) => stall.poll_expired(cx),
                (Poll::Pending, None) => Poll::Pending,
            })
            .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams(ends: impl IntoIterator<Item = bool>) -> Streams {
        let streams = Rc::new(Streams::default());
        for finished in ends {
            let mut stream = OpenStream::new(&streams, &Stall::new(Duration::from_secs(1)));
            stream.answered();
            if finished {
                stream.finished();
            }
        }
        Rc::into_inner(streams).unwrap()
    }

    #[test]
    fn a_head_is_not_an_answer() {
        assert!(streams([false; FREE_RESETS + 1]).is_attack());
        assert!(!streams([false; FREE_RESETS]).is_attack(), "some resets are free");
    }

    #[test]
    fn one_reset_in_five_requests_is_usual() {
        let ends = |resets: usize, finished: usize| [vec![false; resets], vec![true; finished]].concat();
        assert!(!streams(ends(100, 400)).is_attack());
        assert!(streams(ends(100, 399)).is_attack());
        assert!(!streams([true; 1_000]).is_attack());
        assert!(!streams([true]).is_busy());
    }
}
