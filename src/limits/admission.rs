//! What admit says: admitted, with what is left, or exceeded, with how long to wait.

use std::sync::Arc;
use std::time::Duration;

use super::Limits;
use super::bucket::{Scale, Verdict};
use super::calendar::Counted;
use super::in_flight::InFlightGuard;
use super::inline::Inline;
use super::owing::Owing;
use super::rules::{PolicyIndex, Rules};
use crate::authorization::Permit;
use crate::domain::{LimitPath, Outcome, Quota};

/// What one policy decided about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It admitted the request, and counted it.
    Admitted,
    /// It would have refused the request, were it not in shadow mode; nothing was counted.
    WouldRefuse,
    /// It refused the request; nothing was counted.
    Refused,
}

impl Decision {
    /// The word in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::WouldRefuse => "would_refuse",
            Self::Refused => "refused",
        }
    }
}

/// What one policy has left for a caller.
#[derive(Clone, Copy, Debug)]
pub struct Headroom {
    /// Which policy.
    pub policy: PolicyIndex,
    /// Its quota, or the caller's own in its place.
    pub quota: Quota,
    /// What it decided.
    pub decision: Decision,
    /// Whether callers may see it.
    pub exposed: bool,
    pub(super) cost: u32,
    pub(super) interval_nanos: u64,
    /// Time until nothing is used any more; by the calendar, until the period ends.
    pub(super) debt_nanos: u64,
    /// What the period has left, of a count by the calendar.
    pub(super) counted: Option<Counted>,
}

impl Headroom {
    pub(super) const BLANK: Self = Self {
        policy: PolicyIndex(u16::MAX),
        quota: Quota::new(std::num::NonZeroU32::MIN, 1),
        decision: Decision::Admitted,
        exposed: false,
        cost: 1,
        interval_nanos: 1,
        debt_nanos: 0,
        counted: None,
    };

    pub(super) fn of(claim: &super::claims::Claim, verdict: &Verdict, now: u64, decision: Decision) -> Self {
        let mut headroom = Self {
            policy: claim.policy,
            quota: claim.quota.with_burst(verdict.scale.burst),
            decision,
            exposed: claim.exposed,
            cost: claim.debit.cost.get(),
            interval_nanos: verdict.scale.interval_nanos,
            debt_nanos: 0,
            counted: None,
        };
        headroom.tell(verdict, now);
        headroom
    }

    /// Tells of another verdict on the same bucket.
    pub(super) fn tell(&mut self, verdict: &Verdict, now: u64) {
        self.debt_nanos = verdict.tat.saturating_sub(now);
        self.counted = verdict.counted;
        if let Some(counted) = &self.counted {
            self.quota.period_seconds = counted.period_seconds();
        }
    }

    /// Requests that may still come at once: what is left of the burst, which is the quota unless the
    /// configuration says otherwise.
    pub const fn remaining(&self) -> u32 {
        match self.counted {
            Some(counted) => counted.left,
            None => self.scale().remaining(self.debt_nanos),
        }
    }

    /// The burst less what remains.
    pub const fn consumed(&self) -> u32 {
        self.quota.burst.get().saturating_sub(self.remaining())
    }

    /// Time until nothing is used any more.
    pub const fn until_full(&self) -> Duration {
        match self.counted {
            Some(counted) if counted.left >= self.quota.burst.get() => Duration::ZERO,
            Some(_) | None => Duration::from_nanos(self.debt_nanos),
        }
    }

    /// Time within which no more than [`Headroom::remaining`] can come: until one more request remains than now, zero
    /// when full; by the calendar, until the period ends.
    pub const fn until_next(&self) -> Duration {
        if self.debt_nanos == 0 || self.counted.is_some() {
            return Duration::from_nanos(self.debt_nanos);
        }
        self.until_room_for(self.remaining() + 1)
    }

    /// Time until a request like this one is admitted; zero if it would be at once.
    pub const fn wait(&self) -> Duration {
        match self.counted {
            Some(counted) if counted.left >= self.cost => Duration::ZERO,
            Some(_) => Duration::from_nanos(self.debt_nanos),
            None => self.until_room_for(self.cost),
        }
    }

    const fn until_room_for(&self, requests: u32) -> Duration {
        let needed = self.debt_nanos + self.interval_nanos * requests as u64;
        Duration::from_nanos(needed.saturating_sub(self.scale().fill_nanos()))
    }

    const fn scale(&self) -> Scale {
        Scale { interval_nanos: self.interval_nanos, burst: self.quota.burst }
    }
}

/// The third ticket: a permitted request that every limit admitted. Only [`Limits::admit`] makes one.
///
/// It counts as in flight until it, or the guard taken out of it, is dropped.
#[derive(Debug)]
#[must_use = "dropping an admission ends its request's time in flight"]
pub struct Admission<'r> {
    pub(super) permit: Permit<'r>,
    pub(super) limits: &'r Limits,
    pub(super) headrooms: Inline<Headroom>,
    pub(super) in_flight: InFlightGuard,
    /// Where it may be charged more; empty unless a policy says so.
    pub(super) owing: Box<[Owing]>,
    /// Leases to renew; empty where limits are not shared.
    pub(super) ahead: Vec<super::shared::Call>,
    /// How shared limits decided; [`None`] if it met none.
    pub(super) path: Option<LimitPath>,
}

impl<'r> Admission<'r> {
    /// What was permitted.
    pub const fn permit(&self) -> &Permit<'r> {
        &self.permit
    }

    /// What every policy that the request met decided and has left, shadow policies last.
    pub fn headrooms(&self) -> impl Iterator<Item = &Headroom> + Clone {
        self.headrooms.iter()
    }

    /// The exposed policy that will refuse first, which is the one that `X-RateLimit-*` describes.
    pub fn tightest(&self) -> Option<&Headroom> {
        tightest(self.headrooms.iter())
    }

    /// What each policy decided, for metrics.
    pub fn decisions(&self) -> impl Iterator<Item = (PolicyIndex, Decision)> {
        self.headrooms.iter().map(|headroom| (headroom.policy, headroom.decision))
    }

    /// How limits that gateways share decided; [`None`] if it met none.
    pub const fn path(&self) -> Option<LimitPath> {
        self.path
    }

    /// The rules that decided.
    pub const fn rules(&self) -> &'r Arc<Rules> {
        self.limits.rules()
    }

    /// Takes the in-flight count out, to be kept with the answer's body.
    pub fn take_in_flight(&mut self) -> InFlightGuard {
        std::mem::take(&mut self.in_flight)
    }

    /// Ends the ticket, giving back the permit and the in-flight count.
    pub fn into_parts(self) -> (Permit<'r>, InFlightGuard) {
        (self.permit, self.in_flight)
    }
}

/// What kind of limit is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExceededKind {
    /// A rate of less than a day.
    RateLimited,
    /// A quota of a day or longer.
    QuotaExceeded,
    /// Too many requests of the caller are being served.
    TooManyInFlight,
    /// The central store does not answer, and the policy is `closed` then.
    LimitsUnavailable,
}

impl ExceededKind {
    /// How the request ends.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::RateLimited => Outcome::RateLimited,
            Self::QuotaExceeded => Outcome::QuotaExceeded,
            Self::TooManyInFlight => Outcome::TooManyInFlight,
            Self::LimitsUnavailable => Outcome::LimitsUnavailable,
        }
    }
}

/// A limit refused the request; nothing was counted. Of several, the one with the longest wait speaks, so a
/// client that waits it is admitted by all.
#[derive(Debug)]
pub struct Exceeded {
    /// What kind of limit.
    pub kind: ExceededKind,
    /// Which limit.
    pub policy: PolicyIndex,
    /// Its name, for logs and metrics; for the caller see [`Exceeded::exposed_policy`].
    pub name: Arc<str>,
    /// Its quota, or the caller's own in its place; [`None`] for a cap on requests in flight.
    pub quota: Option<Quota>,
    /// Its burst, or the cap on requests in flight.
    pub burst: u32,
    /// How long until the same request is admitted. An estimate of one second for requests in flight.
    pub wait: Duration,
    /// Requests that remain; more than 0 only where one request counts as several.
    pub remaining: u32,
    /// The burst less what remains.
    pub consumed: u32,
    /// Whether the caller may be told which limit it was.
    pub exposed: bool,
    /// How it was decided, if gateways share the limit.
    pub path: Option<LimitPath>,
    pub(super) headrooms: Box<[Headroom]>,
    pub(super) rules: Arc<Rules>,
}

impl Exceeded {
    /// The limit's name where the caller may see it.
    pub fn exposed_policy(&self) -> Option<&str> {
        self.exposed.then_some(&*self.name)
    }

    /// What the policies decided that were asked, for metrics: every one that refused.
    pub fn decisions(&self) -> impl Iterator<Item = (PolicyIndex, Decision)> {
        let refused = |headroom: &&Headroom| headroom.decision == Decision::Refused;
        let in_flight = self.quota.is_none().then_some((self.policy, Decision::Refused));
        self.headrooms
            .iter()
            .filter(refused)
            .map(|headroom| (headroom.policy, headroom.decision))
            .chain(in_flight)
    }

    /// What every rate policy that the request met has left, the one that refused first.
    pub fn headrooms(&self) -> impl Iterator<Item = &Headroom> + Clone {
        self.headrooms.iter()
    }
}

/// The exposed policy that leaves the fewest further requests; of equals, the one that takes longest to fill.
pub(super) fn tightest<'h>(headrooms: impl Iterator<Item = &'h Headroom>) -> Option<&'h Headroom> {
    headrooms
        .filter(|headroom| headroom.exposed)
        .min_by_key(|headroom| (headroom.remaining(), std::cmp::Reverse(headroom.debt_nanos)))
}
