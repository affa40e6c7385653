//! Addresses as limits see them: the smallest block that one customer is given, and the largest.

use std::net::IpAddr;

/// The block that an address is counted in: its family and its leading bits, all 32 of IPv4 and 64 of IPv6
/// (a single IPv6 customer holds at least a /64 and would otherwise never meet a limit).
pub(super) fn prefix(address: IpAddr) -> (u8, u64) {
    match address.to_canonical() {
        IpAddr::V4(address) => (4, u64::from(address.to_bits())),
        IpAddr::V6(address) => (6, (address.to_bits() >> 64) as u64),
    }
}

/// The /48 of an IPv6 address: 65,536 of the blocks of [`prefix`], which one customer may hold all of. Its family reads 48,
/// so that no other block has the same value.
pub(super) fn site(address: IpAddr) -> Option<(u8, u64)> {
    match address.to_canonical() {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some((48, (address.to_bits() >> 80) as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_customer_is_one_block() {
        let block = |text: &str| prefix(text.parse().unwrap());
        assert_eq!(block("2001:db8:1:2::1"), block("2001:db8:1:2:ffff::9"));
        assert_ne!(block("2001:db8:1:2::1"), block("2001:db8:1:3::1"));
        assert_eq!(block("::ffff:192.0.2.1"), block("192.0.2.1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
        let site = |text: &str| site(text.parse().unwrap());
        assert_eq!(site("2001:db8:1:2::1"), site("2001:db8:1:ffff::1"));
        assert_ne!(site("2001:db8:1:2::1"), site("2001:db8:2:2::1"));
        assert_eq!((site("192.0.2.1"), site("::ffff:192.0.2.1")), (None, None));
    }
}
