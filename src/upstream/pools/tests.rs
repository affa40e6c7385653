use std::path::Path;
use std::time::Duration;

use super::*;
use crate::domain::Problems;
use crate::upstream::{
    EjectionSettings, InFlightSettings, RegionServers, RetrySettings, Settings, from_settings,
};

const US: RegionId = RegionId(0);
const URLS: [&str; 3] = ["http://192.0.2.1:80", "http://192.0.2.2:80", "http://192.0.2.3:80"];

fn groups(settings: &Settings, urls: &[&str], previous: Option<&Groups>) -> Arc<Groups> {
    let servers = RegionServers {
        name: "us".into(),
        key: "regions.us.upstreams".to_owned(),
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        served: !urls.is_empty(),
    };
    let checked = from_settings(settings, &[servers], Path::new(""), &mut Problems::new()).unwrap();
    Arc::new(Groups::new(checked, previous))
}

/// How often each server is chosen in so many requests.
fn chosen(region: &RegionPools, tried: u64, now: Now) -> [u32; 3] {
    let mut counts = [0; 3];
    for _ in 0..3_000 {
        counts[region.choose(tried, now).unwrap()] += 1;
    }
    counts
}

fn trip(region: &RegionPools, at: usize, now: Now) {
    while !region.pools[at].server.breaker.failed(now, &region.group.rules.breaker) {}
}

#[test]
fn load_spreads_over_what_is_usable_and_not_tried() {
    let clock = Clock::manual(0);
    let pools = Pools::new(clock.clone(), 1);
    let region = pools.region(&groups(&Settings::default(), &URLS, None), US).unwrap();
    let even = chosen(&region, 0, clock.now());
    assert!(even.iter().all(|count| count.abs_diff(1_000) < 200), "{even:?}");
    assert_eq!(chosen(&region, 0b010, clock.now())[1], 0);
    for _ in 0..5 {
        region.pools[0].server.enter();
    }
    assert_eq!(chosen(&region, 0, clock.now())[0], 0, "the busiest of three is never the less busy of two");
    trip(&region, 1, clock.now());
    let [busy, tripped, idle] = chosen(&region, 0, clock.now());
    assert_eq!((busy, tripped, idle), (0, 0, 3_000));
}

#[test]
fn one_that_only_seems_bad_is_better_than_none() {
    let clock = Clock::manual(0);
    let pools = Pools::new(clock.clone(), 2);
    let settings = Settings {
        ejection: EjectionSettings { after_failures: 1, ..EjectionSettings::default() },
        ..Settings::default()
    };
    let region = pools.region(&groups(&settings, &URLS[..2], None), US).unwrap();
    region.group.server_failed(&region.pools[0].server, clock.now());
    assert_eq!(chosen(&region, 0, clock.now())[0], 0, "ejected");
    trip(&region, 1, clock.now());
    assert_eq!(chosen(&region, 0, clock.now())[1], 0, "the ejected one must do");
    trip(&region, 0, clock.now());
    assert_eq!(region.choose(0, clock.now()), Err(Fault::Open { wait: Duration::from_secs(1) }));
    clock.advance(Duration::from_secs(1));
    let probes = [region.choose(0, clock.now()), region.choose(0, clock.now())];
    assert!(probes == [Ok(0), Ok(1)] || probes == [Ok(1), Ok(0)], "{probes:?}");
    assert!(matches!(region.choose(0, clock.now()), Err(Fault::Open { .. })), "one probe each");
}

#[test]
fn a_full_region_and_an_empty_one_are_told_apart() {
    let clock = Clock::manual(0);
    let pools = Pools::new(clock.clone(), 3);
    let settings = Settings {
        in_flight: InFlightSettings { most: 1, least: 1, ..InFlightSettings::default() },
        ..Settings::default()
    };
    let region = pools.region(&groups(&settings, &URLS[..1], None), US).unwrap();
    region.pools[0].server.enter();
    assert_eq!(region.choose(0, clock.now()), Err(Fault::TooManyInFlight));
    let none = pools.region(&groups(&settings, &[], None), US).unwrap();
    assert_eq!(none.choose(0, clock.now()), Err(Fault::Unreachable));
    assert!(pools.region(&groups(&settings, &[], None), RegionId(1)).is_none());
}

#[test]
fn retries_have_a_most_and_a_budget() {
    let clock = Clock::manual(0);
    let pools = Pools::new(clock.clone(), 4);
    let retries = RetrySettings { most: 1, budget_percent: 50, budget_floor_per_second: 0 };
    let region =
        pools.region(&groups(&Settings { retries, ..Settings::default() }, &URLS, None), US).unwrap();
    region.note_request();
    region.note_request();
    assert!(!region.may_retry(1, clock.now()), "sent again already");
    assert!(region.may_retry(0, clock.now()));
    assert!(!region.may_retry(0, clock.now()), "one for two requests");
    assert_eq!(region.group.budget_exhausted.load(Ordering::Relaxed), 1);
}

#[test]
fn pools_follow_the_groups_and_keep_those_of_servers_that_stay() {
    let pools = Pools::new(Clock::manual(0), 5);
    let first = groups(&Settings::default(), &URLS[..2], None);
    let one = pools.region(&first, US).unwrap();
    assert!(Rc::ptr_eq(&one, &pools.region(&first, US).unwrap()), "nothing is made anew");
    let second = groups(&Settings::default(), &URLS[1..], Some(&first));
    let two = pools.region(&second, US).unwrap();
    assert!(two.pools[0].shares_connections(&one.pools[1]));
    assert!(!two.pools[1].shares_connections(&one.pools[0]));
    assert!(Arc::ptr_eq(&two.pools[0].server, &one.pools[1].server));
}
