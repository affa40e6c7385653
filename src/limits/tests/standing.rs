//! What `/tollgate/v1/limits` lists.

use super::world::{ASK, Ask, World, quota};
use crate::limits::{Audience, Standing};

fn listed(world: &World, ask: &Ask, audience: Audience) -> Vec<Standing> {
    world.limits.standing(&ask.caller().unwrap(), ask.address(), world.now(), audience)
}

fn remaining(rows: &[Standing], name: &str) -> Vec<Option<u32>> {
    let of = |row: &Standing| row.headroom.map(|headroom| headroom.remaining());
    rows.iter().filter(|row| &*row.name == name).map(of).collect()
}

#[test]
fn lists_every_limit_with_what_is_left_and_counts_nothing() {
    let world = World::new("");
    for operation in ["createLabel", "createLabel", "createDownload", "getWarehouseSyncs"] {
        drop(world.ask(&Ask::of(operation)).unwrap());
    }
    let before = world.limits.counters.cells.tats();
    let rows = listed(&world, &ASK, Audience::Caller);
    assert_eq!(world.limits.counters.cells.tats(), before);
    assert_eq!(rows.len(), 7);
    assert_eq!(remaining(&rows, "default"), [Some(5_996)]);
    assert_eq!(remaining(&rows, "createLabel"), [Some(58)]);
    assert_eq!(remaining(&rows, "createDownload:workspace"), [Some(119)]);
    assert_eq!(remaining(&rows, "getWarehouseSyncs"), [Some(1)]);
    assert_eq!(remaining(&rows, "createRegulation"), [Some(600)]);
    assert_eq!(remaining(&rows, "createAudiencePreview:spaceId"), [None], "counted by space");
    let label = rows.iter().find(|row| &*row.name == "createLabel").unwrap();
    assert_eq!(
        (label.endpoint.as_deref(), &*label.per),
        (Some("createLabel"), &["token", "endpoint"].map(String::from)[..])
    );
    let colleague = listed(&world, &Ask::by(2), Audience::Caller);
    assert_eq!(remaining(&colleague, "default"), [Some(6_000)]);
    assert_eq!(remaining(&colleague, "createDownload:workspace"), [Some(119)]);
}

#[test]
fn a_policy_that_counts_apart_has_a_row_for_each() {
    let world = World::new(
        r#"policies = [
          { name = "each", per = ["token", "endpoint"], quota = "9 per hour" },
          { name = "by_version", per = ["token", "version"], quota = "8 per hour" },
        ]"#,
    );
    drop(world.ask(&Ask { version: Some("v1beta"), ..ASK }).unwrap());
    let rows = listed(&world, &ASK, Audience::Caller);
    assert_eq!(remaining(&rows, "each").len(), 8, "seven endpoints and what matches none");
    let used = rows.iter().find(|row| row.endpoint.as_deref() == Some("listSources")).unwrap();
    assert_eq!(used.headroom.unwrap().remaining(), 8);
    let mut versions = remaining(&rows, "by_version");
    versions.sort_unstable();
    assert_eq!(versions, [Some(7), Some(8), Some(8)], "v1beta, v1, and none");
}

#[test]
fn callers_see_what_is_exposed_and_theirs() {
    let world = World::new(
        r#"policies = [
          { name = "default", per = ["token"], quota = "60 per minute" },
          { name = "hidden", per = ["token", "address"], quota = "7 per minute", expose = false },
          { name = "tried", per = ["token"], quota = "6 per minute", mode = "shadow" },
          { name = "team", per = ["workspace"], quota = "8 per minute", plans = ["team"] },
        ]"#,
    );
    let names = |audience| -> Vec<String> {
        let rows = listed(&world, &ASK, audience);
        rows.iter().filter(|row| row.endpoint.is_none()).map(|row| row.name.to_string()).collect()
    };
    assert_eq!(names(Audience::Caller), ["default"]);
    assert_eq!(names(Audience::Operator), ["default", "hidden", "tried"]);
}

#[test]
fn a_limit_of_ones_own_stands_in_the_list() {
    for toml in ["", "policies = []"] {
        let world = World::new(toml);
        let tiny = Ask { own_limit: Some(quota("5 per minute")), ..ASK };
        drop(world.ask(&tiny).unwrap());
        let rows = listed(&world, &tiny, Audience::Caller);
        assert_eq!(remaining(&rows, "token"), [Some(4)]);
        assert_eq!(remaining(&rows, "default"), []);
    }
}
