//! One after the other, and nobody waits without an end: a disk that hangs holds up whoever uses it, and nobody else
//! for longer than a while.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Failure;

/// Something that one uses at a time.
#[derive(Debug)]
pub(super) struct Turn<T> {
    /// [`None`] while somebody uses it.
    free: Mutex<Option<T>>,
    freed: Condvar,
    patience: Duration,
}

/// What others were waited for that did not end.
#[derive(Debug, thiserror::Error)]
#[error("what somebody else asked of it has not ended within {0:?}; its disk may hang")]
struct Hangs(Duration);

impl<T> Turn<T> {
    /// Nobody waits longer than `patience`.
    pub(super) const fn new(one: T, patience: Duration) -> Self {
        Self { free: Mutex::new(Some(one)), freed: Condvar::new(), patience }
    }

    /// Waits for its turn, and works.
    pub(super) fn take<V>(&self, work: impl FnOnce(&mut T) -> Result<V, Failure>) -> Result<V, Failure> {
        let mut given_back = GivenBack { turn: self, one: None };
        let waited = self.freed.wait_timeout_while(self.free(), self.patience, |free| free.is_none());
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        given_back.one = free.take();
        drop(free);
        let one = given_back.one.as_mut().ok_or_else(|| Failure::Database(Hangs(self.patience).into()))?;
        work(one)
    }

    fn free(&self) -> MutexGuard<'_, Option<T>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives back what was taken, also where the work panics.
struct GivenBack<'t, T> {
    turn: &'t Turn<T>,
    one: Option<T>,
}

impl<T> Drop for GivenBack<'_, T> {
    fn drop(&mut self) {
        if let Some(one) = self.one.take() {
            *self.turn.free() = Some(one);
            self.turn.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn each_has_its_turn() {
        let turn = Turn::new(0, Duration::from_mins(1));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        turn.take(|one| {
                            *one += 1;
                            Ok(())
                        })
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(turn.take(|one| Ok(*one)).unwrap(), 800);
    }

    #[test]
    fn nobody_waits_for_ever_for_one_that_hangs() {
        let turn = Turn::new((), Duration::from_millis(20));
        let (go_on, hangs) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel();
        let turn = &turn;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                turn.take(|()| {
                    started.send(()).unwrap();
                    hangs.recv().unwrap();
                    Ok(())
                })
                .unwrap();
            });
            starts.recv().unwrap();
            let refused = turn.take(|()| Ok(()));
            assert!(matches!(refused, Err(Failure::Database(why)) if why.to_string().contains("may hang")));
            go_on.send(()).unwrap();
        });
        turn.take(|()| Ok(())).unwrap();
    }

    #[test]
    fn a_panic_keeps_nobody_out() {
        let turn = Turn::new((), Duration::from_millis(20));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            drop(turn.take(|()| -> Result<(), Failure> { panic!("as it may") }));
        }));
        assert!(panicked.is_err());
        turn.take(|()| Ok(())).unwrap();
    }
}
