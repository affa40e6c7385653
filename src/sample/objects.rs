//! What objects look like: the templates of `objects.json`.
//!
//! A template's texts hold `{id}` (the object's own), `{new}` (a fresh id), `{n}` (its number), `{now}`,
//! `{workspace}` and the path's parameters.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

/// One kind of collection.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Kind {
    /// What messages call one object.
    pub label: String,
    /// How many objects a new collection has.
    pub seed: usize,
    /// Ids of the first objects, where they are the same in every workspace.
    pub ids: Vec<String>,
    /// The catalogue that `metadataId` names and `metadata` shows.
    pub catalog: Option<String>,
    /// Fields that a body must have.
    pub required: Vec<String>,
    /// Every field but `id`, with its default.
    pub fields: Map<String, Value>,
}

/// All templates.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Templates {
    /// By path template of the collection.
    pub collections: BTreeMap<String, Kind>,
    /// Fixed answers, by operation.
    pub answers: BTreeMap<String, Value>,
}

/// The embedded templates; a unit test reads them, so that they cannot be broken in a build.
pub(super) static TEMPLATES: LazyLock<Templates> =
    LazyLock::new(|| serde_json::from_str(include_str!("objects.json")).unwrap_or_default());

/// Replaces every `{name}` in the texts of `value`; a name that `lookup` does not know stays.
pub(super) fn fill(value: &Value, lookup: &mut dyn FnMut(&str) -> Option<String>) -> Value {
    match value {
        Value::String(text) => Value::String(fill_text(text, lookup)),
        Value::Array(values) => values.iter().map(|value| fill(value, lookup)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), fill(value, lookup))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn fill_text(text: &str, lookup: &mut dyn FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        out.push_str(before);
        let found = from.find('}').and_then(|close| Some((close, lookup(&from[1..close])?)));
        let used = if let Some((close, value)) = found {
            out.push_str(&value);
            close + 1
        } else {
            out.push('{');
            1
        };
        rest = &from[used..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_embedded_templates_are_sound() {
        let templates: Templates = serde_json::from_str(include_str!("objects.json")).unwrap();
        for (path, kind) in &templates.collections {
            assert!(!kind.label.is_empty(), "{path} has no label");
            if let Some(catalog) = &kind.catalog {
                assert!(templates.collections.contains_key(catalog), "{path} names {catalog}");
            }
        }
    }

    #[test]
    fn known_names_are_replaced_and_unknown_ones_stay() {
        let mut lookup = |name: &str| (name == "id").then(|| "7".to_owned());
        let filled = fill(&json!({"a": ["x{id}y", "{other}", "{ onTrack(event) {}"]}), &mut lookup);
        assert_eq!(filled, json!({"a": ["x7y", "{other}", "{ onTrack(event) {}"]}));
    }
}
