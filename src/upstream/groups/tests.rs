use std::path::Path;

use super::*;
use crate::clock::Clock;
use crate::domain::Problems;
use crate::upstream::{EjectionSettings, InFlightSettings, RegionServers, Settings, from_settings};

const US: RegionId = RegionId(0);
const EU: RegionId = RegionId(1);

fn region(name: &str, urls: &[&str]) -> RegionServers {
    RegionServers {
        name: name.into(),
        key: format!("regions.{name}.upstreams"),
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        served: !urls.is_empty(),
    }
}

fn groups(settings: &Settings, regions: &[RegionServers], previous: Option<&Groups>) -> Groups {
    let mut problems = Problems::new();
    let checked = from_settings(settings, regions, Path::new(""), &mut problems);
    Groups::new(checked.unwrap_or_else(|| panic!("{:?}", problems.0)), previous)
}

fn labels(groups: &Groups, region: RegionId) -> Vec<String> {
    let members = groups.group(region).unwrap().members();
    members.iter().map(|member| member.server.label.to_string()).collect()
}

fn server(groups: &Groups, region: RegionId, at: usize) -> Arc<Server> {
    Arc::clone(&groups.group(region).unwrap().members()[at].server)
}

const ONE: &str = "http://192.0.2.1:80";
const TWO: &str = "http://192.0.2.2:80";
const THREE: &str = "http://192.0.2.3:80";

#[test]
fn a_new_configuration_takes_over_what_did_not_change_and_no_more() {
    let settings = Settings::default();
    let old = groups(&settings, &[region("us", &[ONE, TWO]), region("eu", &[ONE])], None);
    server(&old, US, 0).enter();
    let place = old.take_place(US, Subject(7));
    let new = groups(&settings, &[region("us", &[THREE, ONE]), region("eu", &[ONE])], Some(&old));
    assert_eq!(labels(&new, US), [THREE, ONE]);
    assert!(Arc::ptr_eq(&server(&new, US, 1), &server(&old, US, 0)));
    assert!(Arc::ptr_eq(&server(&new, EU, 0), &server(&old, EU, 0)));
    assert!(!Arc::ptr_eq(&server(&new, EU, 0), &server(&new, US, 1)), "regions share nothing");
    assert_eq!((server(&new, US, 1).in_flight(), server(&new, US, 0).in_flight()), (1, 0));
    assert_eq!(new.group(US).unwrap().share.held(Subject(7)), 1);
    drop(place);
    assert_eq!(new.group(US).unwrap().share.held(Subject(7)), 0);
    let other = Settings {
        in_flight: InFlightSettings { most: 5, least: 1, ..InFlightSettings::default() },
        ..settings
    };
    let changed = groups(&other, &[region("us", &[ONE])], Some(&new));
    assert!(!Arc::ptr_eq(&server(&changed, US, 0), &server(&new, US, 1)), "other rules begin anew");
    assert_eq!(server(&changed, US, 0).free(), 5);
}

#[test]
fn a_name_stands_for_its_addresses_and_keeps_what_is_known_of_those_that_stay() {
    let groups = groups(&Settings::default(), &[region("us", &["http://api.internal:8080", ONE])], None);
    let group = groups.group(US).unwrap();
    assert_eq!(labels(&groups, US), [ONE], "start works while the name cannot be resolved");
    let name = group.names().next().unwrap();
    let resolve = |last: &[u8]| {
        name.learn(Ok(last.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect()));
        group.follow_names();
    };
    resolve(&[1, 2]);
    let first = |address: &str| format!("http://api.internal:8080 ({address}:8080)");
    assert_eq!(labels(&groups, US), [first("10.0.0.1"), first("10.0.0.2"), ONE.to_owned()]);
    let (stays, members) = (server(&groups, US, 1), group.members());
    group.follow_names();
    assert!(group.has_members(&members), "nothing new, nothing made");
    resolve(&[2, 3]);
    assert_eq!(labels(&groups, US), [first("10.0.0.2"), first("10.0.0.3"), ONE.to_owned()]);
    assert!(Arc::ptr_eq(&stays, &server(&groups, US, 0)));
    name.learn(Err(std::io::ErrorKind::NotFound.into()));
    group.follow_names();
    assert_eq!(labels(&groups, US).len(), 3, "the last good addresses stay");
    let next = Groups::new(
        from_settings(
            &Settings::default(),
            &[region("us", &["http://api.internal:8080"])],
            Path::new(""),
            &mut Problems::new(),
        )
        .unwrap(),
        Some(&groups),
    );
    assert_eq!(labels(&next, US), [first("10.0.0.2"), first("10.0.0.3")], "known at once");
}

#[test]
fn never_more_than_half_of_a_region_is_ejected() {
    let clock = Clock::manual(0);
    let settings = Settings {
        ejection: EjectionSettings { after_failures: 2, ..EjectionSettings::default() },
        ..Settings::default()
    };
    for (urls, most) in [(&[ONE][..], 0), (&[ONE, TWO], 1), (&[ONE, TWO, THREE], 1)] {
        let groups = groups(&settings, &[region("us", urls)], None);
        let group = groups.group(US).unwrap();
        for at in (0..urls.len()).cycle().take(12) {
            group.server_failed(&server(&groups, US, at), clock.now());
        }
        let ejected = (0..urls.len()).filter(|at| server(&groups, US, *at).outlier.is_ejected(clock.now()));
        assert_eq!(ejected.count(), most);
    }
}

#[test]
fn a_workspace_over_its_share_is_told_from_a_region_that_is_full() {
    let settings = Settings {
        in_flight: InFlightSettings { most: 4, least: 1, ..InFlightSettings::default() },
        ..Settings::default()
    };
    let groups = groups(&settings, &[region("us", &[ONE]), region("eu", &[])], None);
    let (only, now) = (server(&groups, US, 0), Clock::manual(0).now());
    let mut places = Vec::new();
    let mut take = |workspace: u64| {
        groups.has_room(US, Subject(workspace), now)?;
        only.enter();
        places.push(groups.take_place(US, Subject(workspace)));
        Ok(())
    };
    assert_eq!((take(1), take(1)), (Ok(()), Ok(())));
    assert_eq!(take(1), Err(Fault::OverShare { held: 2 }));
    assert_eq!((take(2), take(3)), (Ok(()), Ok(())), "others are served");
    assert_eq!(take(4), Err(Fault::TooManyInFlight));
    assert_eq!(groups.has_room(EU, Subject(1), now), Ok(()), "another region has places of its own");
    only.leave();
    assert_eq!(groups.has_room(US, Subject(4), now), Ok(()));
}

#[test]
fn nothing_is_asked_of_a_region_whose_breakers_have_all_tripped() {
    let clock = Clock::manual(0);
    let groups = groups(&Settings::default(), &[region("us", &[ONE, TWO])], None);
    let rules = &groups.group(US).unwrap().rules.breaker;
    let trip = |at: usize| while !server(&groups, US, at).breaker.failed(clock.now(), rules) {};
    trip(0);
    assert_eq!(groups.has_room(US, Subject(1), clock.now()), Ok(()));
    clock.advance(Duration::from_millis(400));
    trip(1);
    let wait = Duration::from_millis(600);
    assert_eq!(groups.has_room(US, Subject(1), clock.now()), Err(Fault::Open { wait }));
    clock.advance(wait);
    assert_eq!(groups.has_room(US, Subject(1), clock.now()), Ok(()), "a probe may pass");
}
