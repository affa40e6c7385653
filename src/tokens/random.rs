//! Randomness as an argument, so that a test can hold the dice.

use super::Error;

/// Where unpredictable bytes come from.
pub trait Random: Send + Sync {
    /// Fills `into` with bytes that nobody can predict; [`Error::Randomness`] if there are none.
    fn fill(&self, into: &mut [u8]) -> Result<(), Error>;
}

/// The machine's generator (AWS-LC's, seeded by the operating system).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, into: &mut [u8]) -> Result<(), Error> {
        aws_lc_rs::rand::fill(into).map_err(|_| Error::Randomness)
    }
}

/// The digits of base62, in the order of their values.
pub(super) const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The value of a base62 digit.
pub(super) fn base62_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'Z' => Some(digit - b'A' + 10),
        b'a'..=b'z' => Some(digit - b'a' + 36),
        _ => None,
    }
}

/// Appends `count` base62 characters, each equally likely: bytes of 248 and above are drawn again, because
/// 256 is no multiple of 62.
pub(super) fn push_base62(into: &mut String, count: usize, random: &dyn Random) -> Result<(), Error> {
    let end = into.len() + count;
    let mut drawn = [0_u8; 64];
    while into.len() < end {
        random.fill(&mut drawn)?;
        let fair = drawn.iter().filter(|byte| **byte < 248);
        for byte in fair.take(end - into.len()) {
            into.push(char::from(BASE62[usize::from(byte % 62)]));
        }
    }
    Ok(())
}

/// Appends the last `count` base62 digits of a number.
pub(super) fn push_base62_number(into: &mut String, count: usize, number: u64) {
    let digits = (0..count as u32).rev().map(|place| number / 62_u64.pow(place) % 62);
    into.extend(digits.map(|digit| char::from(BASE62[digit as usize])));
}

#[cfg(test)]
pub(crate) mod dice {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{Error, Random};

    /// Predictable bytes for tests: `SplitMix64` from a seed.
    pub(crate) struct Dice(AtomicU64);

    impl Dice {
        pub(crate) fn new(seed: u64) -> Self {
            Self(AtomicU64::new(seed))
        }
    }

    impl Random for Dice {
        fn fill(&self, into: &mut [u8]) -> Result<(), Error> {
            for chunk in into.chunks_mut(8) {
                let mut z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
            }
            Ok(())
        }
    }
}
