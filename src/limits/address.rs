//! Addresses as limits see them: the smallest block that one customer is given, and the largest.

use std::net::IpAddr;

/// A block of addresses: its family and its leading bits. No two blocks have the same value.
pub(super) type Block = (u8, u64);

/// The block that an address is counted in: all 32 bits of IPv4 and 64 of IPv6 (a single IPv6 customer holds at least a
/// /64 and would otherwise never meet a limit).
pub(super) fn prefix(address: IpAddr) -> Block {
    match address.to_canonical() {
        IpAddr::V4(address) => (4, u64::from(address.to_bits())),
        IpAddr::V6(address) => (6, (address.to_bits() >> 64) as u64),
    }
}

/// The site that an address is of: of IPv6 its /48, the most that one end site is given (RFC 6177) and 65,536 of the blocks
/// of [`prefix`]; of IPv4 the address itself, as [`prefix`] has it. The family of a /48 reads 48.
pub(super) fn site(address: IpAddr) -> Block {
    match address.to_canonical() {
        IpAddr::V4(_) => prefix(address),
        IpAddr::V6(address) => (SITE_BITS as u8, (address.to_bits() >> (128 - SITE_BITS)) as u64),
    }
}

/// Bits of an IPv6 site's prefix.
pub(super) const SITE_BITS: u32 = 48;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

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
        assert_eq!((site("192.0.2.1"), site("::ffff:192.0.2.1")), (block("192.0.2.1"), block("192.0.2.1")));
    }

    proptest! {
        #[test]
        fn addresses_are_of_one_site_if_48_bits_agree(address: u128, differs in 0_u32..128) {
            let v6 = |bits: u128| IpAddr::V6(Ipv6Addr::from_bits(bits));
            let (one, other) = (v6(address), v6(address ^ 1 << differs));
            prop_assume!(one.is_ipv6() && one.to_canonical().is_ipv6() && other.to_canonical().is_ipv6());
            prop_assert_eq!(site(one) == site(other), differs < 128 - 48);
            prop_assert_eq!(prefix(one) == prefix(other), differs < 128 - 64);
            prop_assert_ne!(site(one), prefix(one), "a site is none of its blocks");
        }

        #[test]
        fn an_ipv4_address_is_a_site_however_it_is_written(address: u32, differs in 0_u32..32) {
            let v4 = |bits: u32| Ipv4Addr::from_bits(bits);
            let mapped = IpAddr::V6(v4(address).to_ipv6_mapped());
            prop_assert_eq!(site(mapped), site(v4(address).into()));
            prop_assert_eq!(site(mapped), prefix(mapped));
            prop_assert_ne!(site(mapped), site(v4(address ^ 1 << differs).into()));
        }
    }
}
