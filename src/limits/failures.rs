//! Failed authentications by address, in a table of fixed size.
//!
//! Invariants: no number of addresses makes it grow; an address with failures on its account is never forgotten
//! to make room; nobody can choose whose place an address shares, because places are dealt by `SipHash` under
//! a secret key. It refuses to know what a credential is: a valid one is never looked up here.

use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use super::address::{self, Block};
use super::bucket::{self, Scale, Verdict};

/// Places that an address may take; the table is 4-way set-associative.
const WAYS: usize = 4;
/// 2^16 sets of 4 places of 16 bytes: 4 MiB.
const SETS: usize = 1 << 16;

/// How many times a block's budget a /48 has: fewer than it has blocks, and more than honest networks need.
const BLOCKS_OF_A_SITE: u32 = 16;

/// The /48 of an IPv6 address and its budget, where a block has that of `scale`.
fn of_site(address: IpAddr, scale: Scale) -> Option<(Block, Scale)> {
    let site = address::site(address);
    let burst = scale.burst.saturating_mul(NonZeroU32::MIN.saturating_add(BLOCKS_OF_A_SITE - 1));
    let interval_nanos = scale.interval_nanos.div_ceil(u64::from(BLOCKS_OF_A_SITE));
    (site != address::prefix(address)).then_some((site, Scale { interval_nanos, burst }))
}

/// Who holds a place (a hash, 0 for nobody) and the bucket's TAT.
#[derive(Debug, Default)]
struct Place {
    holder: AtomicU64,
    tat: AtomicU64,
}

/// The table. Outlives every configuration.
pub(super) struct Failures {
    places: Box<[Place]>,
    secret: [u8; 32],
}

impl Failures {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self::with_sets(secret, SETS)
    }

    fn with_sets(secret: &[u8; 32], sets: usize) -> Self {
        Self { places: (0..sets * WAYS).map(|_| Place::default()).collect(), secret: *secret }
    }

    /// Charges one failure to an address's block, and of IPv6 to its /48 as well, which has the budget of
    /// [`BLOCKS_OF_A_SITE`] blocks. Refused by one, nothing is charged to the other.
    pub(super) fn charge(&self, address: IpAddr, scale: Scale, now: u64) -> Verdict {
        let of_block = (address::prefix(address), scale);
        let Some(of_site) = of_site(address, scale) else { return self.charge_to(of_block, now) };
        let verdict = self.look_at(of_site, now);
        if verdict.wait_nanos.is_some() {
            return verdict;
        }
        let verdict = self.charge_to(of_block, now);
        if verdict.wait_nanos.is_none() {
            self.charge_to(of_site, now);
        }
        verdict
    }

    /// Says what [`Failures::charge`] would, and writes nothing.
    pub(super) fn look(&self, address: IpAddr, scale: Scale, now: u64) -> Verdict {
        let of_site = of_site(address, scale).map(|of_site| self.look_at(of_site, now));
        let refused = of_site.filter(|verdict| verdict.wait_nanos.is_some());
        refused.unwrap_or_else(|| self.look_at((address::prefix(address), scale), now))
    }

    fn charge_to(&self, (block, scale): (Block, Scale), now: u64) -> Verdict {
        let holder = self.holder(block);
        let place = Self::place(self.set(holder), holder, now);
        // A quota that a reload made smaller must not hold anybody longer than it takes to refill.
        let latest = now + scale.fill_nanos();
        let _ = place
            .tat
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |tat| (tat > latest).then_some(latest));
        bucket::take(&place.tat, scale, NonZeroU32::MIN, now)
    }

    fn look_at(&self, (block, scale): (Block, Scale), now: u64) -> Verdict {
        let holder = self.holder(block);
        let set = self.set(holder);
        let tat = |place: &Place| place.tat.load(Ordering::Acquire);
        let held = set.iter().find(|place| place.holder.load(Ordering::Acquire) == holder);
        // Without a place of its own it would take one whose bucket is full, or share the fullest.
        let tat = held.map_or_else(|| set.iter().map(tat).min().unwrap_or(0), tat);
        bucket::peek(tat.min(now + scale.fill_nanos()), scale, NonZeroU32::MIN, now)
    }

    /// Copies who owes how long, of one of so many parts of the table.
    pub(super) fn copy_part(&self, part: usize, parts: usize, now: u64, into: &mut Vec<(u64, u64)>) {
        let size = self.places.len().div_ceil(parts);
        for place in self.places.iter().skip(part * size).take(size) {
            let holder = place.holder.load(Ordering::Acquire);
            let debt = place.tat.load(Ordering::Acquire).saturating_sub(now);
            if holder != 0 && debt > 0 {
                into.push((holder, debt));
            }
        }
    }

    /// Gives a holder its place and TAT of before; false if its set has no free place.
    pub(super) fn put_back(&self, holder: u64, tat: u64) -> bool {
        let is_free = |place: &&Place| {
            place.holder.compare_exchange(0, holder, Ordering::AcqRel, Ordering::Acquire).is_ok()
        };
        let Some(place) = self.set(holder).iter().find(is_free) else { return false };
        place.tat.store(tat, Ordering::Release);
        true
    }

    fn set(&self, holder: u64) -> &[Place] {
        let sets = self.places.len() / WAYS;
        let first = (holder >> 32) as usize % sets * WAYS;
        &self.places[first..first + WAYS]
    }

    /// The place that an address holds, or can have, or else shares. A place is taken over only when its bucket
    /// is full, so its TAT, which lies in the past, need not be reset.
    fn place(set: &[Place], holder: u64, now: u64) -> &Place {
        if let Some(held) = set.iter().find(|place| place.holder.load(Ordering::Acquire) == holder) {
            return held;
        }
        for place in set {
            let before = place.holder.load(Ordering::Acquire);
            let free = before == 0 || place.tat.load(Ordering::Acquire) <= now;
            let took =
                || place.holder.compare_exchange(before, holder, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if free && took() {
                return place;
            }
        }
        set.iter().min_by_key(|place| place.tat.load(Ordering::Acquire)).unwrap_or(&set[0])
    }

    fn holder(&self, (family, prefix): Block) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.secret);
        hasher.write_u8(family);
        hasher.write_u64(prefix);
        hasher.finish().max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::domain::Quota;

    fn scale(text: &str) -> Scale {
        Scale::of(&text.parse::<Quota>().unwrap())
    }

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn refuses_past_the_budget_and_serves_after_the_wait() {
        let failures = Failures::with_sets(&[3; 32], 64);
        let address = "2001:db8::1".parse().unwrap();
        let neighbour = "2001:db8::ffff".parse().unwrap();
        for _ in 0..5 {
            assert_eq!(failures.charge(address, scale("5 per minute"), HOUR).wait_nanos, None);
        }
        let wait = failures.charge(neighbour, scale("5 per minute"), HOUR).wait_nanos.unwrap();
        assert_eq!(wait, 12_000_000_000);
        assert_eq!(failures.charge(address, scale("5 per minute"), HOUR + wait).wait_nanos, None);
        assert!(failures.charge(address, scale("5 per minute"), HOUR + wait).wait_nanos.is_some());
        let stranger = "2001:db8:0:1::1".parse().unwrap();
        assert_eq!(failures.charge(stranger, scale("5 per minute"), HOUR).wait_nanos, None);
    }

    #[test]
    fn a_flood_of_addresses_does_not_wash_out_a_debtor() {
        let failures = Failures::with_sets(&[3; 32], 4);
        let debtor = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
        let quota = scale("5 per minute");
        while failures.charge(debtor, quota, HOUR).wait_nanos.is_none() {}
        for number in 0..100_000_u32 {
            failures.charge(IpAddr::V4(Ipv4Addr::from_bits(number)), quota, HOUR);
        }
        assert!(failures.charge(debtor, quota, HOUR).wait_nanos.is_some());
    }

    #[test]
    fn a_site_that_changes_its_blocks_has_the_budget_of_16() {
        let failures = Failures::with_sets(&[3; 32], 1 << 10);
        let quota = scale("5 per minute");
        let address =
            |site: u128, block: u128| IpAddr::V6((0x2001_0db8_u128 << 96 | site << 80 | block << 64).into());
        let charged = (0..10_000).filter(|block| {
            let address = address(7, *block);
            let foreseen = failures.look(address, quota, HOUR).wait_nanos;
            let charged = failures.charge(address, quota, HOUR).wait_nanos;
            assert_eq!(foreseen, charged);
            charged.is_none()
        });
        assert_eq!(charged.count(), 5 * 16);
        assert!(failures.charge(address(8, 0), quota, HOUR).wait_nanos.is_none(), "another site");
    }

    #[test]
    fn a_smaller_quota_locks_nobody_out_for_longer_than_its_own_fill() {
        let failures = Failures::with_sets(&[3; 32], 4);
        let address = "192.0.2.1".parse().unwrap();
        while failures.charge(address, scale("100 per day"), HOUR).wait_nanos.is_none() {}
        let wait = failures.charge(address, scale("5 per minute"), HOUR).wait_nanos.unwrap();
        assert!(wait <= 60_000_000_000, "{wait}");
    }
}
