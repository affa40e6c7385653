//! A model of the central store as [`CentralStore`](super::CentralStore) asks for it, in whole numbers, on a clock that is
//! handed in: the simulator's, and what the script of the real store is held to.

use std::collections::HashMap;
use std::sync::Arc;

use super::store::{Answer, Asked, Bucket, Grant, OutageAgo, Question, TICK_NANOS};

/// A minute, in ticks.
const MINUTE: u64 = 600_000_000;

/// Every bucket, by its group, its name, and when its period of the calendar began. None is dropped: that makes no
/// difference to an answer but for an outage.
#[derive(Debug, Default)]
pub(crate) struct Model {
    buckets: HashMap<Name, Kept>,
    ignores_held: bool,
}

type Name = (Arc<str>, Arc<str>, Option<u64>);

#[derive(Clone, Copy, Debug)]
enum Kept {
    Gcra(Gcra),
    Count(Count),
    /// In a rate's place: the policy counts by the calendar, in the period that began then and ends then.
    Period {
        began: u64,
        ends: u64,
    },
}

/// A count by the calendar, in the script's own doubles, and the quota that it was counted under.
#[derive(Clone, Copy, Debug)]
struct Count {
    count: f64,
    of: u64,
}

/// A rate's bucket; times in ticks.
#[derive(Clone, Copy, Debug)]
struct Gcra {
    tat: u64,
    at: u64,
    fill: u64,
    since: u64,
    period: u64,
    granted: u64,
    earlier: u64,
    before: u64,
}

impl Model {
    /// A store that keeps a TAT alone and forgets what replicas hold.
    pub(in crate::limits) fn forgetful() -> Self {
        Self { ignores_held: true, ..Self::default() }
    }

    /// Forgets everything.
    pub(in crate::limits) fn flush(&mut self) {
        self.buckets.clear();
    }

    /// Answers a question at `now` of its own clock, in ticks since 2025.
    pub(crate) fn answer(&mut self, question: &Question, now: u64) -> Answer {
        let looked: Vec<_> = question
            .asked
            .iter()
            .map(|asked| self.look(&name(question, asked), asked, question, now))
            .collect();
        let mut longest = (0, 0);
        for (place, (asked, (kept, left))) in question.asked.iter().zip(&looked).enumerate() {
            if *left < u64::from(asked.need) {
                let wait = wait(kept, asked, now);
                if wait > longest.1 {
                    longest = (place, wait);
                }
            }
        }
        if longest.1 > 0 {
            return Answer::Denied { place: longest.0, wait_nanos: longest.1 * TICK_NANOS };
        }
        let take = |(asked, (kept, left)): (&Asked, (Kept, u64))| {
            self.take(name(question, asked), asked, kept, left, now)
        };
        Answer::Granted(question.asked.iter().zip(looked).map(take).collect())
    }

    fn look(&mut self, name: &Name, asked: &Asked, question: &Question, now: u64) -> (Kept, u64) {
        let (interval, burst, lease) = terms(asked);
        if interval == 0 {
            let unknown = Count { count: 0.0, of: burst };
            let mut bucket = match self.buckets.get(name) {
                Some(Kept::Count(count)) => *count,
                _ => unknown,
            };
            if let Some(Kept::Gcra(before)) = self.buckets.get(&of_policy(name)).copied() {
                bucket = Count { count: before.taken(burst, now), of: burst };
                self.count(name, bucket, lease, now);
            }
            let left = bucket.left_under(burst);
            return (Kept::Count(bucket), left);
        }
        let fill = interval * burst;
        if let Some(Kept::Gcra(bucket)) = self.buckets.get_mut(name) {
            bucket.go_back(now);
        }
        if let Some(Kept::Period { began, ends }) = self.buckets.get(name).copied()
            && ends > now
        {
            let counted = self.buckets.get(&(Arc::clone(&name.0), Arc::clone(&name.1), Some(began)));
            let used = if let Some(Kept::Count(count)) = counted { count.part() } else { 0.0 };
            self.buckets.insert(name.clone(), Kept::Gcra(Gcra::used(used, fill, lease, now)));
        }
        let kept = self.buckets.get(name).copied();
        let began = question.outage.map_or(now, |outage| now - outage.began_ago_nanos.div_ceil(TICK_NANOS));
        let unknown = Gcra {
            tat: now.saturating_sub(MINUTE).min(began + fill),
            at: 0,
            fill,
            since: now,
            period: lease,
            granted: 0,
            earlier: 0,
            before: 0,
        };
        let mut bucket = if let Some(Kept::Gcra(bucket)) = kept { bucket } else { unknown };
        if bucket.rescale(fill, now) {
            self.buckets.insert(name.clone(), Kept::Gcra(bucket));
        }
        let of = (interval, burst);
        if let Some(outage) = question.outage {
            bucket.settle(outage, of, now);
        }
        bucket.end_periods(of, lease, now);
        bucket.tat = bucket.tat.min(now + fill);
        if self.ignores_held {
            (bucket.granted, bucket.before) = (0, 0);
        }
        bucket.hold(of, now);
        bucket.release(asked);
        bucket.hold(of, now);
        (Kept::Gcra(bucket), (now + fill).saturating_sub(bucket.tat) / interval)
    }

    fn take(&mut self, name: Name, asked: &Asked, kept: Kept, left: u64, now: u64) -> Grant {
        let (need, want) = (u64::from(asked.need), u64::from(asked.want));
        let (interval, _, lease) = terms(asked);
        let (tokens, period, until_full) = match kept {
            Kept::Period { .. } => unreachable!("it is no bucket"),
            Kept::Count(Count { count, of }) => {
                let tokens = need.max(want.min(left));
                self.count(&name, Count { count: count + float(tokens), of }, lease, now);
                (tokens, 0, lease)
            }
            Kept::Gcra(mut bucket) => {
                let tokens = need.max(want.min(left.div_ceil(2)));
                bucket.tat += tokens * interval;
                bucket.granted += tokens;
                bucket.at = now;
                self.buckets.insert(name, Kept::Gcra(bucket));
                (tokens, bucket.since, bucket.tat - now)
            }
        };
        let whole = |number: u64| u32::try_from(number).unwrap();
        Grant {
            tokens: whole(tokens),
            left: whole(left - tokens),
            period,
            until_full_nanos: until_full * TICK_NANOS,
        }
    }
}

impl Model {
    /// Keeps a period's count, and that the policy counts in no earlier one.
    fn count(&mut self, name: &Name, count: Count, lease: u64, now: u64) {
        self.buckets.insert(name.clone(), Kept::Count(count));
        let Some(began) = name.2 else { return };
        let latest = self.buckets.get(&of_policy(name));
        if !matches!(latest, Some(Kept::Period { began: latest, .. }) if *latest >= began) {
            self.buckets.insert(of_policy(name), Kept::Period { began, ends: now + lease });
        }
    }
}

impl Count {
    /// The part of its quota that is used.
    fn part(&self) -> f64 {
        (self.count / float(self.of)).min(1.0)
    }

    /// What is left of a quota, of which the same fraction is used.
    #[expect(clippy::cast_sign_loss, reason = "a cast from a float saturates")]
    fn left_under(&mut self, quota: u64) -> u64 {
        if self.of != quota {
            self.count = self.count * float(quota) / float(self.of);
            self.of = quota;
        }
        (float(quota) - self.count + 0.000_001).floor() as u64
    }
}

#[expect(clippy::cast_precision_loss, reason = "the script's numbers are doubles")]
const fn float(number: u64) -> f64 {
    number as f64
}

impl Gcra {
    /// A bucket of which a part is used, and nothing held.
    #[expect(clippy::cast_sign_loss, reason = "a part is not negative")]
    fn used(part: f64, fill: u64, period: u64, now: u64) -> Self {
        let tat = now + (part * float(fill)).ceil() as u64;
        Self { tat, at: now, fill, since: now, period, granted: 0, earlier: 0, before: 0 }
    }

    /// What is used of it, and held, in parts of a count by the calendar.
    fn taken(&self, requests: u64, now: u64) -> f64 {
        let held = match now {
            now if now < self.since + self.period => self.before + self.granted,
            now if now < self.since + 2 * self.period => self.granted,
            _ => 0,
        };
        let debt = self.tat.saturating_sub(self.at.saturating_sub(now)).saturating_sub(now);
        (float(debt) / float(self.fill) * float(requests)).max(float(held)).min(float(requests))
    }

    /// The clock went back: as far as is known no time has passed.
    fn go_back(&mut self, now: u64) {
        let back = self.at.saturating_sub(now);
        for time in [&mut self.tat, &mut self.since, &mut self.earlier, &mut self.at] {
            *time = time.saturating_sub(back);
        }
    }

    /// Another quota: the same fraction is used. False if it is the same.
    fn rescale(&mut self, fill: u64, now: u64) -> bool {
        if self.fill == fill {
            return false;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "the script's numbers are doubles"
        )]
        let debt = (self.tat.saturating_sub(now) as f64 * fill as f64 / self.fill as f64).ceil() as u64;
        (self.tat, self.fill) = (now + debt, fill);
        true
    }

    /// What came back in an outage was spent by shares: what was left at its begin is left at its end.
    fn settle(&mut self, outage: OutageAgo, of: Of, now: u64) {
        let ago = |nanos: u64| now - nanos.div_ceil(TICK_NANOS);
        let (from, to) = (ago(outage.began_ago_nanos).max(self.at), ago(outage.ended_ago_nanos));
        if from < to {
            let held = match from {
                from if from < self.since + self.period => self.before + self.granted,
                from if from < self.since + 2 * self.period => self.granted,
                _ => 0,
            };
            self.tat = self.tat.max(from + time_of(held, of)) + to - from;
        }
    }

    /// The periods that have passed.
    fn end_periods(&mut self, of: Of, lease: u64, now: u64) {
        if now >= self.since + self.period {
            let end = self.since + self.period;
            self.tat = self.tat.max(end + time_of(self.before + self.granted, of));
            (self.earlier, self.before, self.since, self.granted) = (self.since, self.granted, end, 0);
            if now >= end + self.period {
                self.tat = self.tat.max(end + self.period + time_of(self.before, of));
                (self.earlier, self.before, self.since, self.period) = (0, 0, now, lease);
            }
        }
        self.period = self.period.max(lease);
    }

    /// It did not refill past what is held.
    fn hold(&mut self, of: Of, now: u64) {
        self.tat = self.tat.max(now + time_of(self.before + self.granted, of));
    }

    /// What a replica says became of the tokens that it held.
    fn release(&mut self, asked: &Asked) {
        let (spent, kept) = (u64::from(asked.held.spent), u64::from(asked.held.kept));
        if asked.held.period == self.since {
            self.granted = self.granted.saturating_sub(spent + kept);
        } else if asked.held.period == self.earlier {
            self.before = self.before.saturating_sub(spent + kept);
        }
        self.granted += kept;
    }
}

/// Interval and burst.
type Of = (u64, u64);

/// The time in which what is held comes back: of a larger quota than this one it is all of it at most.
fn time_of(held: u64, (interval, burst): Of) -> u64 {
    held.min(burst) * interval
}

/// Where a rate's bucket of the same policy is, and which period counts.
fn of_policy((group, name, _): &Name) -> Name {
    (Arc::clone(group), Arc::clone(name), None)
}

fn name(question: &Question, asked: &Asked) -> Name {
    let began = match asked.bucket {
        Bucket::Gcra { .. } => None,
        Bucket::Calendar { began_unix_seconds, .. } => Some(began_unix_seconds),
    };
    (Arc::clone(&question.group), Arc::clone(&asked.name), began)
}

/// Interval, burst and lease; of a calendar's bucket 0, its requests, and the time until its end.
fn terms(asked: &Asked) -> (u64, u64, u64) {
    match asked.bucket {
        Bucket::Gcra { interval_nanos, burst, lease_nanos } => {
            (interval_nanos.div_ceil(TICK_NANOS).max(1), burst.into(), lease_nanos.div_ceil(TICK_NANOS))
        }
        Bucket::Calendar { requests, ends_in_nanos, .. } => {
            (0, requests.into(), ends_in_nanos.div_ceil(TICK_NANOS))
        }
    }
}

fn wait(kept: &Kept, asked: &Asked, now: u64) -> u64 {
    let (interval, burst, lease) = terms(asked);
    let Kept::Gcra(bucket) = kept else { return lease.max(1) };
    let need = u64::from(asked.need);
    let fits = |tat: u64| (tat + need * interval).saturating_sub(bucket.fill);
    let mut tat = bucket.tat;
    let (end, held) = (bucket.since + bucket.period, bucket.before + bucket.granted);
    for (end, held) in [(end, held), (end + bucket.period, bucket.granted)] {
        if fits(tat) <= end && held + need <= burst {
            break;
        }
        tat = tat.max(end + time_of(held, (interval, burst)));
    }
    fits(tat).saturating_sub(now).max(1)
}
