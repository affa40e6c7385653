//! A key server for tests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::HeaderValue;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Freshness, LoadFailed, Loaded};

/// A source whose answers a test sets, which counts loads and can be held back.
#[derive(Clone, Debug)]
pub(in crate::authentication) struct FakeSource(Arc<State>);

#[derive(Debug)]
struct State {
    answer: Mutex<Option<String>>,
    etag: Mutex<Option<HeaderValue>>,
    freshness: Mutex<Freshness>,
    loads: AtomicUsize,
    not_modified: AtomicUsize,
    gate: Semaphore,
}

impl PartialEq for FakeSource {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl FakeSource {
    pub(in crate::authentication) fn answering(set: Option<String>) -> Self {
        Self(Arc::new(State {
            answer: Mutex::new(set),
            etag: Mutex::default(),
            freshness: Mutex::default(),
            loads: AtomicUsize::new(0),
            not_modified: AtomicUsize::new(0),
            gate: Semaphore::new(1),
        }))
    }

    pub(in crate::authentication) fn answer(&self, set: Option<String>) {
        *self.0.answer.lock().unwrap() = set;
    }

    /// Sends this validator, and 304 to whoever sends it back.
    pub(in crate::authentication) fn etag(&self, etag: &'static str) {
        *self.0.etag.lock().unwrap() = Some(HeaderValue::from_static(etag));
    }

    /// Says for how long its answers are fresh.
    pub(in crate::authentication) fn max_age(&self, seconds: u64) {
        *self.0.freshness.lock().unwrap() = Freshness::Seconds(seconds);
    }

    pub(in crate::authentication) fn loads(&self) -> usize {
        self.0.loads.load(Ordering::SeqCst)
    }

    /// How many of the loads were answered with 304.
    pub(in crate::authentication) fn not_modified(&self) -> usize {
        self.0.not_modified.load(Ordering::SeqCst)
    }

    /// Holds every load back until the guard is dropped.
    pub(in crate::authentication) fn hold(&self) -> SemaphorePermit<'_> {
        self.0.gate.try_acquire().unwrap()
    }

    pub(super) async fn load(&self, known: Option<&HeaderValue>) -> Result<Loaded, LoadFailed> {
        let state = &*self.0;
        state.loads.fetch_add(1, Ordering::SeqCst);
        let _passed = state.gate.acquire().await.unwrap();
        let answer = state.answer.lock().unwrap().clone().ok_or(LoadFailed::Status(500))?;
        let (etag, freshness) = (state.etag.lock().unwrap().clone(), *state.freshness.lock().unwrap());
        if known.is_some() && known == etag.as_ref() {
            state.not_modified.fetch_add(1, Ordering::SeqCst);
            return Ok(Loaded::NotModified { freshness });
        }
        Ok(Loaded::Set { text: answer.into_bytes(), etag, freshness })
    }
}
