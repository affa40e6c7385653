//! Blocks of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Serialize, Serializer};

use super::Problems;

/// A block of addresses as `10.0.0.0/8`, `2001:db8::/32` or one address. Shown in its canonical form (RFC 5952 for
/// IPv6), always with the length of the prefix; a block of IPv4 addresses written as IPv6 is one of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    base: u128,
    bits: u32,
}

const V4_IN_V6_BITS: u32 = 96;
/// The first 96 bits of every IPv4 address written as IPv6 (`::ffff:0:0/96`).
const V4_IN_V6: u128 = 0xffff;

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
        let network = Self { base: as_v6(address), bits: length + offset };
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

    /// The network of an address whose prefix has so many bits, by the family of the address; an IPv4 address written
    /// as IPv6 counts as IPv4.
    pub const fn around(address: IpAddr, v4_bits: u32, v6_bits: u32) -> Self {
        let address = as_v6(address);
        let bits = if address >> 32 == V4_IN_V6 {
            V4_IN_V6_BITS + if v4_bits < 32 { v4_bits } else { 32 }
        } else if v6_bits < 128 {
            v6_bits
        } else {
            128
        };
        let all = Self { base: 0, bits };
        Self { base: address & all.mask(), bits }
    }

    /// Its first address and the length of its prefix in bits, both as IPv6.
    pub const fn to_bits(&self) -> (u128, u32) {
        (self.base, self.bits)
    }

    /// Whether an address lies in it; an IPv4 address written as IPv6 (`::ffff:…`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        as_v6(address) & self.mask() == self.base
    }

    const fn mask(&self) -> u128 {
        match self.bits {
            0 => 0,
            bits => u128::MAX << (128 - bits),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.base);
        match address.to_ipv4_mapped() {
            Some(address) if self.bits >= V4_IN_V6_BITS => {
                write!(f, "{address}/{}", self.bits - V4_IN_V6_BITS)
            }
            _ => write!(f, "{address}/{}", self.bits),
        }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl schemars::JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "description": "A block of addresses, for example `10.0.0.0/8`."})
    }
}

/// An address as IPv6.
const fn as_v6(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => V4_IN_V6 << 32 | address.to_bits() as u128,
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn networks_are_shown_in_one_form() {
        for (written, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("2001:0DB8:0:0::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            let network = Network::parse(written).unwrap();
            assert_eq!(network.to_string(), shown);
            assert_eq!(Network::parse(shown), Some(network));
        }
    }

    #[test]
    fn the_network_around_an_address_holds_it() {
        let around = |address: &str| Network::around(address.parse().unwrap(), 24, 48).to_string();
        assert_eq!(around("192.0.2.7"), "192.0.2.0/24");
        assert_eq!(around("::ffff:192.0.2.7"), "192.0.2.0/24");
        assert_eq!(around("2001:db8:1:2:3::4"), "2001:db8:1::/48");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(bits: u128, v4: u32, length in 0_u32..=128) {
            let address = IpAddr::from(Ipv6Addr::from_bits(bits));
            let network = Network::around(address, length.min(32), length);
            prop_assert!(network.contains(address));
            prop_assert_eq!(Network::parse(&network.to_string()), Some(network));
            let address = IpAddr::from(std::net::Ipv4Addr::from_bits(v4));
            let network = Network::around(address, length.min(32), length);
            prop_assert!(network.contains(address));
            prop_assert_eq!(Network::parse(&network.to_string()), Some(network));
        }
    }
}
