//! `[replies]`: what the gateway's own answers say beyond the outcome.

use std::time::Duration;

use super::Dialect;
use crate::domain::Problems;

/// The `[replies]` table.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where callers find the API's documentation; an http or https URL, named in the answer to a browser's
    /// preflight and to an unknown path. Empty (the default): no link.
    pub documentation_url: String,
    /// A page that explains the outcomes, with one `#reason` anchor for each; the `type` of a problem body is
    /// this and the anchor. Empty (the default): `about:blank` (RFC 9457, section 4.2.1).
    pub outcomes_url: String,
    /// The protection space in `WWW-Authenticate`. Default: `tollgate`.
    pub realm: String,
    /// The shape of an error for a caller whose `Accept` names no JSON type: `envelope` (the default) or
    /// `problem`.
    pub default_dialect: Dialect,
    /// `Retry-After` of a 503 that knows no better, in seconds. Default: 2.
    pub retry_after_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            documentation_url: String::new(),
            outcomes_url: String::new(),
            realm: "tollgate".to_owned(),
            default_dialect: Dialect::Envelope,
            retry_after_seconds: 2,
        }
    }
}

/// `[replies]` without mistakes.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(super) documentation_url: String,
    pub(super) outcomes_url: String,
    pub(super) realm: String,
    pub(super) default_dialect: Dialect,
    pub(super) retry_after: Duration,
}

/// Checks `[replies]`; every mistake goes to `problems`, and then there is no result.
pub fn from_settings(settings: &Settings, problems: &mut Problems) -> Option<Checked> {
    let before = problems.0.len();
    for (key, url) in
        [("documentation_url", &settings.documentation_url), ("outcomes_url", &settings.outcomes_url)]
    {
        if !url.is_empty() && !is_web_address(url) {
            problems.add(
                format!("replies.{key}"),
                "url_invalid",
                format!("`{url}` is not a web address"),
                "write an address that begins with https:// or http://, without spaces, or leave it empty",
            );
        }
    }
    let quotable = |byte: u8| (byte == b' ' || byte.is_ascii_graphic()) && byte != b'"' && byte != b'\\';
    if settings.realm.is_empty() || !settings.realm.bytes().all(quotable) {
        problems.add(
            "replies.realm",
            "realm_invalid",
            format!("`{}` cannot stand in WWW-Authenticate", settings.realm.escape_debug()),
            "write printable ASCII without quotation marks and backslashes, for example `tollgate`",
        );
    }
    if !(1..=3_600).contains(&settings.retry_after_seconds) {
        problems.add(
            "replies.retry_after_seconds",
            "seconds_out_of_range",
            format!("{} s is not between 1 and 3600", settings.retry_after_seconds),
            "write a small number such as 2: clients sleep for it blindly",
        );
    }
    (problems.0.len() == before).then(|| Checked {
        documentation_url: settings.documentation_url.clone(),
        outcomes_url: settings.outcomes_url.clone(),
        realm: settings.realm.clone(),
        default_dialect: settings.default_dialect,
        retry_after: Duration::from_secs(u64::from(settings.retry_after_seconds)),
    })
}

fn is_web_address(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("https" | "http")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}
