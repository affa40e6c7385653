//! W3C Trace Context (Level 1, section 3.2): the trace that a request belongs to.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::request_id::stir;

const LENGTH: usize = 55;
const TRACE_ID: std::ops::Range<usize> = 3..35;
const PARENT_ID: std::ops::Range<usize> = 36..52;
/// The two hexadecimal digits of every byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

/// The `traceparent` of a request: the client's if it is well-formed, otherwise the start of a new trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    text: [u8; LENGTH],
    is_inbound: bool,
}

impl TraceParent {
    /// Takes an inbound value of version 00; [`None`] for anything else, which says nothing that can be trusted.
    pub fn kept(inbound: &[u8]) -> Option<Self> {
        let text: [u8; LENGTH] = inbound.try_into().ok()?;
        let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_well_formed = text.iter().enumerate().all(|(at, byte)| match at {
            0 | 1 => *byte == b'0',
            2 | 35 | 52 => *byte == b'-',
            _ => is_hex(byte),
        });
        let is_id = |id: &[u8]| id.iter().any(|byte| *byte != b'0');
        let is_kept = is_well_formed && is_id(&text[TRACE_ID]) && is_id(&text[PARENT_ID]);
        is_kept.then_some(Self { text, is_inbound: true })
    }

    /// The value of the field.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The trace's id: 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        std::str::from_utf8(&self.text[TRACE_ID]).unwrap_or_default()
    }

    /// Whether it came with the request, so that a `tracestate` beside it belongs to it.
    pub const fn is_inbound(&self) -> bool {
        self.is_inbound
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

/// Starts traces on one core: ids from `SplitMix64`, seeded apart for each process and core.
#[derive(Debug)]
pub(super) struct TraceParents {
    state: AtomicU64,
}

impl TraceParents {
    /// `seed` is random for each process; `core` sets its cores apart.
    pub(super) fn new(seed: u64, core: u64) -> Self {
        Self { state: AtomicU64::new(stir(seed.rotate_left(32) ^ stir(core.wrapping_add(1)))) }
    }

    /// The start of a new trace, marked as sampled, as a tracer without a parent behind us would do by default.
    pub(super) fn start(&self) -> TraceParent {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
        write_hex(self.next(), &mut text[3..19]);
        write_hex(self.next(), &mut text[19..35]);
        write_hex(self.next(), &mut text[PARENT_ID]);
        TraceParent { text, is_inbound: false }
    }

    /// Never 0, which is no id.
    fn next(&self) -> u64 {
        let state = self.state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        stir(state).max(1)
    }
}

fn write_hex(number: u64, out: &mut [u8]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&HEX[usize::from(byte)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_malformed_parent_is_not_trusted() {
        for bad in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(TraceParent::kept(bad.as_bytes()), None, "{bad}");
        }
        let kept = TraceParent::kept(GOOD.as_bytes()).unwrap();
        assert_eq!((kept.as_bytes(), kept.is_inbound()), (GOOD.as_bytes(), true));
        assert_eq!(kept.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn started_traces_are_well_formed_and_differ() {
        let (one, two) = (TraceParents::new(7, 0), TraceParents::new(7, 1));
        let mut seen = std::collections::BTreeSet::new();
        for parent in (0..1_000).flat_map(|_| [one.start(), two.start()]) {
            assert!(TraceParent::kept(parent.as_bytes()).is_some(), "{parent:?}");
            assert!(!parent.is_inbound() && seen.insert(parent.trace_id().to_owned()));
        }
    }
}
