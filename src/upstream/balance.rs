//! Which upstream of several: the less busy of two that chance names ("The power of two choices in randomized load
//! balancing", Mitzenmacher, 2001).

/// One of `0..count` among those that are `eligible`, by two pieces of `random` and each one's `load`; [`None`]
/// if none is.
pub(super) fn pick(
    count: usize,
    eligible: impl Fn(usize) -> bool,
    load: impl Fn(usize) -> u32,
    random: u64,
) -> Option<usize> {
    let among = (0..count).filter(|at| eligible(*at)).count();
    if among == 0 {
        return None;
    }
    let nth = |rank: usize| (0..count).filter(|at| eligible(*at)).nth(rank);
    let first = scaled(random as u32, among);
    if among == 1 {
        return nth(0);
    }
    let second = scaled((random >> 32) as u32, among - 1);
    let second = second + usize::from(second >= first);
    // Another core may have changed who is eligible in between; then one is enough.
    let (Some(one), Some(other)) = (nth(first), nth(second)) else { return nth(0) };
    Some(if load(other) < load(one) { other } else { one })
}

/// A number in `0..below` from a random one (Lemire, 2019).
const fn scaled(random: u32, below: usize) -> usize {
    ((random as u64 * below as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `SplitMix64` as a stream.
    fn randoms(seed: u64) -> impl Iterator<Item = u64> {
        (1..).map(move |step: u64| {
            let mut number = seed.wrapping_add(step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            number ^ (number >> 31)
        })
    }

    #[test]
    fn the_busiest_is_never_chosen_and_equals_share() {
        let loads = [5, 1, 9, 1];
        let mut chosen = [0_u32; 4];
        for random in randoms(1).take(10_000) {
            chosen[pick(4, |_| true, |at| loads[at], random).unwrap()] += 1;
        }
        assert_eq!(chosen[2], 0);
        assert!(chosen[1].abs_diff(chosen[3]) < 500, "{chosen:?}");
        let mut even = [0_u32; 3];
        for random in randoms(2).take(9_000) {
            even[pick(3, |_| true, |_| 0, random).unwrap()] += 1;
        }
        assert!(even.iter().all(|count| count.abs_diff(3_000) < 300), "{even:?}");
    }

    proptest! {
        #[test]
        fn only_eligible_ones_are_chosen(mask in any::<u16>(), count in 0..16_usize, random in any::<u64>()) {
            let eligible = |at: usize| mask >> at & 1 == 1;
            match pick(count, eligible, |at| at as u32, random) {
                Some(at) => prop_assert!(at < count && eligible(at)),
                None => prop_assert!((0..count).all(|at| !eligible(at))),
            }
        }
    }
}
