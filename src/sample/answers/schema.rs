//! Schema settings of sources and rules of tracking plans.

#![expect(clippy::unnecessary_wraps, reason = "every behaviour has the table's one signature")]

use serde_json::{Map, Value, json};

use super::super::call::Call;
use super::super::fault::Fault;
use super::{array, success};

const RULES: &str = "/tracking-plans/{trackingPlanId}/rules";
/// Fields that name another source; left out of an update, they are disabled.
const FORWARDING: [&str; 2] = ["forwardingViolationsTo", "forwardingBlockedEventsTo"];

/// `GET /sources/{sourceId}/settings`
pub(in crate::sample) fn settings(call: &mut Call<'_>) -> Result<Value, Fault> {
    let settings = current(call);
    Ok(json!({"sourceId": call.param("sourceId"), "settings": settings}))
}

/// `PATCH /sources/{sourceId}/settings`: a forwarding field must name a source of the workspace.
pub(in crate::sample) fn update_settings(call: &mut Call<'_>) -> Result<Value, Fault> {
    let mut settings = current(call);
    for field in FORWARDING {
        settings.remove(field);
        let Some(target) = call.body.get(field).cloned() else { continue };
        let Some(id) = target.as_str() else {
            return Err(Fault::input(field, "must be a source id; leave it out to disable the forwarding"));
        };
        if call.collection("/sources").object(id).is_none() {
            return Err(Fault::input(field, &format!("names no source: '{id}' not found")));
        }
        settings.insert(field.to_owned(), target);
    }
    for group in ["track", "identify", "group"] {
        match call.body.get(group) {
            None => {}
            Some(Value::Object(changes)) => {
                if let Some(Value::Object(old)) = settings.get_mut(group) {
                    old.extend(changes.clone());
                }
            }
            Some(_) => return Err(Fault::input(group, "must be an object")),
        }
    }
    let source = call.param("sourceId");
    let path = settings_path(call);
    call.workspace.collection(&path).put("settings", settings.clone(), call.space)?;
    call.audit("Schema Settings Modified", &source);
    Ok(json!({"sourceId": source, "settings": settings}))
}

/// `PATCH /tracking-plans/{trackingPlanId}/rules`
pub(in crate::sample) fn update_rules(call: &mut Call<'_>) -> Result<Value, Fault> {
    let rules = array(call, "rules")?;
    put_rules(call, rules)
}

/// `PUT /tracking-plans/{trackingPlanId}/rules`
pub(in crate::sample) fn replace_rules(call: &mut Call<'_>) -> Result<Value, Fault> {
    let rules = array(call, "rules")?;
    let path = call.concrete(RULES);
    call.workspace.collection(&path).shorten(0, call.space);
    put_rules(call, rules)
}

/// `DELETE /tracking-plans/{trackingPlanId}/rules?rules=`
pub(in crate::sample) fn remove_rules(call: &mut Call<'_>) -> Result<Value, Fault> {
    let rules = match call.query.tree("rules") {
        Some(Value::Array(rules)) => rules,
        Some(rule @ Value::Object(_)) => vec![rule],
        Some(_) | None => return Err(Fault::input("rules", "is required")),
    };
    let path = call.concrete(RULES);
    for rule in &rules {
        if !call.workspace.collection(&path).remove(&identity(rule)?, call.space) {
            return Err(Fault::missing("Rule", &identity(rule)?));
        }
    }
    call.audit("Modified", &call.param("trackingPlanId"));
    Ok(success())
}

fn put_rules(call: &mut Call<'_>, rules: Vec<Value>) -> Result<Value, Fault> {
    let path = call.concrete(RULES);
    for rule in rules {
        let id = identity(&rule)?;
        let number = call.collection(RULES).made + 1;
        let mut object = call.object(RULES, &id, rule.as_object().cloned().unwrap_or_default(), number);
        object.remove("id");
        call.workspace.collection(&path).put(&id, object, call.space)?;
    }
    call.audit("Modified", &call.param("trackingPlanId"));
    Ok(success())
}

/// A rule is known by type, key and version; numbers come as text in a query.
fn identity(rule: &Value) -> Result<String, Fault> {
    let Some(kind) = rule["type"].as_str() else {
        return Err(Fault::input("rules.type", "is required"));
    };
    let version = rule["version"].as_str().map_or_else(|| rule["version"].to_string(), str::to_owned);
    Ok(format!("{kind}|{}|{version}", rule["key"].as_str().unwrap_or_default()))
}

fn settings_path(call: &Call<'_>) -> String {
    format!("/sources/{}/schema-settings", call.param("sourceId"))
}

fn current(call: &mut Call<'_>) -> Map<String, Value> {
    let path = settings_path(call);
    let stored = call.workspace.collection(&path).object("settings").cloned();
    stored.unwrap_or_else(|| {
        let traits = json!({
            "allowUnplannedTraits": true, "allowTraitsOnViolations": true, "commonEventOnViolations": "ALLOW",
        });
        let first = json!({
            "track": {
                "allowUnplannedEvents": true, "allowUnplannedEventProperties": true,
                "allowEventOnViolations": true, "allowPropertiesOnViolations": true,
                "commonEventOnViolations": "ALLOW",
            },
            "identify": traits,
            "group": traits,
        });
        first.as_object().cloned().unwrap_or_default()
    })
}
