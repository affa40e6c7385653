//! The PROXY protocol, versions 1 and 2 (haproxy's `proxy-protocol.txt`): what a balancer in front says of its
//! client before the client's own bytes.
//!
//! Read strictly: a header that two readers could take differently is none. Version 2's extra vectors (TLVs) are
//! checked for their form and skipped. Families that no HTTP client can have, datagrams and local sockets, are
//! refused. Bounds: 107 bytes in version 1, as the protocol says; 4 KiB in version 2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1 (section 2.1).
const MAX_V1_BYTES: usize = 107;
/// Longest header of version 2 that is read: addresses, and more than enough for the vectors that balancers send.
const MAX_V2_BYTES: usize = 4 * 1024;
const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED_BYTES: usize = 16;

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProxyHeader {
    /// Bytes of the input that it took; the client's follow.
    pub(super) length: usize,
    /// The client; [`None`] if the balancer speaks for itself (`LOCAL`, `UNKNOWN`), so that it is the peer.
    pub(super) client: Option<SocketAddr>,
}

/// Bytes that are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads the header at the start of `input`; [`None`] if it is not complete.
pub(super) fn proxy_header(input: &[u8]) -> Result<Option<ProxyHeader>, Malformed> {
    if starts_as(input, V2_SIGNATURE) {
        return version_2(input);
    }
    if starts_as(input, V1_SIGNATURE) {
        return version_1(input);
    }
    Err(Malformed)
}

/// Whether input is a signature's beginning, or begins with it.
fn starts_as(input: &[u8], signature: &[u8]) -> bool {
    let length = input.len().min(signature.len());
    input[..length] == signature[..length]
}

fn version_1(input: &[u8]) -> Result<Option<ProxyHeader>, Malformed> {
    let line = &input[..input.len().min(MAX_V1_BYTES)];
    let Some(line_feed) = memchr::memchr(b'\n', line) else {
        return if line.len() == MAX_V1_BYTES { Err(Malformed) } else { Ok(None) };
    };
    let line = line[..line_feed].strip_suffix(b"\r").ok_or(Malformed)?;
    let line = str::from_utf8(line).map_err(|_| Malformed)?;
    let client = of_words(line)?;
    Ok(Some(ProxyHeader { length: line_feed + 1, client }))
}

/// `PROXY TCP4 source destination source-port destination-port`, one space between (section 2.1).
fn of_words(line: &str) -> Result<Option<SocketAddr>, Malformed> {
    let words: Vec<&str> = line.splitn(7, ' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family, source, destination, source_port, destination_port] => {
            let address: fn(&str) -> Option<IpAddr> = match family {
                "TCP4" => |text: &str| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
                "TCP6" => |text: &str| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
                _ => return Err(Malformed),
            };
            let client = SocketAddr::new(address(source).ok_or(Malformed)?, port(source_port)?);
            address(destination).ok_or(Malformed)?;
            port(destination_port)?;
            Ok(Some(client))
        }
        _ => Err(Malformed),
    }
}

/// A decimal number without sign and leading zeros.
fn port(text: &str) -> Result<u16, Malformed> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().map_err(|_| Malformed) } else { Err(Malformed) }
}

fn version_2(input: &[u8]) -> Result<Option<ProxyHeader>, Malformed> {
    let Some((fixed, rest)) = input.split_first_chunk::<V2_FIXED_BYTES>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let rest_bytes = usize::from(u16::from_be_bytes([high, low]));
    let length = V2_FIXED_BYTES + rest_bytes;
    let address_bytes = match (command, family) {
        // A balancer that speaks for itself, or knows no address: whatever it says of one is ignored.
        (0x20, _) | (0x21, 0x00) => None,
        (0x21, 0x11) => Some(12),
        (0x21, 0x21) => Some(36),
        _ => return Err(Malformed),
    };
    if length > MAX_V2_BYTES || address_bytes.is_some_and(|address_bytes| rest_bytes < address_bytes) {
        return Err(Malformed);
    }
    let Some(rest) = rest.get(..rest_bytes) else { return Ok(None) };
    let Some(address_bytes) = address_bytes else { return Ok(Some(ProxyHeader { length, client: None })) };
    let (addresses, vectors) = rest.split_at(address_bytes);
    skip_vectors(vectors)?;
    Ok(Some(ProxyHeader { length, client: client_in(addresses) }))
}

/// The source in an address block: both addresses, then both ports (section 2.2).
fn client_in(addresses: &[u8]) -> Option<SocketAddr> {
    if let Some((source, rest)) = addresses.split_first_chunk::<16>() {
        let port = rest.get(16..18)?.first_chunk::<2>()?;
        return Some(SocketAddr::new(Ipv6Addr::from(*source).into(), u16::from_be_bytes(*port)));
    }
    let (source, rest) = addresses.split_first_chunk::<4>()?;
    let port = rest.get(4..6)?.first_chunk::<2>()?;
    Some(SocketAddr::new(Ipv4Addr::from(*source).into(), u16::from_be_bytes(*port)))
}

/// Each vector is a type, a length of two bytes, and so many bytes (section 2.2.1 and following).
fn skip_vectors(mut vectors: &[u8]) -> Result<(), Malformed> {
    while let Some((&[_, high, low], rest)) = vectors.split_first_chunk::<3>() {
        vectors = rest.get(usize::from(u16::from_be_bytes([high, low]))..).ok_or(Malformed)?;
    }
    if vectors.is_empty() { Ok(()) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests;
