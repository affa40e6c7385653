//! L4 and L5: holders of leases that hoard, spend at the last instant, keep, report late and lose answers. What the store
//! keeps bounds them all; a store that forgets what is held does not.

use std::sync::Arc;

use super::tally::worst_window;
use super::{Dice, MILLI, SECOND};
use crate::limits::shared::model::Model;
use crate::limits::shared::{Answer, Asked, Bucket, Held, Question};

struct Hoarder {
    tokens: u32,
    dies: u64,
    account: u32,
    period: u64,
}

/// The worst window of holders who do with their leases whatever the dice say.
fn worst(seed: u64, (interval, burst, lease): (u64, u32, u64), holders: usize, ignores_held: bool) -> f64 {
    let mut dice = Dice(seed);
    let mut model = if ignores_held { Model::forgetful() } else { Model::default() };
    let idle = || Hoarder { tokens: 0, dies: 0, account: 0, period: 0 };
    let mut hoarders: Vec<Hoarder> = (0..holders).map(|_| idle()).collect();
    let (mut now, mut spent) = (10 * SECOND, Vec::new());
    let pace = 1 + dice.below(lease);
    for _ in 0..3_000 {
        now += dice.below(pace / holders as u64 + 1);
        if dice.below(300) == 0 {
            now += interval * u64::from(burst);
        }
        let everybody_spends = dice.below(60) == 0;
        let at = dice.below(holders as u64) as usize;
        for (place, holder) in hoarders.iter_mut().enumerate() {
            // At the last instant, and now and then all at once.
            if now >= holder.dies {
                spent.extend((0..holder.tokens).map(|_| holder.dies - 1));
                holder.tokens = 0;
            } else if everybody_spends || (place == at && dice.below(8) == 0) {
                spent.extend((0..holder.tokens).map(|_| now));
                holder.tokens = 0;
            }
        }
        let holder = &mut hoarders[at];
        let kept = if dice.below(4) == 0 { 0 } else { holder.tokens };
        let held = Held { period: holder.period, spent: holder.account.saturating_sub(holder.tokens), kept };
        let held = Held { spent: held.spent + holder.tokens - kept, ..held };
        holder.tokens = kept;
        let want = 1 + dice.below(u64::from(burst)) as u32;
        let asked = Asked {
            name: Arc::from("bucket"),
            bucket: Bucket::Gcra { interval_nanos: interval, burst, lease_nanos: lease },
            need: 1,
            want,
            held,
        };
        let question = Question { group: Arc::from("group"), asked: vec![asked], outage: None };
        let answer = model.answer(&question, now);
        if dice.below(20) == 0 {
            // Lost on the way back: nobody knows whether the store heard it.
            (holder.account, holder.period) = (0, 0);
            continue;
        }
        if let Answer::Granted(grants) = answer {
            holder.tokens += grants[0].tokens;
            holder.account = kept + grants[0].tokens;
            holder.period = grants[0].period;
            holder.dies = now + lease;
        }
    }
    worst_window(spent.into_iter(), 1e9 / interval as f64)
}

const BUCKETS: [(u64, u32, u64); 4] = [
    (10 * MILLI, 100, 300 * MILLI),
    (100 * MILLI, 600, 5 * SECOND),
    (30 * SECOND, 2, 50 * MILLI),
    (20 * MILLI, 50, 500 * MILLI),
];

#[test]
fn hoarders_spend_no_more_than_burst_and_rate_in_any_window() {
    for bucket in BUCKETS {
        for seed in 0..60 {
            let worst = worst(seed, bucket, 2 + seed as usize % 15, false);
            assert!(worst <= f64::from(bucket.1) + 1e-6, "{bucket:?}, seed {seed}: {worst}");
        }
    }
}

#[test]
fn without_what_is_held_they_would() {
    let broken = |bucket: (u64, u32, u64)| {
        (0..60).any(|seed| worst(seed, bucket, 2 + seed as usize % 15, true) > f64::from(bucket.1) + 1e-6)
    };
    assert!(BUCKETS.into_iter().filter(|bucket| bucket.1 > 2).all(broken));
}
