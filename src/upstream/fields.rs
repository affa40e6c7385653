//! Fields on their way through (RFC 9110, section 7.6): what ends here, what passes, what we set.
//!
//! The order matters: fields that `Connection` names are dropped first, then every inbound spelling of a field
//! that is ours, and ours are written last, so that no client can set or remove one.

use std::net::{IpAddr, SocketAddr};

use super::settings::{ForwardedFields, HostSetting, IdentityFields, Settings};
use crate::authentication::Caller;
use crate::message::{FieldName, Head, push_line};
use crate::telemetry::TraceParent;

/// Inbound names that are never passed on, beside the identity fields; `-` and `_` count as the same. Framing
/// stands here for its spellings with `_`, which some servers behind us read as the real ones.
const OURS: [&str; 12] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-real-ip",
    "x-request-id",
    "traceparent",
    "content-length",
    "transfer-encoding",
    "proxy-authorization",
];
/// Names that framing, routing and credentials depend on and that a trailer must not bring in late.
const NOT_IN_TRAILERS: [&str; 12] = [
    "content-length",
    "transfer-encoding",
    "host",
    "authorization",
    "proxy-authorization",
    "content-type",
    "content-encoding",
    "content-range",
    "trailer",
    "cookie",
    "set-cookie",
    "te",
];

/// What we tell the upstream about the client.
#[derive(Clone, Copy)]
pub struct Client<'r> {
    /// The other end of its connection.
    pub address: SocketAddr,
    /// Whether its connection is encrypted.
    pub is_tls: bool,
    /// The request's id.
    pub request_id: &'r str,
    /// Its trace.
    pub trace: &'r TraceParent,
    /// Who it is; [`None`] on a public endpoint.
    pub caller: Option<&'r Caller>,
    /// Its home region's name.
    pub region: &'r str,
}

/// How a request's body is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Nothing,
    Length(u64),
    Chunked,
}

/// Which fields are dropped and set, ready for the request path.
#[derive(Clone, Debug)]
pub struct FieldRules {
    dropped: Vec<Box<[u8]>>,
    dropped_lengths: u64,
    identity: IdentityFields,
    forwarded: ForwardedFields,
    host: HostSetting,
    forward_credential: bool,
}

impl FieldRules {
    /// From checked settings.
    pub fn new(settings: &Settings) -> Self {
        let identity = &settings.identity;
        let own = [
            &identity.workspace,
            &identity.region,
            &identity.token_id,
            &identity.plan,
            &identity.role,
            &identity.scopes,
        ];
        let dropped: Vec<Box<[u8]>> = own
            .into_iter()
            .map(String::as_str)
            .chain(OURS)
            .filter(|name| !name.is_empty())
            .map(|name| name.bytes().map(fold).collect())
            .collect();
        Self {
            dropped_lengths: dropped.iter().fold(0, |lengths, name| lengths | 1 << name.len().min(63)),
            dropped,
            identity: identity.clone(),
            forwarded: settings.forwarded_fields,
            host: settings.host,
            forward_credential: settings.forward_credential,
        }
    }

    /// Whether a name, in any spelling, is one that only we may set.
    fn is_ours(&self, name: &[u8]) -> bool {
        self.dropped_lengths & 1 << name.len().min(63) != 0
            && self.dropped.iter().any(|ours| {
                ours.len() == name.len() && ours.iter().zip(name).all(|(ours, byte)| *ours == fold(*byte))
            })
    }

    /// Writes the head that goes to the upstream.
    pub(super) fn request_head(
        &self,
        head: &Head,
        client: &Client<'_>,
        announced: Announced,
        upstream_authority: &str,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(head.method());
        out.push(b' ');
        out.extend_from_slice(head.target());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let client_host = head.first(FieldName::Host);
        let host = match self.host {
            HostSetting::Preserve => client_host.unwrap_or(upstream_authority.as_bytes()),
            HostSetting::Upstream => upstream_authority.as_bytes(),
        };
        push_line(out, b"host", host);
        let has_nominated = head.first(FieldName::Connection).is_some();
        for field in head.fields() {
            let ends_here = match field.known {
                FieldName::Host
                | FieldName::Expect
                | FieldName::ContentLength
                | FieldName::RequestId
                | FieldName::Traceparent => true,
                FieldName::Authorization => !self.forward_credential,
                // It says more of the parent, so it means nothing under another one.
                FieldName::Tracestate => !client.trace.is_inbound(),
                FieldName::Other => self.is_ours(field.name),
                known => known.is_hop_by_hop(),
            };
            if !(ends_here || has_nominated && is_nominated(head, field.name)) {
                push_line(out, field.name, field.value);
            }
        }
        match announced {
            Announced::Nothing => {}
            Announced::Length(length) => {
                push_line(out, b"content-length", itoa::Buffer::new().format(length).as_bytes());
            }
            Announced::Chunked => push_line(out, b"transfer-encoding", b"chunked"),
        }
        self.client_fields(client, client_host, out);
        push_line(out, b"x-request-id", client.request_id.as_bytes());
        push_line(out, b"traceparent", client.trace.as_bytes());
        self.identity_fields(client, out);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends those trailer lines that may pass: no framing, identity, credentials or CORS.
    pub(super) fn trailer_lines(&self, lines: &[u8], out: &mut Vec<u8>) {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let name: Vec<u8> = line[..colon].iter().copied().map(fold).collect();
            let is_refused = FieldName::of(&name).is_hop_by_hop()
                || NOT_IN_TRAILERS.iter().any(|listed| listed.as_bytes() == name)
                || self.is_ours(&name)
                || is_cors(&name)
                || name.is_empty();
            if !is_refused {
                out.extend_from_slice(line);
            }
        }
    }

    fn client_fields(&self, client: &Client<'_>, host: Option<&[u8]>, out: &mut Vec<u8>) {
        let proto: &[u8] = if client.is_tls { b"https" } else { b"http" };
        let address = client.address.ip();
        if matches!(self.forwarded, ForwardedFields::XForwarded | ForwardedFields::Both) {
            out.extend_from_slice(b"x-forwarded-for: ");
            write_address(address, out);
            out.extend_from_slice(b"\r\n");
            push_line(out, b"x-forwarded-proto", proto);
            if let Some(host) = host {
                push_line(out, b"x-forwarded-host", host);
            }
        }
        if matches!(self.forwarded, ForwardedFields::Forwarded | ForwardedFields::Both) {
            out.extend_from_slice(b"forwarded: for=");
            let (open, close): (&[u8], &[u8]) = if address.is_ipv6() { (b"\"[", b"]\"") } else { (b"", b"") };
            out.extend_from_slice(open);
            write_address(address, out);
            out.extend_from_slice(close);
            out.extend_from_slice(b";proto=");
            out.extend_from_slice(proto);
            if let Some(host) = host {
                out.extend_from_slice(b";host=\"");
                out.extend_from_slice(host);
                out.push(b'"');
            }
            out.extend_from_slice(b"\r\n");
        }
    }

    fn identity_fields(&self, client: &Client<'_>, out: &mut Vec<u8>) {
        let mut set = |name: &str, value: &str| {
            if !name.is_empty() {
                push_line(out, name.as_bytes(), value.as_bytes());
            }
        };
        let Some(caller) = client.caller else { return };
        let workspace = caller.workspace();
        set(&self.identity.workspace, &workspace.id);
        set(&self.identity.region, client.region);
        set(&self.identity.token_id, caller.token_id());
        set(&self.identity.plan, workspace.plan.name());
        set(&self.identity.role, caller.role().name());
        if let [scope] = &**caller.scopes() {
            set(&self.identity.scopes, scope);
        } else {
            set(&self.identity.scopes, &caller.scopes().join(" "));
        }
    }
}

/// Whether a name may not carry identity: framing, routing and content depend on it, or we set it otherwise.
pub(super) fn is_reserved(name: &str) -> bool {
    let folded: Vec<u8> = name.bytes().map(fold).collect();
    let listed = |list: &[&str]| list.iter().any(|listed| listed.as_bytes() == folded);
    FieldName::of(&folded) != FieldName::Other || listed(&OURS) || listed(&NOT_IN_TRAILERS)
}

/// Whether two names are the same to us.
pub(super) fn is_same_name(one: &str, other: &str) -> bool {
    one.bytes().map(fold).eq(other.bytes().map(fold))
}

/// Case and `_` do not tell field names apart for us, because they do not for many servers behind us.
const fn fold(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

/// Whether any `Connection` line names the field (RFC 9110, section 7.6.1).
fn is_nominated(head: &Head, name: &[u8]) -> bool {
    head.all(FieldName::Connection)
        .flat_map(|line| line.split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(name))
}

fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    use std::io::Write as _;
    // Writing to memory cannot fail.
    let _ = write!(out, "{}", address.to_canonical());
}

/// Which fields of an answer we set ourselves, so that the upstream's own do not leave beside them.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a set of four, each named")]
pub struct OwnFields {
    /// `X-RateLimit-*`
    pub x_rate_limit: bool,
    /// `RateLimit` and `RateLimit-Policy`
    pub rate_limit: bool,
    /// `Deprecation`
    pub deprecation: bool,
    /// `Sunset`
    pub sunset: bool,
}

impl OwnFields {
    fn has(self, name: &[u8]) -> bool {
        match name.len() {
            6 => self.sunset && name.eq_ignore_ascii_case(b"sunset"),
            9 => self.rate_limit && name.eq_ignore_ascii_case(b"ratelimit"),
            11 if self.deprecation && name.eq_ignore_ascii_case(b"deprecation") => true,
            16 if self.rate_limit && name.eq_ignore_ascii_case(b"ratelimit-policy") => true,
            _ => self.x_rate_limit && starts_with(name, b"x-ratelimit-"),
        }
    }
}

/// Appends an answer's fields for the client: without those of one connection, CORS, and what we set.
pub fn response_lines(head: &Head, own: OwnFields, out: &mut Vec<u8>) {
    let has_nominated = head.first(FieldName::Connection).is_some();
    for field in head.fields() {
        let ends_here = match field.known {
            FieldName::ContentLength | FieldName::RequestId => true,
            FieldName::Other => is_cors(field.name) || own.has(field.name),
            known => known.is_hop_by_hop(),
        };
        if !(ends_here || has_nominated && is_nominated(head, field.name)) {
            push_line(out, field.name, field.value);
        }
    }
}

/// Whether the answer says already that it depends on `Accept` (RFC 9110, section 12.5.5).
pub fn varies_by_accept(head: &Head) -> bool {
    head.all(FieldName::Vary).flat_map(|line| line.split(|byte| *byte == b',')).any(|name| {
        let name = name.trim_ascii();
        name == b"*" || name.eq_ignore_ascii_case(b"accept")
    })
}

fn is_cors(name: &[u8]) -> bool {
    starts_with(name, b"access-control-")
}

fn starts_with(name: &[u8], start: &[u8]) -> bool {
    name.len() > start.len() && name[..start.len()].eq_ignore_ascii_case(start)
}

#[cfg(test)]
mod tests;
