//! Section `[endpoints]` of the configuration.

use serde::{Deserialize, Serialize};

use super::EndpointRow;
use crate::domain::Plan;

/// Section `[endpoints]`: which operations there are and what happens to a request for any other.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Files with endpoint tables (`[[endpoint]]` rows), relative to the configuration file. Default: none.
    pub tables: Vec<String>,
    /// Further rows, written inline as `[[endpoints.extra]]`. Default: none.
    pub extra: Vec<EndpointRow>,
    /// What happens to unknown paths and to unknown methods of known paths: `"forward"` under the limits that
    /// match everything, or `"refuse"` with 404 or 405. Default: `"forward"`.
    pub unmatched: UnmatchedPolicy,
    /// What happens to a path that differs from a known one only as lenient servers overlook it (case of fixed
    /// segments, a final `/`, `;…`, an escaped delimiter, a parameter over 255 characters): `"refuse"` with
    /// 404, or `"forward"` as an unknown path where `unmatched` forwards those. Forwarding lets a caller around
    /// the endpoint's role, feature and limits if the upstream does overlook it. Default: `"refuse"`.
    pub misspelled: UnmatchedPolicy,
    /// What happens to a request that names only versions that the endpoint lacks: `"refuse"` with 406
    /// (`Accept`) or 415 (`Content-Type`), or `"forward"`. Default: `"refuse"`.
    pub unknown_version: UnknownVersion,
    /// Where `%2F` and `%25` before two hex digits may stand: `"in_parameters"` of a matched template, or
    /// `"refuse"` (nowhere). Default: `"in_parameters"`.
    pub escaped_slash: EscapedSlash,
    /// The scope that a row asks for unless it names its own; `""` asks for none.
    /// Default: `"public_api:read_write"`.
    pub scope: String,
    /// Further scopes that rows may ask for and tokens may hold; `check` warns of any other. Default: none.
    pub scopes: Vec<String>,
    /// The plans that may call a row that names none. Default: `["team", "business"]`.
    pub plans: Vec<Plan>,
    /// The vendor part of versioned media types: `vnd.segment` in `application/vnd.segment.v1+json`.
    /// Default: `"vnd.segment"`.
    pub media_type_vendor: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tables: Vec::new(),
            extra: Vec::new(),
            unmatched: UnmatchedPolicy::Forward,
            misspelled: UnmatchedPolicy::Refuse,
            unknown_version: UnknownVersion::Refuse,
            escaped_slash: EscapedSlash::InParameters,
            scope: "public_api:read_write".to_owned(),
            scopes: Vec::new(),
            plans: vec![Plan::Team, Plan::Business],
            media_type_vendor: "vnd.segment".to_owned(),
        }
    }
}

/// What happens to a request for no known endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnmatchedPolicy {
    /// Forwarded once identified, permitted and counted by what matches everything.
    Forward,
    /// Answered 404 or 405.
    Refuse,
}

/// What happens to a request that names only versions that its endpoint lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownVersion {
    /// Answered 406 or 415 with the choices.
    Refuse,
    /// Forwarded; the upstream decides.
    Forward,
}

/// Where an escaped slash or a twice escaped character may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EscapedSlash {
    /// Inside a parameter of a matched template.
    InParameters,
    /// Nowhere.
    Refuse,
}
