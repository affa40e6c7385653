//! Putting answers together: the upstream's and our own.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use super::progress::Progress;
use crate::clock::Now;
use crate::domain::Outcome;
use crate::message::{Buffer, FieldName, Head, Payload, Response, push_line};
use crate::reply::{Refusal, Rendered, Replies};
use crate::routing::Deprecation;
use crate::upstream::{OwnFields, UpstreamResponse, response_lines, varies_by_accept};

thread_local! {
    /// The last second's `Date` value of this core.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// The upstream's answer with our fields.
pub(super) fn forwarded<'c>(
    answer: UpstreamResponse<'c>,
    is_versioned: bool,
    deprecation: Option<&Deprecation>,
    progress: Box<Progress>,
) -> Response<'c> {
    let UpstreamResponse { status, head, payload } = answer;
    let mut fields = Buffer::take();
    let own = OwnFields {
        x_rate_limit: !progress.keeps_limits,
        rate_limit: !progress.limit_lines.is_empty(),
        deprecation: deprecation.is_some(),
        sunset: deprecation.is_some_and(|deprecation| deprecation.sunset.is_some()),
    };
    response_lines(&head, own, &mut fields);
    if head.first(FieldName::Date).is_none() {
        push_date(progress.now, &mut fields);
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
    fields.extend_from_slice(&progress.limit_lines);
    push_line(&mut fields, b"x-request-id", progress.record.request_id().as_bytes());
    let completion = Some(progress.answered(Outcome::Forwarded, status));
    Response { status, fields, payload, close: false, completion }
}

/// An answer of our own.
pub(super) fn own(rendered: Rendered, outcome: Outcome, progress: Box<Progress>) -> Response<'static> {
    let Rendered { status, mut fields, body, close } = rendered;
    push_date(progress.now, &mut fields);
    fields.extend_from_slice(&progress.limit_lines);
    let completion = Some(progress.answered(outcome, status));
    Response { status, fields, payload: Payload::Full(body), close, completion }
}

/// A refusal, written for this caller.
pub(super) fn refusal(
    refusal: &Refusal,
    replies: &Replies,
    head: &Head,
    progress: Box<Progress>,
) -> Response<'static> {
    let mut rendered = Rendered::with_room();
    let record = &progress.record;
    let forwarded = record.facts.forwarded.get();
    replies.render(refusal, replies.dialect(head), record.request_id(), forwarded, &mut rendered);
    own(rendered, refusal.outcome(), progress)
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
