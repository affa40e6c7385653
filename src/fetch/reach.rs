//! Which addresses may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::FetchFailed;

/// The most addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;

/// Which addresses may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any: an operator wrote the URL.
    Anywhere,
    /// Those of the public internet alone: somebody else wrote the URL, who might name a server of ours to be told
    /// of, or acted upon, through us (OWASP, server-side request forgery).
    PublicInternet,
}

impl Reach {
    /// The addresses of a name that may be tried, in the resolver's order.
    pub(super) fn of(self, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, FetchFailed> {
        let (mut allowed, mut refused) = (Vec::new(), None);
        for address in found.take(MOST_ADDRESSES) {
            if self == Self::Anywhere || is_public(address.ip()) {
                allowed.push(address);
            } else {
                refused = Some(address.ip());
            }
        }
        match (allowed.is_empty(), refused) {
            (true, Some(address)) => Err(FetchFailed::Refused(address)),
            (true, None) => Err(FetchFailed::Unreachable("the name has no address".to_owned())),
            (false, _) => Ok(allowed),
        }
    }
}

/// Whether an address is globally reachable unicast: the IANA registries of special-purpose addresses for IPv4 and
/// IPv6 (RFC 6890) as of 2025, with those left out that lead to an IPv4 address inside.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

const fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inside) = address.to_ipv4_mapped() {
        return is_public_v4(inside);
    }
    match address.segments() {
        // NAT64 (RFC 6052): what is reached is the IPv4 address in the last 32 bits.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        // Protocol assignments (Teredo, ORCHID, benchmarks), documentation, and 6to4.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast (RFC 4291, section 2.4); all else is private, local, multicast or unassigned.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_the_public_internet_is_told_from_it() {
        for public in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn of_a_names_addresses_only_the_allowed_are_tried() {
        let found = || ["10.0.0.1:443", "1.1.1.1:443"].iter().map(|text| text.parse().unwrap());
        assert_eq!(Reach::Anywhere.of(found()).unwrap().len(), 2);
        assert_eq!(Reach::PublicInternet.of(found()).unwrap(), ["1.1.1.1:443".parse().unwrap()]);
        let refused = Reach::PublicInternet.of(found().take(1));
        assert!(matches!(refused, Err(FetchFailed::Refused(address)) if address.to_string() == "10.0.0.1"));
        assert!(matches!(Reach::Anywhere.of(std::iter::empty()), Err(FetchFailed::Unreachable(_))));
        let many = (0..100).map(|port| SocketAddr::from(([1, 1, 1, 1], port)));
        assert_eq!(Reach::PublicInternet.of(many).unwrap().len(), MOST_ADDRESSES);
    }
}
