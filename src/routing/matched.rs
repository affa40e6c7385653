//! What a search of the table answers.

use std::time::{Duration, UNIX_EPOCH};

use super::{Allow, Params};
use crate::domain::{ApiVersion, Endpoint, Outcome};

/// What a request is for. Nothing is said of it to anybody who is not identified.
#[derive(Clone, Debug)]
pub enum Match<'t> {
    /// One endpoint.
    Matched(Matched<'t>),
    /// No endpoint, or not as the endpoint can be asked.
    Unmatched(Unmatched<'t>),
}

/// A request for one endpoint.
#[derive(Clone, Debug)]
pub struct Matched<'t> {
    /// The endpoint.
    pub endpoint: &'t Endpoint,
    /// The version that was asked for, or the endpoint's most stable; [`None`] if it has no versions.
    pub version: Option<ApiVersion>,
    /// Where the path's parameters stand.
    pub params: Params<'t>,
    /// Set if that version is going away.
    pub deprecation: Option<&'t Deprecation>,
}

/// A request for no endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Unmatched<'t> {
    /// Why.
    pub reason: UnmatchedReason<'t>,
    pub(super) forwards: bool,
}

/// Why a request is for no endpoint. The text is meant for its caller, once identified.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum UnmatchedReason<'t> {
    /// No template has the path.
    #[error("there is no such endpoint; check the path")]
    UnknownPath,
    /// A lenient server would take the path for this endpoint's, whose rules would then not have been applied.
    #[error("there is no such endpoint; write the path as `{}`: in this case, without a final `/` or `;`, parameters of at most 255 characters", .0.template)]
    Misspelled(&'t Endpoint),
    /// The path is known, the method is not one of its own.
    #[error("the path has no such method; it has {0}")]
    UnknownMethod(Allow),
    /// Not a method that the gateway knows at all.
    #[error("the gateway does not implement this method; use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS")]
    MethodNotImplemented,
    /// `%2F`, or `%25` before two hex digits, where it can be read as another path.
    #[error(
        "the path holds `%2F` or `%25` where it can be read in two ways; escape a slash once, and only inside a parameter of a known path"
    )]
    EscapedSlash,
    /// `Accept` names only versions that the endpoint lacks.
    #[error("`Accept` names no version of {}; on offer are {choices}", .endpoint.operation)]
    VersionUnsupported {
        /// The endpoint.
        endpoint: &'t Endpoint,
        /// The media types on offer, separated by commas.
        choices: &'t str,
    },
    /// `Content-Type` names a version that the endpoint lacks.
    #[error("`Content-Type` names no version of {}; send one of {choices}", .endpoint.operation)]
    MediaTypeUnsupported {
        /// The endpoint.
        endpoint: &'t Endpoint,
        /// The media types on offer, separated by commas.
        choices: &'t str,
    },
}

impl Unmatched<'_> {
    /// How an identified caller is refused; [`None`] if the request is forwarded by the rules that hold for
    /// everything.
    pub const fn outcome(&self) -> Option<Outcome> {
        if self.forwards {
            return None;
        }
        Some(match self.reason {
            UnmatchedReason::UnknownPath | UnmatchedReason::Misspelled(_) => Outcome::NotFound,
            UnmatchedReason::UnknownMethod(_) => Outcome::MethodNotAllowed,
            UnmatchedReason::MethodNotImplemented => Outcome::NotImplemented,
            UnmatchedReason::EscapedSlash => Outcome::AmbiguousPath,
            UnmatchedReason::VersionUnsupported { .. } => Outcome::VersionUnsupported,
            UnmatchedReason::MediaTypeUnsupported { .. } => Outcome::MediaTypeUnsupported,
        })
    }
}

/// When a version became deprecated and when it ends, as field values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deprecation {
    /// The value of `Deprecation` (RFC 9745), for example `@1688169599`.
    pub since: Box<str>,
    /// The value of `Sunset` (RFC 8594), an HTTP date.
    pub sunset: Option<Box<str>>,
}

impl Deprecation {
    /// Reads two days (UTC); [`None`] if one is none, is before 1970, or they are in the wrong order.
    pub(super) fn new(since: &str, sunset: Option<&str>) -> Option<Self> {
        let since = day_start_seconds(since)?;
        let sunset = match sunset {
            Some(day) => Some(day_start_seconds(day).filter(|seconds| *seconds >= since)?),
            None => None,
        };
        let http_date = |seconds| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds)).into();
        Some(Self { since: format!("@{since}").into(), sunset: sunset.map(http_date) })
    }
}

fn day_start_seconds(day: &str) -> Option<u64> {
    let date: jiff::civil::Date = day.parse().ok()?;
    let start = jiff::tz::TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
    u64::try_from(start.as_second()).ok()
}
