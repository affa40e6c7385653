//! Responses of an HTTP/2 connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use hyper::body::{Body, SizeHint};

use super::streams::OpenStream;
use crate::message::{BodyFault, BodyStream, Completion, Delivery, Part, Payload, Response};

pub(super) fn outgoing(
    response: Response<'static>,
    to_head: bool,
    stream: OpenStream,
) -> hyper::Response<OutgoingBody> {
    let Response { status, fields, payload, close: _, completion } = response;
    let payload = payload.of_status(status, to_head);
    let mut head = hyper::Response::new(());
    *head.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    *head.headers_mut() = header_map(&fields);
    let length = match &payload {
        Payload::None { described_length } => *described_length,
        Payload::Full(body) => Some(body.len() as u64),
        Payload::Stream { length, .. } => *length,
    };
    if let Some(length) = length {
        head.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
    }
    let source = match payload {
        Payload::None { .. } => Source::Nothing,
        Payload::Full(body) if body.is_empty() => Source::Nothing,
        Payload::Full(body) => Source::Full(Some(Bytes::from(body.into_inner()))),
        Payload::Stream { stream, .. } => Source::Stream(stream),
    };
    let length = if matches!(source, Source::Nothing) { Some(0) } else { length };
    head.map(|()| OutgoingBody { source, length, sent_bytes: 0, completion, stream })
}

/// Field lines as a map; our own lines are well formed, so none is lost.
fn header_map(lines: &[u8]) -> http::HeaderMap {
    let mut map = http::HeaderMap::with_capacity(16);
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) =
            (http::HeaderName::from_bytes(name), http::HeaderValue::from_bytes(value))
        {
            map.append(name, value);
        }
    }
    map
}

enum Source {
    Nothing,
    Full(Option<Bytes>),
    Stream(Box<dyn BodyStream>),
}

/// A response body as hyper takes it; polled only while the stream's window has room.
pub(super) struct OutgoingBody {
    source: Source,
    length: Option<u64>,
    sent_bytes: u64,
    completion: Option<Box<dyn Completion>>,
    stream: OpenStream,
}

impl OutgoingBody {
    /// How the response ended; only the first word counts.
    fn finish(&mut self, delivery: Delivery) {
        if delivery != Delivery::ClientGone {
            self.stream.finished();
        }
        if let Some(completion) = self.completion.take() {
            completion.sent(self.sent_bytes, delivery);
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match &mut self.source {
            Source::Nothing => Poll::Ready(None),
            Source::Full(body) => {
                let body = body.take();
                self.sent_bytes += body.as_ref().map_or(0, |body| body.len() as u64);
                Poll::Ready(body.map(|body| Ok(Frame::data(body))))
            }
            Source::Stream(stream) => match stream.poll_part(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => {
                    self.finish(Delivery::Complete);
                    Poll::Ready(None)
                }
                Poll::Ready(Some(Ok(Part::Data(data)))) => {
                    self.sent_bytes += data.len() as u64;
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Poll::Ready(Some(Ok(Part::Trailers(lines)))) => {
                    Poll::Ready(Some(Ok(Frame::trailers(header_map(&lines)))))
                }
                Poll::Ready(Some(Err(fault))) => {
                    self.finish(Delivery::Broken(fault));
                    Poll::Ready(Some(Err(fault)))
                }
            },
        }
    }
}

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        self.finish(match &self.source {
            Source::Nothing | Source::Full(None) => Delivery::Complete,
            Source::Full(Some(_)) | Source::Stream(_) => Delivery::ClientGone,
        });
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        let polled = this.poll_source(cx);
        match &polled {
            Poll::Ready(_) => this.stream.stall().waits_for_client(),
            Poll::Pending => this.stream.stall().waits_for_us(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Nothing | Source::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
