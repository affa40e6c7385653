//! Addresses as limits see them: the smallest block that one customer is given.

use std::net::{IpAddr, Ipv6Addr};

/// The block that an address is counted in: its family and its leading bits, all 32 of IPv4 and 64 of IPv6
/// (a single IPv6 customer holds at least a /64 and would otherwise never meet a limit).
pub(super) fn prefix(address: IpAddr) -> (u8, u64) {
    match address.to_canonical() {
        IpAddr::V4(address) => (4, u64::from(address.to_bits())),
        IpAddr::V6(address) => (6, (address.to_bits() >> 64) as u64),
    }
}

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

    #[test]
    fn an_ipv6_customer_is_one_block() {
        let block = |text: &str| prefix(text.parse().unwrap());
        assert_eq!(block("2001:db8:1:2::1"), block("2001:db8:1:2:ffff::9"));
        assert_ne!(block("2001:db8:1:2::1"), block("2001:db8:1:3::1"));
        assert_eq!(block("::ffff:192.0.2.1"), block("192.0.2.1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
    }
}
