//! A token in memory: 64 bytes, one line of the cache.
//!
//! # Decision
//!
//! A record is read by every core while one thread changes it, without a lock: a sequence lock over atomics
//! (Boehm, "Can seqlocks get along with programming language memory models?", 2012). The reader sees either all
//! of the old values or all of the new ones, and reads again if it met a change.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::clock::Now;
use crate::domain::TokenId;
use crate::tokens::random::{BASE62, base62_value};
use crate::tokens::{TokenRecord, TokenState};

/// Stands for a time that never comes, and for the end of 32-bit seconds (2106).
pub(super) const NEVER: u32 = u32::MAX;
/// A use is written back once it is this long after the last one that was.
const USE_GRANULARITY_MINUTES: u32 = 15;
/// How often a reader looks again before it lets others run.
const SPINS: u32 = 64;

const ID_PREFIX: &str = "tok_";
const ID_DIGITS: usize = 16;
const DIGIT_BITS: u32 = 6;
/// In the place of an id's first digit: the rest is a number in the list of ids of another shape.
const LISTED: u128 = 63 << (DIGIT_BITS * (ID_DIGITS as u32 - 1));

/// A token's id in 96 bits: six for each of the 16 digits behind `tok_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackedId(u128);

impl PackedId {
    /// [`None`] for an id of another shape.
    pub(super) fn of(id: &str) -> Option<Self> {
        let digits = id.strip_prefix(ID_PREFIX).filter(|digits| digits.len() == ID_DIGITS)?;
        let mut packed = 0;
        for digit in digits.bytes() {
            packed = packed << DIGIT_BITS | u128::from(base62_value(digit)?);
        }
        Some(Self(packed))
    }

    /// Stands for an id of another shape, by its number in the list of those.
    pub(super) const fn listed(number: u32) -> Self {
        Self(LISTED | number as u128)
    }

    /// The number in the list, or the id itself.
    pub(super) fn unpack(self) -> Result<TokenId, u32> {
        if self.0 & LISTED == LISTED {
            return Err(self.0 as u32);
        }
        let mut text = *b"tok_................";
        let mut rest = self.0;
        for place in text[ID_PREFIX.len()..].iter_mut().rev() {
            *place = BASE62.get((rest & 63) as usize).copied().unwrap_or(b'0');
            rest >>= DIGIT_BITS;
        }
        Ok(TokenId::from(str::from_utf8(&text).unwrap_or_default()))
    }
}

/// What a record says, at one moment. Times are 32-bit seconds since 1970, uses minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Values {
    /// The first 128 bits of the token's digest.
    pub(super) key: u128,
    pub(super) id: PackedId,
    /// The family's number.
    pub(super) number: u64,
    /// The number of what it may do.
    pub(super) grants: u32,
    /// The number of its workspace.
    pub(super) workspace: u32,
    pub(super) expires: u32,
    /// 0 if revoked, the end of the overlap if rotated.
    pub(super) ends: u32,
    pub(super) used_minute: u32,
    pub(super) written_minute: u32,
}

impl Values {
    pub(super) fn new(key: u128, id: PackedId, token: &TokenRecord, grants: u32, workspace: u32) -> Self {
        let seconds = |time: Option<u64>| time.map_or(NEVER, |time| u32::try_from(time).unwrap_or(NEVER));
        let is_revoked = token.revoked_at_unix_seconds.is_some();
        let written_minute = token.last_used_unix_seconds.map_or(0, |at| (at / 60) as u32);
        Self {
            key,
            id,
            number: token.number,
            grants,
            workspace,
            expires: seconds(token.expires_at_unix_seconds),
            ends: if is_revoked { 0 } else { seconds(token.overlap_until_unix_seconds) },
            used_minute: written_minute,
            written_minute,
        }
    }

    /// Takes over when the token was used from what it replaces in memory.
    pub(super) const fn continue_from(&mut self, before: &Self) {
        if before.used_minute > self.used_minute {
            self.used_minute = before.used_minute;
        }
        if before.written_minute > self.written_minute {
            self.written_minute = before.written_minute;
        }
    }

    pub(super) fn state_at(&self, now: Now) -> TokenState {
        let over = |end: u32| end != NEVER && u64::from(end) <= now.unix_seconds();
        if over(self.ends) {
            TokenState::Revoked
        } else if over(self.expires) {
            TokenState::Expired
        } else {
            TokenState::Active
        }
    }

    /// When it stops working.
    pub(super) fn end(&self) -> Option<u64> {
        let end = self.expires.min(self.ends);
        (end != NEVER).then_some(u64::from(end))
    }

    /// When it was used, in seconds since 1970, if that is to be written back: once it is a quarter of an hour
    /// after the last written use, or at any distance at the end.
    pub(super) fn use_to_write(&self, at_the_end: bool) -> Option<u64> {
        let distance = self.used_minute.saturating_sub(self.written_minute);
        let least = if at_the_end { 1 } else { USE_GRANULARITY_MINUTES };
        (distance >= least).then(|| u64::from(self.used_minute) * 60)
    }
}

/// A record's place in memory.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Record {
    /// Odd while the record is changed.
    version: AtomicU32,
    id_low: AtomicU32,
    id_high: AtomicU64,
    key_high: AtomicU64,
    key_low: AtomicU64,
    number: AtomicU64,
    grants: AtomicU32,
    workspace: AtomicU32,
    expires: AtomicU32,
    ends: AtomicU32,
    used_minute: AtomicU32,
    written_minute: AtomicU32,
}

impl Record {
    /// A place that stands for no token.
    pub(super) const fn empty() -> Self {
        Self {
            version: AtomicU32::new(0),
            id_low: AtomicU32::new(0),
            id_high: AtomicU64::new(0),
            key_high: AtomicU64::new(0),
            key_low: AtomicU64::new(0),
            number: AtomicU64::new(0),
            grants: AtomicU32::new(0),
            workspace: AtomicU32::new(0),
            expires: AtomicU32::new(0),
            ends: AtomicU32::new(0),
            used_minute: AtomicU32::new(0),
            written_minute: AtomicU32::new(0),
        }
    }

    /// What `take` makes of the record's values. It is called again if they changed meanwhile, so what it reads
    /// beside them, by their numbers, is of the same moment.
    pub(super) fn read<T>(&self, take: impl Fn(&Values) -> T) -> T {
        let mut spins = 0;
        loop {
            let before = self.version.load(Ordering::Acquire);
            if before.is_multiple_of(2) {
                let taken = take(&self.load());
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == before {
                    return taken;
                }
            }
            spins += 1;
            if spins % SPINS == 0 {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// Changes the record. Only one thread at a time may.
    pub(super) fn write(&self, values: &Values) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.id_low.store(values.id.0 as u32, Ordering::Relaxed);
        self.id_high.store((values.id.0 >> 32) as u64, Ordering::Relaxed);
        self.key_high.store((values.key >> 64) as u64, Ordering::Relaxed);
        self.key_low.store(values.key as u64, Ordering::Relaxed);
        self.number.store(values.number, Ordering::Relaxed);
        self.grants.store(values.grants, Ordering::Relaxed);
        self.workspace.store(values.workspace, Ordering::Relaxed);
        self.expires.store(values.expires, Ordering::Relaxed);
        self.ends.store(values.ends, Ordering::Relaxed);
        self.used_minute.store(values.used_minute, Ordering::Relaxed);
        self.written_minute.store(values.written_minute, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// Notes a use. Writes memory once a minute, so that cores do not fight over a busy token.
    pub(super) fn touch(&self, now: Now) {
        let minute = (now.unix_seconds() / 60) as u32;
        if self.used_minute.load(Ordering::Relaxed) < minute {
            self.used_minute.store(minute, Ordering::Relaxed);
        }
    }

    /// Notes that a use was written back.
    pub(super) fn written(&self, unix_seconds: u64) {
        self.written_minute.store((unix_seconds / 60) as u32, Ordering::Relaxed);
    }

    fn load(&self) -> Values {
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let (id_high, id_low) = (self.id_high.load(Ordering::Relaxed), self.id_low.load(Ordering::Relaxed));
        Values {
            key: wide(self.key_high.load(Ordering::Relaxed), self.key_low.load(Ordering::Relaxed)),
            id: PackedId(u128::from(id_high) << 32 | u128::from(id_low)),
            number: self.number.load(Ordering::Relaxed),
            grants: self.grants.load(Ordering::Relaxed),
            workspace: self.workspace.load(Ordering::Relaxed),
            expires: self.expires.load(Ordering::Relaxed),
            ends: self.ends.load(Ordering::Relaxed),
            used_minute: self.used_minute.load(Ordering::Relaxed),
            written_minute: self.written_minute.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_is_one_line_of_the_cache() {
        assert_eq!((size_of::<Record>(), align_of::<Record>()), (64, 64));
    }

    #[test]
    fn ids_of_another_shape_are_listed() {
        for id in
            ["", "tok_", "tok_abc", "tok_0123456789abcde-", "key_0123456789abcdef", "tok_0123456789abcdefg"]
        {
            assert_eq!(PackedId::of(id), None, "{id}");
        }
        assert_eq!(PackedId::listed(7).unpack(), Err(7));
        assert_eq!(PackedId::listed(u32::MAX).unpack(), Err(u32::MAX));
    }

    #[test]
    fn a_use_is_written_once_a_quarter_of_an_hour_and_at_the_end() {
        let values = |used_minute, written_minute| Values {
            key: 0,
            id: PackedId(0),
            number: 0,
            grants: 0,
            workspace: 0,
            expires: NEVER,
            ends: NEVER,
            used_minute,
            written_minute,
        };
        assert_eq!(values(100, 100).use_to_write(true), None);
        assert_eq!(values(114, 100).use_to_write(false), None);
        assert_eq!(values(114, 100).use_to_write(true), Some(114 * 60));
        assert_eq!(values(115, 100).use_to_write(false), Some(115 * 60));
        assert_eq!(values(100, 0).use_to_write(false), Some(100 * 60), "the first use");
    }

    /// A change is seen whole or not at all, however often it comes.
    #[test]
    fn a_reader_never_sees_half_a_change() {
        let record = Record::empty();
        let values = |n: u32| Values {
            key: u128::from(n) << 64 | u128::from(n),
            id: PackedId::listed(n),
            number: u64::from(n),
            grants: n,
            workspace: n,
            expires: n,
            ends: n,
            used_minute: n,
            written_minute: n,
        };
        record.write(&values(0));
        std::thread::scope(|scope| {
            scope.spawn(|| (1..200_000).for_each(|n| record.write(&values(n))));
            scope.spawn(|| {
                let mut last = 0;
                while last < 199_999 {
                    let seen = record.read(|values| *values);
                    assert_eq!(seen, values(seen.grants));
                    assert!(seen.grants >= last, "time went back");
                    last = seen.grants;
                }
            });
        });
    }

    proptest! {
        #[test]
        fn ids_are_packed_and_unpacked(digits in "[0-9A-Za-z]{16}") {
            let id = format!("tok_{digits}");
            prop_assert_eq!(&*PackedId::of(&id).unwrap().unpack().unwrap(), &*id);
        }
    }
}
