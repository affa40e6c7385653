//! L9: memory is bounded, without amnesty, and strangers take no tenant's place.

use std::time::Duration;

use super::world::{ASK, Ask, World};

const TINY: &str = r#"
max_cells = 16
policies = [{ name = "default", per = ["token"], quota = "10 per hour" }]"#;

#[test]
fn past_the_cap_newcomers_share_one_bucket() {
    let world = World::new(TINY);
    let known: Vec<Ask> = (0..14).map(Ask::by).collect();
    for ask in &known {
        assert_eq!(world.admitted(ask), 10);
    }
    assert_eq!(world.limits.counters().cells(), 14);
    let newcomers: usize = (100..10_000).filter(|token| world.ask(&Ask::by(*token)).is_ok()).count();
    assert_eq!(newcomers, 10, "they share a burst");
    assert_eq!(world.limits.counters().cells(), 14);
    assert!(world.limits.counters().overflowed() > 9_000);
    assert!(world.limits.counters.cells.tats().len() <= 15);
    for ask in &known {
        assert!(world.ask(ask).is_err(), "the flood gave nobody a fresh bucket");
    }
}

#[test]
fn a_cell_of_ones_own_starts_with_the_shared_debt() {
    let mut world = World::new(TINY);
    (0..14).for_each(|token| drop(world.ask(&Ask::by(token))));
    let newcomer = Ask::by(100);
    assert_eq!(world.admitted(&newcomer), 10);
    world.reload(&TINY.replace("16", "32"));
    assert!(world.ask(&newcomer).is_err(), "there is room now, and no fresh bucket with it");
    world.wait(Duration::from_mins(6));
    assert_eq!(world.admitted(&newcomer), 1);
    world.wait(Duration::from_hours(1));
    assert_eq!(world.admitted(&newcomer), 10);
}

#[test]
fn limits_of_ones_own_share_only_with_the_same_quota() {
    let world = World::new(TINY);
    (0..14).for_each(|token| drop(world.ask(&Ask::by(token))));
    let own = |token: u64, text: &str| Ask { own_limit: Some(super::world::quota(text)), ..Ask::by(token) };
    assert_eq!(world.admitted(&own(100, "3 per hour")), 3);
    assert_eq!(world.admitted(&own(101, "3 per hour")), 0);
    assert_eq!(world.admitted(&own(102, "50 per hour")), 50);
    assert_eq!(world.admitted(&Ask::by(103)), 10);
}

#[test]
fn a_sweep_drops_what_is_full_and_only_that() {
    let world = World::new(TINY);
    assert_eq!(world.admitted(&Ask::by(1)), 10);
    drop(world.ask(&Ask::by(2)).unwrap());
    world.wait(Duration::from_mins(6));
    assert_eq!(world.sweep_all(), 0, "it stays for a moment");
    world.wait(Duration::from_secs(11));
    assert_eq!(world.sweep_all(), 1);
    assert_eq!(world.limits.counters().cells(), 1);
    assert_eq!(world.admitted(&Ask::by(1)), 1);
    world.wait(Duration::from_hours(2));
    assert_eq!(world.sweep_all(), 1);
    assert_eq!(world.limits.counters().cells(), 0);
}

#[test]
fn many_come_and_go() {
    let world = World::new(
        r#"
        max_cells = 5_000
        policies = [{ name = "default", per = ["token"], quota = "10 per minute" }]"#,
    );
    for round in 0..10 {
        for token in 0..6_000 {
            drop(world.ask(&Ask::by(round * 6_000 + token)));
        }
        assert!(world.limits.counters().cells() <= 5_000);
        world.wait(Duration::from_secs(71));
        world.sweep_all();
        assert_eq!(world.limits.counters().cells(), 0);
    }
}

#[test]
fn strangers_take_no_tenants_place() {
    let world = World::new(
        r#"
        max_cells = 80
        policies = [
          { name = "default", per = ["token"], quota = "10 per hour" },
          { name = "by_address", per = ["address"], quota = "5 per hour" },
        ]"#,
    );
    let addresses = ["192.0.2.1", "2001:db8::1", "2001:db8:0:1::1"];
    for address in addresses {
        let stranger = Ask { token: None, operation: Some("echo"), address, ..ASK };
        assert_eq!(world.admitted(&stranger), 5, "{address}");
    }
    for block in 0..5_000_u32 {
        let address: &'static str = Box::leak(format!("2001:db8:{:x}:{:x}::1", block >> 8, block).into());
        drop(world.ask(&Ask { token: None, operation: Some("echo"), address, ..ASK }));
    }
    assert_eq!(world.limits.counters().cells(), 10, "an eighth");
    assert_eq!(world.admitted(&Ask::by(7)), 5, "by its address; not by the strangers'");
    assert_eq!(world.limits.counters().cells(), 12);
}
