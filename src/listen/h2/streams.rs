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

/// Counts one request as open until it is answered or reset.
pub(super) struct OpenStream {
    streams: Rc<Streams>,
    stall: Rc<Stall>,
    answered: bool,
}

impl OpenStream {
    pub(super) fn new(streams: &Rc<Streams>, stall: &Rc<Stall>) -> Self {
        streams.open.set(streams.open.get() + 1);
        streams.wake();
        Self { streams: Rc::clone(streams), stall: Rc::clone(stall), answered: false }
    }

    /// Its response's head is ready.
    pub(super) fn answered(&mut self) {
        self.answered = true;
        self.stall.waits_for_client();
    }

    pub(super) fn stall(&self) -> &Stall {
        &self.stall
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let streams = &self.streams;
        streams.open.set(streams.open.get() - 1);
        let count = if self.answered { &streams.finished } else { &streams.reset };
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
