//! L1: the same decisions as a plain governor limiter. L2: no window admits more than burst + rate × window.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{Quota as Plain, RateLimiter};
use proptest::prelude::*;

use super::world::Dice;
use crate::clock::Now;
use crate::domain::{Quota, Subject};
use crate::limits::bucket::{Scale, Verdict};
use crate::limits::calendar::Refill;
use crate::limits::cells::{Cells, Debit, STEPS};
use crate::limits::key::{Key, Parts};

const START: u64 = 3_600_000_000_000;

fn scale(requests: u32, period_seconds: u32, burst: u32) -> Scale {
    let number = |number| NonZeroU32::new(number).unwrap();
    Scale::of(&Quota::new(number(requests), period_seconds).with_burst(number(burst)))
}

fn key(subject: u64) -> Key {
    Key::packed(&Parts { subject: Some(Subject(subject)), ..Parts::of_policy(0) })
}

fn debit(scale: Scale, cost: u32) -> Debit {
    let cost = NonZeroU32::new(cost).unwrap();
    Debit { scale, refill: Refill::Gradual, cost, revision: 1, own: false, unix_millis: 0 }
}

/// In a million random steps the two agree on the decision, the wait, and what remains.
#[test]
fn decides_as_a_plain_governor_limiter_does() {
    let steps = 200_000;
    for (seed, scale) in [
        scale(60, 60, 60),
        scale(6_000, 60, 100),
        scale(2, 60, 2),
        scale(7, 1, 1),
        scale(700, 2_592_000, 700),
    ]
    .into_iter()
    .enumerate()
    {
        let clock = FakeRelativeClock::default();
        let quota = Plain::with_period(Duration::from_nanos(scale.interval_nanos)).unwrap();
        let oracle = RateLimiter::direct_with_clock(quota.allow_burst(scale.burst), clock.clone())
            .with_middleware::<governor::middleware::StateInformationMiddleware>();
        let cells = Cells::new(&[1; 32], 1_000);
        let (mut dice, mut now) = (Dice(seed as u64), START);
        for step in 0..steps {
            let pause = match dice.below(10) {
                0..5 => 0,
                5..8 => dice.below(scale.interval_nanos * 2),
                8 => dice.below(scale.fill_nanos() / 4 + 1),
                _ => dice.below(20) * dice.below(scale.interval_nanos),
            };
            now += pause;
            clock.advance(Duration::from_nanos(pause));
            let cost =
                if dice.below(3) == 0 { dice.below(u64::from(scale.burst.get())) as u32 + 1 } else { 1 };
            let debit = debit(scale, cost);
            let peeked = cells.peek(key(1), &debit, now);
            let ours = cells.take(key(1), &debit, now).verdict;
            assert_eq!(peeked.wait_nanos, ours.wait_nanos, "a peek tells what a take does");
            let theirs = oracle.check_n(debit.cost).unwrap();
            match (theirs, ours.wait_nanos) {
                (Ok(snapshot), None) => {
                    assert_eq!(snapshot.remaining_burst_capacity(), scale.remaining(ours.tat - now));
                }
                (Err(until), Some(wait)) => {
                    let from = governor::nanos::Nanos::new(now - START);
                    assert_eq!(until.wait_time_from(from), Duration::from_nanos(wait));
                }
                (theirs, _) => panic!("step {step}: governor said {theirs:?}, we {ours:?}"),
            }
            if dice.below(100) == 0 {
                for _ in 0..STEPS {
                    cells.sweep(Now { monotonic_nanos: now, unix_millis: 0 });
                }
            }
        }
    }
}

#[test]
fn a_peek_changes_nothing_and_a_wait_is_exact() {
    let cells = Cells::new(&[1; 32], 1_000);
    let debit = debit(scale(5, 60, 5), 1);
    for _ in 0..100 {
        assert_eq!(cells.peek(key(1), &debit, START).wait_nanos, None);
    }
    assert_eq!(cells.len(), 0);
    for _ in 0..5 {
        assert_eq!(cells.take(key(1), &debit, START).verdict.wait_nanos, None);
    }
    let Verdict { wait_nanos: Some(wait), .. } = cells.take(key(1), &debit, START).verdict else {
        panic!("a sixth request was admitted")
    };
    assert!(cells.take(key(1), &debit, START + wait - 1).verdict.wait_nanos.is_some());
    assert!(cells.take(key(1), &debit, START + wait).verdict.wait_nanos.is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_window_admits_more_than_burst_and_rate(
        requests in 1_u32..5_000,
        period in prop::sample::select(vec![1_u32, 60, 3_600, 86_400]),
        burst in 1_u32..200,
        pauses in prop::collection::vec(0_u64..4_000, 1..400),
    ) {
        let scale = scale(requests, period, burst);
        let cells = Cells::new(&[1; 32], 1_000);
        let mut now = START;
        let mut admitted = Vec::new();
        for pause in pauses {
            now += pause * scale.interval_nanos / 1_000;
            if cells.take(key(1), &debit(scale, 1), now).verdict.wait_nanos.is_none() {
                admitted.push(now);
            }
        }
        for (first, from) in admitted.iter().enumerate() {
            for (last, to) in admitted.iter().enumerate().skip(first) {
                let most = u128::from(burst)
                    + u128::from(to - from) * u128::from(requests) / (u128::from(period) * 1_000_000_000);
                prop_assert!((last - first + 1) as u128 <= most);
            }
        }
    }

    #[test]
    fn whoever_asks_all_the_time_gets_burst_and_rate(
        requests in 1_u32..5_000, burst in 1_u32..50, intervals in 1_u64..200
    ) {
        let scale = scale(requests, 60, burst);
        let cells = Cells::new(&[1; 32], 1_000);
        let mut admitted = 0;
        for interval in 0..=intervals {
            for part in 0..3 {
                let now = START + interval * scale.interval_nanos + part * scale.interval_nanos / 3;
                let asked = (0..=burst).map(|_| cells.take(key(1), &debit(scale, 1), now).verdict.wait_nanos);
                admitted += asked.filter(Option::is_none).count() as u64;
            }
        }
        prop_assert_eq!(admitted, u64::from(burst) + intervals);
    }
}
