//! The script on a real server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use redis::Value;

use super::connect::{GRANT, Live};
use super::script;
use super::server::Server as Redis;
use super::*;
use crate::clock::Clock;
use crate::domain::{Problems, UrlText};
use crate::limits::shared::model::Model;
use crate::limits::shared::{
    Answer, Asked, Bucket, CentralStore as _, Held, OutageAgo, Question, StoreFault,
};

const TIMEOUT: Duration = Duration::from_secs(20);
/// Ticks since 2025 at which a test's clock starts.
const START: u64 = 60_000_000 * 10_000_000;

/// The settings of a server of these tests, patient enough for a busy machine.
fn settings(redis: &Redis, more: &str) -> Server {
    let text = format!("timeout_milliseconds = 1000\nconnect_timeout_milliseconds = 10000\n{more}");
    let address = UrlText::new(format!("redis://127.0.0.1:{}", redis.port()));
    let (region, key) = ("us".to_owned(), "redis.address".to_owned());
    let region = RegionServer { region, key, address, is_served: true };
    let mut problems = Problems::new();
    let servers = from_settings(&toml::from_str(&text).unwrap(), &[region], Path::new(""), &mut problems);
    servers.unwrap_or_else(|| panic!("{problems:?}")).remove(0)
}

/// A question of one bucket with 10 a second and a burst of 5.
fn question(need: u32, want: u32) -> Question {
    let bucket = Bucket::Gcra { interval_nanos: 100_000_000, burst: 5, lease_nanos: 0 };
    let asked = Asked { name: "policy".into(), bucket, need, want, held: Held::default() };
    Question { group: "ws".into(), asked: vec![asked], outage: None }
}

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

/// What another program wrote under a bucket's key is no bucket; nor does it stop others.
#[test]
fn a_key_with_something_else_in_it() {
    let redis = Redis::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    redis.ask("SET tollgate:{ws}:policy garbage");
    redis.ask("LPUSH tollgate:{ws}:list x");
    runtime.block_on(async {
        let (store, _stop) = linked(&redis, "").await;
        assert!(store.ask(question(5, 5)).await.is_ok(), "it counts as a new one");
        let mut wrong = question(1, 1);
        wrong.asked[0].name = "list".into();
        assert_eq!(store.ask(wrong).await, Err(StoreFault::Broken));
        assert!(store.is_up(), "one key says nothing of the server");
    });
}

/// A link that has tried its server, and what stops it.
async fn linked(redis: &Redis, more: &str) -> (Store, tokio::sync::watch::Sender<bool>) {
    linked_to(settings(redis, more)).await
}

async fn linked_to(server: Server) -> (Store, tokio::sync::watch::Sender<bool>) {
    let link = Link::new(server, 7, Clock::system());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let (tried, answered) = tokio::sync::oneshot::channel();
    tokio::spawn(Arc::clone(&link).run(move || tried.send(()).unwrap(), || 0, stopped));
    answered.await.unwrap();
    (Store::new(link), stop)
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "gave up waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn a_burst_is_granted_once_and_the_wait_for_more_is_told() {
    let redis = Redis::start();
    run(async {
        let (store, _stop) = linked(&redis, "").await;
        let Ok(Answer::Granted(grants)) = store.ask(question(5, 9)).await else { panic!("not granted") };
        assert_eq!((grants[0].tokens, grants[0].left), (5, 0));
        let Ok(Answer::Denied { place: 0, wait_nanos }) = store.ask(question(1, 1)).await else {
            panic!("not denied")
        };
        assert!(wait_nanos <= 100_000_000, "{wait_nanos}");
        let kept: u64 = redis.ask("PTTL tollgate:{ws}:policy").parse().unwrap();
        assert!((59_000..=60_502).contains(&kept), "half a second until it is full, and a minute: {kept}");
    });
}

/// A server that has forgotten the script is given it again, and the caller does not notice.
#[test]
fn a_forgotten_script_is_loaded_again() {
    let redis = Redis::start();
    run(async {
        let (store, _stop) = linked(&redis, "").await;
        redis.ask("SCRIPT FLUSH");
        assert!(store.ask(question(1, 1)).await.is_ok());
        redis.ask("FLUSHALL");
        assert!(store.ask(question(5, 5)).await.is_ok(), "losing it all costs one burst");
        assert!(store.is_up());
    });
}

#[test]
fn a_killed_server_is_told_at_once_and_found_again() {
    let redis = Redis::start();
    run(async {
        let (store, _stop) = linked(&redis, "").await;
        assert_eq!(store.last_outage(), None, "nobody was answered before it was found");
        redis.kill();
        until("the failure to be seen", || !store.is_up() || drop_ask(&store)).await;
        let outage = store.last_outage().unwrap();
        assert_eq!((outage.ended_nanos, store.ask(question(1, 1)).await), (None, Err(StoreFault::Open)));
        redis.go();
        until("the server to be found", || store.is_up()).await;
        let ended = store.last_outage().unwrap().ended_nanos;
        assert!(ended.is_some_and(|ended| ended > outage.began_nanos));
        assert!(store.ask(question(1, 1)).await.is_ok());
    });
}

/// Asks and lets the call run on its own.
fn drop_ask(store: &Store) -> bool {
    tokio::spawn(store.ask(question(1, 1)));
    false
}

/// One call that is not answered is none the wiser; three within a second are, and nobody asks any more.
#[test]
fn a_server_that_hangs_is_given_up_after_three_time_outs() {
    let redis = Redis::start();
    run(async {
        let (store, _stop) = linked(&redis, "").await;
        redis.signal("STOP");
        let asks = [store.ask(question(1, 1)), store.ask(question(1, 1)), store.ask(question(1, 1))];
        for ask in asks.map(tokio::spawn) {
            assert_eq!(ask.await.unwrap(), Err(StoreFault::TimedOut));
        }
        until("it to be given up", || !store.is_up()).await;
        assert_eq!(store.ask(question(1, 1)).await, Err(StoreFault::Open));
        redis.signal("CONT");
        until("it to be found again", || store.is_up()).await;
    });
}

/// Servers that answer, but cannot or may not do it.
#[test]
fn a_server_that_cannot_is_given_up_and_says_why() {
    for (spoil, words) in [
        ("REPLICAOF 127.0.0.1 1", "read only replica"),
        ("CONFIG SET maxmemory 1", "maxmemory"),
        ("ACL SETUSER default -evalsha", "permissions"),
    ] {
        let redis = Redis::start();
        run(async {
            let (store, _stop) = linked(&redis, "").await;
            redis.ask(spoil);
            assert_eq!(store.ask(question(1, 1)).await, Err(StoreFault::Broken), "{spoil}");
            assert!(!store.is_up(), "{spoil}");
            let error = store.link().status().last_error.unwrap_or_default();
            assert!(error.contains(words), "{spoil}: {error}");
        });
    }
}

#[test]
fn a_login_is_used_and_a_wrong_one_told_without_it() {
    let redis = Redis::with(&["--requirepass", "hunter22"]);
    run(async {
        let with = |password: &str| {
            let mut server = settings(&redis, "");
            let url = format!("redis://:{password}@127.0.0.1:{}/3", redis.port());
            server.address = StoreAddress::parse(&url).unwrap();
            Link::new(server, 1, Clock::system())
        };
        for (password, works) in [("hunter22", true), ("hunter23", false)] {
            let link = with(password);
            let (_stop, stopped) = tokio::sync::watch::channel(false);
            let (tried, answered) = tokio::sync::oneshot::channel();
            tokio::spawn(Arc::clone(&link).run(move || tried.send(()).unwrap(), || 0, stopped));
            answered.await.unwrap();
            let status = link.status();
            assert_eq!(status.state == LinkState::Closed, works, "{status:?}");
            assert!(!format!("{status:?}").contains("hunter2"), "{status:?}");
        }
    });
}

/// A link's state and last error after its first attempt.
async fn tried(server: Server) -> (LinkState, String) {
    let link = Link::new(server, 1, Clock::system());
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let (tried, answered) = tokio::sync::oneshot::channel();
    tokio::spawn(Arc::clone(&link).run(move || tried.send(()).unwrap(), || 0, stopped));
    answered.await.unwrap();
    let status = link.status();
    (status.state, status.last_error.unwrap_or_default())
}

/// The rights that the documentation names are enough for everything.
#[test]
fn a_user_with_the_documented_rights_is_served() {
    let page = include_str!("../../config/docs/redis.md");
    let (_, rights) = page.split_once("A user of its own needs `").unwrap();
    let rights = rights.split_once('`').unwrap().0;
    let redis = Redis::start();
    redis.ask(&format!("ACL SETUSER toll on >hunter22 ~tollgate:* {rights}"));
    run(async {
        let mut server = settings(&redis, "");
        let url = format!("redis://toll:hunter22@127.0.0.1:{}/3", redis.port());
        server.address = StoreAddress::parse(&url).unwrap();
        assert_eq!(tried(server.clone()).await, (LinkState::Closed, String::new()));
        let (store, _stop) = linked_to(server).await;
        assert!(store.ask(question(1, 1)).await.is_ok());
        redis.ask("SCRIPT FLUSH");
        assert!(store.ask(question(1, 1)).await.is_ok());
    });
}

#[test]
fn a_server_over_tls_is_checked_against_its_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ca.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (ca, key) = (path("ca.pem"), path("key.pem"));
    let redis = Redis::with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        ca.to_str().unwrap(),
        "--tls-key-file",
        key.to_str().unwrap(),
        "--tls-auth-clients",
        "no",
    ]);
    run(async {
        let mut server = settings(&redis, "");
        server.address = StoreAddress::parse(&format!("rediss://localhost:{port}")).unwrap();
        let (state, error) = tried(server.clone()).await;
        assert!(state == LinkState::Open && error.contains("certificate"), "not the system's: {error}");
        server.ca_file = Some(path("ca.pem"));
        assert_eq!(tried(server.clone()).await, (LinkState::Closed, String::new()));
        server.address = StoreAddress::parse(&format!("rediss://127.0.0.1:{port}")).unwrap();
        assert_eq!(tried(server).await.0, LinkState::Open, "another name than the certificate's");
    });
}

/// It would answer for a part of the workspaces only.
#[test]
fn a_node_of_a_cluster_is_refused() {
    let bus = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let redis = Redis::with(&["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()]);
    run(async {
        let (state, error) = tried(settings(&redis, "")).await;
        assert!(state == LinkState::Open && error.contains("node of a Redis Cluster"), "{error}");
    });
}

/// Replicas see each other come, go, and fall silent.
#[test]
fn replicas_are_counted() {
    let redis = Redis::start();
    run(async {
        let (first, _stop) = linked(&redis, "").await;
        assert_eq!(first.replicas().get(), 1);
        let other = Link::new(settings(&redis, ""), 8, Clock::system());
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let (tried, answered) = tokio::sync::oneshot::channel();
        let leaving = tokio::spawn(Arc::clone(&other).run(move || tried.send(()).unwrap(), || 0, stopped));
        answered.await.unwrap();
        let second = Store::new(other);
        assert_eq!(second.replicas().get(), 2, "the second sees both at once");
        until("the first to see both", || first.replicas().get() == 2).await;
        stop.send(true).unwrap();
        leaving.await.unwrap();
        assert_eq!(redis.ask("ZCARD tollgate:{replicas}"), "1", "who ends says so");
        until("the first to be alone", || first.replicas().get() == 1).await;
        let (floored, _stop) = linked(&redis, "min_replicas = 5").await;
        assert_eq!(floored.replicas().get(), 5);
    });
}

/// More calls than may wait are refused at once.
#[test]
fn calls_that_wait_are_bounded() {
    let redis = Redis::start();
    run(async {
        let (store, _stop) = linked(&redis, "max_calls = 2").await;
        redis.signal("STOP");
        let waiting = [store.ask(question(1, 1)), store.ask(question(1, 1))].map(tokio::spawn);
        tokio::task::yield_now().await;
        assert_eq!(store.ask(question(1, 1)).await, Err(StoreFault::TimedOut));
        assert!(waiting.iter().all(|ask| !ask.is_finished()));
        assert_eq!(store.link().calls(CallEnd::Busy), 1);
        redis.signal("CONT");
        for ask in waiting {
            assert!(ask.await.unwrap().is_ok());
        }
    });
}
