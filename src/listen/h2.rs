//! HTTP/2 connections: hyper reads them, we bound them and turn their requests into heads.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use hyper::body::{Body, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::drain::DrainGuard;
use super::{Bounds, Peer, Service};
use crate::clock::Deadline;
use crate::message::{
    BodyFault, BodyStream, Completion, Delivery, FieldName, Head, HeadFault, Part, Payload, RequestBody,
    Response, Version, is_authority,
};

/// Resets that a connection may send before more than one in five of its requests counts as an attack
/// (CVE-2023-44487).
const FREE_RESETS: usize = 50;
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Runs tasks of a core on that core.
#[derive(Clone)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// What one connection's requests share with its deadline.
#[derive(Default)]
struct Streams {
    open: Cell<usize>,
    finished: Cell<usize>,
    reset: Cell<usize>,
    changed: RefCell<Option<Waker>>,
}

impl Streams {
    fn wake(&self) {
        if let Some(waker) = self.changed.borrow_mut().take() {
            waker.wake();
        }
    }

    fn is_attack(&self) -> bool {
        let reset = self.reset.get();
        reset > FREE_RESETS && reset * 5 > self.finished.get() + reset
    }
}

/// Counts one request as open until it is answered or reset.
struct OpenStream {
    streams: Rc<Streams>,
    answered: bool,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let streams = &self.streams;
        streams.open.set(streams.open.get() - 1);
        let count = if self.answered { &streams.finished } else { &streams.reset };
        count.set(count.get() + 1);
        streams.wake();
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve<IO, S>(io: IO, service: Rc<S>, peer: Peer, bounds: Bounds, drain: DrainGuard)
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service,
{
    let streams = Rc::new(Streams::default());
    let shared = Rc::clone(&streams);
    let answer = move |request: hyper::Request<Incoming>| {
        shared.open.set(shared.open.get() + 1);
        shared.wake();
        let stream = OpenStream { streams: Rc::clone(&shared), answered: false };
        let service = Rc::clone(&service);
        async move { Ok::<_, Infallible>(answer(&*service, request, &peer, &bounds, stream).await) }
    };
    let mut builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_header_list_size(16 * 1024)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    let connection = builder.serve_connection(TokioIo::new(io), hyper::service::service_fn(answer));
    supervise(connection, &streams, &bounds, &drain).await;
}

/// Drives a connection and ends it when it is idle for too long, abused, or the core drains.
async fn supervise<IO, F>(
    connection: hyper::server::conn::http2::Connection<TokioIo<IO>, F, LocalExecutor>,
    streams: &Streams,
    bounds: &Bounds,
    drain: &DrainGuard,
) where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    F: hyper::service::HttpService<Incoming, ResBody = OutgoingBody>,
    F::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    hyper::server::conn::http2::Connection<TokioIo<IO>, F, LocalExecutor>: Future,
    F::Future: 'static,
    LocalExecutor: hyper::rt::bounds::Http2ServerConnExec<F::Future, OutgoingBody>,
{
    let mut connection = pin!(connection);
    let mut deadline = Deadline::new();
    deadline.set(bounds.head_timeout);
    let mut draining = false;
    let mut was_busy = false;
    std::future::poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() || streams.is_attack() {
            return Poll::Ready(());
        }
        if !draining && drain.poll_draining(cx) {
            draining = true;
            connection.as_mut().graceful_shutdown();
            return match connection.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            };
        }
        *streams.changed.borrow_mut() = Some(cx.waker().clone());
        if streams.open.get() > 0 {
            was_busy = true;
            deadline.clear();
        } else if was_busy {
            was_busy = false;
            deadline.set(bounds.keep_alive);
        }
        deadline.poll_expired(cx)
    })
    .await;
}

async fn answer<S: Service>(
    service: &S,
    request: hyper::Request<Incoming>,
    peer: &Peer,
    bounds: &Bounds,
    mut stream: OpenStream,
) -> hyper::Response<OutgoingBody> {
    let (parts, incoming) = request.into_parts();
    let head = head_of(&parts);
    let response = if let Err(fault) = check(&parts, &head, &incoming, bounds) {
        service.refuse(fault, &head, peer)
    } else {
        service.serve(&head, body_of(incoming, bounds), peer).await
    };
    stream.answered = true;
    outgoing(response, head.method() == b"HEAD", stream)
}

fn body_of(incoming: Incoming, bounds: &Bounds) -> RequestBody<'static> {
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
fn head_of(parts: &http::request::Parts) -> Head {
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
            name => head.push(name.as_bytes(), value.as_bytes().trim_ascii()),
        }
    }
    if !cookie.is_empty() {
        head.push(b"cookie", &cookie);
    }
    head
}

/// What HTTP/1.1 heads are checked for while they are parsed.
fn check(
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

fn outgoing(response: Response<'static>, to_head: bool, stream: OpenStream) -> hyper::Response<OutgoingBody> {
    let Response { status, fields, payload, close: _, completion } = response;
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
        Payload::Full(_) if to_head => Source::Nothing,
        Payload::Full(body) if body.is_empty() => Source::Nothing,
        Payload::Full(body) => Source::Full(Some(Bytes::from(body))),
        Payload::Stream { stream, .. } => Source::Stream(stream),
    };
    let length = if matches!(source, Source::Nothing) { Some(0) } else { length };
    head.map(|()| OutgoingBody { source, length, sent_bytes: 0, completion, _stream: stream })
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
struct OutgoingBody {
    source: Source,
    length: Option<u64>,
    sent_bytes: u64,
    completion: Option<Box<dyn Completion>>,
    _stream: OpenStream,
}

impl OutgoingBody {
    fn finish(&mut self, delivery: Delivery) {
        if let Some(completion) = self.completion.take() {
            completion.sent(self.sent_bytes, delivery);
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
        match &mut this.source {
            Source::Nothing => Poll::Ready(None),
            Source::Full(body) => {
                let body = body.take();
                this.sent_bytes += body.as_ref().map_or(0, |body| body.len() as u64);
                Poll::Ready(body.map(|body| Ok(Frame::data(body))))
            }
            Source::Stream(stream) => match stream.poll_part(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => {
                    this.finish(Delivery::Complete);
                    Poll::Ready(None)
                }
                Poll::Ready(Some(Ok(Part::Data(data)))) => {
                    this.sent_bytes += data.len() as u64;
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Poll::Ready(Some(Ok(Part::Trailers(lines)))) => {
                    Poll::Ready(Some(Ok(Frame::trailers(header_map(&lines)))))
                }
                Poll::Ready(Some(Err(fault))) => {
                    this.finish(Delivery::Broken);
                    Poll::Ready(Some(Err(fault)))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Nothing | Source::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
