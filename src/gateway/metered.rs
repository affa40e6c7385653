//! A streamed body whose length nobody announced, charged as it passes.

use std::task::{Context, Poll};

use crate::clock::Clock;
use crate::limits::{Admission, BodyDebt};
use crate::message::{BodyFault, BodyStream, Part, RequestBody};

struct Metered<'c> {
    stream: Box<dyn BodyStream + 'c>,
    debt: BodyDebt,
    clock: Clock,
}

/// The same body; one of unknown length charges what passes, where a policy counts bodies.
pub(super) fn metered<'c>(
    body: RequestBody<'c>,
    admission: &Admission<'_>,
    clock: &Clock,
) -> RequestBody<'c> {
    match body {
        RequestBody::Stream { stream, length: None } => {
            let stream = match admission.body_debt() {
                Some(debt) => Box::new(Metered { stream, debt, clock: clock.clone() }),
                None => stream,
            };
            RequestBody::Stream { stream, length: None }
        }
        RequestBody::Empty | RequestBody::Full(_) | RequestBody::Stream { .. } => body,
    }
}

impl BodyStream for Metered<'_> {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part, BodyFault>>> {
        let part = self.stream.poll_part(cx);
        if let Poll::Ready(Some(Ok(Part::Data(data)))) = &part {
            self.debt.add(data.len() as u64, self.clock.now());
        }
        part
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        self.stream.drive(cx);
    }
}
