//! Changes that are no plain creation, update or end of one object.

#![expect(clippy::unnecessary_wraps, reason = "every behaviour has the table's one signature")]

use serde_json::{Map, Value, json};

use super::super::call::Call;
use super::super::fault::Fault;
use super::{array, create, delete, save, success};

/// `DELETE /filters/{id}`
pub(in crate::sample) fn delete_space_filter(call: &mut Call<'_>) -> Result<Value, Fault> {
    delete(call, "/filters").map(|()| json!({"deleted": true}))
}

/// `POST /functions/{functionId}/versions`: an older version's code as a new version.
pub(in crate::sample) fn restore_version(call: &mut Call<'_>) -> Result<Value, Fault> {
    const VERSIONS: &str = "/functions/{functionId}/versions";
    let wanted = call.text("versionId")?;
    let old = call.found(VERSIONS, &wanted)?;
    call.body = Map::new();
    call.body.extend(old.get("code").map(|code| ("code".to_owned(), code.clone())));
    Ok(json!({"version": create(call, VERSIONS)?}))
}

/// `POST /regulations` and its two relatives for one source.
pub(in crate::sample) fn regulate(call: &mut Call<'_>) -> Result<Value, Fault> {
    call.text("regulationType")?;
    call.text("subjectType")?;
    let subjects = array(call, "subjectIds")?;
    if subjects.len() > 5_000 {
        return Err(Fault::input("subjectIds", "must hold at most 5,000 ids"));
    }
    call.body.insert("subjects".to_owned(), subjects.into());
    if let Some((_, source)) = call.params.first() {
        call.body.insert("sourceId".to_owned(), source.as_str().into());
    }
    let regulation = create(call, "/regulations")?;
    Ok(json!({"regulateId": regulation.get("id")}))
}

/// `POST /sources/{sourceId}/live-plugins/create`
pub(in crate::sample) fn create_live_plugin(call: &mut Call<'_>) -> Result<Value, Fault> {
    let code = call.text("code")?;
    let source = call.param("sourceId");
    let path = format!("/sources/{source}/live-plugin");
    let made = call.workspace.collection(&path).made;
    let plugin = json!({
        "id": call.ids.fresh(), "sourceId": source, "code": code, "version": made + 1,
        "downloadURL": format!("https://plugins.example.com/{source}.js"),
        "createdAt": call.now, "updatedAt": call.now, "createdBy": "use_sample1",
    });
    let object = plugin.as_object().cloned().unwrap_or_default();
    call.workspace.collection(&path).put("latest", object, call.space)?;
    call.audit("Modified", &source);
    Ok(json!({"livePlugin": plugin}))
}

/// `DELETE /sources/{sourceId}/live-plugins/delete-code`
pub(in crate::sample) fn delete_live_plugin(call: &mut Call<'_>) -> Result<Value, Fault> {
    let source = call.param("sourceId");
    let path = format!("/sources/{source}/live-plugin");
    call.workspace.collection(&path).remove("latest", call.space);
    call.audit("Modified", &source);
    Ok(success())
}

/// `POST /sources/{sourceId}/writekey`
pub(in crate::sample) fn create_write_key(call: &mut Call<'_>) -> Result<Value, Fault> {
    let (id, key) = (call.param("sourceId"), call.ids.fresh());
    let mut source = call.found("/sources", &id)?;
    if let Some(Value::Array(keys)) = source.get_mut("writeKeys") {
        keys.push(key.into());
    }
    save(call, "/sources", &id, source.clone())?;
    call.audit("Modified", &id);
    Ok(json!({"source": source}))
}

/// `DELETE /sources/{sourceId}/writekey/{writeKey}`
pub(in crate::sample) fn remove_write_key(call: &mut Call<'_>) -> Result<Value, Fault> {
    let (id, key) = (call.param("sourceId"), call.param("writeKey"));
    let mut source = call.found("/sources", &id)?;
    let removed = match source.get_mut("writeKeys") {
        Some(Value::Array(keys)) => {
            let before = keys.len();
            keys.retain(|other| other != key.as_str());
            keys.len() < before
        }
        _ => false,
    };
    if !removed {
        return Err(Fault::missing("Write key", &key));
    }
    save(call, "/sources", &id, source)?;
    call.audit("Modified", &id);
    Ok(success())
}

/// `POST .../destination-connections/{connectionId}/activations`
pub(in crate::sample) fn add_activation(call: &mut Call<'_>) -> Result<Value, Fault> {
    Ok(json!({"activation": create(call, "/spaces/{spaceId}/audiences/{audienceId}/activations")?}))
}

/// `PUT /warehouses/{warehouseId}/advanced-sync-schedule`
pub(in crate::sample) fn replace_sync_schedule(call: &mut Call<'_>) -> Result<Value, Fault> {
    let enabled = match call.body.get("enabled") {
        Some(Value::Bool(enabled)) => *enabled,
        Some(_) => return Err(Fault::input("enabled", "must be a boolean")),
        None => return Err(Fault::input("enabled", "is required")),
    };
    let schedule = call.body.get("schedule").cloned();
    let data = json!({"enabled": enabled, "schedule": schedule.unwrap_or_else(|| json!({"times": []}))});
    let (id, object) = (call.param("warehouseId"), data.as_object().cloned().unwrap_or_default());
    let path = format!("/warehouses/{id}/sync-schedule");
    call.workspace.collection(&path).put("schedule", object, call.space)?;
    call.audit("Modified", &id);
    Ok(data)
}
