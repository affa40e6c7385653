//! Request ids: ours, or the caller's where it is well-formed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayString;

const INLINE: usize = 48;
const LONGEST: usize = 128;

/// The id of one request: 1 to 128 of `A-Z a-z 0-9 . _ -`. Short ones, ours among them, take no allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(Text);

#[derive(Clone, PartialEq, Eq)]
enum Text {
    Short(ArrayString<INLINE>),
    Long(Box<str>),
}

impl RequestId {
    /// Keeps an inbound id if it is well-formed.
    pub fn kept(inbound: &[u8]) -> Option<Self> {
        let fits = (1..=LONGEST).contains(&inbound.len());
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !fits || !inbound.iter().all(allowed) {
            return None;
        }
        let text = std::str::from_utf8(inbound).ok()?;
        Some(Self(ArrayString::from(text).map_or_else(|_| Text::Long(text.into()), Text::Short)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Short(text) => text,
            Text::Long(text) => text,
        }
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Makes ids of 26 characters (128 bits in Crockford's base 32): 64 bits that are this core's own since the
/// start, and a counter stirred by an odd factor, which keeps it unique and lets neighbours differ early.
#[derive(Debug)]
pub struct RequestIds {
    prefix: ArrayString<INLINE>,
    next: AtomicU64,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl RequestIds {
    /// Ids of one core. `seed` is random for each process; `core` sets its cores apart.
    pub fn new(seed: u64, core: u64) -> Self {
        let mut prefix = ArrayString::new();
        push_base32(stir(seed ^ stir(core.wrapping_add(1))), &mut prefix);
        Self { prefix, next: AtomicU64::new(stir(seed)) }
    }

    /// The next id.
    pub fn next(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut text = self.prefix;
        push_base32(number, &mut text);
        RequestId(Text::Short(text))
    }
}

/// Appends a number in 13 digits, for which there is room.
fn push_base32(number: u64, text: &mut ArrayString<INLINE>) {
    for place in (0..13).rev() {
        let digit = ALPHABET[(number >> (5 * place) & 31) as usize];
        let _ = text.try_push(char::from(digit));
    }
}

/// The next number of `SplitMix64` from a seed, whose low and high halves are equally good.
pub const fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    stir(*state)
}

/// The finalizer of `SplitMix64` (Steele, Lea, Flood, 2014): a bijection that spreads neighbouring numbers.
pub(super) const fn stir(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
