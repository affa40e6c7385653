use clap::Parser;

use super::*;
use crate::domain::{Problems, Region, Regions};
use crate::tokens::{self, Rules, Settings};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: WorkspaceArgs,
}

fn access(folder: &std::path::Path, regions: &[&str]) -> RegistryAccess {
    let rules = Rules::from_settings(&Settings::default(), folder, &mut Problems::new()).unwrap();
    let region = |name: &&str| Region {
        name: (*name).into(),
        letter: name.chars().next().unwrap(),
        base_url: "https://x".into(),
    };
    RegistryAccess::new(rules, Regions::new(regions.iter().map(region).collect()), Some("ana"))
}

fn tollgate(access: &RegistryAccess, words: &str) -> Result<String, Error> {
    let line = Line::try_parse_from(std::iter::once("workspace").chain(words.split(' ')))
        .map_err(|error| Error::Usage(error.to_string()))?;
    let mut out = Vec::new();
    run(&line.args, access, &Clock::manual(1_700_000_000), &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn refusals_have_their_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(folder.path(), &["us", "eu"]);
    tollgate(&access, "create ws --region us").unwrap();
    for (words, code) in [
        ("", 2),
        ("create", 2),
        ("create other", 2),
        ("create other --region mars", 2),
        ("create a/b --region us", 2),
        ("create other --region us --plan gold", 2),
        ("create other --region us --contact nobody", 2),
        ("set ws", 2),
        ("set ws --state gone", 2),
        ("create ws --region us", 1),
        ("set no --plan free", 1),
        ("show no", 1),
    ] {
        let error = tollgate(&access, words).unwrap_err();
        assert_eq!(error.exit_code(), code, "{words}: {error}");
    }
    let error = tollgate(&access, "create other").unwrap_err().to_string();
    assert!(error.contains("us, eu"), "{error}");
    let error = tollgate(&access, "show no").unwrap_err().to_string();
    assert!(error.contains("tollgate workspace create no"), "{error}");
}

#[test]
fn a_workspace_is_made_changed_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(folder.path(), &["us", "eu"]);
    assert!(tollgate(&access, "list").unwrap().contains("no workspace yet"));
    let made =
        tollgate(&access, "create ws --region us --feature b --feature a --contact a@example.com").unwrap();
    assert_eq!(
        made,
        "id        ws\nregion    us\nplan      business\nstate     active\nfeatures  a, b\n\
         contacts  a@example.com\ncreated   2023-11-14T22:13:20Z\n"
    );
    let moved = tollgate(&access, "set ws --region eu --plan free --state suspended --disable a").unwrap();
    assert!(moved.contains("rotate them"), "{moved}");
    assert_eq!(
        tollgate(&access, "list").unwrap(),
        "ID  REGION  PLAN  STATE      FEATURES\nws  eu      free  suspended  b\n"
    );
    let shown: serde_json::Value =
        serde_json::from_str(&tollgate(&access, "show ws --json").unwrap()).unwrap();
    assert_eq!((&shown["state"], &shown["plan"]), (&"suspended".into(), &"free".into()));
    let listed: serde_json::Value = serde_json::from_str(&tollgate(&access, "--json list").unwrap()).unwrap();
    assert_eq!(listed, serde_json::json!([shown]));
}

#[test]
fn the_only_region_need_not_be_named_and_the_log_names_the_person() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(folder.path(), &["main"]);
    assert!(tollgate(&access, "create ws").unwrap().contains("region   main"));
    let mint = access.open(&Clock::manual(0)).unwrap();
    let log = mint.store().log(0, 10).unwrap();
    assert_eq!(log.last().map(|entry| &*entry.actor), Some("cli:ana"));
    assert_eq!(tokens::store::log::verify(&**mint.store(), &mut |_| {}).unwrap(), log.len() as u64);
}
