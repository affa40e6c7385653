//! Memory that a core uses again: with many requests under way, an allocation costs more than most of their steps.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut, RangeInclusive};
use std::thread::LocalKey;

use super::Head;

/// The most of a kind that a core keeps.
const MOST_KEPT: usize = 256;
/// Room of a new buffer: for the field lines of most messages, or a small body.
const BUFFER_BYTES: usize = 1_024;
/// How large a buffer may be to be kept.
const KEPT_BYTES: RangeInclusive<usize> = BUFFER_BYTES..=16 * BUFFER_BYTES;

thread_local! {
    static HEADS: RefCell<Vec<Head>> = const { RefCell::new(Vec::new()) };
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What a core keeps, empty, while nobody needs it.
pub trait Reusable: Default + 'static {
    /// A new one with room for most uses.
    fn with_room() -> Self;

    /// Empties it; whether its memory is worth keeping.
    fn empty(&mut self) -> bool;

    /// Those that the core keeps.
    fn kept() -> &'static LocalKey<RefCell<Vec<Self>>>;
}

/// A value whose memory goes back to its core's store when it is dropped, so that idle connections hold none and busy
/// ones allocate none. The default one has no memory.
#[derive(Debug, Default)]
pub struct Pooled<T: Reusable>(T);

/// A head that is used again.
pub type PooledHead = Pooled<Head>;
/// Bytes whose memory is used again.
pub type Buffer = Pooled<Vec<u8>>;

impl<T: Reusable> Pooled<T> {
    /// An empty one with room for most uses, if possible one that was used before.
    pub fn take() -> Self {
        Self(T::kept().with_borrow_mut(Vec::pop).unwrap_or_else(T::with_room))
    }

    /// The value itself, whose memory does not come back.
    pub fn into_inner(mut self) -> T {
        std::mem::take(&mut self.0)
    }
}

impl<T: Reusable> From<T> for Pooled<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Reusable> Deref for Pooled<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Reusable> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Reusable> Drop for Pooled<T> {
    fn drop(&mut self) {
        let mut value = std::mem::take(&mut self.0);
        if value.empty() {
            // A thread that ends keeps nothing.
            let _ = T::kept().try_with(|kept| {
                let mut kept = kept.borrow_mut();
                if kept.len() < MOST_KEPT {
                    kept.push(value);
                }
            });
        }
    }
}

impl Reusable for Head {
    fn with_room() -> Self {
        Self::with_room()
    }

    fn empty(&mut self) -> bool {
        self.clear();
        true
    }

    fn kept() -> &'static LocalKey<RefCell<Vec<Self>>> {
        &HEADS
    }
}

impl Reusable for Vec<u8> {
    fn with_room() -> Self {
        Self::with_capacity(BUFFER_BYTES)
    }

    fn empty(&mut self) -> bool {
        self.clear();
        KEPT_BYTES.contains(&self.capacity())
    }

    fn kept() -> &'static LocalKey<RefCell<Vec<Self>>> {
        &BUFFERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_what_was_in_it_is_gone() {
        let mut buffer = Buffer::take();
        buffer.extend_from_slice(b"secret");
        let memory = buffer.as_ptr();
        drop(buffer);
        let again = Buffer::take();
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), memory);
    }

    #[test]
    fn too_small_and_too_large_ones_and_more_than_enough_are_not_kept() {
        for unkept in [Buffer::default(), vec![1].into(), vec![1; 1 + KEPT_BYTES.end()].into()] {
            drop(unkept);
        }
        assert_eq!(BUFFERS.with_borrow(Vec::len), 0);
        drop((0..2 * MOST_KEPT).map(|_| Buffer::take()).collect::<Vec<_>>());
        assert_eq!(BUFFERS.with_borrow(Vec::len), MOST_KEPT);
        assert_eq!(Buffer::take().into_inner().capacity(), BUFFER_BYTES);
        assert_eq!(BUFFERS.with_borrow(Vec::len), MOST_KEPT - 1, "its memory is somebody else's now");
    }
}
