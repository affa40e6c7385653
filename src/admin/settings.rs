//! `[admin]`: where the operator's listener is.

use std::net::SocketAddr;
use std::time::Duration;

use crate::domain::Problems;

/// The `[admin]` table.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// IP address and port; loopback only. Port 0 takes any free one. Default: `127.0.0.1:9901`.
    pub address: String,
    /// Host names, beside `localhost` and IP addresses, by which browsers and scrapers may call it, for example
    /// behind an SSH tunnel. Default: none.
    pub host_names: Vec<String>,
    /// Connections that may be open at once. Default: 64.
    pub max_connections: u32,
    /// Time that a request's header section may take, and that a connection may be idle, in seconds. Default: 10.
    pub header_timeout_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:9901".to_owned(),
            host_names: Vec::new(),
            max_connections: 64,
            header_timeout_seconds: 10,
        }
    }
}

/// `[admin]` without mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    pub(super) address: SocketAddr,
    pub(super) host_names: Vec<String>,
    pub(super) max_connections: usize,
    pub(super) header_timeout: Duration,
}

impl Checked {
    /// Where it will listen; port 0 stands for any free one.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Checks `[admin]`; every mistake goes to `problems`, and then there is no result.
pub fn from_settings(settings: &Settings, problems: &mut Problems) -> Option<Checked> {
    let before = problems.0.len();
    let address = settings.address.parse::<SocketAddr>().ok();
    match address {
        None => problems.add(
            "admin.address",
            "address_invalid",
            format!("`{}` is not an IP address and a port", settings.address),
            "write for example `127.0.0.1:9901` or `[::1]:9901`",
        ),
        Some(address) if !address.ip().to_canonical().is_loopback() => problems.add(
            "admin.address",
            "address_not_loopback",
            format!(
                "`{}` can be reached from other machines, and the listener speaks plain text",
                settings.address
            ),
            "bind 127.0.0.1 or [::1], and reach it through an SSH tunnel or a proxy that authenticates",
        ),
        Some(_) => {}
    }
    for (at, name) in settings.host_names.iter().enumerate() {
        let well_formed = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        if !well_formed {
            problems.add(
                format!("admin.host_names[{at}]"),
                "host_name_invalid",
                format!("`{}` is not a host name", name.escape_debug()),
                "write the name alone, without scheme, port or wildcard, for example `gateway.internal`",
            );
        }
    }
    for (key, value, most) in [
        ("max_connections", settings.max_connections, 4_096),
        ("header_timeout_seconds", settings.header_timeout_seconds, 300),
    ] {
        if !(1..=most).contains(&value) {
            problems.add(
                format!("admin.{key}"),
                "out_of_range",
                format!("{value} is not between 1 and {most}"),
                "write a number in that range, or leave the key out",
            );
        }
    }
    let address = address.filter(|_| problems.0.len() == before)?;
    Some(Checked {
        address,
        host_names: settings.host_names.iter().map(|name| name.to_ascii_lowercase()).collect(),
        max_connections: settings.max_connections as usize,
        header_timeout: Duration::from_secs(u64::from(settings.header_timeout_seconds)),
    })
}
