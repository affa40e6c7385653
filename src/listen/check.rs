//! `[listen]`, checked: sockets to open, limits and deadlines that make sense.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use super::settings::ProxyProtocol;
use super::{Bounds, Certificates, Settings};
use crate::domain::{Network, Problems};
use crate::message::MAX_FIELDS;

/// The networks whose balancers speak the PROXY protocol on a listener; nobody else may connect there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancers(Arc<[Network]>);

impl Balancers {
    /// Whether an address is one of theirs.
    pub fn include(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// Where a listener listens, and who stands in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// The address.
    pub address: SocketAddr,
    /// Set if every connection begins with a PROXY protocol header.
    pub balancers: Option<Balancers>,
    /// Whether its clients speak TLS, to the gateway or to a balancer that ends it.
    pub is_tls: bool,
}

/// `[listen]` without mistakes.
#[derive(Clone)]
pub struct Checked {
    /// Plain-text addresses.
    pub plain: Vec<ListenAddress>,
    /// TLS addresses with their certificates.
    pub tls: Vec<(ListenAddress, Arc<Certificates>)>,
    /// Whether another process may have the same addresses.
    pub shares_port: bool,
    /// Limits and deadlines of a connection, and of the drain.
    pub bounds: Bounds,
    /// Request threads; at least 1.
    pub workers: usize,
    /// Most open client connections in all.
    pub max_connections: usize,
}

/// Checks `[listen]`; every mistake goes to `problems`, and then there is no result. File names are relative
/// to `folder`; one worker per core stands for 0.
pub fn from_settings(
    settings: &Settings,
    folder: &Path,
    cores: usize,
    problems: &mut Problems,
) -> Option<Checked> {
    let before = problems.0.len();
    ranges(settings, problems);
    let plain = plain(settings, problems);
    let tls = tls(settings, folder, problems);
    taken_twice(settings, problems);
    if settings.plain.is_empty() && settings.tls.is_empty() {
        problems.add(
            "listen",
            "listener_missing",
            "there is no listener",
            "add `plain = [\"127.0.0.1:8080\"]` or a `[[listen.tls]]`",
        );
    }
    (problems.0.len() == before).then(|| Checked {
        plain,
        tls,
        shares_port: settings.share_port,
        bounds: Bounds::from(settings),
        workers: if settings.workers == 0 { cores.max(1) } else { settings.workers },
        max_connections: settings.max_connections,
    })
}

fn plain(settings: &Settings, problems: &mut Problems) -> Vec<ListenAddress> {
    let mut addresses = Vec::new();
    for (at, listener) in settings.plain.iter().enumerate() {
        let key = format!("listen.plain[{at}]");
        let balancers = balancers(listener.proxy_protocol, &listener.proxy_protocol_from, &key, problems);
        let Some(address) = address(&listener.address, &key, problems) else { continue };
        if !address.ip().to_canonical().is_loopback() && !settings.tls_ends_in_front {
            problems.add(
                key,
                "plain_text_public",
                format!("`{}` would take credentials in plain text from other machines", listener.address),
                "use a `[[listen.tls]]` listener, bind 127.0.0.1, or say `tls_ends_in_front = true` if a load balancer in front ends TLS",
            );
        }
        addresses.push(ListenAddress { address, balancers, is_tls: settings.tls_ends_in_front });
    }
    addresses
}

fn tls(
    settings: &Settings,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<(ListenAddress, Arc<Certificates>)> {
    let mut listeners = Vec::new();
    for (at, listener) in settings.tls.iter().enumerate() {
        let key = format!("listen.tls[{at}]");
        let address = address(&listener.address, &format!("{key}.address"), problems);
        let balancers = balancers(listener.proxy_protocol, &listener.proxy_protocol_from, &key, problems);
        if listener.certificates.is_empty() {
            let fix = "add `certificates = [{ chain_file = \"cert.pem\", key_file = \"key.pem\" }]`";
            problems.add(key, "certificate_missing", "the listener has no certificate", fix);
            continue;
        }
        match (address, Certificates::read(&listener.certificates, folder)) {
            (Some(address), Ok(certificates)) => {
                let at = ListenAddress { address, balancers, is_tls: true };
                listeners.push((at, Arc::new(certificates)));
            }
            (None, Ok(_)) => {}
            (_, Err(error)) => problems.add(
                format!("{key}.certificates"),
                "certificate_unusable",
                error.to_string(),
                "give the chain (leaf first) and its key as PEM files that this user can read",
            ),
        }
    }
    listeners
}

/// Who may speak the PROXY protocol on the listener at `key`; [`None`] if nobody does.
fn balancers(mode: ProxyProtocol, from: &[String], key: &str, problems: &mut Problems) -> Option<Balancers> {
    let from_key = format!("{key}.proxy_protocol_from");
    let networks = Network::read_all(from, &from_key, problems);
    match (mode, from.is_empty()) {
        (ProxyProtocol::Off, true) => None,
        (ProxyProtocol::Off, false) => {
            let reason = "networks are named, but the PROXY protocol is off";
            let fix = "add `proxy_protocol = \"require\"`, or leave the networks out";
            problems.add(from_key, "proxy_protocol_off", reason, fix);
            None
        }
        (ProxyProtocol::Require, true) => {
            let reason = "without networks anybody could claim to be any address";
            let fix = "add `proxy_protocol_from = [\"10.0.0.0/8\"]` with the addresses of your balancers";
            problems.add(format!("{key}.proxy_protocol"), "proxy_protocol_from_missing", reason, fix);
            None
        }
        (ProxyProtocol::Require, false) => Some(Balancers(networks.into())),
    }
}

/// `SO_REUSEPORT` would let two listeners share one address and get each other's connections by chance.
fn taken_twice(settings: &Settings, problems: &mut Problems) {
    let plain = settings.plain.iter().enumerate();
    let plain = plain.map(|(at, listener)| (format!("listen.plain[{at}]"), &listener.address));
    let tls = settings.tls.iter().enumerate();
    let tls = tls.map(|(at, listener)| (format!("listen.tls[{at}].address"), &listener.address));
    let mut taken: Vec<SocketAddr> = Vec::new();
    for (key, text) in plain.chain(tls) {
        let Ok(address) = text.parse::<SocketAddr>() else { continue };
        if address.port() != 0 && taken.contains(&address) {
            let reason = format!("another listener has `{text}` already");
            problems.add(key, "address_taken", reason, "give each listener an address of its own");
        }
        taken.push(address);
    }
}

fn address(text: &str, key: &str, problems: &mut Problems) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        let reason = format!("`{text}` is not an IP address and a port");
        problems.add(key, "address_invalid", reason, "write for example `127.0.0.1:8080` or `[::]:443`");
    }
    address
}

fn ranges(settings: &Settings, problems: &mut Problems) {
    let fields = MAX_FIELDS as u64;
    for (key, value, least, most) in [
        ("workers", settings.workers as u64, 0, 1_024),
        ("max_head_bytes", settings.max_head_bytes as u64, 1_024, 1_048_576),
        ("max_fields", settings.max_fields as u64, 8, fields),
        ("max_target_bytes", settings.max_target_bytes as u64, 128, 65_536),
        ("max_body_bytes", settings.max_body_bytes, 0, 1 << 40),
        ("max_connections", settings.max_connections as u64, 1, 10_000_000),
        ("max_streams", u64::from(settings.max_streams), 1, 10_000),
        ("tls_handshake_timeout_seconds", settings.tls_handshake_timeout_seconds, 1, 600),
        ("head_timeout_seconds", settings.head_timeout_seconds, 1, 600),
        ("body_idle_timeout_seconds", settings.body_idle_timeout_seconds, 1, 3_600),
        ("keep_alive_timeout_seconds", settings.keep_alive_timeout_seconds, 1, 3_600),
        ("write_timeout_seconds", settings.write_timeout_seconds, 1, 3_600),
        ("drain_delay_seconds", settings.drain_delay_seconds, 0, 600),
        ("drain_timeout_seconds", settings.drain_timeout_seconds, 0, 3_600),
    ] {
        if !(least..=most).contains(&value) {
            problems.add(
                format!("listen.{key}"),
                "out_of_range",
                format!("{value} is not between {least} and {most}"),
                "write a number in that range, or leave the key out",
            );
        }
    }
    if settings.max_target_bytes >= settings.max_head_bytes {
        problems.add(
            "listen.max_target_bytes",
            "target_longer_than_head",
            format!(
                "a target of {} bytes does not fit in a head of {}",
                settings.max_target_bytes, settings.max_head_bytes
            ),
            "make it smaller than `max_head_bytes`",
        );
    }
}
