//! Draining one core: idle connections are woken and close, busy ones finish and say so.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

/// How long a connection on which nothing is under way may still send a request once its core drains; that one
/// is answered with `Connection: close`, so that no request crosses a closing connection.
pub(super) const DRAIN_IDLE: Duration = Duration::from_secs(1);

/// Shared by everything on one core. Cheap to ask and free of locks: one core is one thread.
#[derive(Clone, Debug, Default)]
pub struct Drain(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    draining: Cell<bool>,
    open: Cell<usize>,
    sleepers: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
    waiting_for_empty: RefCell<Option<Waker>>,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub struct DrainGuard {
    shared: Rc<Shared>,
    index: usize,
}

impl Drain {
    /// Nothing open, not draining.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the core is shutting down.
    pub fn is_draining(&self) -> bool {
        self.0.draining.get()
    }

    /// Registers a connection.
    pub fn enter(&self) -> DrainGuard {
        let mut sleepers = self.0.sleepers.borrow_mut();
        let index = self.0.free.borrow_mut().pop().unwrap_or(sleepers.len());
        if index == sleepers.len() {
            sleepers.push(None);
        }
        self.0.open.set(self.0.open.get() + 1);
        DrainGuard { shared: Rc::clone(&self.0), index }
    }

    /// Starts to drain: every idle connection is woken.
    pub fn start(&self) {
        self.0.draining.set(true);
        for sleeper in self.0.sleepers.borrow_mut().iter_mut() {
            if let Some(waker) = sleeper.take() {
                waker.wake();
            }
        }
    }

    /// Waits until no connection is open.
    pub async fn empty(&self) {
        std::future::poll_fn(|cx| {
            if self.0.open.get() == 0 {
                return std::task::Poll::Ready(());
            }
            *self.0.waiting_for_empty.borrow_mut() = Some(cx.waker().clone());
            std::task::Poll::Pending
        })
        .await;
    }
}

impl DrainGuard {
    /// Whether the core is shutting down; if not, the task is woken when that starts.
    pub fn poll_draining(&self, cx: &mut Context<'_>) -> bool {
        if self.shared.draining.get() {
            return true;
        }
        let mut sleepers = self.shared.sleepers.borrow_mut();
        match &mut sleepers[self.index] {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            slot => *slot = Some(cx.waker().clone()),
        }
        false
    }

    /// Whether the core is shutting down.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.get()
    }
}

impl Drop for DrainGuard {
    fn drop(&mut self) {
        self.shared.sleepers.borrow_mut()[self.index] = None;
        self.shared.free.borrow_mut().push(self.index);
        self.shared.open.set(self.shared.open.get() - 1);
        if self.shared.open.get() == 0
            && let Some(waker) = self.shared.waiting_for_empty.borrow_mut().take()
        {
            waker.wake();
        }
    }
}
