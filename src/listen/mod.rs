//! Bytes to requests: sockets, TLS, HTTP/1.1 and HTTP/2, every limit and deadline of the edge, and the drain.
//!
//! Decides whether bytes are a request that the gateway accepts at all, and when a connection ends. One
//! current-thread runtime per core owns its listeners and its connections; nothing is shared between cores but
//! a connection count. Invariants: every request that was accepted gets its answer, also while draining;
//! every wait has a deadline; a connection whose framing is in doubt is closed and the rest of its bytes is
//! never read as a request. It refuses to know what a request means: that is its [`Service`]'s business.
//!
//! HTTP/1.1 is read by our own engine over `httparse`, because strictness about framing, refusals in the
//! API's envelope and byte-for-byte targets need the bytes; HTTP/2 is hyper's.

mod accept;
mod arrive;
mod bound;
mod bounds;
mod check;
mod descriptors;
mod drain;
mod h1;
mod h2;
mod proxy_protocol;
mod settings;
mod tls;
mod transport;

use std::future::Future;
use std::net::SocketAddr;

pub use accept::{Edge, run_worker};
pub use bound::Bound;
pub use bounds::{Bounds, ConnectionCount, LiveBounds};
pub use check::{Balancers, Checked, ListenAddress, from_settings};
pub use descriptors::affordable_connections;
pub use drain::Drain;
pub use settings::{CertificateFiles, PlainListener, ProxyProtocol, Settings, TlsListener};
pub use tls::{Certificates, TlsError};

use crate::message::{Head, HeadFault, RequestBody, Response};
use crate::telemetry::ConnectionFault;

/// Who sent a request, as far as the socket shows.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The client: the other end of the connection, or whom a balancer there speaks for (PROXY protocol).
    pub address: SocketAddr,
    /// Our end of the connection.
    pub local: SocketAddr,
    /// Whether the client speaks TLS, to us or to a balancer that ends it.
    pub is_tls: bool,
}

/// What answers requests. Neither method can fail.
pub trait Service: 'static {
    /// Answers one request.
    fn serve<'c>(
        &self,
        head: &Head,
        body: RequestBody<'c>,
        peer: &Peer,
    ) -> impl Future<Output = Response<'c>>;

    /// Answers bytes that are no acceptable request.
    fn refuse(&self, fault: HeadFault, head: &Head, peer: &Peer) -> Response<'static>;

    /// Told of each connection that opens; what it returns is dropped when the connection closes.
    fn opened(&self) -> Box<dyn std::any::Any>;

    /// Told of each connection that is closed before anything is served on it.
    fn turned_away(&self, fault: ConnectionFault, peer: &Peer);
}
