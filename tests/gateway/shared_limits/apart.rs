//! What gateways may admit without Redis: by the documentation, one request each time that one gives it up or an answer is not
//! there in time, and its share of the rate for as long as it goes on without.

use std::time::Duration;

use super::Fleet;
use super::failures::Failures;
use super::load::Limit;

/// How a fleet's gateways stood when something began.
pub(super) struct Before(Vec<Failures>);

/// For how long, and how often, the gateways of a fleet were without Redis since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Apart {
    /// Requests that were admitted without a token at most: one for each time that a gateway gave it up, and one for each
    /// gateway that decided one without an answer.
    pub(super) in_doubt: f64,
    /// Questions without an answer.
    pub(super) unanswered: f64,
    /// Requests that were decided without an answer.
    pub(super) undecided: f64,
    /// The time without it, summed up over all gateways.
    pub(super) seconds: f64,
    replicas: f64,
}

impl Before {
    pub(super) fn of(fleet: &Fleet) -> Self {
        Self(fleet.replicas.iter().map(Failures::of).collect())
    }

    /// What became of it, once all gateways have Redis again.
    pub(super) fn until_now(&self, fleet: &Fleet) -> Apart {
        fleet.until_breakers(0);
        let (mut in_doubt, mut unanswered, mut undecided, mut seconds) = (0, 0, 0, 0.0);
        for (before, replica) in self.0.iter().zip(&fleet.replicas) {
            let after = Failures::of(replica);
            unanswered += after.unanswered - before.unanswered;
            undecided += after.undecided - before.undecided;
            in_doubt += after.given_up - before.given_up + u64::from(after.undecided > before.undecided);
            seconds += after.away.saturating_sub(before.away).as_secs_f64();
        }
        let count = |count: u64| u32::try_from(count).map(f64::from).unwrap();
        let replicas = count(self.0.len() as u64);
        let [in_doubt, unanswered, undecided] = [in_doubt, unanswered, undecided].map(count);
        Apart { in_doubt, unanswered, undecided, seconds, replicas }
    }
}

impl Apart {
    /// Requests beyond `burst + rate × W` at most.
    pub(super) fn most(&self, limit: Limit) -> f64 {
        self.in_doubt + f64::from(limit.rate) / self.replicas * self.seconds
    }

    /// Requests of so many a second, evenly offered to all gateways, that came to one that was without Redis, or that
    /// waited for an answer which did not come: for so long at most, and at least one each.
    pub(super) fn met_by(&self, per_second: u32, timeout: Duration) -> f64 {
        let of_one = f64::from(per_second) / self.replicas;
        of_one * (self.seconds + self.unanswered * timeout.as_secs_f64()) + self.undecided + self.in_doubt
    }
}
