//! Keys that hold no lease while Redis hangs: nobody waits for the time-out, and what is admitted meanwhile is charged.

use super::Fleet;
use crate::support::Answer;

/// A gateway that waits for Redis as requests do by default, and gives a call up after longer than this test takes.
fn fleet(failing: &str) -> Fleet {
    let quota = format!("quota = \"3 per day\"\n{failing}");
    Fleet::of_quota(1, &quota, "timeout_milliseconds = 1000\nconnect_timeout_milliseconds = 5000\n")
}

impl Fleet {
    fn ask(&self, token: &str) -> Answer {
        self.replicas[0].ask(token, "/anything")
    }

    /// Requests that were decided so, and calls of Redis that came to nothing.
    fn decided(&self, path: &str) -> (u64, u64) {
        let metrics = self.replicas[0].metrics();
        let decided = metrics.count("tollgate_limit_path_total", &[("path", path)]);
        (decided, metrics.count("tollgate_redis_calls_total", &[("result", "timed_out")]))
    }
}

#[test]
fn nobody_waits_for_a_redis_that_hangs() {
    let fleet = fleet("");
    let token = fleet.token();
    fleet.redis.signal("STOP");
    assert_eq!(fleet.ask(&token).status, 200, "its share");
    assert_eq!(fleet.decided("unanswered"), (1, 0), "while the call is on its way");
    assert_eq!(fleet.ask(&token).status, 429, "its share is used up");
    assert_eq!(fleet.decided("unanswered"), (2, 0), "the same call");
    fleet.redis.signal("CONT");
    fleet.until_breakers(0);
    let after: Vec<u16> = (0..4).map(|_| fleet.ask(&token).status).collect();
    assert_eq!(after, [200, 200, 429, 429], "the first was charged");
}

#[test]
fn only_a_policy_that_is_closed_waits_for_the_time_out() {
    let fleet = fleet("on_store_failure = \"closed\"\n");
    let token = fleet.token();
    fleet.redis.signal("STOP");
    let answer = fleet.ask(&token);
    fleet.redis.signal("CONT");
    assert_eq!((answer.status, answer.said().1), (503, "limits_unavailable".to_owned()));
    assert_eq!(fleet.decided("unanswered").0, 0);
    assert!(fleet.decided("closed").1 > 0, "it had waited");
}
