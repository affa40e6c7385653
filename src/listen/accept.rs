//! One core: its sockets, its connections, its drain.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::{ConnectionCount, Drain, LiveBounds, Peer, Service, h1, h2};

const BACKLOG: i32 = 4096;
/// Most connections over the bound that one core tells so at a time; more are just closed.
const MOST_TURNED_AWAY: usize = 64;
/// Pause after an accept that failed, for example for want of descriptors.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One listening socket of one core.
pub struct Bound {
    /// The socket.
    pub socket: StdListener,
    /// Set if it speaks TLS.
    pub tls: Option<TlsAcceptor>,
}

impl Bound {
    /// Opens one socket per worker on the same address, so that each core accepts its own connections
    /// (`SO_REUSEPORT`). Port 0 becomes a free one, the same for all.
    pub fn open(address: SocketAddr, workers: usize, tls: Option<&TlsAcceptor>) -> io::Result<Vec<Self>> {
        let first = listening_socket(address)?;
        let address = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..workers {
            sockets.push(listening_socket(address)?);
        }
        Ok(sockets.into_iter().map(|socket| Self { socket, tls: tls.cloned() }).collect())
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

fn listening_socket(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Everything that one core needs to listen.
pub struct Edge {
    /// Its sockets.
    pub sockets: Vec<Bound>,
    /// Limits and deadlines of every connection, and of the drain.
    pub bounds: LiveBounds,
    /// Open connections of all cores.
    pub count: ConnectionCount,
}

/// Listens on the current thread's local runtime until `stop` says so and every connection has ended or the
/// drain's time is over.
pub async fn run_worker<S: Service>(
    edge: Edge,
    service: Rc<S>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let drain = Drain::new();
    let turned_away = Rc::new(Cell::new(0));
    let mut accepting = Vec::new();
    for bound in edge.sockets {
        let listener = TcpListener::from_std(bound.socket)?;
        let core = Core {
            service: Rc::clone(&service),
            bounds: edge.bounds.clone(),
            drain: drain.clone(),
            count: edge.count.clone(),
            turned_away: Rc::clone(&turned_away),
        };
        let stop = stop.clone();
        accepting.push(tokio::task::spawn_local(accept(listener, bound.tls, core, stop)));
    }
    // An error means that the sender is gone, which is as good a reason to stop.
    let _ = stop.wait_for(|stopping| *stopping).await;
    let drained = async {
        for task in accepting {
            let _ = task.await;
        }
        drain.start();
        drain.empty().await;
    };
    let bounds = edge.bounds.get();
    let _ = tokio::time::timeout(bounds.drain_delay + bounds.drain_timeout, drained).await;
    Ok(())
}

/// What every connection of a core shares.
struct Core<S> {
    service: Rc<S>,
    bounds: LiveBounds,
    drain: Drain,
    count: ConnectionCount,
    turned_away: Rc<Cell<usize>>,
}

async fn accept<S: Service>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    core: Core<S>,
    mut stop: watch::Receiver<bool>,
) {
    let core = &Rc::new(core);
    let stopping = async {
        let _ = stop.wait_for(|stopping| *stopping).await;
        tokio::time::sleep(core.bounds.get().drain_delay).await;
    };
    tokio::pin!(stopping);
    let mut is_failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopping => break,
        };
        match accepted {
            Ok((stream, address)) => {
                is_failing = false;
                welcome(stream, address, tls.clone(), core);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::error!(%error, "connections cannot be accepted; raise the limit of open files or lower listen.max_connections");
                }
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
            }
        }
    }
    // Connections that the kernel accepted already would be reset with the socket.
    while let Some(Ok((stream, address))) = accept_now(&listener).await {
        welcome(stream, address, tls.clone(), core);
    }
}

/// Whether an accept failed because of the connection that was to be accepted, so that the next may succeed.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, NetworkDown, NetworkUnreachable};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | NetworkDown | NetworkUnreachable
    )
}

/// A connection that waits in the socket's queue, if there is one.
async fn accept_now(listener: &TcpListener) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    std::future::poll_fn(|cx| match listener.poll_accept(cx) {
        Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn welcome<S: Service>(stream: TcpStream, address: SocketAddr, tls: Option<TlsAcceptor>, core: &Rc<Core<S>>) {
    let (Ok(()), Ok(local)) = (stream.set_nodelay(true), stream.local_addr()) else { return };
    let Some(slot) = core.count.open() else {
        if tls.is_none() {
            turn_away(stream, Peer { address, local, is_tls: false }, core);
        }
        return;
    };
    let core = Rc::clone(core);
    let counted = core.service.opened();
    tokio::task::spawn_local(async move {
        let peer = Peer { address, local, is_tls: tls.is_some() };
        match tls {
            None => serve_plain(stream, peer, &core).await,
            Some(acceptor) => serve_tls(stream, &acceptor, peer, &core).await,
        }
        drop((slot, counted));
    });
}

/// Says in plain text that there is no place; a TLS client would have to be given a handshake first.
fn turn_away<S: Service>(stream: TcpStream, peer: Peer, core: &Rc<Core<S>>) {
    if core.turned_away.get() >= MOST_TURNED_AWAY {
        return;
    }
    core.turned_away.set(core.turned_away.get() + 1);
    let core = Rc::clone(core);
    tokio::task::spawn_local(async move {
        h1::turn_away(stream, &*core.service, peer, core.bounds.get()).await;
        core.turned_away.set(core.turned_away.get() - 1);
    });
}

async fn serve_tls<S: Service>(stream: TcpStream, acceptor: &TlsAcceptor, peer: Peer, core: &Core<S>) {
    let guard = core.drain.enter();
    let bounds = core.bounds.get();
    let handshake = tokio::time::timeout(bounds.tls_handshake, acceptor.accept(stream));
    let Ok(Ok(stream)) = handshake.await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        h2::serve(stream, Rc::clone(&core.service), peer, bounds, guard).await;
    } else {
        h1::serve(stream, BytesMut::new(), &*core.service, peer, bounds, guard).await;
    }
}

/// Plain text: HTTP/2 with prior knowledge starts with its preface, everything else is HTTP/1.1.
async fn serve_plain<S: Service>(stream: TcpStream, peer: Peer, core: &Core<S>) {
    let guard = core.drain.enter();
    let bounds = core.bounds.get();
    let mut first_bytes = BytesMut::new();
    let sniff = async {
        loop {
            let length = first_bytes.len().min(PREFACE.len());
            if first_bytes[..length] != PREFACE[..length] {
                return Some(false);
            }
            if length == PREFACE.len() {
                return Some(true);
            }
            if !matches!(read_some(&stream, &mut first_bytes).await, Ok(read) if read > 0) {
                return None;
            }
        }
    };
    let draining =
        std::future::poll_fn(|cx| if guard.poll_draining(cx) { Poll::Ready(()) } else { Poll::Pending });
    let is_http2 = tokio::select! {
        biased;
        is_http2 = sniff => is_http2,
        () = tokio::time::sleep(bounds.head_timeout) => None,
        () = draining => None,
    };
    match is_http2 {
        None => {}
        Some(true) => {
            let stream = Rewound { first_bytes, stream };
            h2::serve(stream, Rc::clone(&core.service), peer, bounds, guard).await;
        }
        Some(false) => h1::serve(stream, first_bytes, &*core.service, peer, bounds, guard).await,
    }
}

async fn read_some(stream: &TcpStream, into: &mut BytesMut) -> io::Result<usize> {
    thread_local! {
        static FIRST: RefCell<Vec<u8>> = RefCell::new(vec![0; 16 * 1024]);
    }
    loop {
        stream.readable().await?;
        let read = FIRST.with(|buffer| {
            let mut buffer = buffer.borrow_mut();
            let read = stream.try_read(&mut buffer)?;
            into.extend_from_slice(&buffer[..read]);
            Ok(read)
        });
        match read {
            Err(error) if io::Error::kind(&error) == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// A stream whose first bytes were read already.
struct Rewound {
    first_bytes: BytesMut,
    stream: TcpStream,
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first_bytes.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let length = self.first_bytes.len().min(into.remaining());
        into.put_slice(&self.first_bytes[..length]);
        self.first_bytes.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
