//! JSON Schemas for editors, from the types that read the files.
//!
//! They hold what a type says: keys, kinds, choices, defaults. What only a room's check knows stays with
//! `tollgate check`.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use crate::place::RegionSettings;
use crate::routing::EndpointFile;
use crate::{
    admin, authentication, central_store, input, journal, limits, listen, notifications, place, reply,
    routing, secret_scanning, telemetry, tokens, upstream,
};

/// The schema of a configuration file.
pub fn configuration_schema() -> Schema {
    let mut types = generator();
    let regions = std::collections::BTreeMap::<String, RegionSettings>::json_schema(&mut types);
    let sections = [
        ("listen", types.subschema_for::<listen::Settings>()),
        ("admin", types.subschema_for::<admin::Settings>()),
        ("regions", regions),
        ("place", types.subschema_for::<place::Settings>()),
        ("upstream", types.subschema_for::<upstream::Settings>()),
        ("endpoints", types.subschema_for::<routing::Settings>()),
        ("tokens", types.subschema_for::<tokens::Settings>()),
        ("journal", types.subschema_for::<journal::Settings>()),
        ("redis", types.subschema_for::<central_store::Settings>()),
        ("notifications", types.subschema_for::<notifications::Settings>()),
        ("authentication", types.subschema_for::<authentication::Settings>()),
        ("limits", types.subschema_for::<limits::Settings>()),
        ("input", types.subschema_for::<input::Settings>()),
        ("secret_scanning", types.subschema_for::<secret_scanning::Settings>()),
        ("logs", types.subschema_for::<telemetry::Settings>()),
        ("replies", types.subschema_for::<reply::Settings>()),
    ];
    let sections: Map<String, Value> =
        sections.into_iter().map(|(name, schema)| (name.to_owned(), schema.to_value())).collect();
    finished(json_schema!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tollgate's configuration",
        "type": "object",
        "properties": sections,
        "additionalProperties": false,
    }))
}

/// The schema of a file with an endpoint table.
pub fn endpoints_schema() -> Schema {
    finished(generator().into_root_schema_for::<EndpointFile>())
}

/// Every type where it is used: nothing in a configuration refers to itself.
fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator()
}

/// A default without the keys that it leaves out.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, inner| !inner.is_null());
            object.values_mut().for_each(without_nulls);
        }
        Value::Array(array) => array.iter_mut().for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// TOML has no null: a key that may be left out is not written.
fn finished(mut schema: Schema) -> Schema {
    RecursiveTransform(|schema: &mut Schema| {
        if schema.get("default") == Some(&Value::Null) {
            schema.remove("default");
        }
        schema.get_mut("default").into_iter().for_each(without_nulls);
        for key in ["type", "enum"] {
            if let Some(Value::Array(choices)) = schema.get_mut(key) {
                choices.retain(|choice| !choice.is_null() && choice != "null");
            }
        }
        if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
            choices.retain(|choice| choice["type"] != "null");
        }
    })
    .transform(&mut schema);
    schema
}
