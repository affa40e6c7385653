//! Labels of the workspace and of its sources. A label is known by key and value, both free text.

#![expect(clippy::unnecessary_wraps, reason = "every behaviour has the table's one signature")]

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::fault::Fault;
use super::{array, save, success};

const LABELS: &str = "/labels";

/// `GET /labels`
pub(in crate::sample) fn list(call: &mut Call<'_>) -> Result<Value, Fault> {
    Ok(json!({"labels": call.collection(LABELS).values()}))
}

/// `POST /labels`
pub(in crate::sample) fn create(call: &mut Call<'_>) -> Result<Value, Fault> {
    let Some(label) = call.body.get("label").cloned() else {
        return Err(Fault::input("label", "is required"));
    };
    let label = checked(&label)?;
    let object = label.as_object().cloned().unwrap_or_default();
    call.workspace.collection(LABELS).put(&identity(&label), object, call.space)?;
    call.audit("Created", &identity(&label));
    Ok(json!({"label": label}))
}

/// `DELETE /labels/{key}/{value}`
pub(in crate::sample) fn delete(call: &mut Call<'_>) -> Result<Value, Fault> {
    let (key, value) = (call.param("key"), call.param("value"));
    let id = identity(&json!({"key": key, "value": value}));
    if !call.workspace.collection(LABELS).remove(&id, call.space) {
        let message = format!("Label with key '{key}' and value '{value}' not found.");
        return Err(Fault::plain(404, "not-found", message));
    }
    call.audit("Deleted", &id);
    Ok(success())
}

/// `POST /sources/{sourceId}/labels`
pub(in crate::sample) fn add_to_source(call: &mut Call<'_>) -> Result<Value, Fault> {
    set(call, true)
}

/// `PUT /sources/{sourceId}/labels`
pub(in crate::sample) fn replace_in_source(call: &mut Call<'_>) -> Result<Value, Fault> {
    set(call, false)
}

fn set(call: &mut Call<'_>, keep: bool) -> Result<Value, Fault> {
    let id = call.param("sourceId");
    let mut source = call.found("/sources", &id)?;
    let mut labels = match source.get("labels") {
        Some(Value::Array(labels)) if keep => labels.clone(),
        _ => Vec::new(),
    };
    for label in array(call, "labels")? {
        let label = checked(&label)?;
        labels.retain(|other| identity(other) != identity(&label));
        labels.push(label);
    }
    source.insert("labels".to_owned(), labels.clone().into());
    save(call, "/sources", &id, source)?;
    call.audit("Modified", &id);
    Ok(json!({"labels": labels}))
}

fn checked(label: &Value) -> Result<Value, Fault> {
    for field in ["key", "value"] {
        if label[field].as_str().is_none_or(str::is_empty) {
            return Err(Fault::input(&format!("label.{field}"), "must be a non-empty string"));
        }
    }
    Ok(label.clone())
}

fn identity(label: &Value) -> String {
    format!("{}\n{}", label["key"].as_str().unwrap_or_default(), label["value"].as_str().unwrap_or_default())
}
