//! What one request has come to know on its way, and how its record closes.

use std::mem;

use crate::clock::Now;
use crate::domain::Outcome;
use crate::limits::InFlightGuard;
use crate::message::{BodyFault, Buffer, Completion, Delivery};
use crate::telemetry::Record;
use crate::upstream::Place;

/// What one request has come to know on its way, also when it is refused later. It goes with the answer, and
/// closes the record and the request's time in flight when that was written.
pub(super) struct Progress {
    pub(super) record: Record,
    pub(super) now: Now,
    /// What the answer says of limits, each line with its end.
    pub(super) limit_lines: Buffer,
    /// Whether the upstream's own limit fields are stricter than ours.
    pub(super) keeps_limits: bool,
    /// The request is in flight until the last bytes of its answer are handed over.
    pub(super) in_flight: InFlightGuard,
    /// The workspace's place among the region's requests in flight.
    pub(super) place: Option<Place>,
    answered: (Outcome, u16),
}

impl Progress {
    /// A request that has just arrived. Boxed from the start: it is large, and the answer needs it boxed.
    pub(super) fn new(record: Record, now: Now) -> Box<Self> {
        Box::new(Self {
            record,
            now,
            limit_lines: Buffer::take(),
            keeps_limits: false,
            in_flight: InFlightGuard::default(),
            place: None,
            answered: (Outcome::ClientGone, 0),
        })
    }

    /// The same, to be told when the answer of this outcome and status was written.
    pub(super) fn answered(mut self: Box<Self>, outcome: Outcome, status: u16) -> Box<dyn Completion> {
        self.answered = (outcome, status);
        self
    }
}

impl Completion for Progress {
    fn ends(&mut self) {
        drop((mem::take(&mut self.in_flight), self.place.take()));
    }

    fn sent(mut self: Box<Self>, body_bytes: u64, delivery: Delivery) {
        self.ends();
        self.record.facts.bytes_out = body_bytes;
        let (outcome, status) = self.answered;
        let outcome = match delivery {
            Delivery::Complete => outcome,
            Delivery::ClientGone => Outcome::ClientGone,
            Delivery::Broken(fault) => broken(fault),
        };
        self.record.finish(outcome, status);
    }
}

/// Whose fault it is that an answer broke off.
const fn broken(fault: BodyFault) -> Outcome {
    match fault {
        BodyFault::Malformed(_) => Outcome::BadRequest,
        BodyFault::TooLarge { .. } => Outcome::BodyTooLarge,
        BodyFault::Timeout { .. } => Outcome::RequestTimeout,
        BodyFault::Gone => Outcome::ClientGone,
        BodyFault::AnswerBroken => Outcome::UpstreamBroken,
        BodyFault::AnswerLate => Outcome::UpstreamTimeout,
    }
}
