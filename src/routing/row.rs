//! One row of an endpoint table as a file writes it.

use serde::{Deserialize, Serialize};

use crate::domain::{Plan, Role, Window};

/// A file of endpoints: `[[endpoint]]` rows and nothing else.
#[derive(Clone, Debug, Default, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointFile {
    /// The rows.
    pub endpoint: Vec<EndpointRow>,
}

/// One operation as a table writes it.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointRow {
    /// Its name; unique; 1 to 128 of `A-Z a-z 0-9 _ . : -`.
    pub operation: String,
    /// `GET` (matches `HEAD` too), `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`, or `ANY`.
    pub method: String,
    /// Its template: `{name}` takes one segment, a final `{*name}` the rest of the path.
    pub path: String,
    /// `v1`, `v1beta`, `v1alpha`, …; of equally stable ones the first is preferred. Default: not versioned.
    #[serde(default)]
    pub versions: Vec<String>,
    /// Its own limits. Default: none.
    #[serde(default)]
    pub limits: Vec<LimitRow>,
    /// How many requests one request for it counts as in `[[limits.policies]]`; its own limits count requests alone.
    /// Default: 1.
    pub cost: Option<u32>,
    /// The feature that the workspace must have. Default: none.
    pub feature: Option<String>,
    /// `"owner"`: only a Workspace Owner may call it. Default: everybody.
    pub role: Option<Role>,
    /// The scope that it asks for; `""` asks for none. Default: `endpoints.scope`.
    pub scope: Option<String>,
    /// The plans that may call it. Default: `endpoints.plans`.
    pub plans: Option<Vec<Plan>>,
    /// Served without a credential. Default: false.
    #[serde(default)]
    pub public: bool,
    /// Versions that are going away. Default: none.
    #[serde(default)]
    pub deprecated: Vec<DeprecationRow>,
}

/// One limit of an operation.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitRow {
    /// For example `60 per minute`.
    pub quota: String,
    /// `"rolling"`, or `"calendar"` for a quota per day or month (UTC). Default: `"rolling"`.
    #[serde(default)]
    pub window: Window,
    /// Requests that may come at once. Default: the quota's number.
    pub burst: Option<u32>,
    /// `"token"`, `"workspace"`, or `"path.NAME"` (a workspace's requests for one value of that parameter).
    /// Default: `"token"`.
    pub per: Option<String>,
}

/// A version that is going away.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeprecationRow {
    /// One of the row's versions.
    pub version: String,
    /// The day it became deprecated (UTC), `2026-01-31`.
    pub since: String,
    /// The day it stops working (UTC). Default: not known.
    pub sunset: Option<String>,
}
