//! `window = "calendar"`: exact in each day and month, and told as it is.

use std::time::Duration;

use super::world::{ASK, Ask, World, checked, endpoints, quota};
use crate::clock::Clock;
use crate::domain::{Endpoint, LimitOverride, Window};
use crate::limits::{Audience, ExceededKind, Limits, Strictest};

/// 2024-01-31 12:00 UTC.
const NOON: u64 = 1_706_702_400;
const MONTHLY: &str = r#"policies = [
  { name = "monthly", per = ["workspace"], quota = "700 per month", window = "calendar" },
]"#;
const DAILY: &str = r#"policies = [
  { name = "daily", per = ["token"], quota = "5 per day", window = "calendar" },
]"#;

fn world(toml: &str) -> World {
    World { clock: Clock::manual(NOON), ..World::new(toml) }
}

fn lines(world: &World, ask: &Ask) -> String {
    let mut lines = Vec::new();
    match world.ask(ask) {
        Ok(admission) => admission.write_headers(&mut lines, world.now(), Strictest::Ours),
        Err(exceeded) => exceeded.write_headers(&mut lines, world.now()),
    }
    String::from_utf8(lines).unwrap()
}

#[test]
fn each_month_admits_its_quota_and_none_of_it_comes_back_before_the_next() {
    let world = world(MONTHLY);
    assert_eq!(world.admitted(&ASK), 700);
    let refused = world.refused(&ASK);
    assert_eq!((refused.kind, refused.wait), (ExceededKind::QuotaExceeded, Duration::from_hours(12)));
    world.wait(Duration::from_hours(12) - Duration::from_millis(1));
    assert!(world.ask(&Ask::by(2)).is_err(), "another token of the workspace, a millisecond early");
    world.wait(Duration::from_millis(1));
    assert_eq!(world.admitted(&ASK), 700, "February");
    assert_eq!(world.refused(&ASK).wait, Duration::from_hours(29 * 24));
    world.wait(Duration::from_hours(29 * 24));
    assert_eq!(world.admitted(&ASK), 700, "March");
    assert_eq!(world.refused(&ASK).wait, Duration::from_hours(31 * 24));
}

#[test]
fn answers_tell_the_months_own_length_and_its_end() {
    let world = world(MONTHLY);
    assert_eq!(
        lines(&world, &ASK),
        "RateLimit-Policy: \"monthly\";q=700;w=2678400\r\n\
         RateLimit: \"monthly\";r=699;t=43200\r\n\
         X-RateLimit-Consumed: 1\r\n\
         X-RateLimit-Remaining: 699\r\n\
         X-RateLimit-Reset: Thu, 01 Feb 2024 00:00:00 GMT\r\n"
    );
    world.wait(Duration::from_hours(24));
    assert_eq!(world.admitted(&ASK), 700);
    assert!(world.refused(&ASK).retry_after_seconds().is_none(), "four weeks are above the ceiling");
    assert!(lines(&world, &ASK).starts_with(
        "RateLimit-Policy: \"monthly\";q=700;w=2505600\r\nRateLimit: \"monthly\";r=0;t=2462400\r\n"
    ));
}

#[test]
fn the_list_and_the_explanation_say_so_too() {
    let world = world(DAILY);
    drop(world.ask(&ASK).unwrap());
    let rows = world.limits.standing(&ASK.caller().unwrap(), ASK.address(), world.now(), Audience::Caller);
    let row = rows.iter().find(|row| &*row.name == "daily").unwrap();
    let headroom = row.headroom.unwrap();
    assert_eq!((row.quota.window, row.quota.period_seconds), (Window::Calendar, 86_400));
    assert_eq!((headroom.remaining(), headroom.until_full()), (4, Duration::from_hours(12)));
    let met = &super::foresee::foresee(&world, &world.limits, &ASK).met[0];
    assert_eq!(
        (met.headroom.quota.to_string(), met.worst_window_requests()),
        ("5 per calendar day".into(), 5)
    );
    world.wait(Duration::from_hours(12));
    let rows = world.limits.standing(&ASK.caller().unwrap(), ASK.address(), world.now(), Audience::Caller);
    let headroom = rows.iter().find(|row| &*row.name == "daily").unwrap().headroom.unwrap();
    assert_eq!((headroom.remaining(), headroom.until_full()), (5, Duration::ZERO));
}

#[test]
fn an_endpoints_own_limit_can_be_one() {
    let mut rows: Vec<Endpoint> = endpoints();
    for limit in
        rows.iter_mut().flat_map(|row| &mut row.limits).filter(|limit| limit.quota.is_of_the_calendar())
    {
        limit.quota = limit.quota.in_window(Window::Calendar);
    }
    let rules = checked("policies = []", &rows).unwrap();
    let mut world = world(DAILY);
    world.limits = Limits::new(std::sync::Arc::new(rules), crate::limits::Counters::new([7; 32]));
    world.endpoints = rows;
    let space = |value: &'static [u8]| Ask { path_value: value, ..Ask::of("createAudiencePreview") };
    for _ in 0..140 {
        assert_eq!(world.admitted(&space(b"a")), 5, "5 a minute");
        world.wait(Duration::from_mins(1));
    }
    let refused = world.refused(&space(b"a"));
    assert_eq!((&*refused.name, refused.burst), ("createAudiencePreview:spaceId", 700));
    assert!(world.ask(&space(b"b")).is_ok(), "another space");
}

#[test]
fn five_policies_are_charged_together_or_not_at_all() {
    let world = world(
        r#"policies = [
          { name = "a", per = ["token"], quota = "1000 per day", window = "calendar" },
          { name = "b", per = ["workspace"], quota = "1000 per month", window = "calendar" },
          { name = "c", per = ["token"], quota = "1000 per minute" },
          { name = "d", per = ["address"], quota = "3 per day", window = "calendar" },
          { name = "e", per = ["token", "endpoint"], quota = "1000 per hour" },
        ]"#,
    );
    assert_eq!(world.admitted(&ASK), 3);
    let before = world.limits.counters.cells.tats();
    for _ in 0..100 {
        assert_eq!(&*world.refused(&ASK).name, "d");
    }
    assert_eq!(world.limits.counters.cells.tats(), before);
}

#[test]
fn racing_threads_are_admitted_the_quota() {
    let world = world(MONTHLY);
    let admitted = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let more = usize::from(world.ask(&ASK).is_ok());
                    admitted.fetch_add(more, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 700);
}

#[test]
fn a_policy_may_change_its_window_without_a_fresh_quota() {
    let mut world = world(DAILY);
    assert_eq!(world.admitted(&ASK), 5);
    for window in ["rolling", "calendar", "rolling"] {
        world.reload(&DAILY.replace("calendar", window));
        assert!(world.ask(&ASK).is_err(), "{window}");
    }
    world.reload(&DAILY.replace("5 per day", "10 per month"));
    assert!(world.ask(&ASK).is_err(), "all of a day is all of a month");
}

#[test]
fn an_override_counts_by_the_calendar_of_its_policy() {
    let world = world(DAILY);
    let given = |text: &str| Ask {
        token_overrides: vec![LimitOverride {
            policy: "daily".into(),
            quota: quota(text),
            until_unix_seconds: NOON + 172_800,
        }],
        ..ASK
    };
    assert_eq!(world.admitted(&given("20 per day")), 20);
    assert_eq!(world.refused(&given("20 per day")).wait, Duration::from_hours(12));
    assert!(world.ask(&ASK).is_err());
    world.wait(Duration::from_hours(12));
    assert_eq!(world.admitted(&given("20 per day")), 20);
}

#[test]
fn a_day_that_is_over_leaves_and_a_full_one_at_once() {
    let world = world(DAILY);
    drop(world.ask(&ASK).unwrap());
    assert_eq!(world.sweep_all(), 0);
    world.wait(Duration::from_hours(12));
    assert_eq!(world.sweep_all(), 0, "the clock may still be set back");
    world.wait(Duration::from_hours(1));
    assert_eq!(world.sweep_all(), 1);
    assert_eq!(world.limits.counters().cells(), 0);
}

#[test]
fn past_the_cap_newcomers_share_one_count() {
    let world = world(&format!("max_cells = 8\n{DAILY}"));
    let newcomers = (0..1_000).filter(|token| world.ask(&Ask::by(*token)).is_ok()).count();
    assert_eq!(newcomers, 7 + 5);
    world.wait(Duration::from_hours(12));
    assert_eq!((100..200).filter(|token| world.ask(&Ask::by(*token)).is_ok()).count(), 5, "a new day");
}
