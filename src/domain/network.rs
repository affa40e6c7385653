//! Blocks of addresses.

use std::net::{IpAddr, Ipv6Addr};

use super::Problems;

/// A block of addresses as `10.0.0.0/8`, `2001:db8::/32` or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: u128,
    bits: u32,
}

const V4_IN_V6_BITS: u32 = 96;

impl Network {
    /// Reads CIDR notation (RFC 4632, RFC 4291); bits after the prefix must be zero.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (widest, offset) = match address {
            IpAddr::V4(_) => (32, V4_IN_V6_BITS),
            IpAddr::V6(_) => (128, 0),
        };
        let length = match length {
            Some(length) if length.len() <= 3 && length.bytes().all(|byte| byte.is_ascii_digit()) => {
                length.parse().ok()?
            }
            Some(_) => return None,
            None => widest,
        };
        let network = Self { base: as_v6(address).to_bits(), bits: length + offset };
        (length <= widest && network.base & !network.mask() == 0).then_some(network)
    }

    /// Reads a list of networks at a configuration's key; each that is none goes to `problems`.
    pub fn read_all(texts: &[String], key: &str, problems: &mut Problems) -> Vec<Self> {
        let mut networks = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            match Self::parse(text) {
                Some(network) => networks.push(network),
                None => problems.add(
                    format!("{key}[{place}]"),
                    "network_invalid",
                    format!("`{text}` is no address and no network"),
                    "write for example `127.0.0.1`, `10.0.0.0/8` or `2001:db8::/32`, with zeros after the prefix",
                ),
            }
        }
        networks
    }

    /// Whether an address lies in it; an IPv4 address written as IPv6 (`::ffff:…`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        as_v6(address).to_bits() & self.mask() == self.base
    }

    const fn mask(&self) -> u128 {
        match self.bits {
            0 => 0,
            bits => u128::MAX << (128 - bits),
        }
    }
}

const fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_they_say() {
        let inside = |network: &str, address: &str| {
            Network::parse(network).unwrap().contains(address.parse().unwrap())
        };
        assert!(inside("127.0.0.0/8", "127.1.2.3"));
        assert!(inside("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(!inside("127.0.0.0/8", "128.0.0.1"));
        assert!(inside("::1", "::1"));
        assert!(!inside("::1", "::2"));
        assert!(inside("0.0.0.0/0", "203.0.113.9"));
        assert!(!inside("0.0.0.0/0", "2001:db8::1"));
        assert!(inside("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!inside("2001:db8::/32", "2001:db9::1"));
    }

    #[test]
    fn refuses_what_is_no_network() {
        for text in
            ["", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "::/129", "::/+1", "localhost", "1.2.3"]
        {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
