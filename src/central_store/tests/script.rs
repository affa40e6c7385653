//! The script on a real server, held to its model.

use proptest::prelude::*;
use redis::Value;

use super::{Redis, TIMEOUT, settings};
use crate::central_store::connect::{GRANT, Live};
use crate::central_store::script;
use crate::limits::shared::model::Model;
use crate::limits::shared::{Answer, Asked, Bucket, Held, OutageAgo, Question};

/// Ticks since 2025 at which a test's clock starts.
const START: u64 = 60_000_000 * 10_000_000;

/// The script with its clock handed in as two last arguments.
fn with_a_clock() -> String {
    let own = "redis.call('TIME')";
    assert_eq!(GRANT.matches(own).count(), 1);
    GRANT.replace(own, "{ ARGV[#ARGV - 1], ARGV[#ARGV] }")
}

/// The script, asked on a clock of the test's.
struct Scripted {
    runtime: tokio::runtime::Runtime,
    live: Live,
    digest: String,
    redis: Redis,
}

impl Scripted {
    fn start() -> Self {
        let redis = Redis::start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let live = runtime.block_on(Live::connect(&settings(&redis, ""))).unwrap();
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(with_a_clock());
        let Ok(Value::BulkString(digest)) = runtime.block_on(live.call(&load, TIMEOUT)) else {
            panic!("no digest")
        };
        Self { runtime, live, digest: String::from_utf8(digest).unwrap(), redis }
    }

    /// The answer at `now`, in ticks since 2025.
    fn ask(&self, prefix: &str, question: &Question, now: u64) -> Answer {
        self.ask_until(u64::MAX, prefix, question, now).unwrap()
    }

    /// As [`Scripted::ask`], if it is not later than that.
    fn ask_until(&self, not_after: u64, prefix: &str, question: &Question, now: u64) -> Option<Answer> {
        let mut command = script::command(&self.digest, prefix, question, not_after).unwrap();
        let since_1970 = now + 1_735_689_600 * 10_000_000;
        command.arg(since_1970 / 10_000_000).arg(since_1970 % 10_000_000 / 10);
        let reply = self.runtime.block_on(self.live.call(&command, TIMEOUT)).unwrap();
        let reply = script::answer(&reply, question).unwrap_or_else(|| panic!("{reply:?}"));
        assert_eq!(reply.server_ticks, now);
        reply.said
    }
}

/// A step of the property: who asks for what, and how much later than the one before.
#[derive(Clone, Debug)]
struct Step {
    /// Ticks of ten, forward; or a jump of the server's clock.
    later: i64,
    /// Which of three buckets, as bits; at least one.
    buckets: u8,
    /// Which quota of each bucket.
    quota: usize,
    need: u32,
    more: u32,
    /// How much of what was last granted is spent, and how much kept, if the last grant is told of at all.
    held: Option<(u32, u32)>,
    outage: Option<(u64, u64)>,
}

/// Interval in ticks, burst, lease in ticks.
const QUOTAS: [(u64, u32, u64); 5] = [
    (1_000_000, 5, 0),
    (100_000, 100, 1_000_000),
    (1_428_572, 70, 5_000_000),
    (500_000_000, 3, 0),
    (10, 1_000, 200_000),
];

fn step() -> impl Strategy<Value = Step> {
    let later = prop_oneof![
        30 => 0_i64..2_000_000,
        10 => 0_i64..50_000_000,
        1 => Just(700_000_000_i64),
        1 => Just(50_000_000_i64),
        1 => Just(-50_000_000_i64),
    ];
    let held = prop_oneof![Just(None), (0_u32..10, 0_u32..5).prop_map(Some)];
    let outage = prop_oneof![9 => Just(None), 1 => (0_u64..900_000_000, 0_u64..100_000_000).prop_map(Some)];
    (later, 1_u8..8, 0..2 * QUOTAS.len(), 1_u32..4, 0_u32..30, held, outage).prop_map(
        |(later, buckets, quota, need, more, held, outage)| Step {
            later,
            buckets,
            quota,
            need,
            more,
            held,
            outage,
        },
    )
}

/// What a step asks. The quota changes in one step of many.
fn asked(step: &Step, periods: &[u64; 3], quota: usize) -> Question {
    let bucket = |place: usize| {
        let (interval, burst, lease) = QUOTAS[(quota + place) % QUOTAS.len()];
        if place == 2 && quota.is_multiple_of(2) {
            let requests = [20, 31, 70][quota / 2];
            return Bucket::Calendar { requests, began_unix_seconds: 0, ends_in_nanos: 3_000_000_000 };
        }
        Bucket::Gcra { interval_nanos: interval * 100, burst, lease_nanos: lease * 100 }
    };
    let one = |place: usize| Asked {
        name: format!("policy:{place}").into(),
        bucket: bucket(place),
        need: step.need,
        want: step.need + step.more,
        held: step.held.map_or(Held::default(), |(spent, kept)| Held { period: periods[place], spent, kept }),
    };
    let places = (0..3).filter(|place| step.buckets >> place & 1 == 1);
    let outage = step
        .outage
        .map(|(length, ago)| OutageAgo { began_ago_nanos: (length + ago) * 100, ended_ago_nanos: ago * 100 });
    Question { group: "ws-1".into(), asked: places.map(one).collect(), outage }
}

/// Random steps, and the script answers each as the model does.
#[test]
fn the_script_answers_as_its_model_does() {
    let redis = Scripted::start();
    let run = std::cell::Cell::new(0);
    let is_long = std::env::var("TOLLGATE_LONG").is_ok_and(|value| value == "1");
    let cases = if is_long { 5_000 } else { 100 };
    proptest!(ProptestConfig { cases, ..ProptestConfig::default() }, |(steps in prop::collection::vec(step(), 1..120))| {
        run.set(run.get() + 1);
        let prefix = format!("run{}", run.get());
        let (mut model, mut periods, mut quota) = (Model::default(), [0; 3], 0);
        let mut now = START;
        for step in &steps {
            now = now.strict_add_signed(step.later * 10);
            if step.quota < QUOTAS.len() && step.buckets == 7 {
                quota = step.quota;
            }
            let question = asked(step, &periods, quota);
            let answer = redis.ask(&prefix, &question, now);
            prop_assert_eq!(&answer, &model.answer(&question, now), "{:?} at {}", question, now);
            if let Answer::Granted(grants) = answer {
                let places = (0..3).filter(|place| step.buckets >> place & 1 == 1);
                for (place, grant) in places.zip(grants) {
                    periods[place] = grant.period;
                }
            }
        }
    });
}

/// Asks with the test's clock.
fn gcra(interval_ticks: u64, burst: u32, need: u32, outage: Option<OutageAgo>) -> Question {
    let bucket = Bucket::Gcra { interval_nanos: interval_ticks * 100, burst, lease_nanos: 0 };
    let asked = Asked { name: "policy".into(), bucket, need, want: need, held: Held::default() };
    Question { group: "ws".into(), asked: vec![asked], outage }
}

/// What nobody waits for any more changes nothing: neither what is left, nor what is known of an outage.
#[test]
fn a_question_that_comes_too_late_is_not_answered() {
    let redis = Scripted::start();
    let question = gcra(10_000_000, 2, 1, None);
    let ask = |not_after, now| redis.ask_until(not_after, "run", &question, now);
    assert!(matches!(ask(START, START), Some(Answer::Granted(_))), "just in time");
    for now in [START + 10, START + 1_000_000_000, START - 10] {
        assert_eq!(ask(now - 1, now), None);
    }
    let Some(Answer::Granted(grants)) = ask(START + 20, START + 20) else { panic!("denied") };
    assert_eq!(grants[0].left, 0, "one was granted before");
}

/// A clock that went back is not waited for: what is left and what is held are what they were when they were last written.
#[test]
fn a_clock_that_goes_back_locks_nobody_out() {
    let redis = Scripted::start();
    // A burst of 60 at 30 a second, leased for 0.6 s: full after 2 s.
    let mut question = gcra(333_334, 60, 40, None);
    question.asked[0].bucket =
        Bucket::Gcra { interval_nanos: 33_333_400, burst: 60, lease_nanos: 600_000_000 };
    let second = 10_000_000;
    assert!(matches!(redis.ask("run", &question, START), Answer::Granted(_)));
    for back in [5, 500, 50_000] {
        let mut now = START - back * second;
        let Answer::Denied { wait_nanos, .. } = redis.ask("run", &question, now) else { panic!("granted") };
        assert!(wait_nanos < 2_600_000_000, "a fill and a lease: {wait_nanos}");
        now += wait_nanos.div_ceil(100);
        let again = redis.ask("run", &question, now);
        assert!(
            matches!(again, Answer::Granted(_)),
            "{back} s back, and it is there when it was told: {again:?}"
        );
    }
}

/// An outage is settled where it took something, and not once more from whoever comes long after.
#[test]
fn a_bucket_that_is_not_known_is_full_long_after_an_outage_and_not_just_after_it() {
    let redis = Scripted::start();
    let minutes = |minutes: u64| minutes * 60_000_000_000;
    let outage = |ago| Some(OutageAgo { began_ago_nanos: minutes(10 + ago), ended_ago_nanos: minutes(ago) });
    // A burst of 60 at one a second.
    let left = |prefix: &str, ago| redis.ask(prefix, &gcra(10_000_000, 60, 60, outage(ago)), START);
    assert!(matches!(left("just", 0), Answer::Denied { .. }), "the shares may have spent all that came back");
    assert!(matches!(left("hour", 60), Answer::Granted(_)), "it is full again long since");
}

#[test]
fn times_are_exact_until_2053() {
    let redis = Scripted::start();
    let year = 365 * 86_400 * 10_000_000;
    let (mut model, mut now) = (Model::default(), 28 * year + 70);
    for step in 0..2_000 {
        let question = gcra(1, 1_000_000, 1 + step % 7, None);
        assert_eq!(redis.ask("late", &question, now), model.answer(&question, now));
        now += u64::from(step % 3) * 10;
    }
}

/// A gateway whose clock is behind finds the period's count for an hour after others think that it is over.
#[test]
fn a_count_outlives_its_period() {
    let redis = Scripted::start();
    let bucket = Bucket::Calendar { requests: 5, began_unix_seconds: 7, ends_in_nanos: 1_000_000_000 };
    let asked = Asked { name: "policy".into(), bucket, need: 5, want: 5, held: Held::default() };
    let question = Question { group: "ws".into(), asked: vec![asked], outage: None };
    assert!(matches!(redis.ask("late", &question, START), Answer::Granted(_)));
    let left: u64 = redis.redis.ask("PTTL late:{ws}:policy:7").parse().unwrap();
    assert!((3_500_000..=3_601_001).contains(&left), "{left}");
}

/// A bucket that was used up stays so under a longer quota, and is kept for as long, though nothing was granted since.
#[test]
fn another_quota_is_kept_though_nothing_is_granted() {
    let redis = Scripted::start();
    let minute = gcra(10_000_000, 60, 60, None);
    assert!(matches!(redis.ask("run", &minute, START), Answer::Granted(_)));
    let month = gcra(36_000_000_000, 700, 1, None);
    let Answer::Denied { wait_nanos, .. } = redis.ask("run", &month, START) else { panic!("granted") };
    assert!((3_590_000_000_000..=3_600_000_000_000).contains(&wait_nanos), "{wait_nanos}: one in an hour");
    let left: u64 = redis.redis.ask("PTTL run:{ws}:policy").parse().unwrap();
    assert!(left > 699 * 3_600_000, "{left}");
    let now = START + wait_nanos.div_ceil(100);
    assert!(matches!(redis.ask("run", &month, now), Answer::Granted(_)));
}
