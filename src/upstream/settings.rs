//! `[upstream]`: how requests are sent on.

use serde::{Deserialize, Serialize};

use super::care_settings::{
    BreakerSettings, EjectionSettings, HealthCheckSettings, InFlightSettings, RetrySettings,
};

/// Deadlines, pools and fields towards every upstream.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The upstream servers where there is no `[regions]`, for example `http://10.0.0.1:8080`.
    pub servers: Vec<String>,
    /// Time to connect, TLS handshake included, in milliseconds.
    pub connect_timeout_milliseconds: u64,
    /// Time from the request's last byte to the answer's head, in seconds.
    pub first_byte_timeout_seconds: u64,
    /// Longest pause inside an answer's body, in seconds.
    pub idle_timeout_seconds: u64,
    /// Time for the whole exchange, in seconds.
    pub total_timeout_seconds: u64,
    /// How long an unused connection is kept, in seconds; less than the upstream keeps it.
    pub pool_idle_timeout_seconds: u64,
    /// Most connections of one worker to one upstream, used and unused.
    pub max_connections: usize,
    /// Whose name `Host` carries: `preserve` the client's, or the `upstream`'s.
    pub host: HostSetting,
    /// Whether `Authorization` is sent on.
    pub forward_credential: bool,
    /// Which fields tell the upstream about the client: `x_forwarded`, `forwarded` (RFC 7239), `both` or `none`.
    pub forwarded_fields: ForwardedFields,
    /// A PEM file with the roots that `https` upstreams are checked against; the system's if empty.
    pub ca_file: String,
    /// Time between two resolutions of an upstream's name, in seconds.
    pub dns_refresh_seconds: u64,
    /// Names of the fields that carry the caller's identity; an empty name leaves the field out.
    pub identity: IdentityFields,
    /// Requests of our own that ask an upstream how it is.
    pub health_check: HealthCheckSettings,
    /// Leaving out upstreams that fail while others do not.
    pub ejection: EjectionSettings,
    /// Sparing an upstream to which no connection can be made.
    pub breaker: BreakerSettings,
    /// Sending again what is safe to repeat.
    pub retries: RetrySettings,
    /// How many requests an upstream serves at a time.
    pub in_flight: InFlightSettings,
}

/// Whose name `Host` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HostSetting {
    /// The client's.
    Preserve,
    /// The upstream's.
    Upstream,
}

/// Which fields tell the upstream about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedFields {
    /// `X-Forwarded-For`, `-Proto`, `-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// Both kinds.
    Both,
    /// Neither.
    None,
}

/// Names of the identity fields.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityFields {
    /// The workspace's id.
    pub workspace: String,
    /// The home region's name.
    pub region: String,
    /// The token's public id.
    pub token_id: String,
    /// The workspace's plan.
    pub plan: String,
    /// The caller's role.
    pub role: String,
    /// The caller's scopes, separated by spaces.
    pub scopes: String,
}

impl Default for IdentityFields {
    fn default() -> Self {
        Self {
            workspace: "X-Tollgate-Workspace".to_owned(),
            region: "X-Tollgate-Region".to_owned(),
            token_id: "X-Tollgate-Token-Id".to_owned(),
            plan: "X-Tollgate-Plan".to_owned(),
            role: "X-Tollgate-Role".to_owned(),
            scopes: "X-Tollgate-Scopes".to_owned(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            connect_timeout_milliseconds: 1_000,
            first_byte_timeout_seconds: 30,
            idle_timeout_seconds: 30,
            total_timeout_seconds: 600,
            pool_idle_timeout_seconds: 50,
            max_connections: 1_024,
            host: HostSetting::Preserve,
            forward_credential: false,
            forwarded_fields: ForwardedFields::XForwarded,
            ca_file: String::new(),
            dns_refresh_seconds: 10,
            identity: IdentityFields::default(),
            health_check: HealthCheckSettings::default(),
            ejection: EjectionSettings::default(),
            breaker: BreakerSettings::default(),
            retries: RetrySettings::default(),
            in_flight: InFlightSettings::default(),
        }
    }
}
