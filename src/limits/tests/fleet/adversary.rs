//! L4 and L5: holders of leases that hoard, spend at the last instant, keep, report late and lose answers. What the store
//! keeps bounds them all; a store that forgets what is held does not.

use std::sync::Arc;

use super::tally::worst_window;
use super::{Dice, MILLI, SECOND};
use crate::limits::shared::model::Model;
use crate::limits::shared::{Answer, Asked, Bucket, Held, Question, TICK_NANOS};

struct Hoarder {
    tokens: u32,
    dies: u64,
    account: u32,
    period: u64,
    asks: bool,
}

/// A question on its way.
struct Late {
    reaches: u64,
    sent: u64,
    holder: usize,
    asked: Asked,
}

/// The worst window of holders who do with their leases whatever the dice say, and whose questions take up to a lease.
fn worst(seed: u64, (interval, burst, lease): (u64, u32, u64), holders: usize, ignores_held: bool) -> f64 {
    let mut dice = Dice(seed);
    let mut model = if ignores_held { Model::forgetful() } else { Model::default() };
    let idle = || Hoarder { tokens: 0, dies: 0, account: 0, period: 0, asks: false };
    let mut hoarders: Vec<Hoarder> = (0..holders).map(|_| idle()).collect();
    let (mut now, mut spent, mut late) = (10 * SECOND, Vec::new(), Vec::<Late>::new());
    let pace = 1 + dice.below(lease);
    let slowest = [1, lease / 8, lease + lease / 4][dice.below(3) as usize];
    for _ in 0..3_000 {
        now += dice.below(pace / holders as u64 + 1) / TICK_NANOS * TICK_NANOS;
        if dice.below(300) == 0 {
            now += interval * u64::from(burst);
        }
        late.sort_by_key(|late| late.reaches);
        while late.first().is_some_and(|late| late.reaches <= now) {
            let Late { reaches, sent, holder, asked } = late.remove(0);
            let holder = &mut hoarders[holder];
            spend_the_dead(holder, reaches, &mut spent);
            let (kept, question) =
                (asked.held.kept, Question { group: Arc::from("group"), asked: vec![asked], outage: None });
            let answer = model.answer(&question, reaches / TICK_NANOS);
            holder.asks = false;
            if dice.below(20) == 0 {
                // Lost on the way back: nobody knows whether the store heard it.
                (holder.account, holder.period) = (0, 0);
                continue;
            }
            if let Answer::Granted(grants) = answer {
                holder.tokens += grants[0].tokens;
                holder.account = kept + grants[0].tokens;
                holder.period = grants[0].period;
                holder.dies = sent + lease;
                if holder.dies <= reaches {
                    holder.tokens = 0;
                }
            }
        }
        let everybody_spends = dice.below(60) == 0;
        let at = dice.below(holders as u64) as usize;
        for (place, holder) in hoarders.iter_mut().enumerate() {
            // At the last instant, and now and then all at once.
            spend_the_dead(holder, now, &mut spent);
            if everybody_spends || (place == at && dice.below(8) == 0) {
                spent.extend((0..holder.tokens).map(|_| now));
                holder.tokens = 0;
            }
        }
        let holder = &mut hoarders[at];
        if holder.asks {
            continue;
        }
        holder.asks = true;
        let kept = if dice.below(4) == 0 { 0 } else { holder.tokens };
        let held = Held { period: holder.period, spent: holder.account.saturating_sub(holder.tokens), kept };
        let held = Held { spent: held.spent + holder.tokens - kept, ..held };
        holder.tokens = kept;
        let want = 1 + dice.below(u64::from(burst)) as u32;
        let bucket = Bucket::Gcra { interval_nanos: interval, burst, lease_nanos: lease };
        let asked = Asked { name: Arc::from("bucket"), bucket, need: 1, want, held };
        late.push(Late {
            reaches: now + dice.below(slowest) / TICK_NANOS * TICK_NANOS,
            sent: now,
            holder: at,
            asked,
        });
    }
    worst_window(spent.into_iter(), 1e9 / interval as f64)
}

fn spend_the_dead(holder: &mut Hoarder, now: u64, spent: &mut Vec<u64>) {
    if now >= holder.dies {
        spent.extend((0..holder.tokens).map(|_| holder.dies - 1));
        holder.tokens = 0;
    }
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
