//! The demo's ports: the usual ones, or free ones if somebody has those.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::DemoArgs;
use crate::cli::Error;

/// Where the demo's gateway listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) plain: u16,
    pub(super) tls: u16,
    pub(super) admin: u16,
}

/// Chooses the ports; `notes` tells of a default that was busy.
pub(super) fn choose(args: &DemoArgs, notes: &mut Vec<String>) -> Result<Ports, Error> {
    let mut held = Vec::new();
    let mut choose = |wanted: Option<u16>, default: u16, name: &str| {
        let (port, listener) = match wanted {
            Some(port) => bind(port).map_err(|error| {
                Error::Demo(format!("port {port} for {name} is not to be had: {error}; choose another one"))
            })?,
            None => bind(default).or_else(|_| {
                let bound = bind(0).map_err(|error| Error::Demo(format!("no port is free: {error}")))?;
                notes.push(format!("port {default} is busy, so {name} is on {}", bound.0));
                Ok::<_, Error>(bound)
            })?,
        };
        held.push(listener);
        Ok::<u16, Error>(port)
    };
    let plain = choose(args.port, 8080, "plain text")?;
    let tls = choose(args.tls_port, 8443, "TLS")?;
    let admin = choose(args.admin_port, 9901, "the status page")?;
    Ok(Ports { plain, tls, admin })
}

fn bind(port: u16) -> std::io::Result<(u16, TcpListener)> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok((listener.local_addr()?.port(), listener))
}
