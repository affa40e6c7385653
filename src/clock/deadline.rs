//! A deadline that costs nothing while it moves.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// One timer for everything that a connection waits for, one wait after the other.
///
/// Moving the due time later does not touch the timer wheel: the timer fires at its old time, sees that it is
/// early, and is armed again. A keep-alive connection so arms its timer about once per time-out instead of
/// several times per request.
#[derive(Debug, Default)]
pub struct Deadline {
    due: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// A deadline that never comes until it is set.
    pub const fn new() -> Self {
        Self { due: None, sleep: None }
    }

    /// Comes `after` from now, whatever was set before.
    pub fn set(&mut self, after: Duration) {
        self.due = Some(Instant::now() + after);
    }

    /// Comes `after` from now, but at the latest at `latest`.
    pub fn set_within(&mut self, after: Duration, latest: Instant) {
        self.due = Some((Instant::now() + after).min(latest));
    }

    /// Comes then.
    pub const fn set_at(&mut self, due: Instant) {
        self.due = Some(due);
    }

    /// Never comes.
    pub const fn clear(&mut self) {
        self.due = None;
    }

    /// Whether a time is set.
    pub const fn is_set(&self) -> bool {
        self.due.is_some()
    }

    /// Ready when the due time has come; pending otherwise, with the task woken at that time.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn moving_it_later_and_earlier_is_followed() {
        runtime().block_on(async {
            let mut deadline = Deadline::new();
            deadline.set(Duration::from_millis(1));
            let pending =
                std::future::poll_fn(|cx| Poll::Ready(deadline.poll_expired(cx).is_pending())).await;
            assert!(pending);
            deadline.set(Duration::from_millis(20));
            let start = Instant::now();
            std::future::poll_fn(|cx| deadline.poll_expired(cx)).await;
            assert!(start.elapsed() >= Duration::from_millis(19));
            deadline.set(Duration::from_hours(1));
            assert!(std::future::poll_fn(|cx| Poll::Ready(deadline.poll_expired(cx).is_pending())).await);
            deadline.set(Duration::from_millis(1));
            std::future::poll_fn(|cx| deadline.poll_expired(cx)).await;
            deadline.clear();
            assert!(std::future::poll_fn(|cx| Poll::Ready(deadline.poll_expired(cx).is_pending())).await);
        });
    }
}
