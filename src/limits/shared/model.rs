//! A model of the central store, as [`CentralStore`](super::CentralStore) asks for it: the simulator's.

use std::collections::HashMap;
use std::sync::Arc;

use super::store::{Answer, Asked, Bucket, Grant, OutageAgo, Question};

const KEPT_NANOS: i128 = 60_000_000_000;

/// One bucket's eight numbers.
#[derive(Clone, Copy, Debug)]
struct Kept {
    tat: i128,
    at: i128,
    fill: i128,
    since: i128,
    period: i128,
    granted: i128,
    earlier: i128,
    before: i128,
}

impl Kept {
    /// What came back in an outage was spent by shares: what was left at its begin is left at its end.
    fn settle(&mut self, outage: OutageAgo, interval: i128, now: i128) {
        let from = (now - i128::from(outage.began_ago_nanos)).max(self.at);
        let to = now - i128::from(outage.ended_ago_nanos);
        if from < to {
            let held = match from {
                from if from < self.since + self.period => self.before + self.granted,
                from if from < self.since + 2 * self.period => self.granted,
                _ => 0,
            };
            self.tat = self.tat.max(from + held * interval) + to - from;
        }
    }
}

/// A store in memory, on a clock that is told to it.
#[derive(Debug, Default)]
pub(in crate::limits) struct Model {
    buckets: HashMap<(Arc<str>, Arc<str>), Kept>,
    ignores_held: bool,
}

impl Model {
    /// A store that keeps a TAT alone and forgets what replicas hold.
    pub(in crate::limits) fn forgetful() -> Self {
        Self { ignores_held: true, ..Self::default() }
    }

    /// Answers a question at `now` of its own clock.
    pub(in crate::limits) fn answer(&mut self, question: &Question, now: u64) -> Answer {
        let now = i128::from(now);
        let mut seen = Vec::new();
        let mut worst: Option<(usize, i128)> = None;
        for (place, asked) in question.asked.iter().enumerate() {
            let Bucket::Gcra { interval_nanos, burst, lease_nanos } = asked.bucket else {
                panic!("not modelled: {asked:?}");
            };
            let (interval, burst, lease) =
                (i128::from(interval_nanos), i128::from(burst), i128::from(lease_nanos));
            let name = (Arc::clone(&question.group), Arc::clone(&asked.name));
            let kept = self.buckets.get(&name).copied();
            let kept = self.brought_to(kept, asked, (interval, burst, lease), question.outage, now);
            let left = (now + kept.fill - kept.tat).div_euclid(interval);
            let need = i128::from(asked.need);
            if left < need {
                let wait = wait(kept, need, interval, burst, now);
                if worst.is_none_or(|(_, longest)| wait > longest) {
                    worst = Some((place, wait));
                }
            }
            seen.push((name, kept, left, interval));
        }
        if let Some((place, wait)) = worst {
            return Answer::Denied { place, wait_nanos: wait.try_into().unwrap() };
        }
        let grants =
            seen.into_iter().zip(&question.asked).map(|((name, mut kept, left, interval), asked)| {
                let grant = i128::from(asked.want).min((left + 1) / 2).max(i128::from(asked.need));
                kept.tat += grant * interval;
                kept.granted += grant;
                kept.at = now;
                self.buckets.insert(name, kept);
                Grant {
                    tokens: grant.try_into().unwrap(),
                    left: (left - grant).try_into().unwrap(),
                    period: kept.since.try_into().unwrap(),
                    until_full_nanos: (kept.tat - now).try_into().unwrap(),
                }
            });
        Answer::Granted(grants.collect())
    }

    fn brought_to(
        &self,
        kept: Option<Kept>,
        asked: &Asked,
        (interval, burst, lease): (i128, i128, i128),
        outage: Option<OutageAgo>,
        now: i128,
    ) -> Kept {
        let fill = interval * burst;
        let gone = |kept: &Kept| kept.tat.max(kept.since + 2 * kept.period) + KEPT_NANOS < now;
        let began = outage.map_or(now, |outage| now - i128::from(outage.began_ago_nanos));
        let mut kept = kept.filter(|kept| !gone(kept)).unwrap_or(Kept {
            tat: (now - KEPT_NANOS).min(began + fill),
            at: 0,
            fill,
            since: now,
            period: lease,
            granted: 0,
            earlier: 0,
            before: 0,
        });
        if kept.fill != fill {
            kept.tat = now + ((kept.tat - now).max(0) * fill + kept.fill - 1) / kept.fill;
            kept.fill = fill;
        }
        if now < kept.since {
            (kept.since, kept.earlier) = (now, now);
        }
        if let Some(outage) = outage {
            kept.settle(outage, interval, now);
        }
        if now >= kept.since + kept.period {
            kept.tat = kept.tat.max(kept.since + kept.period + (kept.before + kept.granted) * interval);
            (kept.earlier, kept.before) = (kept.since, kept.granted);
            (kept.since, kept.granted) = (kept.since + kept.period, 0);
            if now >= kept.since + kept.period {
                kept.tat = kept.tat.max(kept.since + kept.period + kept.before * interval);
                (kept.earlier, kept.before) = (0, 0);
                (kept.since, kept.period) = (now, lease);
            }
        }
        kept.period = kept.period.max(lease);
        kept.tat = kept.tat.min(now + fill);
        if !self.ignores_held {
            kept.tat = kept.tat.max(now + (kept.before + kept.granted) * interval);
        }
        let gone = i128::from(asked.held.spent) + i128::from(asked.held.kept);
        if i128::from(asked.held.period) == kept.since {
            kept.granted = (kept.granted - gone).max(0);
        } else if i128::from(asked.held.period) == kept.earlier {
            kept.before = (kept.before - gone).max(0);
        }
        kept.granted += i128::from(asked.held.kept);
        if self.ignores_held {
            (kept.granted, kept.before) = (0, 0);
        }
        kept.tat = kept.tat.max(now + (kept.before + kept.granted) * interval);
        kept
    }

    /// Forgets everything.
    pub(in crate::limits) fn flush(&mut self) {
        self.buckets.clear();
    }
}

fn wait(kept: Kept, need: i128, interval: i128, burst: i128, now: i128) -> i128 {
    let mut tat = kept.tat;
    let mut at = tat + need * interval - kept.fill;
    let ends = [
        (kept.since + kept.period, kept.before + kept.granted),
        (kept.since + 2 * kept.period, kept.granted),
    ];
    for (end, held) in ends {
        if at <= end && held + need <= burst {
            break;
        }
        tat = tat.max(end + held * interval);
        at = tat + need * interval - kept.fill;
    }
    (at - now).max(1)
}
