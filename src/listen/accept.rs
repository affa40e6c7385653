//! One core: its sockets, its connections, its drain.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::arrive::{Speaks, serve};
use super::transport::Socket;
use super::{Balancers, Bound, ConnectionCount, Drain, LiveBounds, Peer, Service, h1};

/// Most connections over the bound that one core tells so at a time; more are just closed.
const MOST_TURNED_AWAY: usize = 64;
/// Pause after an accept that failed, for example for want of descriptors.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);

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
            tls: bound.tls,
            balancers: bound.balancers,
            is_tls: bound.is_tls,
        };
        let stop = stop.clone();
        accepting.push(tokio::task::spawn_local(accept(listener, core, stop)));
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

/// What every connection of a core's listener shares.
struct Core<S> {
    service: Rc<S>,
    bounds: LiveBounds,
    drain: Drain,
    count: ConnectionCount,
    turned_away: Rc<Cell<usize>>,
    tls: Option<TlsAcceptor>,
    balancers: Option<Balancers>,
    is_tls: bool,
}

async fn accept<S: Service>(listener: TcpListener, core: Core<S>, mut stop: watch::Receiver<bool>) {
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
                welcome(stream, address, core);
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
        welcome(stream, address, core);
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

fn welcome<S: Service>(stream: TcpStream, address: SocketAddr, core: &Rc<Core<S>>) {
    let (Ok(()), Ok(local)) = (stream.set_nodelay(true), stream.local_addr()) else { return };
    let peer = Peer { address, local, is_tls: core.is_tls };
    let Some(slot) = core.count.open() else {
        if core.tls.is_none() {
            turn_away(stream, peer, core);
        }
        return;
    };
    let core = Rc::clone(core);
    let counted = core.service.opened();
    let (bounds, guard) = (core.bounds.get(), core.drain.enter());
    tokio::task::spawn_local(async move {
        let speaks = Speaks { tls: core.tls.as_ref(), balancers: core.balancers.as_ref() };
        serve(stream, peer, speaks, &core.service, bounds, guard).await;
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
        let socket = Socket::new(stream, BytesMut::new());
        h1::turn_away(socket, &*core.service, peer, core.bounds.get()).await;
        core.turned_away.set(core.turned_away.get() - 1);
    });
}
