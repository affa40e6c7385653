//! A connection's first bytes: what it speaks is decided before anything is served on it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::drain::{DRAIN_IDLE, DrainGuard};
use super::proxy_protocol::{Malformed, proxy_header};
use super::transport::Socket;
use super::{Balancers, Bounds, Peer, Service, h1, h2};
use crate::clock::Deadline;
use crate::telemetry::ConnectionFault;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a listener's connections begin with.
pub(super) struct Speaks<'l> {
    pub(super) tls: Option<&'l TlsAcceptor>,
    pub(super) balancers: Option<&'l Balancers>,
}

/// Serves a connection until it ends: first its balancer's word about the client, then TLS, then whichever
/// version of HTTP.
pub(super) async fn serve<S: Service>(
    tcp: TcpStream,
    mut peer: Peer,
    speaks: Speaks<'_>,
    service: &Rc<S>,
    bounds: Bounds,
    guard: DrainGuard,
) {
    let mut arriving = Arriving::new(&tcp, &guard, bounds.head_timeout);
    if let Some(balancers) = speaks.balancers {
        match arriving.client_behind(balancers, peer.address).await {
            Ok(client) => peer.address = client,
            Err(Some(fault)) => return service.turned_away(fault, &peer),
            Err(None) => return,
        }
    }
    if let Some(acceptor) = speaks.tls {
        // A handshake that has begun is finished, also while the core drains.
        let Some(()) = arriving.find(|bytes| (!bytes.is_empty()).then_some(())).await else { return };
        let first_bytes = arriving.bytes;
        return serve_tls(Socket::new(tcp, first_bytes), acceptor, peer, service, bounds, guard).await;
    }
    // HTTP/2 with prior knowledge starts with its preface, everything else is HTTP/1.1.
    let Some(is_http2) = arriving.find(starts_http2).await else { return };
    let first_bytes = arriving.bytes;
    if is_http2 {
        h2::serve(Socket::new(tcp, first_bytes), Rc::clone(service), peer, bounds, guard).await;
    } else {
        let socket = Socket::new(tcp, BytesMut::new());
        h1::serve(socket, first_bytes, &**service, peer, bounds, guard).await;
    }
}

/// Encrypted: ALPN says which version of HTTP is spoken.
async fn serve_tls<S: Service>(
    socket: Socket,
    acceptor: &TlsAcceptor,
    peer: Peer,
    service: &Rc<S>,
    bounds: Bounds,
    guard: DrainGuard,
) {
    let handshake = tokio::time::timeout(bounds.tls_handshake, acceptor.accept(socket));
    let Ok(Ok(stream)) = handshake.await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        h2::serve(stream, Rc::clone(service), peer, bounds, guard).await;
    } else {
        h1::serve(stream, BytesMut::new(), &**service, peer, bounds, guard).await;
    }
}

/// Whether bytes are the beginning of HTTP/2; [`None`] while they may become either.
fn starts_http2(bytes: &[u8]) -> Option<bool> {
    let length = bytes.len().min(PREFACE.len());
    if bytes[..length] != PREFACE[..length] {
        return Some(false);
    }
    (length == PREFACE.len()).then_some(true)
}

/// The first bytes of a connection, as far as they have come.
struct Arriving<'a> {
    tcp: &'a TcpStream,
    guard: &'a DrainGuard,
    time: Duration,
    deadline: Deadline,
    draining: bool,
    bytes: BytesMut,
}

impl<'a> Arriving<'a> {
    /// Nothing has come yet, and what is looked for must come in `time`.
    fn new(tcp: &'a TcpStream, guard: &'a DrainGuard, time: Duration) -> Self {
        let mut deadline = Deadline::new();
        deadline.set(time);
        Self { tcp, guard, time, deadline, draining: false, bytes: BytesMut::new() }
    }

    /// Reads until `decide` has found what it looks for; [`None`] if the client leaves or takes too long, or
    /// if it has said nothing yet and the core drains. Once a byte has come, a drain does not end the wait.
    async fn find<T>(&mut self, decide: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        poll_fn(|cx| {
            loop {
                if let Some(found) = decide(&self.bytes) {
                    return Poll::Ready(Some(found));
                }
                match self.poll_read(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                    Poll::Ready(Ok(_)) if std::mem::take(&mut self.draining) => self.deadline.set(self.time),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            if self.bytes.is_empty() && !self.draining && self.guard.poll_draining(cx) {
                self.draining = true;
                self.deadline.set(DRAIN_IDLE);
            }
            self.deadline.poll_expired(cx).map(|()| None)
        })
        .await
    }

    /// The client that a balancer at `peer` speaks for; the balancer itself if it speaks for nobody. Without a
    /// header there is the fault, or none if nothing at all was said.
    async fn client_behind(
        &mut self,
        balancers: &Balancers,
        peer: SocketAddr,
    ) -> Result<SocketAddr, Option<ConnectionFault>> {
        if !balancers.include(peer.ip()) {
            return Err(Some(ConnectionFault::UntrustedBalancer));
        }
        let malformed = Err(Some(ConnectionFault::MalformedProxyHeader));
        match self.find(|bytes| proxy_header(bytes).transpose()).await {
            Some(Ok(header)) => {
                self.bytes.advance(header.length);
                Ok(header.client.unwrap_or(peer))
            }
            None if self.bytes.is_empty() => Err(None),
            Some(Err(Malformed)) | None => malformed,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        thread_local! {
            /// Every first read of a core goes through one buffer, so that silent connections hold none.
            static FIRST: RefCell<Vec<u8>> = RefCell::new(vec![0; 16 * 1024]);
        }
        loop {
            if self.tcp.poll_read_ready(cx)?.is_pending() {
                return Poll::Pending;
            }
            let read = FIRST.with(|buffer| {
                let mut buffer = buffer.borrow_mut();
                let read = self.tcp.try_read(&mut buffer)?;
                self.bytes.extend_from_slice(&buffer[..read]);
                Ok(read)
            });
            match read {
                Err(error) if io::Error::kind(&error) == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }
}
