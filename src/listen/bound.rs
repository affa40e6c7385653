//! Listening sockets: one for each core, all on the same address, and nobody else's unless that is wanted.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};
use tokio_rustls::TlsAcceptor;

use super::{Balancers, ListenAddress};

const BACKLOG: i32 = 4096;

/// One listening socket of one core.
pub struct Bound {
    /// The socket.
    pub socket: TcpListener,
    /// Set if it speaks TLS.
    pub tls: Option<TlsAcceptor>,
    /// Set if every connection begins with a PROXY protocol header.
    pub balancers: Option<Balancers>,
    /// Whether its clients speak TLS, to the gateway or to a balancer that ends it.
    pub is_tls: bool,
}

impl Bound {
    /// Opens one socket per worker on the same address, so that each core accepts its own connections
    /// (`SO_REUSEPORT`). Port 0 becomes a free one, the same for all. Unless `shares_port` says that another
    /// process may have the address too, it is an error if one has.
    pub fn open(
        at: &ListenAddress,
        workers: usize,
        tls: Option<&TlsAcceptor>,
        shares_port: bool,
    ) -> io::Result<Vec<Self>> {
        let first = if shares_port { sharing_socket(at.address)? } else { first_socket(at.address)? };
        let address = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..workers {
            sockets.push(sharing_socket(address)?);
        }
        let bound =
            |socket| Self { socket, tls: tls.cloned(), balancers: at.balancers.clone(), is_tls: at.is_tls };
        Ok(sockets.into_iter().map(bound).collect())
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Takes an address for this process alone. The system compares addresses when a socket is bound and once more
/// when it listens, so that of two processes at the same time one at most succeeds; only then may the other
/// sockets of this process join it. Connections that linger in `TIME_WAIT` do not count (`SO_REUSEADDR`).
fn first_socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = new_socket(address)?;
    listen(&socket, address)?;
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

fn sharing_socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = new_socket(address)?;
    socket.set_reuse_port(true)?;
    listen(&socket, address)?;
    Ok(socket.into())
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn open(address: SocketAddr, workers: usize, shares_port: bool) -> io::Result<Vec<Bound>> {
        Bound::open(&ListenAddress { address, balancers: None, is_tls: false }, workers, None, shares_port)
    }

    #[test]
    fn an_address_that_somebody_has_is_refused() {
        for workers in [1, 3] {
            let first = open(ANY, workers, false).unwrap();
            let address = first[0].local_addr().unwrap();
            for others in [1, 3] {
                let refused = open(address, others, false).err().unwrap();
                assert_eq!(refused.kind(), io::ErrorKind::AddrInUse, "{workers} {others}");
            }
            let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            assert_eq!(open(everywhere, 1, false).err().unwrap().kind(), io::ErrorKind::AddrInUse);
            assert!(open(address, 2, true).is_ok(), "who says so shares what this user has");
        }
    }

    #[test]
    fn an_address_that_is_shared_is_still_refused_to_who_does_not_share() {
        let first = open(ANY, 2, true).unwrap();
        let address = first[0].local_addr().unwrap();
        assert!(open(address, 2, true).is_ok());
        assert_eq!(open(address, 2, false).err().unwrap().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn connections_that_linger_do_not_keep_the_address() {
        let first = open(ANY, 2, false).unwrap();
        let address = first[0].local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let accepted = loop {
            if let Some((accepted, _)) = first.iter().find_map(|bound| bound.socket.accept().ok()) {
                break accepted;
            }
        };
        // Whoever closes first is left in TIME_WAIT, here the listening side.
        drop(accepted);
        drop(client);
        drop(first);
        assert_eq!(open(address, 2, false).unwrap().len(), 2);
    }

    #[test]
    fn every_worker_gets_connections() {
        let bound = open(ANY, 3, false).unwrap();
        let address = bound[0].local_addr().unwrap();
        let mut clients = Vec::new();
        let mut served = [false; 3];
        while served.contains(&false) {
            assert!(clients.len() < 1_000, "{served:?}");
            clients.push(TcpStream::connect(address).unwrap());
            for (served, bound) in served.iter_mut().zip(&bound) {
                *served |= bound.socket.accept().is_ok();
            }
        }
    }
}
