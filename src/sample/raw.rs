//! `ANY /sample/raw/{rest}`: the request exactly as it arrived, and every way to go wrong on demand.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::fault::Fault;
use super::http::{Answer, Break, Content, Request};
use super::query::Query;

/// Longest `delay_ms` and `delay`.
const LONGEST_DELAY_MILLIS: u64 = 300_000;
/// Largest `bytes`.
const MOST_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// Whether a path is this endpoint's.
pub(super) fn is_raw(path: &str) -> bool {
    path == "/sample/raw" || path.starts_with("/sample/raw/")
}

/// Answers with the request, or as its query asks: `delay_ms` waits first, `status` is answered instead of 200,
/// `bytes` (with `chunked=1`: without a length) answers so many bytes, `drop=headers|body` breaks off,
/// `header=Name:value` and `trailer=Name:value` (repeatable) are added.
pub(super) async fn answer(request: &Request, query: &Query) -> Result<Answer, Fault> {
    let mut answer = Answer::json(status(query, "status", 200)?, &description(request));
    if let Some(bytes) = number(query, "bytes", MOST_BYTES)? {
        let chunked = query.first("chunked").is_some_and(|value| value != "0");
        answer.content = Content::Filler { bytes, chunked };
        answer.fields = vec![("content-type".to_owned(), "application/octet-stream".to_owned())];
    }
    answer.breaks = match query.first("drop") {
        None => Break::Never,
        Some("headers") => Break::BeforeHead,
        Some("body") => Break::InContent,
        Some(_) => return Err(Fault::input("drop", "must be headers or body")),
    };
    for line in query.all("header") {
        answer.fields.push(field(line).ok_or_else(|| Fault::input("header", "must be Name:value"))?);
    }
    for line in query.all("trailer") {
        answer.trailers.push(field(line).ok_or_else(|| Fault::input("trailer", "must be Name:value"))?);
    }
    delay(query, "delay_ms").await?;
    Ok(answer)
}

/// Waits as long as a query parameter says, in milliseconds.
pub(super) async fn delay(query: &Query, name: &str) -> Result<(), Fault> {
    if let Some(millis) = number(query, name, LONGEST_DELAY_MILLIS)? {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    Ok(())
}

/// A status from the query.
pub(super) fn status(query: &Query, name: &str, default: u16) -> Result<u16, Fault> {
    match number(query, name, 599)? {
        None => Ok(default),
        Some(status) if status >= 200 => Ok(u16::try_from(status).unwrap_or(default)),
        Some(_) => Err(Fault::input(name, "must be between 200 and 599")),
    }
}

fn number(query: &Query, name: &str, most: u64) -> Result<Option<u64>, Fault> {
    match query.first(name).map(str::parse) {
        None => Ok(None),
        Some(Ok(number)) if number <= most => Ok(Some(number)),
        Some(_) => Err(Fault::input(name, &format!("must be a whole number up to {most}"))),
    }
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    http::HeaderName::try_from(name).ok()?;
    http::HeaderValue::try_from(value).ok()?;
    Some((name.to_owned(), value.trim().to_owned()))
}

fn description(request: &Request) -> Value {
    let mut value = json!({
        "method": request.method,
        "target": request.target,
        "version": request.version,
        "headers": request.fields,
    });
    match std::str::from_utf8(&request.body) {
        Ok(text) => value["body"] = text.into(),
        Err(_) => value["body_base64"] = STANDARD.encode(&request.body).into(),
    }
    if !request.trailers.is_empty() {
        value["trailers"] = json!(request.trailers);
    }
    value
}
