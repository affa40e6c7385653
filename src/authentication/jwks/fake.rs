//! A key server for tests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::LoadFailed;

/// A source whose answers a test sets, which counts loads and can be held back.
#[derive(Clone, Debug)]
pub(in crate::authentication) struct FakeSource(Arc<State>);

#[derive(Debug)]
struct State {
    answer: Mutex<Option<String>>,
    loads: AtomicUsize,
    gate: Semaphore,
}

impl PartialEq for FakeSource {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl FakeSource {
    pub(in crate::authentication) fn answering(set: Option<String>) -> Self {
        let (answer, loads) = (Mutex::new(set), AtomicUsize::new(0));
        Self(Arc::new(State { answer, loads, gate: Semaphore::new(1) }))
    }

    pub(in crate::authentication) fn answer(&self, set: Option<String>) {
        *self.0.answer.lock().unwrap() = set;
    }

    pub(in crate::authentication) fn loads(&self) -> usize {
        self.0.loads.load(Ordering::SeqCst)
    }

    /// Holds every load back until the guard is dropped.
    pub(in crate::authentication) fn hold(&self) -> SemaphorePermit<'_> {
        self.0.gate.try_acquire().unwrap()
    }

    pub(super) async fn load(&self) -> Result<Vec<u8>, LoadFailed> {
        self.0.loads.fetch_add(1, Ordering::SeqCst);
        let _passed = self.0.gate.acquire().await.unwrap();
        let answer = self.0.answer.lock().unwrap().clone();
        answer.map(String::into_bytes).ok_or(LoadFailed::Status(500))
    }
}
