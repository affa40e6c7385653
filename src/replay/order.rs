//! Lines in the order of their arrival.
//!
//! A line is written when its answer ends, and each core writes its own, so a log is nearly in order and no more.
//! Lines wait in a heap of fixed size until as many later ones have come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::line::Line;

/// How many lines wait. At 10,000 requests a second this is more than six seconds of them.
const WAITING: usize = 65_536;

/// A heap of waiting lines, the earliest on top; equal times stay in the log's order.
#[derive(Default)]
pub(super) struct InOrder {
    waiting: BinaryHeap<Reverse<Waiting>>,
    next: u64,
}

struct Waiting {
    place: (u64, u64),
    line: Line,
}

impl InOrder {
    /// Takes a line, and gives the earliest back once enough wait.
    pub(super) fn push(&mut self, line: Line) -> Option<Line> {
        self.waiting.push(Reverse(Waiting { place: (line.unix_millis, self.next), line }));
        self.next += 1;
        if self.waiting.len() > WAITING { self.pop() } else { None }
    }

    /// What still waits, in order.
    pub(super) fn rest(mut self) -> impl Iterator<Item = Line> {
        std::iter::from_fn(move || self.pop())
    }

    fn pop(&mut self) -> Option<Line> {
        self.waiting.pop().map(|Reverse(waiting)| waiting.line)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}
