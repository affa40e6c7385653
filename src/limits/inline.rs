//! A list that lives on the stack while it is short.

use std::ops::{Deref, DerefMut};

/// How many items fit before the list allocates; requests match two or three policies.
const ROOM: usize = 4;

/// A list of up to [`ROOM`] items without an allocation, and of any length with one.
#[derive(Clone, Debug)]
pub(super) struct Inline<T> {
    len: usize,
    near: [T; ROOM],
    far: Vec<T>,
}

impl<T: Copy> Inline<T> {
    /// An empty list; `blank` fills the unused places.
    pub(super) const fn new(blank: T) -> Self {
        Self { len: 0, near: [blank; ROOM], far: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.far.clear();
    }

    pub(super) fn push(&mut self, item: T) {
        if let Some(place) = self.near.get_mut(self.len) {
            *place = item;
        } else {
            if self.far.is_empty() {
                self.far.extend_from_slice(&self.near);
            }
            self.far.push(item);
        }
        self.len += 1;
    }
}

impl<T> Deref for Inline<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.near.get(..self.len).unwrap_or(&self.far)
    }
}

impl<T> DerefMut for Inline<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.near.get_mut(..self.len).unwrap_or(&mut self.far)
    }
}

impl<T: Copy> Extend<T> for Inline<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_past_its_room() {
        for len in [0, 1, ROOM - 1, ROOM, ROOM + 1, 3 * ROOM] {
            let mut list = Inline::new(0);
            (0..len).for_each(|item| list.push(item));
            assert_eq!(list.len(), len);
            assert!(list.iter().copied().eq(0..len));
            list.iter_mut().for_each(|item| *item += 1);
            assert!(list.iter().copied().eq(1..=len));
        }
    }
}
