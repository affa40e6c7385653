//! What a restart keeps, and what a file that is damaged, foreign or old may cost.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::foresee::foresee;
use super::world::{ASK, Ask, Dice, World, checked, endpoints, quota};
use crate::clock::Clock;
use crate::limits::saved::unfinished;
use crate::limits::{Counters, Limits, Rules};

const KEY: [u8; 32] = [9; 32];
/// 2024-01-15 12:00 UTC.
const NOON: u64 = 1_705_320_000;

const RULES: &str = r#"
failed_authentications = { quota = "5 per hour" }
policies = [
  { name = "default", per = ["token"], quota = "10 per hour" },
  { name = "monthly", per = ["workspace"], quota = "700 per month", window = "calendar" },
  { name = "by_address", per = ["address"], quota = "20 per hour" },
]"#;

struct Place {
    _folder: tempfile::TempDir,
    file: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state");
        Self { _folder: folder, file }
    }

    fn save(&self, world: &World) {
        world.limits.counters().save(&self.file, &KEY, world.now(), |_, _| ()).unwrap();
    }

    /// Another process with the same rules or others, whose wall clock says so.
    fn start(&self, toml: &str, unix_seconds: u64) -> World {
        self.start_by(toml, unix_seconds, &[KEY])
    }

    fn start_by(&self, toml: &str, unix_seconds: u64, keys: &[[u8; 32]]) -> World {
        let endpoints = endpoints();
        let rules: Rules = checked(toml, &endpoints).unwrap();
        // Its monotonic clock says something else than the first one's.
        let clock = Clock::manual(unix_seconds - 77);
        clock.advance(Duration::from_secs(77));
        let counters = Counters::restored(&self.file, keys, [3; 32], rules.max_cells(), clock.now());
        counters.changed(clock.now());
        World { clock, endpoints, limits: Limits::new(Arc::new(rules), counters) }
    }
}

fn first(toml: &str) -> World {
    World { clock: Clock::manual(NOON), ..World::new(toml) }
}

fn space(value: &'static [u8]) -> Ask {
    Ask { path_value: value, ..Ask::of("createAudiencePreview") }
}

fn stranger(address: &'static str) -> Ask {
    Ask { token: None, operation: Some("echo"), address, ..ASK }
}

#[test]
fn without_a_file_every_bucket_is_full() {
    let place = Place::new();
    let world = place.start(RULES, NOON);
    assert_eq!(world.admitted(&ASK), 10);
}

#[test]
fn what_was_used_is_used_after_a_restart() {
    let place = Place::new();
    let world = first(RULES);
    (0..7).for_each(|_| drop(world.ask(&ASK).unwrap()));
    (0..3).for_each(|_| drop(world.ask(&space(b"a")).unwrap()));
    (0..4).for_each(|_| drop(world.ask(&stranger("2001:db8::1")).unwrap()));
    while world.limits.charge_failure(ASK.address(), world.now()).is_ok() {}
    place.save(&world);
    let mode = fs::metadata(&place.file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let world = place.start(RULES, NOON);
    assert_eq!(world.limits.counters().cells(), 7);
    assert_eq!(world.admitted(&ASK), 0, "seven and three");
    assert_eq!(world.admitted(&Ask { token: Some(2), ..space(b"a") }), 5, "a token of its own");
    let left = |ask: &Ask, name: &str| {
        let foreseen = foresee(&world, &world.limits, ask);
        foreseen.met.iter().find(|met| &*met.name == name).unwrap().headroom.remaining()
    };
    assert_eq!(left(&space(b"a"), "createAudiencePreview:spaceId"), 700 - 3 - 5);
    assert_eq!(left(&space(b"b"), "createAudiencePreview:spaceId"), 700);
    assert_eq!(left(&ASK, "monthly"), 700 - 10 - 5);
    assert_eq!(left(&stranger("2001:db8::1"), "by_address"), 16);
    assert_eq!(left(&stranger("2001:db8:0:1::1"), "by_address"), 20);
    assert!(world.limits.charge_failure(ASK.address(), world.now()).is_err());
    assert!(world.limits.charge_failure("192.0.2.7".parse().unwrap(), world.now()).is_ok());
}

#[test]
fn what_passed_meanwhile_has_come_back_and_no_more() {
    let place = Place::new();
    let world = first(RULES);
    assert_eq!(world.admitted(&ASK), 10);
    place.save(&world);
    let later = |seconds: u64| place.start(RULES, NOON + seconds).admitted(&ASK);
    assert_eq!([later(0), later(360), later(361), later(1_800), later(3_601)], [0, 0, 1, 4, 10]);
    let month = |world: World| {
        let foreseen = foresee(&world, &world.limits, &ASK);
        foreseen.met.iter().find(|met| &*met.name == "monthly").unwrap().headroom.remaining()
    };
    assert_eq!(month(place.start(RULES, NOON + 86_400)), 690);
    assert_eq!(month(place.start(RULES, NOON + 31 * 86_400)), 700, "February");
    assert_eq!(later(0), 0, "reading changes nothing");
}

#[test]
fn a_clock_that_was_set_back_gives_nothing_and_locks_nobody_out_for_longer() {
    let place = Place::new();
    let world = first(RULES);
    assert_eq!(world.admitted(&ASK), 10);
    place.save(&world);
    for back in [1, 3_600, 40 * 86_400] {
        let world = place.start(RULES, NOON - back);
        let refused = world.refused(&ASK);
        assert_eq!(refused.wait, Duration::from_mins(6), "{back} s back");
        world.wait(refused.wait);
        assert!(world.ask(&ASK).is_ok());
    }
}

#[test]
fn rules_that_changed_meanwhile_keep_the_used_share() {
    let place = Place::new();
    let world = first(RULES);
    (0..5).for_each(|_| drop(world.ask(&ASK).unwrap()));
    place.save(&world);
    let world =
        place.start(&RULES.replace("10 per hour", "100 per hour").replace("20 per", "2000 per"), NOON);
    assert_eq!(world.admitted(&ASK), 50);
    let world = place.start(&RULES.replace("10 per hour", "12 per day\", window = \"calendar"), NOON);
    assert_eq!(world.admitted(&ASK), 6);
    let renamed = RULES.replace(r#""default""#, r#""each", formerly = "default""#);
    assert_eq!(place.start(&renamed, NOON).admitted(&ASK), 5);
    assert_eq!(place.start(&RULES.replace("default", "each"), NOON).admitted(&ASK), 10, "a new policy");
    let mut world = place.start("policies = []", NOON);
    assert!(world.ask(&ASK).is_ok());
    world.reload(RULES);
    assert_eq!(world.admitted(&ASK), 5, "it was away, and is back");
}

#[test]
fn decisions_go_on_as_if_there_had_been_no_restart() {
    let place = Place::new();
    let (mut dice, straight, mut restarted) = (Dice(5), first(RULES), first(RULES));
    for step in 0..3_000 {
        let token = dice.below(5);
        let mut ask =
            if dice.below(3) == 0 { space([b"a", b"b", b"c"][dice.below(3) as usize]) } else { ASK };
        ask.token = Some(token);
        ask.own_limit = (token == 4).then(|| quota("7 per hour"));
        let (one, other) = (straight.ask(&ask), restarted.ask(&ask));
        assert_eq!(one.is_ok(), other.is_ok(), "step {step}: {ask:?}", ask = ask.token);
        if let (Err(one), Err(other)) = (one, other) {
            assert_eq!(one.name, other.name);
            // A restart rounds by a millisecond.
            let difference = other.wait.checked_sub(one.wait).unwrap();
            assert!(difference <= Duration::from_millis(100), "{difference:?}");
        }
        let pause = Duration::from_secs(1 + dice.below(300)) + Duration::from_millis(500);
        straight.wait(pause);
        restarted.wait(pause);
        if step % 100 == 99 {
            place.save(&restarted);
            let (millis, seconds) = (restarted.now().unix_millis % 1_000, restarted.now().unix_seconds());
            restarted = place.start(RULES, seconds);
            restarted.wait(Duration::from_millis(millis));
        }
        if step % 1_000 == 999 {
            // A new month of the calendar, on both alike.
            let rest = Duration::from_hours(24 * 31);
            straight.wait(rest);
            restarted.wait(rest);
        }
    }
}

#[test]
fn past_the_cap_the_shared_bucket_is_kept_too() {
    let place = Place::new();
    let tiny =
        "max_cells = 16\npolicies = [{ name = \"default\", per = [\"token\"], quota = \"10 per hour\" }]";
    let world = first(tiny);
    (0..14).for_each(|token| drop(world.ask(&Ask::by(token))));
    assert_eq!(world.admitted(&Ask::by(100)), 10);
    place.save(&world);
    let world = place.start(tiny, NOON);
    assert!(world.ask(&Ask::by(101)).is_err(), "newcomers share one bucket, which is used up");
    let world = place.start(&tiny.replace("16", "8"), NOON);
    assert_eq!(world.limits.counters().cells(), 7, "the configuration's bound holds");
}

#[test]
fn a_file_of_another_installation_is_not_taken() {
    let place = Place::new();
    let world = first(RULES);
    assert_eq!(world.admitted(&ASK), 10);
    place.save(&world);
    assert_eq!(place.start_by(RULES, NOON, &[[1; 32]]).admitted(&ASK), 10);
    assert_eq!(place.start_by(RULES, NOON, &[[1; 32], KEY]).admitted(&ASK), 0, "by an older pepper");
    fs::set_permissions(&place.file, fs::Permissions::from_mode(0o620)).unwrap();
    assert_eq!(place.start(RULES, NOON).admitted(&ASK), 10, "others may write it");
    for text in ["", "no such thing", "tollgate saved limits 99 and more"] {
        fs::write(&place.file, text).unwrap();
        fs::set_permissions(&place.file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(place.start(RULES, NOON).admitted(&ASK), 10, "{text}");
    }
}

#[test]
fn damage_costs_the_part_that_it_is_in() {
    let place = Place::new();
    let world = first("policies = [{ name = \"default\", per = [\"token\"], quota = \"2 per hour\" }]");
    (0..2_000).for_each(|token| drop(world.ask(&Ask::by(token)).unwrap()));
    place.save(&world);
    let good = fs::read(&place.file).unwrap();
    let mut dice = Dice(3);
    let restored = |bytes: &[u8]| {
        fs::write(&place.file, bytes).unwrap();
        let read = Counters::read(&place.file, &[KEY], 10_000, world.now());
        read.map(|read| read.unwrap().1)
    };
    let all = restored(&good).unwrap().cells;
    assert_eq!(all, 2_000);
    let cells = &world.limits.counters().cells;
    let part = |part| {
        let mut part_of_all = Vec::new();
        cells.copy_part(part, world.now(), &mut part_of_all);
        part_of_all.len()
    };
    let largest_part = (0..cells.parts()).map(part).max().unwrap();
    let end_tag = good.len() - 16;
    let mut kept = 0;
    for _ in 0..400 {
        let mut bytes = good.clone();
        let at = dice.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << dice.below(8);
        match restored(&bytes) {
            // The head, whose names all parts need.
            Err(_) => assert!(at < 400, "{at}"),
            Ok(restored) => {
                // Where it is in the tag of the end, none comes after that.
                assert_eq!(restored.damaged_parts, if at < end_tag { 1 } else { 2 }, "{at}");
                kept += usize::from(restored.cells >= all - largest_part);
            }
        }
        let cut = dice.below(good.len() as u64) as usize;
        if let Ok(restored) = restored(&good[..cut]) {
            assert!(restored.damaged_parts == 1 && restored.cells <= cut / 37, "cut at {cut}");
        }
    }
    assert!(
        kept > 390 && largest_part < 80,
        "{kept} of 400 kept all but {largest_part}: a flipped bit in a record costs its part, in a length what comes after"
    );
}

#[test]
fn a_save_that_fails_leaves_the_last_file() {
    let place = Place::new();
    let world = first(RULES);
    assert_eq!(world.admitted(&ASK), 10);
    place.save(&world);
    let before = fs::read(&place.file).unwrap();
    fs::create_dir(unfinished(&place.file)).unwrap();
    assert!(world.limits.counters().save(&place.file, &KEY, world.now(), |_, _| ()).is_err());
    assert_eq!(fs::read(&place.file).unwrap(), before);
}
