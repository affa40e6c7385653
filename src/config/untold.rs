//! No value of the environment is told, whatever is wrong with it: each text of each test file comes from the
//! environment once, changed so that most checks refuse it.

use std::fs;
use std::path::Path;

use super::{Diagnostic, load_text};

const CANARY: &str = "cAnAry7";

/// How a value is changed; `_` stands for what the file has.
const CHANGES: [&str; 8] = [
    "_cAnAry7",
    "cAnAry7_",
    "cAnAry7",
    " _ cAnAry7\t",
    "`_` cAnAry7\"",
    "_,x=cAnAry7",
    "http://u:cAnAry7@_",
    "cAnAry7/../_",
];

/// Every double-quoted value of a text as its range without the quotes.
fn values(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let code = if line.starts_with('#') { "" } else { line };
        let quotes: Vec<usize> = code.match_indices('"').map(|(at, _)| start + at).collect();
        let pairs = quotes.chunks_exact(2).map(|pair| pair[0] + 1..pair[1]);
        found.extend(pairs.filter(|value| value.start < value.end));
        start += line.len();
    }
    found
}

fn found(file: &Path, text: &str, value: &str) -> Vec<Diagnostic> {
    let environment = |name: &str| match name {
        "CANARY" => Some(value.to_owned()),
        "TOLLGATE_TEST_HOST" => Some("127.0.0.1".to_owned()),
        "TOLLGATE_TEST_PORT" => Some("9".to_owned()),
        _ => None,
    };
    match load_text(file, text, &environment) {
        Ok(config) => config.warnings,
        Err(found) => found,
    }
}

#[test]
fn no_value_of_the_environment_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy("config/endpoints.toml", folder.path().join("endpoints.toml")).unwrap();
    let file = folder.path().join("tollgate.toml");
    let mut told = 0;
    for kind in ["bad", "good", "warn"] {
        for entry in fs::read_dir(Path::new("tests/config").join(kind)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            for (value, change) in values(&text).into_iter().zip(CHANGES.iter().cycle()) {
                let secret = change.replace('_', &text[value.clone()]);
                let text = format!("{}${{CANARY}}{}", &text[..value.start], &text[value.end..]);
                for diagnostic in found(&file, &text, &secret) {
                    let Diagnostic { file, reason, fix, key, source, .. } = &diagnostic;
                    for said in [file, reason, fix, key, source, &diagnostic.to_string()] {
                        let said = said.to_lowercase();
                        assert!(
                            !said.contains(&CANARY.to_lowercase()),
                            "{path:?} {secret:?} {diagnostic:#?}"
                        );
                    }
                    told += 1;
                }
            }
        }
    }
    assert!(told > 300, "{told}");
}

#[test]
fn a_table_is_named_as_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cAnAry7.toml"), "[[endpoint]]\noperation = \"a\"\n").unwrap();
    let text = "listen.plain = [\"127.0.0.1:0\"]\nupstream.servers = [\"http://127.0.0.1:9\"]\n\
                endpoints.tables = [\"${CANARY}.toml\"]\n";
    let [first, ..] = &found(&folder.path().join("x.toml"), text, CANARY)[..] else { panic!("none") };
    assert_eq!((first.code.as_str(), first.line), ("key_missing", 1));
    assert!(first.file.ends_with("/${CANARY}.toml"), "{}", first.file);
}
