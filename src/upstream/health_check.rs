//! Active health checks: a request of our own now and then, and what its answers say in a row.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use super::connection::Connection;
use super::groups::Member;
use super::pool::OpenCount;
use super::rules::CheckRules;
use crate::clock::Now;
use crate::message::{Head, response_head};

/// What the checks of one server say. Until enough of them failed it counts as healthy.
#[derive(Debug, Default)]
pub(super) struct Checked {
    is_down: AtomicBool,
    /// Results in a row that speak against `is_down`.
    against: AtomicU32,
    due_nanos: AtomicU64,
    is_running: AtomicBool,
}

impl Checked {
    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    /// Whether a check is to be started now; the next one is due an interval later.
    pub(super) fn start(&self, now: Now, rules: &CheckRules) -> bool {
        let is_due = now.monotonic_nanos >= self.due_nanos.load(Ordering::Relaxed);
        if !is_due || self.is_running.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.due_nanos.store(now.monotonic_nanos + rules.interval_nanos, Ordering::Relaxed);
        true
    }

    /// Takes a result. True if it changed what is thought of the server.
    pub(super) fn learn(&self, is_healthy: bool, rules: &CheckRules) -> bool {
        self.is_running.store(false, Ordering::Relaxed);
        if is_healthy != self.is_down() {
            self.against.store(0, Ordering::Relaxed);
            return false;
        }
        let needed = if is_healthy { rules.healthy_after } else { rules.unhealthy_after };
        let changes = self.against.fetch_add(1, Ordering::Relaxed) + 1 >= needed;
        if changes {
            self.is_down.store(!is_healthy, Ordering::Relaxed);
            self.against.store(0, Ordering::Relaxed);
        }
        changes
    }
}

/// Asks a server how it is, on a connection of its own.
pub(super) async fn ask(member: &Member, rules: &CheckRules) -> bool {
    let within = Duration::from_nanos(rules.timeout_nanos);
    tokio::time::timeout(within, status(member, rules))
        .await
        .is_ok_and(|status| matches!(status, Some(200..=399)))
}

async fn status(member: &Member, rules: &CheckRules) -> Option<u16> {
    let open = OpenCount::new(&Rc::new(Cell::new(0)));
    let mut connection = Connection::open(&member.upstream, member.server.address, open).await.ok()?;
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: tollgate-health-check\r\nconnection: close\r\n\r\n",
        rules.path, member.upstream.authority
    );
    let (mut at, mut head) = (0, Head::new());
    poll_fn(|cx| {
        while at < request.len() {
            match connection.poll_write(cx, &request.as_bytes()[at..]) {
                Poll::Ready(Ok(written)) if written > 0 => at += written,
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        let _ = connection.poll_flush(cx);
        loop {
            head.clear();
            match response_head(&connection.input, false, &mut head) {
                Err(_) => return Poll::Ready(None),
                Ok(Some(found)) => return Poll::Ready(Some(found.status)),
                Ok(None) => {}
            }
            match connection.poll_read_more(cx) {
                Poll::Ready(Ok(read)) if read > 0 => {}
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const SECOND: u64 = 1_000_000_000;

    fn rules() -> CheckRules {
        CheckRules {
            path: "/health".into(),
            interval_nanos: 5 * SECOND,
            timeout_nanos: SECOND,
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }

    #[test]
    fn only_results_in_a_row_change_what_is_thought() {
        let (checked, rules) = (Checked::default(), rules());
        for (is_healthy, changes, is_down) in [
            (false, false, false),
            (false, false, false),
            (true, false, false),
            (false, false, false),
            (false, false, false),
            (false, true, true),
            (true, false, true),
            (false, false, true),
            (true, false, true),
            (true, true, false),
        ] {
            assert_eq!((checked.learn(is_healthy, &rules), checked.is_down()), (changes, is_down));
        }
    }

    #[test]
    fn checks_come_one_at_a_time_and_an_interval_apart() {
        let (clock, checked, rules) = (Clock::manual(0), Checked::default(), rules());
        assert!(checked.start(clock.now(), &rules));
        clock.advance(Duration::from_secs(5));
        assert!(!checked.start(clock.now(), &rules), "the first one is still running");
        checked.learn(true, &rules);
        assert!(checked.start(clock.now(), &rules));
        checked.learn(true, &rules);
        assert!(!checked.start(clock.now(), &rules), "too early");
    }
}
