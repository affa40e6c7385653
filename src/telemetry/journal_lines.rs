//! Which requests go into the journal of what each credential did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::lines::Lines;
use super::{Facts, Format, Labels, access_line};
use crate::domain::{Family, Forwarded, Method, Outcome};

/// Refusals that one core notes in one second: a client that does not stop is not worth more, and what is beyond is
/// counted. Writes are not held to it.
const REFUSALS_PER_SECOND: u64 = 500;

/// One core's way into the journal.
#[derive(Debug)]
pub(super) struct JournalLines {
    lines: Arc<Lines>,
    /// The second since 1970 in which refusals are counted, above 16 bits of their count.
    refusals: AtomicU64,
}

impl JournalLines {
    pub(super) const fn new(lines: Arc<Lines>) -> Self {
        Self { lines, refusals: AtomicU64::new(0) }
    }

    /// Notes a closed request of a known credential if it may have changed something or was refused.
    pub(super) fn note(&self, core: usize, facts: &Facts, outcome: Outcome, labels: &Labels) {
        if facts.token_id.is_none() {
            return;
        }
        let may_have_acted = facts.forwarded.get() != Forwarded::No;
        if may_have_acted {
            if is_safe(facts.method) {
                return;
            }
        } else if outcome.family() == Family::Served {
            return;
        } else if !self.has_room(facts.arrived.unix_seconds()) {
            return self.lines.drop_line(core);
        }
        self.lines.push(core, |out| access_line::write(Format::Json, facts, outcome, 1, labels, out));
    }

    /// Takes one of the second's places. Only its core writes here, so a lost update would need a stranger.
    fn has_room(&self, second: u64) -> bool {
        let held = self.refusals.load(Ordering::Relaxed);
        let count = if held >> 16 == second { held & 0xffff } else { 0 };
        if count >= REFUSALS_PER_SECOND {
            return false;
        }
        self.refusals.store(second << 16 | (count + 1), Ordering::Relaxed);
        true
    }
}

/// Whether a method asks for nothing to be changed (RFC 9110, section 9.2.1).
const fn is_safe(method: Option<Method>) -> bool {
    matches!(method, Some(Method::Get | Method::Head | Method::Options))
}
