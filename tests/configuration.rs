//! `config/README.md` and the sample configurations are true.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tollgate::config::{File, configuration_schema, endpoints_schema, load_text, parse};

/// One table of the reference: the source of its keys, the section whose defaults it tells, and its rows.
struct Reference {
    source: String,
    structure: String,
    section: Option<String>,
    rows: Vec<(String, String)>,
}

fn references() -> Vec<Reference> {
    let text = fs::read_to_string("config/README.md").unwrap();
    let mut found: Vec<Reference> = Vec::new();
    for line in text.lines() {
        if let Some(marker) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            let mut words = marker.split(' ').map(str::to_owned);
            let (source, structure) = (words.next().unwrap(), words.next().unwrap());
            found.push(Reference { source, structure, section: words.next(), rows: Vec::new() });
        } else if let Some(row) = line.strip_prefix("| `") {
            let (key, rest) = row.split_once("` | ").unwrap();
            let default = rest.split(" | ").next().unwrap();
            found.last_mut().unwrap().rows.push((key.to_owned(), default.trim_matches('`').to_owned()));
        }
    }
    found
}

/// The public fields of a settings type, in order.
fn fields(source: &str, structure: &str) -> Vec<String> {
    let text = fs::read_to_string(source).unwrap();
    let start = text.find(&format!("pub struct {structure} {{")).unwrap();
    let body = &text[start..start + text[start..].find("\n}").unwrap()];
    body.lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn every_key_is_documented_and_no_other() {
    let references = references();
    assert!(references.len() > 15);
    for reference in references {
        let documented: Vec<String> = reference.rows.into_iter().map(|(key, _)| key).collect();
        let expected = fields(&reference.source, &reference.structure);
        assert_eq!(documented, expected, "{} {}", reference.source, reference.structure);
    }
}

#[test]
fn every_documented_default_is_the_default() {
    let mut text = String::new();
    for reference in references() {
        let Some(section) = reference.section else { continue };
        text += &["[", &section, "]\n"].concat();
        for (key, default) in reference.rows {
            if !matches!(&*default, "below" | "none") {
                text += &[&key, " = ", &default, "\n"].concat();
            }
        }
    }
    let written = parse(&text).unwrap();
    let default = parse("").unwrap();
    assert_eq!(format!("{written:#?}"), format!("{default:#?}"));
}

#[test]
fn every_example_of_the_reference_is_read() {
    let text = fs::read_to_string("config/README.md").unwrap();
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() > 4);
    for example in examples {
        parse(example).unwrap();
    }
}

#[test]
fn the_sample_configurations_have_no_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (chain_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&chain_file, key.cert.pem()).unwrap();
    fs::write(&key_file, key.signing_key.serialize_pem()).unwrap();
    let environment = |name: &str| match name {
        "TOLLGATE_CHAIN_FILE" => Some(chain_file.display().to_string()),
        "TOLLGATE_KEY_FILE" => Some(key_file.display().to_string()),
        "TOLLGATE_STORE_PASSWORD" | "TOLLGATE_REDIS_PASSWORD" => Some("right".to_owned()),
        "TOLLGATE_STATE_FOLDER" => Some(folder.path().display().to_string()),
        _ => None,
    };
    for name in ["config/tollgate.toml", "config/production.toml"] {
        let mut text = fs::read_to_string(name).unwrap();
        if rustls_native_certs::load_native_certs().certs.is_empty() {
            text = text
                .replace("https://us", "http://us")
                .replace("https://eu1.internal", "http://eu1.internal");
        }
        if let Err(found) = load_text(Path::new(name), &text, &environment) {
            let list: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert!(list.is_empty(), "{}", list.join("\n"));
        }
    }
}

/// Every table that a schema knows: its keys, and whether it refuses others.
fn tables(schema: &Value, found: &mut Vec<(BTreeSet<String>, bool)>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                let closed = object.get("additionalProperties") == Some(&Value::Bool(false));
                found.push((properties.keys().cloned().collect(), closed));
            }
            object.values().for_each(|inner| tables(inner, found));
        }
        Value::Array(array) => array.iter().for_each(|inner| tables(inner, found)),
        _ => {}
    }
}

#[test]
fn the_schema_knows_every_documented_key_and_refuses_others() {
    let schema = configuration_schema().to_value();
    let sections: BTreeSet<&str> =
        schema["properties"].as_object().unwrap().keys().map(|key| &**key).collect();
    assert_eq!(sections, BTreeSet::from(File::SECTIONS));
    let mut known = Vec::new();
    tables(&schema, &mut known);
    tables(&endpoints_schema().to_value(), &mut known);
    for (keys, closed) in &known {
        assert!(closed, "{keys:?}");
    }
    for reference in references() {
        let documented: BTreeSet<String> = reference.rows.into_iter().map(|(key, _)| key).collect();
        let is_known = known.iter().any(|(keys, _)| *keys == documented);
        assert!(is_known, "{} {}", reference.source, reference.structure);
    }
    assert_eq!(schema.pointer("/properties/listen/properties/max_fields/default"), Some(&Value::from(100)));
    assert!(!schema.to_string().contains("null"), "TOML has no null");
}

#[test]
fn the_schema_accepts_what_check_accepts_and_refuses_unknown_keys() {
    let of = |schema: schemars::Schema| jsonschema::validator_for(&schema.to_value()).unwrap();
    let (configuration, endpoints) = (of(configuration_schema()), of(endpoints_schema()));
    let read = |path: &Path| -> Value {
        let text = fs::read_to_string(path).unwrap();
        serde_json::to_value(toml::from_str::<toml::Table>(&text).unwrap()).unwrap()
    };
    let good = fs::read_dir("tests/config/good").unwrap().map(|entry| entry.unwrap().path());
    let samples = ["config/tollgate.toml", "config/production.toml"].map(PathBuf::from);
    for path in good.chain(samples).filter(|path| path.extension().is_some_and(|kind| kind == "toml")) {
        let errors: Vec<String> = configuration
            .iter_errors(&read(&path))
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
    assert!(endpoints.is_valid(&read(Path::new("config/endpoints.toml"))));
    for name in [
        "key_unknown",
        "key_unknown_inline",
        "key_unknown_nested",
        "section_unknown",
        "key_missing",
        "place_mode",
    ] {
        let path = PathBuf::from(format!("tests/config/bad/{name}.toml"));
        assert!(!configuration.is_valid(&read(&path)), "{name}");
    }
}
