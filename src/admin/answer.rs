//! Which answer a request of the operator gets. Synchronous, without a socket.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::json;

use super::{Checked, Operator, explain, host};
use crate::telemetry::Telemetry;

const PAGE: &str = include_str!("page.html");

/// Answers the operator's requests.
pub struct Admin {
    operator: Arc<dyn Operator>,
    host_names: Vec<String>,
    page_policy: HeaderValue,
}

impl Admin {
    /// An answerer that shows what `operator` says.
    pub fn new(settings: &Checked, operator: Arc<dyn Operator>) -> Self {
        Self { operator, host_names: settings.host_names.clone(), page_policy: page_policy() }
    }

    /// Answers one request. Bodies of requests are never read.
    pub fn answer<B>(&self, request: &Request<B>) -> Response<Bytes> {
        let mut response = self.respond(request);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
        headers
            .entry(header::CONTENT_SECURITY_POLICY)
            .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
        response
    }

    /// Passes the second on.
    pub fn each_second(&self) {
        self.operator.each_second();
    }

    fn respond<B>(&self, request: &Request<B>) -> Response<Bytes> {
        let hosts = request.headers().get_all(header::HOST).iter().map(HeaderValue::as_bytes);
        if !host::is_expected(hosts, &self.host_names) {
            return fault(
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected",
                "The Host header names neither an IP address nor localhost nor one of `admin.host_names`.",
            );
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let message = "The operator's listener only answers GET and HEAD.";
            let mut response = fault(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", message);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/" => self.page(),
            "/metrics" => body(StatusCode::OK, Telemetry::METRICS_CONTENT_TYPE, self.operator.metrics()),
            "/livez" => document(StatusCode::OK, &json!({"status": "alive"})),
            "/readyz" => self.readiness(),
            "/status.json" => document(StatusCode::OK, &self.operator.status()),
            "/explain.json" => self.explanation(request),
            _ => fault(
                StatusCode::NOT_FOUND,
                "not-found",
                "There are /, /status.json, /explain.json, /metrics, /livez and /readyz here.",
            ),
        }
    }

    fn explanation<B>(&self, request: &Request<B>) -> Response<Bytes> {
        let asked = explain::question(request);
        let explained =
            asked.and_then(|question| self.operator.explain(&question).map_err(|error| error.to_string()));
        match explained {
            Ok(explanation) => document(StatusCode::OK, &explanation),
            Err(why) => fault(StatusCode::BAD_REQUEST, "bad-request", &why),
        }
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
        let mut response = body(StatusCode::OK, "text/html; charset=utf-8", PAGE);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, self.page_policy.clone());
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
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

fn document(status: StatusCode, document: &impl serde::Serialize) -> Response<Bytes> {
    match serde_json::to_vec(document) {
        Ok(text) => body(status, "application/json", text),
        Err(error) => {
            tracing::error!(%error, "an answer of the operator's listener could not be written as JSON");
            body(StatusCode::INTERNAL_SERVER_ERROR, "application/json", "{}")
        }
    }
}

fn fault(status: StatusCode, kind: &str, message: &str) -> Response<Bytes> {
    let error = json!({"type": kind, "message": message, "status": status.as_u16()});
    document(status, &json!({"errors": [error]}))
}

fn body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
