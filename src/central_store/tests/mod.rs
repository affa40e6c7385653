//! A link and a real server.

mod rights;
mod script;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::server::Server as Redis;
use super::*;
use crate::clock::Clock;
use crate::domain::{Problems, UrlText};
use crate::limits::shared::{Answer, Asked, Bucket, CentralStore as _, Held, Question, StoreFault};

const TIMEOUT: Duration = Duration::from_secs(20);

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

/// Replicas see each other come, go, and fall silent.
#[test]
fn replicas_are_counted() {
    let redis = Redis::start();
    run(async {
        let (first, _stop) = linked(&redis, "").await;
        assert_eq!(first.replicas().get(), 1);
        assert!(
            (1..TIMEOUT.as_nanos() as u64).contains(&first.round_trip_nanos()),
            "how long its first answers took"
        );
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

/// Names of replicas are written by whoever can write: there are no more of them than a fleet may have.
#[test]
fn more_replicas_than_there_can_be_are_not_believed() {
    let redis = Redis::start();
    run(async {
        let (store, _stop) = linked(&redis, "").await;
        let now = redis.ask("ZSCORE tollgate:{replicas} 0000000000000007");
        let members: Vec<String> = (0..1_500).map(|member| format!("{now} m{member}")).collect();
        redis.ask(&format!("ZADD tollgate:{{replicas}} {}", members.join(" ")));
        until("many to be seen", || store.replicas().get() > 1).await;
        assert_eq!(store.replicas().get(), 1_024);
    });
}

/// A replica that was heard of in the future, because the clock went back, is gone unless it says otherwise.
#[test]
fn replicas_of_the_future_are_not_counted() {
    let redis = Redis::start();
    redis.ask("ZADD tollgate:{replicas} 99999999999999 gone");
    run(async {
        let (store, _stop) = linked(&redis, "").await;
        assert_eq!(store.replicas().get(), 1);
    });
}

/// A server that takes the connection and says nothing holds up no end.
#[test]
fn a_link_that_is_being_made_ends_when_it_is_told() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("redis://{}", silent.local_addr().unwrap());
    run(async {
        let address = StoreAddress::parse(&address).unwrap();
        let hour = Duration::from_hours(1);
        let server = Server {
            region: "us".into(),
            address,
            ca_file: None,
            prefix: "tollgate".into(),
            timeout: hour,
            patience: hour,
            connect_timeout: hour,
            max_calls: 1,
            min_replicas: std::num::NonZeroU32::MIN,
        };
        let link = Link::new(server, 1, Clock::system());
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let running = tokio::spawn(link.run(|| (), || 0, stopped));
        let _held = tokio::task::spawn_blocking(move || (silent.accept().unwrap(), silent)).await.unwrap();
        stop.send(true).unwrap();
        running.await.unwrap();
    });
}
