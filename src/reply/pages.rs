//! The gateway's own two pages: who the caller is, and what it has left.

use std::sync::Arc;

use serde::Serialize;

use super::Rendered;
use crate::domain::{Plan, Role, Window};

/// What `GET /tollgate/v1/whoami` tells a caller of itself.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI<'p> {
    /// Its workspace.
    pub workspace_id: &'p str,
    /// The credential's public name; never the credential.
    pub token_id: &'p str,
    /// Its home region.
    pub region: &'p str,
    /// Where that region is served.
    pub base_url: &'p str,
    /// The workspace's plan.
    pub plan: Plan,
    /// The credential's role.
    pub role: Role,
    /// The credential's scopes.
    #[serde(serialize_with = "texts")]
    pub scopes: &'p [Arc<str>],
    /// The workspace's features.
    #[serde(serialize_with = "texts")]
    pub features: &'p [Arc<str>],
    /// When the credential ends, RFC 3339 in UTC; [`None`] if it does not.
    #[serde(serialize_with = "moment")]
    #[serde(rename = "expiresAt")]
    pub expires_at_unix_seconds: Option<u64>,
}

/// One limit in `GET /tollgate/v1/limits`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitView<'p> {
    /// The policy's name.
    pub policy: &'p str,
    /// What it counts by: `token`, `workspace`, `token, endpoint`, …
    pub per: &'p str,
    /// Requests in one window.
    pub quota: u64,
    /// Length of the window, in seconds.
    pub window_seconds: u64,
    /// How the window runs: `rolling`, or `calendar`.
    pub window: Window,
    /// Requests that may come at once.
    pub burst: u64,
    /// Requests that would be admitted at this instant.
    pub remaining: u64,
    /// When nothing of it is used any more, RFC 3339 in UTC.
    #[serde(serialize_with = "moment")]
    #[serde(rename = "resetsAt")]
    pub resets_at_unix_seconds: Option<u64>,
}

/// Writes the answer to `GET /tollgate/v1/whoami`.
pub fn whoami_page(who: &WhoAmI<'_>, request_id: &str, out: &mut Rendered) {
    own_page(200, who, request_id, out);
}

/// Writes the answer to `GET /tollgate/v1/limits`.
pub fn limits_page(limits: &[LimitView<'_>], request_id: &str, out: &mut Rendered) {
    #[derive(Serialize)]
    struct Limits<'p> {
        limits: &'p [LimitView<'p>],
    }
    own_page(200, &Limits { limits }, request_id, out);
}

/// Writes an answer whose body is JSON already.
pub fn json_page(body: Vec<u8>, request_id: &str, out: &mut Rendered) {
    out.start(200, "application/json", request_id);
    out.body = body.into();
}

/// Writes the answer of one of our own resources: `{"data": …}`.
pub fn own_page(status: u16, data: &impl Serialize, request_id: &str, out: &mut Rendered) {
    out.start(status, "application/json", request_id);
    out.body.extend_from_slice(b"{\"data\":");
    let start = out.body.len();
    if serde_json::to_writer(&mut *out.body, data).is_err() {
        out.body.truncate(start);
        out.body.extend_from_slice(b"{}");
    }
    out.body.push(b'}');
}

fn texts<S: serde::Serializer>(texts: &[Arc<str>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(texts.iter().map(|text| &**text))
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn moment<S: serde::Serializer>(unix_seconds: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match unix_seconds.and_then(rfc3339) {
        Some(text) => serializer.serialize_some(&text),
        None => serializer.serialize_none(),
    }
}

fn rfc3339(unix_seconds: u64) -> Option<String> {
    let moment = jiff::Timestamp::from_second(i64::try_from(unix_seconds).ok()?).ok()?;
    Some(moment.to_string())
}
