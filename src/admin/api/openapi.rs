//! `/openapi.json`: an OpenAPI 3.1 description made of the resources and the types that serve them.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::route::Route;

/// What every resource can be refused with.
const ALWAYS: [u16; 6] = [400, 401, 403, 421, 500, 503];
/// What a resource with a body can be refused with.
const WITH_BODY: [u16; 4] = [408, 413, 415, 422];

/// The description of these resources.
pub(super) fn description(routes: impl Iterator<Item = &'static Route>) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut requests = settings.clone().into_generator();
    let mut answers = settings.for_serialize().into_generator();
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut requests, &mut answers);
    }
    let mut schemas = requests.take_definitions(true);
    schemas.extend(answers.take_definitions(true));
    schemas.insert("Errors".to_owned(), errors());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "tollgate admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Workspaces, tokens, limits, revocations and the audit trail, for operators. \
                            `tollgate operator create NAME` makes a credential.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"operator": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"operator": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
        },
    })
}

fn operation(route: &Route, requests: &mut SchemaGenerator, answers: &mut SchemaGenerator) -> Value {
    let in_path = route.parameters().map(|name| {
        json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}})
    });
    let mut parameters: Vec<Value> = in_path.collect();
    for parameter in route.query {
        let schema = (parameter.schema)(requests);
        let (name, about) = (parameter.name, parameter.about);
        parameters.push(json!({"name": name, "in": "query", "description": about, "schema": schema}));
    }
    if route.takes_key() {
        let about = "A repeated request with the same key makes its change once, for 24 hours.";
        let schema = json!({"type": "string", "pattern": "^[!#-\\[\\]-~]{1,255}$"});
        let field =
            json!({"name": "Idempotency-Key", "in": "header", "description": about, "schema": schema});
        parameters.push(field);
    }
    let data = (route.answer)(answers);
    let data = json!({"type": "object", "required": ["data"], "properties": {"data": data}});
    let mut responses = Map::new();
    responses.insert(route.status.to_string(), response("Done.", &data));
    for status in refusals(route) {
        let phrase = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let errors = json!({"$ref": "#/components/schemas/Errors"});
        responses.insert(status.to_string(), response(phrase.unwrap_or("Refused."), &errors));
    }
    let mut operation = json!({
        "operationId": route.operation,
        "summary": route.about,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(body) = route.body {
        let schema = body(requests);
        operation["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    operation
}

/// The statuses of a resource's refusals, each once.
fn refusals(route: &Route) -> Vec<u16> {
    let mut all = ALWAYS.to_vec();
    all.extend(route.refusals);
    // What has parameters of a query, a key or no body can be refused for these.
    all.push(422);
    if route.body.is_some() {
        all.extend(WITH_BODY);
    }
    if route.takes_key() {
        all.push(409);
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn response(about: &str, schema: &Value) -> Value {
    json!({"description": about, "content": {"application/json": {"schema": schema}}})
}

/// The envelope of refusals.
fn errors() -> Value {
    json!({
        "type": "object",
        "required": ["errors"],
        "properties": {"errors": {"type": "array", "minItems": 1, "items": {
            "type": "object",
            "required": ["type", "message", "status"],
            "properties": {
                "type": {"type": "string"},
                "message": {"type": "string"},
                "status": {"type": "integer"},
                "field": {"type": "string"},
                "data": {"type": "object"},
            },
        }}},
    })
}
