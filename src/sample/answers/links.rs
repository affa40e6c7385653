//! What is connected to what: sources with destinations, warehouses and tracking plans.

use serde_json::{Map, Value, json};

use super::super::call::Call;
use super::super::fault::Fault;
use super::{label, success};

/// `GET /sources/{sourceId}/connected-destinations`
pub(in crate::sample) fn destinations_of_source(call: &mut Call<'_>) -> Result<Value, Fault> {
    let id = call.param("sourceId");
    let mut destinations = call.collection("/destinations").values();
    destinations.retain(|destination| destination["sourceId"] == id.as_str());
    call.page("destinations", destinations)
}

/// `GET /sources/{sourceId}/connected-warehouses`
pub(in crate::sample) fn warehouses_of_source(call: &mut Call<'_>) -> Result<Value, Fault> {
    let id = call.param("sourceId");
    let mut warehouses = call.collection("/warehouses").values();
    warehouses.retain(|warehouse| {
        let of = linked("/warehouses", warehouse["id"].as_str().unwrap_or_default());
        call.workspace.collection(&of).object(&id).is_some()
    });
    call.page("warehouses", warehouses)
}

/// `GET /warehouses/{warehouseId}/connected-sources`
pub(in crate::sample) fn sources_of_warehouse(call: &mut Call<'_>) -> Result<Value, Fault> {
    sources(call, "/warehouses", "warehouseId")
}

/// `POST /warehouses/{warehouseId}/connected-sources/{sourceId}`
pub(in crate::sample) fn connect_source(call: &mut Call<'_>) -> Result<Value, Fault> {
    let source = call.param("sourceId");
    link(call, "/warehouses", "warehouseId", &source)
}

/// `DELETE /warehouses/{warehouseId}/connected-sources/{sourceId}`
pub(in crate::sample) fn disconnect_source(call: &mut Call<'_>) -> Result<Value, Fault> {
    let source = call.param("sourceId");
    unlink(call, "/warehouses", "warehouseId", &source)
}

/// `GET /tracking-plans/{trackingPlanId}/sources`
pub(in crate::sample) fn sources_of_plan(call: &mut Call<'_>) -> Result<Value, Fault> {
    sources(call, "/tracking-plans", "trackingPlanId")
}

/// `POST /tracking-plans/{trackingPlanId}/sources`
pub(in crate::sample) fn add_source_to_plan(call: &mut Call<'_>) -> Result<Value, Fault> {
    let source = call.text("sourceId")?;
    if call.collection("/sources").object(&source).is_none() {
        return Err(Fault::input("sourceId", "must be the id of a source of this workspace"));
    }
    link(call, "/tracking-plans", "trackingPlanId", &source)
}

/// `DELETE /tracking-plans/{trackingPlanId}/sources?sourceId=`
pub(in crate::sample) fn remove_source_from_plan(call: &mut Call<'_>) -> Result<Value, Fault> {
    let source = call.query.first("sourceId").map(str::to_owned);
    let source = source.ok_or_else(|| Fault::input("sourceId", "is required"))?;
    unlink(call, "/tracking-plans", "trackingPlanId", &source)
}

/// The tracking plan of the source that the path names, or null.
pub(super) fn plan_of_source(call: &mut Call<'_>) -> Value {
    let source = call.param("sourceId");
    let plans: Vec<String> = call.collection("/tracking-plans").ids().map(str::to_owned).collect();
    let has =
        |plan: &String| call.workspace.collection(&linked("/tracking-plans", plan)).object(&source).is_some();
    plans.into_iter().find(has).map_or(Value::Null, Value::String)
}

fn linked(home: &str, id: &str) -> String {
    format!("{home}/{id}/linked-sources")
}

fn sources(call: &mut Call<'_>, home: &str, param: &str) -> Result<Value, Fault> {
    let path = linked(home, &call.param(param));
    let linked: Vec<String> = call.workspace.collection(&path).ids().map(str::to_owned).collect();
    let all = call.collection("/sources");
    let sources = linked.iter().filter_map(|id| all.object(id).cloned().map(Value::Object)).collect();
    call.page("sources", sources)
}

fn link(call: &mut Call<'_>, home: &str, param: &str, source: &str) -> Result<Value, Fault> {
    let path = linked(home, &call.param(param));
    call.workspace.collection(&path).put(source, Map::new(), call.space)?;
    call.audit("Modified", source);
    Ok(success())
}

fn unlink(call: &mut Call<'_>, home: &str, param: &str, source: &str) -> Result<Value, Fault> {
    let path = linked(home, &call.param(param));
    if !call.workspace.collection(&path).remove(source, call.space) {
        return Err(Fault::missing(&format!("{} connection", label("/sources")), source));
    }
    call.audit("Modified", source);
    Ok(json!({"status": "SUCCESS"}))
}
