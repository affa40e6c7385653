use std::path::PathBuf;

use clap::Parser;

use super::*;
use crate::config::load_registry;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: LimitsArgs,
}

const CONFIG: &str = r#"
[listen]
plain = ["127.0.0.1:0"]
[upstream]
servers = ["http://127.0.0.1:9"]
[[limits.policies]]
name = "default"
per = ["token"]
quota = "100 per minute"
[[limits.policies]]
name = "workspace"
per = ["workspace"]
quota = "500 per minute"
"#;

const NOW: u64 = 1_700_000_000;

struct World {
    folder: tempfile::TempDir,
    access: RegistryAccess,
    clock: Clock,
    token: String,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tollgate.toml");
        std::fs::write(&file, CONFIG).unwrap();
        let loaded = load_registry(&file, &|_| None).unwrap();
        let access = RegistryAccess::new(loaded.tokens, loaded.regions, Some("ana"));
        let clock = Clock::manual(NOW);
        let mint = access.open(&clock).unwrap();
        let act = access.act(clock.now());
        let new = crate::tokens::NewWorkspace {
            id: "ws".into(),
            region: "main".into(),
            plan: crate::domain::Plan::Business,
            features: vec![],
            contacts: vec![],
        };
        mint.create_workspace(act, &new).unwrap();
        let request = crate::tokens::TokenRequest {
            workspace: "ws".into(),
            name: "ci".into(),
            scopes: vec![],
            role: crate::domain::Role::Owner,
            own_limit: None,
            lifetime_seconds: None,
            allowed_networks: Vec::new(),
            decoy: false,
        };
        let token = mint.create_token(act, &request).unwrap().record.id;
        Self { folder, access, clock, token }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("tollgate.toml")
    }

    /// Runs a line; `_` inside a word stands for a space in it, TOKEN for the token's id.
    fn run(&self, words: &str) -> Result<String, Error> {
        let words = words.split(' ').map(|word| word.replace('_', " ").replace("TOKEN", &self.token));
        let line = Line::try_parse_from(std::iter::once("limits".to_owned()).chain(words))
            .map_err(|error| Error::Usage(error.to_string()))?;
        let mut out = Vec::new();
        run(&line.args, &self.access, &self.config(), &self.clock, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let world = World::new();
    for (words, code, said) in [
        ("set --policy default --quota 5_per_day --until 7d", 2, "--token ID or --workspace ID"),
        (
            "set --token TOKEN --workspace ws --policy default --quota 5_per_day --until 7d",
            2,
            "cannot be used with",
        ),
        ("set --token TOKEN --policy defualt --quota 5_per_day --until 7d", 2, "did you mean `default`?"),
        ("set --token TOKEN --policy workspace --quota 5_per_day --until 7d", 2, "--workspace"),
        ("set --token TOKEN --policy default --until 7d", 2, "--quota"),
        ("set --token TOKEN --policy default --quota 5_per_day", 2, "--until"),
        ("set --token TOKEN --policy default --quota often --until 7d", 2, "is not a quota"),
        ("set --token TOKEN --policy default --quota 5_per_day --burst 0 --until 7d", 2, "burst"),
        ("set --token TOKEN --policy default --quota 5_per_day --until soon", 2, "is no time"),
        ("set --token TOKEN --policy default --quota 5_per_day --until 2020-01-01", 2, "still to come"),
        (
            "set --token TOKEN --policy default --quota 5_per_day --until 9999d --remove",
            2,
            "cannot be used with",
        ),
        ("set --token nobody --policy default --quota 5_per_day --until 7d", 1, "no token"),
        ("set --workspace nobody --policy default --quota 5_per_day --until 7d", 1, "no workspace"),
        ("set --token TOKEN --policy default --remove", 1, "has no override"),
        ("show --token nobody", 1, "no token"),
        ("show --workspace nobody", 1, "no workspace"),
    ] {
        let error = world.run(words).unwrap_err();
        assert_eq!(error.exit_code(), code, "{words}: {error}");
        assert!(error.to_string().contains(said), "{words}: {error}");
    }
    assert_eq!(world.run("show").unwrap(), "There is no override; set one with `tollgate limits set`.\n");
}

#[test]
fn an_override_is_set_shown_and_removed() {
    let world = World::new();
    let set = "set --token TOKEN --policy default --quota 300_per_minute --burst 50 --until 2023-12-01 --reason busy";
    let told = world.run(set).unwrap();
    assert!(told.contains("until   2023-12-01T00:00:00Z") && told.contains("burst   50"), "{told}");
    assert!(!told.contains("still admits"), "{told}");
    world.run("set --workspace ws --policy default --quota 200_per_minute --until 1h").unwrap();
    let shown = world.run("show --token TOKEN").unwrap();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[1].starts_with("token tok ") || lines[1].starts_with("token tok_"), "{shown}");
    assert!(lines[1].contains("300 per minute") && lines[1].ends_with("in force  busy"), "{shown}");
    assert!(lines[2].contains("workspace ws") && lines[2].contains("200 per minute"), "{shown}");
    assert_eq!(world.run("show").unwrap(), shown, "all there is");
    assert_eq!(world.run("show --workspace ws").unwrap().lines().count(), 2);
    world.clock.advance(std::time::Duration::from_hours(1));
    assert!(world.run("show --workspace ws").unwrap().contains("  ended  "));
    let json: serde_json::Value = serde_json::from_str(&world.run("show --format json").unwrap()).unwrap();
    assert_eq!((&json[0]["token"], &json[0]["in_force"]), (&world.token.as_str().into(), &true.into()));
    assert_eq!((&json[1]["workspace"], &json[1]["in_force"]), (&"ws".into(), &false.into()));
    assert_eq!((&json[0]["quota"], &json[0]["burst"]), (&"300 per minute".into(), &50.into()));
    let removed = world.run("set --token TOKEN --policy default --remove").unwrap();
    assert!(removed.starts_with("removed: default for token `tok"), "{removed}");
    assert_eq!(world.run("show --token TOKEN").unwrap().lines().count(), 2);
}

#[test]
fn an_override_above_the_workspaces_ceiling_says_so() {
    let world = World::new();
    let told = world.run("set --token TOKEN --policy default --quota 600_per_minute --until 1h").unwrap();
    assert!(told.contains("`workspace` still admits only 500 per minute"), "{told}");
    let json = world
        .run("set --format json --token TOKEN --policy token --quota 700_per_minute --until 1h")
        .unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["bound_by"], object!([{"policy": "workspace", "quota": "500 per minute"}]));
    world.run("set --workspace ws --policy workspace --quota 900_per_minute --until 1h").unwrap();
    let told = world.run("set --token TOKEN --policy token --quota 600_per_minute --until 1h").unwrap();
    assert!(!told.contains("still admits"), "{told}");
    let told = world.run("set --token TOKEN --policy default --quota 9_per_minute --until 1h").unwrap_err();
    assert!(told.to_string().contains("--policy token"), "{told}");
}
