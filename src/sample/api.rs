//! The sample API: a regional workspace API in memory.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::answers;
use super::call::{Call, Params};
use super::fault::Fault;
use super::http::{self, Answer, Malformed, Request, Service};
use super::operations::{OPERATIONS, Operation, Shape};
use super::query::Query;
use super::raw;
use super::store::Store;
use crate::clock::Clock;

/// The field by which the gateway names the caller's workspace.
const WORKSPACE_FIELD: &str = "x-tollgate-workspace";
/// Whose objects a request without that field sees.
const DEFAULT_WORKSPACE: &str = "default";

/// One region's sample API.
#[derive(Debug)]
pub struct SampleApi {
    region: String,
    clock: Clock,
    store: Mutex<Store>,
}

impl SampleApi {
    /// An API with nothing in it; every workspace gets its first objects when it is first asked for.
    pub fn new(region: &str, clock: Clock) -> Self {
        let mut seed = [0; 8];
        // Without randomness the ids of two servers may be alike; those of one never are.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        Self { region: region.to_owned(), clock, store: Mutex::new(Store::new(u64::from_le_bytes(seed))) }
    }

    /// Serves `region`'s API on `listener` until `shutdown` completes. Several can share a runtime.
    pub async fn serve(listener: TcpListener, region: &str, shutdown: impl Future<Output = ()> + Send) {
        http::serve(listener, Arc::new(Self::new(region, Clock::system())), shutdown).await;
    }

    async fn respond(&self, request: &Request) -> Result<Answer, Fault> {
        let query = Query::parse(request.query());
        if raw::is_raw(request.path()) {
            return raw::answer(request, &query).await;
        }
        let (operation, params) = find(&request.method, request.path())?;
        if matches!(operation.shape, Shape::Echo) {
            return echo(request, &query).await;
        }
        let name = request.field(WORKSPACE_FIELD).unwrap_or(DEFAULT_WORKSPACE);
        let body = body(request)?;
        let millis = i64::try_from(self.clock.now().unix_millis).unwrap_or_default();
        let now = jiff::Timestamp::from_millisecond(millis).map(|now| now.to_string()).unwrap_or_default();
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let (workspace, ids, space) = store.workspace(name)?;
        let mut call = Call { operation, params, query, body, name, workspace, ids, space, now };
        let data = answers::run(&mut call)?;
        Ok(Answer::json(operation.status, &json!({"data": data})))
    }
}

impl Service for SampleApi {
    async fn answer(&self, request: Request) -> Answer {
        let answer = self.respond(&request).await;
        answer.unwrap_or_else(|fault| fault.answer()).with("x-sample-region", self.region.as_str())
    }

    fn refuse(&self, malformed: Malformed) -> Answer {
        Fault::from(malformed).answer().with("x-sample-region", self.region.as_str())
    }
}

/// The operation of a method and a path; of several templates the one with more literal segments.
fn find(method: &str, path: &str) -> Result<(&'static Operation, Params), Fault> {
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let mut candidates: Vec<_> =
        OPERATIONS.iter().filter_map(|operation| Some((operation, operation.matches(&segments)?))).collect();
    candidates.sort_by_key(|(_, params)| params.len());
    let Some(fewest) = candidates.first().map(|(_, params)| params.len()) else {
        let message = format!("The sample API has nothing at '{path}'.");
        return Err(Fault::plain(404, "not-found", message));
    };
    let wanted = if method == "HEAD" { "GET" } else { method };
    if let Some(place) = candidates.iter().position(|(operation, _)| operation.method.name() == wanted) {
        return Ok(candidates.swap_remove(place));
    }
    let same = candidates.iter().filter(|(_, params)| params.len() == fewest);
    let allowed: Vec<&str> = same.map(|(operation, _)| operation.method.name()).collect();
    let message = format!("'{path}' is served to {} only.", allowed.join(", "));
    Err(Fault::plain(405, "method-not-allowed", message))
}

fn body(request: &Request) -> Result<Map<String, Value>, Fault> {
    if request.body.is_empty() || matches!(request.method.as_str(), "GET" | "HEAD") {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Fault::plain(422, "input-validation", "the body must be a JSON object")),
        Err(error) => Err(Fault::plain(422, "input-validation", format!("the body is no JSON: {error}"))),
    }
}

/// `GET /echo`: what arrived, or an error, or late, as the query says.
async fn echo(request: &Request, query: &Query) -> Result<Answer, Fault> {
    let asked = |name: &str| query.first(name).is_some_and(|value| !matches!(value, "" | "0" | "false"));
    raw::delay(query, "delay").await?;
    let message = query.first("message").unwrap_or_default();
    if asked("triggerUnexpectedError") {
        return Err(Fault::plain(
            500,
            "internal",
            "An unexpected error, as triggerUnexpectedError asked for.",
        ));
    }
    let fault = |status, message: String| {
        let kind = match status {
            401 => "unauthorized",
            403 => "forbidden",
            404 => "not-found",
            422 => "input-validation",
            429 => "RequestError",
            500.. => "internal",
            _ => "bad-request",
        };
        Fault::plain(status, kind, message)
    };
    let status = raw::status(query, "statusCode", 0)?;
    let failed = if status >= 400 { status } else { 400 };
    if asked("triggerMultipleErrors") {
        let errors =
            ["first", "second"].map(|which| fault(failed, format!("The {which} error: {message}")).value());
        return Ok(Answer::json(failed, &json!({"errors": errors})));
    }
    if asked("triggerError") || status >= 400 {
        return Err(fault(failed, format!("An error, as asked for: {message}")));
    }
    let mut headers = Map::new();
    for (name, value) in &request.fields {
        headers.insert(name.to_lowercase(), value.as_str().into());
    }
    let data = json!({"method": request.method.to_lowercase(), "message": message, "headers": headers});
    Ok(Answer::json(status.max(200), &json!({"data": data})))
}

#[cfg(test)]
mod tests;
