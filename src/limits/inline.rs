//! A list that lives on the stack while it is short.

/// How many items fit before the list allocates; requests match two or three policies.
const ROOM: usize = 8;

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

    pub(super) fn push(&mut self, item: T) {
        match self.near.get_mut(self.len) {
            Some(place) => *place = item,
            None => self.far.push(item),
        }
        self.len += 1;
    }

    pub(super) fn extend(&mut self, items: impl IntoIterator<Item = T>) {
        items.into_iter().for_each(|item| self.push(item));
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.near[..self.len.min(ROOM)].iter().chain(&self.far)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.near[..self.len.min(ROOM)].iter_mut().chain(&mut self.far)
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
