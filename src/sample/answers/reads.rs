//! Reads that are no plain list and no plain object.

#![expect(clippy::unnecessary_wraps, reason = "every behaviour has the table's one signature")]

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::fault::Fault;

/// `GET /`
pub(in crate::sample) fn workspace(call: &mut Call<'_>) -> Result<Value, Fault> {
    Ok(json!({"workspace": {"id": call.name, "slug": call.name.to_lowercase(), "name": call.name}}))
}

/// `GET /credentials/{credentialId}/consumers`, two lists that are paged each by itself.
pub(in crate::sample) fn credential_consumers(call: &mut Call<'_>) -> Result<Value, Fault> {
    let id = call.param("credentialId");
    let users = |values: Vec<Value>| -> Vec<Value> {
        values.into_iter().filter(|value| value["settings"]["credentialId"] == id.as_str()).collect()
    };
    let warehouses = users(call.collection("/warehouses").values());
    let sources = users(call.collection("/sources").values());
    let (warehouses, warehouses_pagination) = call.query.page("warehousesPagination")?.cut(warehouses);
    let (sources, sources_pagination) = call.query.page("sourcesPagination")?.cut(sources);
    Ok(json!({
        "warehouses": warehouses, "warehousesPagination": warehouses_pagination,
        "sources": sources, "sourcesPagination": sources_pagination,
    }))
}

/// `POST /destination/filters/preview`: the payload passes the sample's filters unchanged.
pub(in crate::sample) fn filter_preview(call: &mut Call<'_>) -> Result<Value, Fault> {
    match call.body.get("payload") {
        Some(payload @ Value::Object(_)) => Ok(json!({"inputPayload": payload, "result": payload})),
        Some(_) => Err(Fault::input("payload", "must be an object")),
        None => Err(Fault::input("payload", "is required")),
    }
}

/// `GET /destinations/{destinationId}/delivery-metrics`: the path names the instance, the answer the
/// catalogue's entry, which several instances share.
pub(in crate::sample) fn delivery_metrics(call: &mut Call<'_>) -> Result<Value, Fault> {
    let source = call.query.first("sourceId").map(str::to_owned);
    let source = source.ok_or_else(|| Fault::input("sourceId", "is required"))?;
    let destination = call.found("/destinations", &call.param("destinationId"))?;
    let metadata = destination.get("metadata").map_or(Value::Null, |metadata| metadata["id"].clone());
    Ok(json!({"deliveryMetricsSummary": {
        "sourceId": source,
        "destinationMetadataId": metadata,
        "metrics": [
            {"metricName": "successes", "total": 97},
            {"metricName": "discarded", "total": 3, "breakdown": [{"metricName": "messages", "value": 3}]},
        ],
    }}))
}

/// `GET /regulations/sources/{sourceId}`
pub(in crate::sample) fn regulations_of_source(call: &mut Call<'_>) -> Result<Value, Fault> {
    let id = call.param("sourceId");
    let mut regulations = call.collection("/regulations").values();
    regulations.retain(|regulation| regulation["sourceId"] == id.as_str());
    call.page("regulations", regulations)
}

/// `GET /sources/{sourceId}/live-plugins/latest`
pub(in crate::sample) fn live_plugin(call: &mut Call<'_>) -> Result<Value, Fault> {
    let path = format!("/sources/{}/live-plugin", call.param("sourceId"));
    match call.workspace.collection(&path).object("latest") {
        Some(plugin) => Ok(json!({"livePlugin": plugin})),
        None => Err(Fault::plain(404, "not-found", "This source has no live plugin.")),
    }
}

/// `GET /spaces/{spaceId}/audiences/{id}/audience-references`: no sample audience uses another.
pub(in crate::sample) fn audience_consumers(call: &mut Call<'_>) -> Result<Value, Fault> {
    call.page("audiences", Vec::new())
}

/// `GET .../profiles-warehouses/{warehouseId}/selective-syncs`
pub(in crate::sample) fn space_selective_syncs(call: &mut Call<'_>) -> Result<Value, Fault> {
    let items = call.collection(call.operation.collection()).values();
    let mut data = call.page("items", items)?;
    data["enableEventTables"] = true.into();
    Ok(data)
}

/// `GET /warehouses/{warehouseId}/advanced-sync-schedule`
pub(in crate::sample) fn sync_schedule(call: &mut Call<'_>) -> Result<Value, Fault> {
    let path = format!("/warehouses/{}/sync-schedule", call.param("warehouseId"));
    let schedule = call.workspace.collection(&path).object("schedule").cloned();
    Ok(schedule.map_or_else(
        || json!({"enabled": false, "schedule": {"times": [], "timezone": "UTC"}}),
        Value::Object,
    ))
}
