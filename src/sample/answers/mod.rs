//! The answers of the sample API's operations.

pub(super) mod labels;
pub(super) mod links;
pub(super) mod people;
pub(super) mod reads;
pub(super) mod schema;
pub(super) mod writes;

use serde_json::{Map, Value, json};

use super::call::{Call, kind};
use super::fault::Fault;
use super::objects::TEMPLATES;
use super::operations::Shape;

/// The `data` of an operation's answer.
pub(super) fn run(call: &mut Call<'_>) -> Result<Value, Fault> {
    call.check_parents()?;
    let template = call.operation.collection();
    match call.operation.shape {
        Shape::List(key) => {
            let values = call.collection(template).values();
            call.page(key, values)
        }
        Shape::Create(key) => Ok(json!({key: create(call, template)?})),
        Shape::Read(key) => {
            let object = call.found(template, &call.last_param())?;
            let mut data = json!({key: object});
            if call.operation.name == "getSource" {
                data["trackingPlanId"] = links::plan_of_source(call);
            }
            Ok(data)
        }
        Shape::Update(key) => Ok(json!({key: update(call, template)?})),
        Shape::UpdateQuietly => update(call, template).map(|_| success()),
        Shape::Delete => delete(call, template).map(|()| success()),
        Shape::Fixed => Ok(TEMPLATES.answers.get(call.operation.name).map_or(Value::Null, |a| call.fixed(a))),
        Shape::Echo => Err(Fault::plain(500, "internal", "the echo endpoint holds no objects")),
        Shape::Custom(behaviour) => behaviour(call),
    }
}

/// The answer of a change that has nothing else to say.
fn success() -> Value {
    json!({"status": "SUCCESS"})
}

/// Makes an object from the body.
fn create(call: &mut Call<'_>, template: &'static str) -> Result<Map<String, Value>, Fault> {
    call.check_required(template)?;
    if let Some(source) = call.body.get("sourceId")
        && call.operation.name != "createSource"
    {
        let id = source.as_str().unwrap_or_default().to_owned();
        if call.collection("/sources").object(&id).is_none() {
            return Err(Fault::input("sourceId", "must be the id of a source of this workspace"));
        }
    }
    let id = call.ids.fresh();
    let number = call.collection(template).made + 1;
    let body = std::mem::take(&mut call.body);
    let object = call.object(template, &id, body, number);
    let path = call.concrete(template);
    call.workspace.collection(&path).put(&id, object.clone(), call.space)?;
    call.audit("Created", &id);
    Ok(object)
}

/// Replaces fields of the object that the last parameter names by the body's.
fn update(call: &mut Call<'_>, template: &'static str) -> Result<Map<String, Value>, Fault> {
    let id = call.last_param();
    let mut object = call.found(template, &id)?;
    let body = std::mem::take(&mut call.body);
    object.extend(
        body.into_iter().filter(|(key, _)| !matches!(key.as_str(), "id" | "metadata" | "metadataId")),
    );
    if object.contains_key("updatedAt") {
        object.insert("updatedAt".to_owned(), call.now.as_str().into());
    }
    save(call, template, &id, object.clone())?;
    call.audit("Modified", &id);
    Ok(object)
}

/// Removes the object that the last parameter names, and what belongs to it.
fn delete(call: &mut Call<'_>, template: &'static str) -> Result<(), Fault> {
    let id = call.last_param();
    call.found(template, &id)?;
    let path = call.concrete(template);
    call.workspace.collection(&path).remove(&id, call.space);
    call.workspace.forget_below(&format!("{path}/{id}"), call.space);
    call.audit("Deleted", &id);
    Ok(())
}

/// Puts an object back.
fn save(call: &mut Call<'_>, template: &str, id: &str, object: Map<String, Value>) -> Result<(), Fault> {
    let path = call.concrete(template);
    call.workspace.collection(&path).put(id, object, call.space)
}

/// The texts of an array field of the body, or 422.
fn texts(call: &Call<'_>, field: &str) -> Result<Vec<String>, Fault> {
    array(call, field)?
        .into_iter()
        .map(|value| match value {
            Value::String(text) if !text.is_empty() => Ok(text),
            _ => Err(Fault::input(field, "must be an array of non-empty strings")),
        })
        .collect()
}

/// An array field of the body, or 422.
fn array(call: &Call<'_>, field: &str) -> Result<Vec<Value>, Fault> {
    match call.body.get(field) {
        Some(Value::Array(values)) => Ok(values.clone()),
        Some(_) => Err(Fault::input(field, "must be an array")),
        None => Err(Fault::input(field, "is required")),
    }
}

/// The texts of an array in the query, or 422 when there are none.
fn query_texts(call: &Call<'_>, name: &str) -> Result<Vec<String>, Fault> {
    let texts = call.query.texts(name);
    if texts.is_empty() { Err(Fault::input(name, "is required")) } else { Ok(texts) }
}

/// The label of a template's objects, for messages.
fn label(template: &str) -> &'static str {
    &kind(template).label
}
