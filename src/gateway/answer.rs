//! Putting answers together: the upstream's and our own.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use crate::clock::Now;
use crate::domain::Outcome;
use crate::limits::InFlightGuard;
use crate::message::{BodyFault, Completion, Delivery, FieldName, Head, Payload, Response, push_line};
use crate::reply::{Refusal, Rendered, Replies};
use crate::routing::Deprecation;
use crate::telemetry::Record;
use crate::upstream::{OwnFields, UpstreamResponse, response_lines, varies_by_accept};

thread_local! {
    /// The last second's `Date` value of this core.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Closes the record and the request's time in flight when the answer was written.
struct Closing {
    record: Record,
    outcome: Outcome,
    status: u16,
    /// The request is in flight until its answer is written.
    _in_flight: InFlightGuard,
}

impl Completion for Closing {
    fn sent(mut self: Box<Self>, body_bytes: u64, delivery: Delivery) {
        self.record.facts.bytes_out = body_bytes;
        let outcome = match delivery {
            Delivery::Complete => self.outcome,
            Delivery::ClientGone => Outcome::ClientGone,
            Delivery::Broken(fault) => broken(fault),
        };
        self.record.finish(outcome, self.status);
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

/// What both kinds of answers carry beside their own fields.
pub(super) struct Common<'a> {
    pub(super) limit_lines: &'a [u8],
    pub(super) keeps_limits: bool,
    pub(super) now: Now,
    pub(super) in_flight: InFlightGuard,
}

/// The upstream's answer with our fields.
pub(super) fn forwarded<'c>(
    answer: UpstreamResponse<'c>,
    common: Common<'_>,
    is_versioned: bool,
    deprecation: Option<&Deprecation>,
    record: Record,
) -> Response<'c> {
    let UpstreamResponse { status, head, payload, upstream: _, retries: _ } = answer;
    let mut fields = Vec::with_capacity(768);
    let own = OwnFields {
        x_rate_limit: !common.keeps_limits,
        rate_limit: !common.limit_lines.is_empty(),
        deprecation: deprecation.is_some(),
        sunset: deprecation.is_some_and(|deprecation| deprecation.sunset.is_some()),
    };
    response_lines(&head, own, &mut fields);
    if head.first(FieldName::Date).is_none() {
        push_date(common.now, &mut fields);
    }
    if is_versioned && !varies_by_accept(&head) {
        fields.extend_from_slice(b"vary: Accept\r\n");
    }
    if let Some(deprecation) = deprecation {
        push_line(&mut fields, b"deprecation", deprecation.since.as_bytes());
        if let Some(sunset) = &deprecation.sunset {
            push_line(&mut fields, b"sunset", sunset.as_bytes());
        }
    }
    fields.extend_from_slice(common.limit_lines);
    push_line(&mut fields, b"x-request-id", record.request_id().as_bytes());
    let closing = Closing { record, outcome: Outcome::Forwarded, status, _in_flight: common.in_flight };
    Response { status, fields, payload, close: false, completion: Some(Box::new(closing)) }
}

/// An answer of our own.
pub(super) fn own(
    rendered: Rendered,
    outcome: Outcome,
    common: Common<'_>,
    record: Record,
) -> Response<'static> {
    let Rendered { status, mut fields, body, close } = rendered;
    push_date(common.now, &mut fields);
    fields.extend_from_slice(common.limit_lines);
    let closing = Closing { record, outcome, status, _in_flight: common.in_flight };
    Response { status, fields, payload: Payload::Full(body), close, completion: Some(Box::new(closing)) }
}

/// A refusal, written for this caller.
pub(super) fn refusal(
    refusal: &Refusal,
    replies: &Replies,
    head: &Head,
    common: Common<'_>,
    record: Record,
) -> Response<'static> {
    let mut rendered = Rendered::with_room();
    let forwarded = record.facts.forwarded.get();
    replies.render(refusal, replies.dialect(head), record.request_id(), forwarded, &mut rendered);
    own(rendered, refusal.outcome(), common, record)
}

/// `Date` (RFC 9110, section 6.6.1), made once a second.
fn push_date(now: Now, fields: &mut Vec<u8>) {
    DATE.with_borrow_mut(|(second, date)| {
        if *second != now.unix_seconds() {
            *second = now.unix_seconds();
            *date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(*second));
        }
        push_line(fields, b"date", date.as_bytes());
    });
}
