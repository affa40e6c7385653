use std::path::Path;

use super::{Effect, Subject, between};
use crate::config::{Config, load_text};

const BASE: &str = r#"
[listen]
plain = ["127.0.0.1:0"]
[upstream]
servers = ["http://127.0.0.1:9"]
[[endpoints.extra]]
operation = "listThings"
method = "GET"
path = "/things"
versions = ["v1"]
limits = [{ quota = "60 per minute" }]
[[endpoints.extra]]
operation = "getThing"
method = "GET"
path = "/things/{thingId}"
[[limits.policies]]
name = "default"
per = ["token"]
quota = "6000 per minute"
[[limits.policies]]
name = "trial"
per = ["workspace"]
quota = "10 per minute"
mode = "shadow"
"#;

fn loaded(text: &str, secret: &str) -> Config {
    let environment = |name: &str| (name == "SECRET").then(|| secret.to_owned());
    load_text(Path::new("tollgate.toml"), text, &environment).unwrap_or_else(|found| panic!("{found:#?}"))
}

/// What replacing a piece of the base does.
fn effects(piece: &str, replacement: &str) -> Vec<Effect> {
    assert!(BASE.contains(piece), "{piece}");
    between(&loaded(BASE, ""), &loaded(&BASE.replace(piece, replacement), ""))
}

/// The lines of effects, those that callers do not notice in brackets.
fn lines(piece: &str, replacement: &str) -> Vec<String> {
    let line = |effect: Effect| if effect.callers { effect.to_string() } else { format!("[{effect}]") };
    effects(piece, replacement).into_iter().map(line).collect()
}

#[test]
fn the_same_configuration_has_no_effect() {
    assert_eq!(lines("60 per minute", "60  per  minute"), [""; 0]);
    assert_eq!(lines("[listen]", "# a remark\n[listen]\nworkers = 0"), [""; 0]);
}

#[test]
fn endpoints_come_go_and_change() {
    assert_eq!(
        lines(
            "[[endpoints.extra]]\noperation = \"getThing\"\nmethod = \"GET\"\npath = \"/things/{thingId}\"\n",
            ""
        ),
        ["endpoint getThing: removed: GET /things/{thingId}"]
    );
    assert_eq!(
        lines("\"getThing\"", "\"readThing\""),
        [
            "endpoint getThing: removed: GET /things/{thingId}",
            "endpoint readThing: added: GET /things/{thingId}"
        ]
    );
    assert_eq!(
        lines("[\"v1\"]", "[\"v2\", \"v1\"]\nscope = \"read\"\nrole = \"owner\"\nplans = [\"business\"]"),
        [
            "endpoint listThings: versions [\"v1\"] → [\"v2\", \"v1\"]",
            "endpoint listThings: scope \"public_api:read_write\" → \"read\"",
            "endpoint listThings: plans [\"team\", \"business\"] → [\"business\"]",
            "endpoint listThings: role none → \"owner\"",
        ]
    );
}

#[test]
fn limits_are_told_with_their_worst_window() {
    assert_eq!(
        lines(
            "{ quota = \"60 per minute\" }",
            "{ quota = \"60 per minute\", burst = 10, per = \"workspace\" }"
        ),
        ["endpoint listThings: limits 60 per minute (at most 120 in one minute) for each token → \
             60 per minute, burst 10 (at most 70 in one minute) for each workspace"]
    );
    assert_eq!(
        lines("\"6000 per minute\"", "\"6000 per hour\"\ncost = 10"),
        ["limit default: quota 6000 per minute (at most 12000 in one minute) → \
             6000 per hour, each counting as 10 (at most 1200 in one hour)"]
    );
    assert_eq!(
        lines("\"10 per minute\"", "\"20 per minute\""),
        [
            "[limit trial: quota 10 per minute (at most 20 in one minute) → 20 per minute (at most 40 in one minute)]"
        ]
    );
    assert_eq!(lines("\nmode = \"shadow\"", ""), ["limit trial: mode \"shadow\" → \"enforce\""]);
    assert_eq!(
        lines("\"trial\"", "\"trial2\""),
        [
            "[limit trial: removed: 10 per minute (at most 20 in one minute) for each workspace, mode \"shadow\"]",
            "[limit trial2: added: 10 per minute (at most 20 in one minute) for each workspace, mode \"shadow\"]"
        ]
    );
}

#[test]
fn what_takes_a_restart_is_said() {
    assert_eq!(
        lines("[upstream]", "workers = 3\n[logs]\nlevel = \"debug\"\n[upstream]\nhost = \"upstream\""),
        [
            "[listen.workers: 0 → 3 (takes a restart)]",
            "[upstream.host: \"preserve\" → \"upstream\"]",
            "[logs.level: \"info\" → \"debug\" (takes a restart)]"
        ]
    );
    let moved = effects("http://127.0.0.1:9", "http://127.0.0.1:10");
    let [Effect { subject: Subject::Region, callers: true, restart: false, .. }] = &moved[..] else {
        panic!("{moved:?}")
    };
}

#[test]
fn issuers_are_compared_by_name() {
    let issuer = "[[authentication.issuers]]\nissuer = \"https://i.example\"\naudiences = [\"a\"]\n\
                  jwks_uri = \"https://i.example/jwks\"\n";
    let with = |rest: &str| loaded(&format!("{BASE}{issuer}{rest}"), "");
    let texts = |old: &Config, new: &Config| -> Vec<String> {
        between(old, new).iter().map(ToString::to_string).collect()
    };
    assert_eq!(texts(&loaded(BASE, ""), &with("")), ["issuer https://i.example: added: for [\"a\"]"]);
    assert_eq!(texts(&with(""), &loaded(BASE, "")), ["issuer https://i.example: removed: for [\"a\"]"]);
    assert_eq!(
        texts(&with(""), &with("leeway_seconds = 5")),
        ["issuer https://i.example: leeway_seconds 60 → 5"]
    );
}

#[test]
fn a_value_of_the_environment_is_told_as_it_is_written() {
    let text = BASE.replace("http://127.0.0.1:9", "http://${SECRET}");
    let changed = between(&loaded(&text, "old.internal"), &loaded(&text, "new.internal"));
    let lines: Vec<String> = changed.iter().map(ToString::to_string).collect();
    let list = "[\"http://${SECRET}\"]";
    let expected = format!("region main: upstreams {list} → {list} with another value");
    assert_eq!(lines, [expected]);
}
