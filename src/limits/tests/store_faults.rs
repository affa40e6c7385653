//! A central store that fails for one bucket alone, hangs, or answers with numbers that nobody would.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::world::{ASK, Ask, World};
use crate::clock::{Clock, Now};
use crate::domain::RegionId;
use crate::limits::cells::STEPS;
use crate::limits::shared::{Answer, Asking, CentralStore, Grant, Outage, Question, StoreFault, Wanted};
use crate::limits::{Attempt, Audience, Counters, Limits, Rules, Strictest};

const REPLICAS: u32 = 8;
const SECOND: u64 = 1_000_000_000;
const A_MINUTE: &str = r#"policies = [{ name = "default", per = ["token"], quota = "60 per minute" }]"#;
const START: u64 = 3_600 * SECOND;

/// One that is up, and never answers by itself.
struct Store {
    replicas: u32,
}

impl CentralStore for Store {
    fn ask(&self, _: Question) -> Asking {
        Box::pin(std::future::pending())
    }

    fn is_up(&self) -> bool {
        true
    }

    fn last_outage(&self) -> Option<Outage> {
        None
    }

    fn deadline_nanos(&self) -> u64 {
        50_000_000
    }

    fn round_trip_nanos(&self) -> u64 {
        1_000_000
    }

    fn patience_nanos(&self) -> u64 {
        5_000_000
    }

    fn replicas(&self) -> NonZeroU32 {
        NonZeroU32::new(self.replicas).unwrap()
    }
}

/// Limits that so many replicas share through a store that answers nothing.
pub(super) fn shared_by(rules: Arc<Rules>, counters: &Arc<Counters>, replicas: u32) -> Limits {
    let store: Arc<dyn CentralStore> = Arc::new(Store { replicas });
    Limits::new(rules, Arc::clone(counters)).shared_through(vec![Some(store)], RegionId(0))
}

fn shared(world: &World, replicas: u32) -> Limits {
    shared_by(Arc::clone(world.limits.rules()), &Counters::new([3; 32]), replicas)
}

fn at(nanos: u64) -> Now {
    Now { monotonic_nanos: nanos, unix_millis: 1_700_000_000_000 + nanos / 1_000_000 }
}

type Told = Result<Answer, StoreFault>;

/// Decides a request whose questions are answered so, and writes all that is told of it.
fn decide(
    world: &World,
    limits: &Limits,
    ask: &Ask,
    mut nanos: u64,
    mut answer: impl FnMut(&Question) -> Told,
) -> bool {
    let mut attempt = world.attempt(limits, ask, at(nanos), None);
    for _ in 0..10 {
        let mut wanted: Wanted = match attempt {
            Attempt::Decided(Ok(mut admission)) => {
                let mut out = Vec::new();
                admission.write_headers(&mut out, at(nanos), Strictest::Ours);
                for call in std::mem::take(&mut admission.ahead) {
                    let told = answer(call.question());
                    call.end(&told, nanos);
                }
                return true;
            }
            Attempt::Decided(Err(exceeded)) => {
                exceeded.write_headers(&mut Vec::new(), at(nanos));
                return false;
            }
            Attempt::NeedsShared(_, wanted) => wanted,
        };
        for call in wanted.take_calls() {
            let told = answer(call.question());
            call.end(&told, nanos);
        }
        nanos = nanos.max(wanted.due.unwrap_or(0));
        attempt = world.attempt(limits, ask, at(nanos), Some(wanted.over()));
    }
    panic!("it waits for ever")
}

/// Another program wrote under the key of one bucket: each replica goes on with its share of that one.
#[test]
fn a_bucket_that_cannot_be_asked_of_is_shared_out_by_the_rate() {
    let world = World::new(A_MINUTE);
    let limits = shared(&world, REPLICAS);
    let broken = |_: &Question| Err(StoreFault::Broken);
    let admits = |second: u64| decide(&world, &limits, &ASK, START + second * SECOND, broken);
    let admitted: Vec<u64> = (0..80).filter(|second| admits(*second)).collect();
    assert_eq!(admitted, (0..80).step_by(8).collect::<Vec<_>>(), "one in each 8 s");
    // What could not be charged is forgotten when the bucket would be full without it.
    let sweep = |second: u64| {
        (0..STEPS).for_each(|_| {
            limits.counters().sweep(at(START + second * SECOND));
        });
    };
    sweep(90);
    assert_eq!(limits.counters().cells(), 1);
    sweep(80 + 60 + 20);
    assert_eq!(limits.counters().cells(), 0, "nobody comes to pay");
}

/// What was admitted so is charged when the bucket can be asked of again.
#[test]
fn what_was_admitted_without_an_answer_is_charged_by_the_next() {
    let world = World::new(A_MINUTE);
    let limits = shared(&world, REPLICAS);
    for second in [0, 8, 16] {
        assert!(decide(&world, &limits, &ASK, START + second * SECOND, |_| Err(StoreFault::TimedOut)));
    }
    let mut wanted = 0;
    let grants = |question: &Question| {
        wanted = question.asked[0].want;
        Ok(Answer::Granted(vec![Grant { tokens: wanted, left: 9, period: 1, until_full_nanos: SECOND }]))
    };
    assert!(decide(&world, &limits, &ASK, START + 17 * SECOND, grants));
    assert!(wanted >= 4, "{wanted}");
    let mut wanted = 0;
    let denies = |question: &Question| {
        wanted += 1;
        assert_eq!(question.asked[0].held.kept, 0, "three were spent for those");
        Ok(Answer::Denied { place: 0, wait_nanos: SECOND })
    };
    assert!(!decide(&world, &limits, &ASK, START + 17 * SECOND + 10_000_000, denies));
    assert_eq!(wanted, 1);
}

/// A question that hangs is waited for as long as others took, and 5 ms. Who comes later does not wait for it at all.
#[tokio::test(start_paused = true)]
async fn a_question_that_hangs_is_waited_for_once() {
    let world = World::new(A_MINUTE);
    let limits = shared(&world, REPLICAS);
    let clock = Clock::manual(1_700_000_000);
    for (admitted, waits) in [(true, 1), (false, 0)] {
        let mut attempt = world.attempt(&limits, &ASK, clock.now(), None);
        let (mut times, begun) = (0, tokio::time::Instant::now());
        let decided = loop {
            match attempt {
                Attempt::Decided(decided) => break decided.is_ok(),
                Attempt::NeedsShared(_, question) => {
                    times += 1;
                    assert!(times < 4, "it waits for ever");
                    let over = question.settled(&clock).await;
                    assert_eq!(begun.elapsed(), Duration::from_millis(5 + 2 + 1));
                    clock.advance(begun.elapsed());
                    attempt = world.attempt(&limits, &ASK, clock.now(), Some(over));
                }
            }
        };
        assert_eq!((decided, times), (admitted, waits), "its share has one");
    }
}

fn any_grant() -> impl Strategy<Value = Grant> {
    let extreme = |most: u64| prop_oneof![Just(0), Just(1), Just(most), Just(most - 1), 0..=most];
    let small = extreme(u64::from(u32::MAX)).prop_map(|number| u32::try_from(number).unwrap());
    (small.clone(), small, extreme(u64::MAX), extreme(u64::MAX))
        .prop_map(|(tokens, left, period, until_full_nanos)| Grant { tokens, left, period, until_full_nanos })
}

fn any_answer() -> impl Strategy<Value = Told> {
    let wait = prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), 0..SECOND];
    prop_oneof![
        8 => prop::collection::vec(any_grant(), 1..4).prop_map(|grants| Ok(Answer::Granted(grants))),
        2 => (0_usize..4, wait).prop_map(|(place, wait_nanos)| Ok(Answer::Denied { place, wait_nanos })),
        1 => Just(Err(StoreFault::Broken)),
    ]
}

proptest! {
    /// Whatever the store says, a request is decided, and what is told of it is written.
    #[test]
    fn no_number_of_a_store_ends_the_process(
        answers in prop::collection::vec((any_answer(), 0..100 * SECOND), 1..60),
        replicas in prop_oneof![1..20_u32, any::<u32>().prop_map(|replicas| replicas.max(1))],
        quota in prop::sample::select(vec![
            r#"quota = "60 per minute""#,
            r#"quota = "6000 per minute", shared = "lease""#,
            r#"quota = "100 per day", window = "calendar""#,
            r#"quota = "1 per month", burst = 121"#,
            r#"quota = "1000000 per second", cost = 1000"#,
        ]),
    ) {
        let other = r#"{ name = "other", per = ["workspace"], quota = "3 per hour" }"#;
        let world = World::new(&format!(
            "policies = [{{ name = \"default\", per = [\"token\"], {quota} }}, {other}]"
        ));
        let limits = shared(&world, replicas);
        let (mut now, caller) = (START, ASK.caller().unwrap());
        for (told, later) in &answers {
            now += later;
            let answer = |question: &Question| match told.clone() {
                Ok(Answer::Granted(grants)) => {
                    let grants = grants.into_iter().cycle().take(question.asked.len()).collect();
                    Ok(Answer::Granted(grants))
                }
                told => told,
            };
            let _ = decide(&world, &limits, &ASK, now, answer);
            for row in limits.standing(&caller, ASK.address(), at(now), Audience::Caller) {
                if let Some(headroom) = row.headroom {
                    let _ = (headroom.remaining(), headroom.until_full(), headroom.until_next(), headroom.wait());
                }
            }
            let _ = limits.counters().sweep(at(now));
        }
    }
}
