//! Tokens that may be spent here, in one word: a request takes of them by one compare-and-swap.
//!
//! ```text
//! 63  60 59          24 23       0
//! [ round ][ dies, 2 ms ][ tokens ]
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

const TOKEN_BITS: u32 = 24;
/// Tokens of one lease at most, and so the largest cost of one request.
pub(in crate::limits) const MOST_TOKENS: u32 = (1 << TOKEN_BITS) - 1;
const TOKENS: u64 = MOST_TOKENS as u64;
const DIES_BITS: u32 = 36;
const ROUND_SHIFT: u32 = TOKEN_BITS + DIES_BITS;
/// The death is kept in units of 2^21 ns, rounded down.
const UNIT_SHIFT: u32 = 21;
/// A lease of this lives at its begin, and no longer than this.
pub(super) const UNIT_NANOS: u64 = 1 << UNIT_SHIFT;

/// Tokens and when they die.
#[derive(Debug, Default)]
pub(super) struct Lease(AtomicU64);

/// Of which lease something was taken, so that it can be given back to that one only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::limits) struct Mark(u64);

impl Lease {
    /// Takes `cost` tokens if they are there and alive at `now`. Answers with the mark and what is left.
    pub(super) fn take(&self, cost: u32, now: u64) -> Option<(Mark, u32)> {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            if alive(word, now) < cost {
                return None;
            }
            let next = word - u64::from(cost);
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some((Mark(word >> TOKEN_BITS), (next & TOKENS) as u32)),
                Err(other) => word = other,
            }
        }
    }

    /// Undoes a [`Lease::take`] while the lease is the same. Of another it would raise tokens that the store was told are
    /// spent.
    pub(super) fn give_back(&self, mark: Mark, cost: u32) {
        let more = |word: u64| (word >> TOKEN_BITS == mark.0).then(|| word + u64::from(cost));
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }

    /// Tokens that may be spent at `now`.
    pub(super) fn unspent(&self, now: u64) -> u32 {
        alive(self.0.load(Ordering::Acquire), now)
    }

    /// Begins another round, in which nothing taken before is given back; answers with the tokens that are alive. Dead
    /// ones are dropped.
    pub(super) fn begin_round(&self, now: u64) -> u32 {
        self.change(|word| (alive(word, now), word >> TOKEN_BITS << UNIT_SHIFT & DIES_MASK_NANOS))
    }

    /// Adds tokens to those that are alive at `now`, and lets all die at `dies`. Answers with all. Dead ones stay dead: the
    /// store may have refilled the bucket in their place before it was asked.
    pub(super) fn renew(&self, tokens: u32, dies: u64, now: u64) -> u32 {
        self.change(|word| (alive(word, now).saturating_add(tokens).min(MOST_TOKENS), dies))
    }

    /// Spends up to so many tokens, and says how many.
    pub(super) fn spend_up_to(&self, most: u32, now: u64) -> u32 {
        let mut spent = 0;
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            spent = alive(word, now).min(most);
            (spent > 0).then(|| word - u64::from(spent))
        });
        spent
    }

    /// Drops every token.
    pub(super) fn clear(&self) {
        self.change(|_| (0, 0));
    }

    fn change(&self, to: impl Fn(u64) -> (u32, u64)) -> u32 {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let (tokens, dies) = to(word);
            let round = (word >> ROUND_SHIFT).wrapping_add(1) << ROUND_SHIFT;
            let next = round | (dies >> UNIT_SHIFT & DIES) << TOKEN_BITS | u64::from(tokens);
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return tokens,
                Err(other) => word = other,
            }
        }
    }
}

const DIES: u64 = (1 << DIES_BITS) - 1;
const DIES_MASK_NANOS: u64 = DIES << UNIT_SHIFT;

const fn alive(word: u64, now: u64) -> u32 {
    if now >> UNIT_SHIFT < (word >> TOKEN_BITS) & DIES { (word & TOKENS) as u32 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn nothing_is_taken_that_is_not_there_or_dead() {
        let lease = Lease::default();
        assert_eq!(lease.take(1, 0), None);
        lease.renew(3, 5 * SECOND, 0);
        assert_eq!(lease.take(4, SECOND), None);
        assert_eq!(lease.take(2, SECOND).map(|(_, left)| left), Some(1));
        assert_eq!(lease.take(1, 5 * SECOND), None);
        assert_eq!(lease.unspent(5 * SECOND), 0);
        assert_eq!(lease.take(1, 4 * SECOND).map(|(_, left)| left), Some(0));
    }

    #[test]
    fn it_dies_early_rather_than_late() {
        let lease = Lease::default();
        lease.renew(1, 3 * SECOND + 1, 0);
        assert_eq!(lease.unspent(3 * SECOND + 1), 0);
        assert_eq!(lease.unspent(3 * SECOND - (1 << UNIT_SHIFT)), 1);
    }

    #[test]
    fn only_the_same_lease_takes_back() {
        let lease = Lease::default();
        lease.renew(3, 5 * SECOND, 0);
        let (mark, _) = lease.take(2, SECOND).unwrap();
        lease.give_back(mark, 2);
        assert_eq!(lease.unspent(SECOND), 3);
        let (mark, _) = lease.take(2, SECOND).unwrap();
        assert_eq!(lease.begin_round(SECOND), 1);
        lease.give_back(mark, 2);
        assert_eq!(lease.unspent(SECOND), 1, "the store was told that two are spent");
        assert_eq!(lease.renew(4, 6 * SECOND, SECOND), 5);
        assert_eq!(lease.unspent(5 * SECOND), 5);
    }

    #[test]
    fn a_round_keeps_the_living_and_drops_the_dead() {
        let lease = Lease::default();
        lease.renew(3, 5 * SECOND, 0);
        assert_eq!(lease.begin_round(SECOND), 3);
        assert_eq!(lease.take(1, 4 * SECOND).map(|(_, left)| left), Some(2));
        assert_eq!(lease.begin_round(5 * SECOND), 0);
        assert_eq!(lease.renew(1, 9 * SECOND, 5 * SECOND), 1);
    }

    #[test]
    fn threads_take_each_token_once() {
        let lease = Lease::default();
        lease.renew(10_000, 5 * SECOND, 0);
        let taken: usize = std::thread::scope(|scope| {
            let thread = || (0..4_000).filter(|_| lease.take(1, SECOND).is_some()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(thread)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 10_000);
    }
}
