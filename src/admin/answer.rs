//! Which answer a request of the operator gets, without a socket.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use serde_json::json;

use super::api::{Api, BodyError};
use super::{Checked, Operator, door, explain};
use crate::domain::{Forwarded, Problems};
use crate::reply::{self, Dialect, Refusal, Rendered, Replies};
use crate::telemetry::Telemetry;

const PAGE: &str = include_str!("page.html");

/// The paths that need no credential: probes, the scrape, and a page that holds no data.
const OPEN: [&str; 4] = ["/", "/metrics", "/livez", "/readyz"];

/// Answers the operator's requests.
pub struct Admin {
    operator: Arc<dyn Operator>,
    api: Api,
    replies: Option<Replies>,
    host_names: Vec<String>,
    body_timeout: Duration,
    page_policy: HeaderValue,
}

impl Admin {
    /// An answerer that shows what `operator` says.
    pub fn new(settings: &Checked, operator: Arc<dyn Operator>) -> Self {
        let plain = reply::from_settings(&reply::Settings::default(), &mut Problems::new());
        Self {
            api: Api::new(Arc::clone(&operator)),
            operator,
            replies: plain.map(Replies::new),
            host_names: settings.host_names.clone(),
            body_timeout: settings.header_timeout,
            page_policy: page_policy(),
        }
    }

    /// Answers one request. Of a body only so much is read as the resource takes.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Bytes>
    where
        B: Body<Data = Bytes, Error: Into<BodyError>> + Unpin,
    {
        let (head, body) = request.into_parts();
        let inbound = head.headers.get("x-request-id").map(HeaderValue::as_bytes);
        let request_id = self.operator.request_id(inbound);
        let answered = self.respond(&head, body).await;
        let mut response = answered.unwrap_or_else(|refusal| self.refused(&refusal, &request_id));
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
        if let Ok(id) = HeaderValue::try_from(request_id) {
            headers.insert("x-request-id", id);
        }
        headers
            .entry(header::CONTENT_SECURITY_POLICY)
            .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
        response
    }

    /// Passes the second on.
    pub fn each_second(&self) {
        self.operator.each_second();
    }

    async fn respond<B>(&self, head: &Parts, body: B) -> Result<Response<Bytes>, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BodyError>> + Unpin,
    {
        if !door::is_called_by_name(&head.headers, &self.host_names) {
            return Ok(misdirected());
        }
        let path = head.uri.path();
        if OPEN.contains(&path) {
            return self.page_of(head);
        }
        let operator = door::operator(&head.headers, &*self.operator)?;
        if matches!(path, "/status.json" | "/explain.json" | "/openapi.json") {
            return self.page_of(head);
        }
        self.api.answer(head, body, operator, self.body_timeout).await
    }

    /// What is only read.
    fn page_of(&self, head: &Parts) -> Result<Response<Bytes>, Refusal> {
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(Refusal::MethodNotAllowed { allow: "GET, HEAD".to_owned() });
        }
        Ok(match head.uri.path() {
            "/" => self.page(),
            "/metrics" => text(StatusCode::OK, Telemetry::METRICS_CONTENT_TYPE, self.operator.metrics()),
            "/livez" => document(StatusCode::OK, &json!({"status": "alive"})),
            "/readyz" => self.readiness(),
            "/status.json" => document(StatusCode::OK, &self.operator.status()),
            "/openapi.json" => document(StatusCode::OK, self.api.description()),
            _ => return self.explanation(head),
        })
    }

    fn explanation(&self, head: &Parts) -> Result<Response<Bytes>, Refusal> {
        let asked = explain::question(head);
        let explained =
            asked.and_then(|question| self.operator.explain(&question).map_err(|error| error.to_string()));
        let no_question = |message| Refusal::InputInvalid { field: String::new(), message };
        explained.map(|explanation| document(StatusCode::OK, &explanation)).map_err(no_question)
    }

    fn readiness(&self) -> Response<Bytes> {
        let readiness = self.operator.ready();
        let (status, word) = if readiness.is_ready() {
            (StatusCode::OK, "ready")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
        };
        document(status, &json!({"status": word, "reasons": readiness.reasons, "notes": readiness.notes}))
    }

    fn page(&self) -> Response<Bytes> {
        let mut response = text(StatusCode::OK, "text/html; charset=utf-8", PAGE);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, self.page_policy.clone());
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }

    /// A refusal in the API's own envelope.
    fn refused(&self, refusal: &Refusal, request_id: &str) -> Response<Bytes> {
        let mut rendered = Rendered::default();
        if let Some(replies) = &self.replies {
            replies.render(refusal, Dialect::Envelope, request_id, Forwarded::No, &mut rendered);
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() =
            StatusCode::from_u16(rendered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in rendered.each_field() {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response.headers_mut().remove(header::VARY);
        if rendered.close {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        *response.body_mut() = rendered.body.into_inner().into();
        response
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("host_names", &self.host_names).finish_non_exhaustive()
    }
}

/// Lets the page run its own script and style, known by their hashes, and talk to its own origin (CSP level 3).
fn page_policy() -> HeaderValue {
    let hash = |tag: &str| {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let inside = PAGE
            .split_once(&open)
            .and_then(|(_, rest)| rest.split_once(&close))
            .map_or("", |(inside, _)| inside);
        STANDARD.encode(digest::digest(&digest::SHA256, inside.as_bytes()))
    };
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style"),
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// A document as JSON.
pub(super) fn document(status: StatusCode, document: &impl serde::Serialize) -> Response<Bytes> {
    match serde_json::to_vec(document) {
        Ok(json) => text(status, "application/json", json),
        Err(error) => {
            tracing::error!(%error, "an answer of the operator's listener could not be written as JSON");
            text(StatusCode::INTERNAL_SERVER_ERROR, "application/json", "{}")
        }
    }
}

fn misdirected() -> Response<Bytes> {
    let message = "The Host header names neither an IP address nor localhost nor one of `admin.host_names`.";
    let error = json!({"type": "misdirected", "message": message, "status": 421});
    document(StatusCode::MISDIRECTED_REQUEST, &json!({"errors": [error]}))
}

fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
