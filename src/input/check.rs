//! `[input]`, checked.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::Settings;
use super::rule::Rule;
use crate::domain::{Endpoint, Problems};

/// The longest schema file, in bytes.
const MAX_SCHEMA_BYTES: u64 = 1024 * 1024;
const MOST_BODY_BYTES: u64 = 16 * 1024 * 1024;

/// The rules of a configuration, by endpoint.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    by_endpoint: Arc<[Option<Arc<Rule>>]>,
}

impl Rules {
    /// Checks `[input]`; every mistake goes to `problems`, and then there is no result. File names are relative
    /// to `folder`.
    pub fn from_settings(
        settings: &Settings,
        endpoints: &[Endpoint],
        folder: &Path,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.0.len();
        if !(1..=MOST_BODY_BYTES).contains(&settings.max_body_bytes) {
            problems.add(
                "input.max_body_bytes",
                "out_of_range",
                format!("{} is not between 1 and {MOST_BODY_BYTES}", settings.max_body_bytes),
                "write a number in that range, or leave the key out",
            );
        }
        let mut by_endpoint = vec![None; if settings.rules.is_empty() { 0 } else { endpoints.len() }];
        for (at, written) in settings.rules.iter().enumerate() {
            let key = format!("input.rules[{at}]");
            let schema = schema(&folder.join(&written.schema_file), &format!("{key}.schema_file"), problems);
            let place = endpoints.iter().position(|endpoint| *endpoint.operation == *written.operation);
            let Some(place) = place else {
                unknown(&written.operation, endpoints, format!("{key}.operation"), problems);
                continue;
            };
            let Some(schema) = schema else { continue };
            if by_endpoint[place].is_some() {
                problems.add(
                    format!("{key}.operation"),
                    "input_rule_twice",
                    format!("`{}` has a rule already", written.operation),
                    "keep one, and join the two schemas with `allOf`",
                );
                continue;
            }
            match Rule::compile(schema, settings.max_body_bytes) {
                Ok(rule) => by_endpoint[place] = Some(Arc::new(rule)),
                Err(reason) => problems.add(
                    format!("{key}.schema_file"),
                    "schema_invalid",
                    format!("{} is no JSON Schema: {reason}", written.schema_file.display()),
                    "mend the schema; references must stay inside the file",
                ),
            }
        }
        (problems.0.len() == before).then(|| Self { by_endpoint: by_endpoint.into() })
    }

    /// The rule of an endpoint, by its place in the table.
    pub(super) fn of(&self, endpoint: Option<&Endpoint>) -> Option<&Rule> {
        self.by_endpoint.get(usize::from(endpoint?.index))?.as_deref()
    }
}

fn schema(file: &Path, key: &str, problems: &mut Problems) -> Option<Value> {
    let read = || match fs::metadata(file) {
        Ok(found) if found.len() > MAX_SCHEMA_BYTES => Err("it is longer than 1 MiB".to_owned()),
        Ok(_) => fs::read(file).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match read().and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string())) {
        Ok(schema) => Some(schema),
        Err(reason) => {
            let reason = format!("{}: {reason}", file.display());
            problems.add(key, "schema_unreadable", reason, "name a JSON file relative to this configuration");
            None
        }
    }
}

fn unknown(operation: &str, endpoints: &[Endpoint], key: String, problems: &mut Problems) {
    let near = |endpoint: &&Endpoint| strsim::damerau_levenshtein(operation, &endpoint.operation);
    let fix = match endpoints.iter().min_by_key(near) {
        Some(nearest) if near(&nearest) <= operation.len().max(3) / 3 => {
            format!("did you mean `{}`?", nearest.operation)
        }
        Some(_) | None => "name an operation of the endpoint table".to_owned(),
    };
    let reason = format!("there is no operation `{operation}`");
    problems.add(key, "input_operation_unknown", reason, fix);
}
