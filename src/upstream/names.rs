//! Addresses behind an upstream's name, resolved beside the request path.
//!
//! The last good addresses stay while the name cannot be resolved.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use arc_swap::ArcSwap;

use crate::clock::Now;

/// The most addresses of one name that are used.
const MOST_ADDRESSES: usize = 32;

/// What is known of one name.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) host: String,
    addresses: ArcSwap<Vec<IpAddr>>,
    /// How often the addresses changed.
    generation: AtomicU64,
    due_nanos: AtomicU64,
    is_running: AtomicBool,
    is_failing: AtomicBool,
}

impl Name {
    pub(super) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            addresses: ArcSwap::default(),
            generation: AtomicU64::new(0),
            due_nanos: AtomicU64::new(0),
            is_running: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
        }
    }

    pub(super) fn addresses(&self) -> Arc<Vec<IpAddr>> {
        self.addresses.load_full()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether it is to be resolved now.
    pub(super) fn start(&self, now: Now, every_nanos: u64) -> bool {
        let is_due = now.monotonic_nanos >= self.due_nanos.load(Ordering::Relaxed);
        if !is_due || self.is_running.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.due_nanos.store(now.monotonic_nanos + every_nanos, Ordering::Relaxed);
        true
    }

    /// Takes an answer of the resolver, in whatever order it has the addresses.
    pub(super) fn learn(&self, found: io::Result<Vec<IpAddr>>) {
        self.is_running.store(false, Ordering::Relaxed);
        let none = || io::Error::other("it has no address");
        let found = found.and_then(|found| if found.is_empty() { Err(none()) } else { Ok(found) });
        match found {
            Ok(mut found) => {
                self.is_failing.store(false, Ordering::Relaxed);
                found.sort_unstable();
                found.dedup();
                found.truncate(MOST_ADDRESSES);
                if found != **self.addresses.load() {
                    tracing::info!(name = self.host, addresses = ?found, "an upstream's name has new addresses");
                    self.addresses.store(Arc::new(found));
                    self.generation.fetch_add(1, Ordering::Release);
                }
            }
            Err(error) => {
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(name = self.host, %error, "an upstream's name cannot be resolved; its last addresses stay");
                }
            }
        }
    }

    /// Asks the system's resolver on a thread of its own: it may block for long, and nothing waits for it at the
    /// end of the process. `then` runs when it has answered.
    pub(super) fn resolve(self: &Arc<Self>, then: impl FnOnce() + Send + 'static) {
        let name = Arc::clone(self);
        let run = move || {
            name.learn(name.look_up());
            then();
        };
        if let Err(error) = thread::Builder::new().name("tollgate-resolver".to_owned()).spawn(run) {
            self.learn(Err(error));
        }
    }

    fn look_up(&self) -> io::Result<Vec<IpAddr>> {
        Ok((self.host.as_str(), 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn the_last_good_addresses_stay_while_the_name_fails() {
        let name = Name::new("api.internal");
        name.learn(Err(io::ErrorKind::NotFound.into()));
        assert!(name.addresses().is_empty());
        name.learn(Ok(vec![address(2), address(1), address(2)]));
        assert_eq!((name.generation(), &**name.addresses()), (1, &[address(1), address(2)][..]));
        for failure in [Err(io::ErrorKind::TimedOut.into()), Ok(Vec::new())] {
            name.learn(failure);
            assert_eq!((name.generation(), name.addresses().len()), (1, 2));
        }
        name.learn(Ok(vec![address(1), address(2)]));
        assert_eq!(name.generation(), 1, "another order is no change");
        name.learn(Ok((0..=255).map(address).collect()));
        assert_eq!((name.generation(), name.addresses().len()), (2, MOST_ADDRESSES));
    }

    #[test]
    fn it_is_resolved_once_at_a_time_and_an_interval_apart() {
        let (clock, name) = (Clock::manual(0), Name::new("api.internal"));
        assert!(name.start(clock.now(), 10) && !name.start(clock.now(), 10));
        clock.advance(Duration::from_secs(1));
        assert!(!name.start(clock.now(), 10), "the resolver has not answered");
        name.learn(Ok(vec![address(1)]));
        assert!(name.start(clock.now(), 10));
    }
}
