//! `[authentication]` of the configuration.

mod check;

use std::path::PathBuf;
use std::sync::Arc;

pub use check::from_settings;

use super::issuer::Rules;
use super::jwks::{Pace, SavedSet, Source};
use crate::domain::{JwtLifetime, Role};

/// How callers prove who they are. Opaque tokens need no setting.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How many verified JWTs are remembered, counted in tokens of up to 1 KiB; 0 verifies every request anew.
    /// Default 100000.
    pub verified_tokens: usize,
    /// A folder in which the last good keys of each `jwks_uri` are kept, so that a restart needs no issuer. Made on
    /// first use in a folder that is there; a relative path starts at the configuration file. Default none: not
    /// kept.
    pub keys_folder: Option<PathBuf>,
    /// Who may issue JWTs. Default none: JWTs are refused.
    pub issuers: Vec<IssuerSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { verified_tokens: 100_000, keys_folder: None, issuers: Vec::new() }
    }
}

/// One issuer of JWTs, `[[authentication.issuers]]`.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IssuerSettings {
    /// Its name, exactly as `iss` has it. Required.
    pub issuer: String,
    /// The names of this API in `aud`; a token must be for one of them. Required.
    pub audiences: Vec<String>,
    /// Where its keys are: an `https` URL (`http` on loopback only). Either this or `jwks_file`.
    pub jwks_uri: Option<String>,
    /// A file with its keys, read again when it changes.
    pub jwks_file: Option<PathBuf>,
    /// PEM certificates that `jwks_uri`'s is checked against. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// The algorithms that its tokens may use: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`,
    /// `ES384`, `EdDSA`. Default `["RS256", "ES256"]`.
    pub algorithms: Vec<String>,
    /// What its tokens' `typ` may be: `JWT`, `at+jwt`, `absent`. Default all three.
    pub typ: Vec<String>,
    /// By how many seconds its clock may differ from ours. Default 60.
    pub leeway_seconds: u32,
    /// The longest lifetime of its tokens in seconds, from `iat` or, without one, from now. Default 2592000 (30 days).
    pub max_lifetime_seconds: u32,
    /// Seconds between two loads of its keys where its answers have no `max-age`; where they have one, 80 % of
    /// it, within 60 to 3600 seconds. Default 600.
    pub refresh_seconds: u32,
    /// Seconds between two loads that unknown key ids may cause. Default 5.
    pub unknown_key_seconds: u32,
    /// Seconds for which the last good keys are used while they cannot be renewed. Default 86400 (24 hours).
    pub max_stale_seconds: u32,
    /// Seconds for which a key that left the set is still used. Default 600.
    pub removal_overlap_seconds: u32,
    /// Whether a key ends with the load that no longer has it, as an issuer wants that withdraws keys to revoke
    /// tokens. Default false.
    pub revoke_on_removal: bool,
    /// Which claims say what.
    pub claims: ClaimSettings,
    /// The regions whose workspaces it may speak for. Required where there are several regions.
    pub regions: Vec<String>,
    /// The plans of workspaces it is for: `free`, `team`, `business`. Default none: all.
    pub plans: Vec<String>,
    /// Whether its tokens are accepted for workspaces that the registry does not know. Default false.
    pub claims_suffice: bool,
    /// The features of workspaces that are known by claims alone. Default none.
    pub claimed_features: Vec<String>,
    /// The role of tokens without a role claim: `owner` or `restricted`. Default `restricted`.
    pub role_default: Role,
    /// Whether tokens that are bound to their sender (`cnf`) are accepted although nothing proves the sender.
    /// Default false.
    pub accept_sender_constrained: bool,
}

impl Default for IssuerSettings {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audiences: Vec::new(),
            jwks_uri: None,
            jwks_file: None,
            ca_file: None,
            algorithms: vec!["RS256".to_owned(), "ES256".to_owned()],
            typ: vec!["JWT".to_owned(), "at+jwt".to_owned(), "absent".to_owned()],
            leeway_seconds: 60,
            max_lifetime_seconds: 2_592_000,
            refresh_seconds: 600,
            unknown_key_seconds: 5,
            max_stale_seconds: 86_400,
            removal_overlap_seconds: 600,
            revoke_on_removal: false,
            claims: ClaimSettings::default(),
            regions: Vec::new(),
            plans: Vec::new(),
            claims_suffice: false,
            claimed_features: Vec::new(),
            role_default: Role::Restricted,
            accept_sender_constrained: false,
        }
    }
}

/// The names of an issuer's claims, `[authentication.issuers.claims]`.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimSettings {
    /// The workspace's id. Default `workspace`.
    pub workspace: String,
    /// The workspace's region, by its configured name. Default `region`.
    pub region: String,
    /// The role: `owner` (or `Workspace Owner`), anything else being restricted. Default `role`.
    pub role: String,
    /// The scopes, separated by spaces or in an array. Default `scope`.
    pub scopes: String,
    /// The client, under which its tokens are counted. Default: `client_id`, else `azp`, else `sub`.
    pub client: Option<String>,
    /// The workspace's plan, used only where claims suffice. Default `plan`.
    pub plan: String,
}

impl Default for ClaimSettings {
    fn default() -> Self {
        Self {
            workspace: "workspace".to_owned(),
            region: "region".to_owned(),
            role: "role".to_owned(),
            scopes: "scope".to_owned(),
            client: None,
            plan: "plan".to_owned(),
        }
    }
}

/// Settings without a mistake.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(super) verified_tokens: usize,
    pub(super) issuers: Vec<CheckedIssuer>,
}

impl Checked {
    /// How long each issuer's tokens can live.
    pub fn lifetimes(&self) -> Vec<JwtLifetime> {
        let lifetime = |issuer: &CheckedIssuer| {
            let rules = &issuer.rules;
            let longest = rules.max_lifetime_seconds.saturating_add(2 * rules.leeway_seconds);
            JwtLifetime {
                issuer: Arc::clone(&rules.issuer),
                longest_seconds: u64::try_from(longest).unwrap_or(0),
                claims_suffice: rules.claims_suffice,
            }
        };
        self.issuers.iter().map(lifetime).collect()
    }
}

/// One issuer without a mistake.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CheckedIssuer {
    pub(super) rules: Rules,
    pub(super) source: Source,
    pub(super) pace: Pace,
    /// Where its keys are kept for the next process.
    pub(super) saved: Option<SavedSet>,
}

#[cfg(test)]
mod tests;
