//! Against DNS rebinding: a page that points its own name at loopback still sends its own name as `Host`.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a request may be answered that carries these `Host` fields: none (no browser does that), or one with
/// an IP address, `localhost` or a configured name, which are in lower case.
pub(super) fn is_expected<'h>(hosts: impl IntoIterator<Item = &'h [u8]>, names: &[String]) -> bool {
    let mut hosts = hosts.into_iter();
    let Some(host) = hosts.next() else { return true };
    if hosts.next().is_some() {
        return false;
    }
    let Ok(host) = std::str::from_utf8(host) else { return false };
    if let Some(literal) = host.strip_prefix('[') {
        let Some((address, port)) = literal.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port.strip_prefix(':')));
    }
    let name = match host.split_once(':') {
        Some((name, port)) if is_port(Some(port)) => name,
        Some(_) => return false,
        None => host,
    };
    let name = name.to_ascii_lowercase();
    name.parse::<Ipv4Addr>().is_ok() || name == "localhost" || names.contains(&name)
}

fn is_port(port: Option<&str>) -> bool {
    port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}
