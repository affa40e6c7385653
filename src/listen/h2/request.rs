//! Requests of an HTTP/2 connection: heads, their checks, and bodies.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Incoming};

use crate::clock::Deadline;
use crate::listen::Bounds;
use crate::message::{
    BodyFault, BodyStream, FieldName, Head, HeadFault, Part, RequestBody, Version, announced_length,
    is_authority,
};

pub(super) fn body_of(incoming: Incoming, bounds: &Bounds) -> RequestBody<'static> {
    if incoming.is_end_stream() {
        return RequestBody::Empty;
    }
    let length = incoming.size_hint().exact();
    let (idle, limit_bytes) = (bounds.body_idle, bounds.body_bytes);
    let stream = IncomingStream { incoming, deadline: Deadline::new(), idle, read_bytes: 0, limit_bytes };
    RequestBody::Stream { stream: Box::new(stream), length }
}

/// The request as a head: pseudo-fields become method, target and `host`, cookie crumbs one field
/// (RFC 9113, sections 8.2.3 and 8.3.1).
pub(super) fn head_of(parts: &http::request::Parts) -> Head {
    let mut head = Head::new();
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    head.start(Version::Http2, parts.method.as_str().as_bytes(), target.as_bytes());
    if let Some(authority) = parts.uri.authority() {
        head.push(b"host", authority.as_str().as_bytes());
    }
    let mut cookie = Vec::new();
    for (name, value) in &parts.headers {
        match name.as_str() {
            "host" if parts.uri.authority().is_some() => {}
            "cookie" => {
                if !cookie.is_empty() {
                    cookie.extend_from_slice(b"; ");
                }
                cookie.extend_from_slice(value.as_bytes());
            }
            name => {
                head.push(name.as_bytes(), value.as_bytes().trim_ascii());
            }
        }
    }
    if !cookie.is_empty() {
        head.push(b"cookie", &cookie);
    }
    head
}

/// What HTTP/1.1 heads are checked for while they are parsed.
pub(super) fn check(
    parts: &http::request::Parts,
    head: &Head,
    incoming: &Incoming,
    bounds: &Bounds,
) -> Result<(), HeadFault> {
    let limits = &bounds.head;
    if crate::domain::Method::by_name(head.method()).is_none() {
        return Err(HeadFault::UnknownMethod);
    }
    if head.target().len() > limits.target_bytes {
        return Err(HeadFault::TargetTooLong { limit_bytes: limits.target_bytes });
    }
    if head.len() + 4 * parts.headers.len() > limits.head_bytes {
        return Err(HeadFault::TooLarge { limit_bytes: limits.head_bytes });
    }
    if parts.headers.len() > limits.fields {
        return Err(HeadFault::TooManyFields { limit_fields: limits.fields });
    }
    if head.target().first() != Some(&b'/') {
        return Err(HeadFault::Malformed("the request target is not a path"));
    }
    let mut hosts = parts.headers.get_all(http::header::HOST).iter();
    let (field, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(HeadFault::Malformed("Host is given twice"));
    }
    if let (Some(authority), Some(field)) = (parts.uri.authority(), field)
        && !authority.as_str().as_bytes().eq_ignore_ascii_case(field.as_bytes())
    {
        return Err(HeadFault::Malformed("Host and :authority differ"));
    }
    match head.first(FieldName::Host) {
        None => return Err(HeadFault::Malformed(":authority is missing")),
        Some(host) if !is_authority(host) => {
            return Err(HeadFault::Malformed(
                ":authority is not a host name or address with an optional port",
            ));
        }
        Some(_) => {}
    }
    if head.all(FieldName::Expect).any(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        return Err(HeadFault::UnknownExpectation);
    }
    announced_length(head)?;
    if incoming.size_hint().exact().is_some_and(|length| length > bounds.body_bytes) {
        return Err(HeadFault::BodyTooLarge { limit_bytes: bounds.body_bytes });
    }
    Ok(())
}

/// A request body that hyper reads; flow control follows our polls.
struct IncomingStream {
    incoming: Incoming,
    deadline: Deadline,
    idle: Duration,
    read_bytes: u64,
    limit_bytes: u64,
}

impl BodyStream for IncomingStream {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part, BodyFault>>> {
        loop {
            let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(BodyFault::Gone))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    if !self.deadline.is_set() {
                        self.deadline.set(self.idle);
                    }
                    let limit_seconds = self.idle.as_secs();
                    return self
                        .deadline
                        .poll_expired(cx)
                        .map(|()| Some(Err(BodyFault::Timeout { limit_seconds })));
                }
            };
            self.deadline.clear();
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    self.read_bytes += data.len() as u64;
                    let limit_bytes = self.limit_bytes;
                    if self.read_bytes > limit_bytes {
                        return Poll::Ready(Some(Err(BodyFault::TooLarge { limit_bytes })));
                    }
                    return Poll::Ready(Some(Ok(Part::Data(data))));
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return Poll::Ready(Some(Ok(Part::Trailers(lines_of(&trailers)))));
                    }
                }
            }
        }
    }
}

fn lines_of(fields: &http::HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in fields {
        crate::message::push_line(&mut lines, name.as_str().as_bytes(), value.as_bytes().trim_ascii());
    }
    lines
}
