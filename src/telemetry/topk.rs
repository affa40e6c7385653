//! The most frequent of arbitrarily many names, in fixed memory.

use std::collections::HashMap;

use serde::Serialize;

use crate::clock::Now;

/// One of the most frequent names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Top {
    /// The name, cut to a fixed length.
    pub name: String,
    /// About how often it came lately: what is older than a minute counts half, and so on.
    pub count: u64,
    /// How many of these were marked, for example as refused.
    pub marked: u64,
}

/// The Space-Saving summary (Metwally, Agrawal, El Abbadi, 2005): `K` names with counts; an unknown name takes
/// the place of the rarest and inherits its count. A name that came more often than `total / K` is surely among
/// them, and no count is too low. Counts are halved once a minute, so that they speak of the present.
#[derive(Debug)]
pub struct TopK {
    hashes: [u32; K],
    counts: [u64; K],
    marked: [u64; K],
    names: Vec<String>,
    halved_at_nanos: u64,
    /// No count of a name is below it.
    floor: u64,
    /// Where the search for the rarest goes on.
    next: usize,
    half_life_nanos: u64,
}

const K: usize = 64;
const LONGEST_NAME_BYTES: usize = 200;
const HALF_LIFE_NANOS: u64 = 60_000_000_000;

impl Default for TopK {
    fn default() -> Self {
        Self {
            hashes: [0; K],
            counts: [0; K],
            marked: [0; K],
            names: Vec::new(),
            halved_at_nanos: 0,
            half_life_nanos: HALF_LIFE_NANOS,
            floor: 0,
            next: 0,
        }
    }
}

impl TopK {
    /// One whose counts are never halved: they speak of all the time since it was made.
    pub fn lasting() -> Self {
        Self { half_life_nanos: u64::MAX, ..Self::default() }
    }

    /// Counts a name once. `now` drives the halving.
    pub fn add(&mut self, name: &str, marked: bool, now: Now) {
        self.halve(now);
        let name = &name[..name.floor_char_boundary(LONGEST_NAME_BYTES)];
        let hash = hash(name);
        let at = self.find(hash, name).unwrap_or_else(|| self.take_place(hash, name));
        self.counts[at] += 1;
        self.marked[at] += u64::from(marked);
    }

    /// Adds what is there to `sums`: counts and marks by name.
    pub fn sum_into(&self, sums: &mut HashMap<String, (u64, u64)>) {
        for (at, name) in self.names.iter().enumerate().filter(|(at, _)| self.counts[*at] > 0) {
            let sum = sums.entry(name.clone()).or_default();
            sum.0 += self.counts[at];
            sum.1 += self.marked[at];
        }
    }

    /// The `most` largest of added-up counts, largest first.
    pub fn largest(sums: HashMap<String, (u64, u64)>, most: usize) -> Vec<Top> {
        let mut tops: Vec<Top> =
            sums.into_iter().map(|(name, (count, marked))| Top { name, count, marked }).collect();
        tops.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        tops.truncate(most);
        tops
    }

    fn find(&self, hash: u32, name: &str) -> Option<usize> {
        const LANE: usize = 16;
        for (lane, hashes) in self.hashes.chunks_exact(LANE).enumerate() {
            if !hashes.contains(&hash) {
                continue;
            }
            let found = (lane * LANE..(lane + 1) * LANE)
                .find(|&at| self.hashes[at] == hash && self.names.get(at).is_some_and(|known| known == name));
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn take_place(&mut self, hash: u32, name: &str) -> usize {
        let at = if self.names.len() < K {
            self.names.push(String::new());
            self.names.len() - 1
        } else {
            self.rarest()
        };
        self.hashes[at] = hash;
        self.marked[at] = 0;
        self.names[at].clear();
        self.names[at].push_str(name);
        at
    }

    /// A name with the lowest count. Where most names are new, and so many counts are equally low, the next of
    /// them is near.
    fn rarest(&mut self) -> usize {
        let is_rarest = |at: &usize| self.counts[*at] <= self.floor;
        let found = (self.next..K).chain(0..self.next).find(is_rarest);
        let at = found.unwrap_or_else(|| {
            let (at, lowest) =
                self.counts.iter().enumerate().min_by_key(|(_, count)| **count).unwrap_or((0, &0));
            self.floor = *lowest;
            at
        });
        self.next = (at + 1) % K;
        at
    }

    fn halve(&mut self, now: Now) {
        let passed = now.monotonic_nanos.saturating_sub(self.halved_at_nanos) / self.half_life_nanos;
        if passed == 0 {
            return;
        }
        self.halved_at_nanos = now.monotonic_nanos;
        let by = passed.min(63);
        for count in self.counts.iter_mut().chain(&mut self.marked) {
            *count >>= by;
        }
        self.floor >>= by;
    }
}

/// FNV-1a over the bytes, eight at a time; only a filter, names are compared as well.
fn hash(name: &str) -> u32 {
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    let mut state = 0xCBF2_9CE4_8422_2325_u64 ^ name.len() as u64;
    for word in words {
        state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(0x0100_0000_01B3).rotate_left(29);
    }
    for byte in rest {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    }
    (state ^ (state >> 32)) as u32
}
