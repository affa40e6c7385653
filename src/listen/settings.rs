//! `[listen]`: what the edge accepts and how long it waits.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The listeners and every limit and deadline of the edge.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Listeners that speak plain HTTP/1.1 and HTTP/2 with prior knowledge: addresses, or tables as below.
    pub plain: Vec<PlainListener>,
    /// Listeners that speak TLS 1.2 and 1.3.
    pub tls: Vec<TlsListener>,
    /// Whether TLS ends in a load balancer in front, so that plain text may be served on any address, and clients of
    /// plain text count as encrypted (`X-Forwarded-Proto: https`).
    pub tls_ends_in_front: bool,
    /// Whether another tollgate of the same user may listen on the same addresses, for an upgrade without a gap.
    pub share_port: bool,
    /// Request threads; 0 is one per core.
    pub workers: usize,
    /// Longest request head with its request line, in bytes.
    pub max_head_bytes: usize,
    /// Most field lines of a request.
    pub max_fields: usize,
    /// Longest request target, in bytes.
    pub max_target_bytes: usize,
    /// Longest request body, in bytes.
    pub max_body_bytes: u64,
    /// Most open client connections in all.
    pub max_connections: usize,
    /// Most streams that one HTTP/2 connection may have open.
    pub max_streams: u32,
    /// Time for the TLS handshake, in seconds.
    pub tls_handshake_timeout_seconds: u64,
    /// Time from a request's first byte (or from accepting the connection) to the end of its head, in seconds.
    pub head_timeout_seconds: u64,
    /// Longest pause inside a request body, in seconds.
    pub body_idle_timeout_seconds: u64,
    /// Longest pause between two requests of a connection, in seconds.
    pub keep_alive_timeout_seconds: u64,
    /// Longest time in which a client takes none of its response, in seconds.
    pub write_timeout_seconds: u64,
    /// After SIGTERM, time in which new connections are still accepted while `/readyz` already fails, in seconds.
    pub drain_delay_seconds: u64,
    /// After SIGTERM, time after which connections that are still busy are cut, in seconds.
    pub drain_timeout_seconds: u64,
}

/// A plain-text listener: its address as a text, or a table where there is more to say.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
#[schemars(transform = text_or_table)]
pub struct PlainListener {
    /// Where it listens, for example `127.0.0.1:8080`.
    pub address: String,
    /// Whether each connection begins with a PROXY protocol header: `off` or `require`.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// Networks of the balancers that may connect where the header is required.
    #[serde(default)]
    pub proxy_protocol_from: Vec<String>,
}

/// The schema of a listener that may be its address alone.
fn text_or_table(table: &mut schemars::Schema) {
    let address = schemars::json_schema!({ "type": "string" });
    *table = schemars::json_schema!({ "anyOf": [address, table.clone()] });
}

impl<'de> Deserialize<'de> for PlainListener {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;

        impl<'de> Visitor<'de> for TextOrTable {
            type Value = PlainListener;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as \"127.0.0.1:8080\", or { address = \"…\", … }")
            }

            fn visit_str<E>(self, address: &str) -> Result<PlainListener, E> {
                let (proxy_protocol, proxy_protocol_from) = (ProxyProtocol::Off, Vec::new());
                Ok(PlainListener { address: address.to_owned(), proxy_protocol, proxy_protocol_from })
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<PlainListener, A::Error> {
                PlainListener::deserialize(MapAccessDeserializer::new(table))
            }
        }

        deserializer.deserialize_any(TextOrTable)
    }
}

impl Serialize for PlainListener {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// Whether a listener's connections begin with a PROXY protocol header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// They do not.
    #[default]
    Off,
    /// They do, or they are closed.
    Require,
}

/// A TLS listener and its certificates.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsListener {
    /// Where it listens, for example `0.0.0.0:443`.
    pub address: String,
    /// Its certificates; the first is the default, the others are chosen by SNI.
    pub certificates: Vec<CertificateFiles>,
    /// Whether each connection begins with a PROXY protocol header: `off` or `require`.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// Networks of the balancers that may connect where the header is required.
    #[serde(default)]
    pub proxy_protocol_from: Vec<String>,
}

/// A certificate chain and its key, in PEM files.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub chain_file: String,
    /// The private key.
    pub key_file: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            plain: Vec::new(),
            tls: Vec::new(),
            tls_ends_in_front: false,
            share_port: false,
            workers: 0,
            max_head_bytes: 32 * 1024,
            max_fields: 100,
            max_target_bytes: 8 * 1024,
            max_body_bytes: 100 * 1024 * 1024,
            max_connections: 20_000,
            max_streams: 100,
            tls_handshake_timeout_seconds: 10,
            head_timeout_seconds: 10,
            body_idle_timeout_seconds: 30,
            keep_alive_timeout_seconds: 75,
            write_timeout_seconds: 30,
            drain_delay_seconds: 0,
            drain_timeout_seconds: 30,
        }
    }
}
