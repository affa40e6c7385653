//! Every reason for which the gateway answers by itself, with the data that its answer names.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Outcome, Plan, Role, WorkspaceState};

/// A limit that had nothing left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The policy that refused.
    pub policy: Arc<str>,
    /// Time until the same request is admitted.
    pub wait: Duration,
    /// What is left of the quota; less than the request costs.
    pub remaining: u64,
    /// What is used of the quota.
    pub consumed: u64,
}

/// Which limit a header section went past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadersLimit {
    /// The section as a whole is longer than so many bytes.
    Bytes(u64),
    /// The section has more than so many field lines.
    Fields(u64),
}

/// Why the gateway answers by itself. One variant for each [`Outcome`] that is not served; texts in it are
/// shown to the caller, escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Framing or syntax of the message is broken.
    BadRequest {
        /// What is broken, as the end of a sentence: "the request line has no target".
        what: &'static str,
    },
    /// The path can be read in two ways.
    AmbiguousPath {
        /// What can, and what to send instead: "the path has an empty segment; send single slashes".
        what: String,
    },
    /// More than one credential.
    SeveralCredentials,
    /// An alert of leaked tokens is not signed by GitHub.
    SignatureInvalid {
        /// What does not hold, as the end of a sentence.
        what: &'static str,
    },
    /// No credential.
    CredentialMissing,
    /// A credential in the query.
    CredentialInQuery,
    /// `Authorization` is not `Bearer` and one token68.
    CredentialMalformed,
    /// Not a token of ours.
    TokenUnknown,
    /// The genuine token was revoked.
    TokenRevoked,
    /// The genuine token has expired.
    TokenExpired,
    /// The JWT does not hold.
    JwtInvalid,
    /// The genuine JWT has expired.
    JwtExpired,
    /// The genuine JWT was revoked.
    JwtRevoked,
    /// The genuine token may not be used from here.
    AddressNotAllowed {
        /// Where the request comes from.
        address: String,
    },
    /// A CORS preflight.
    BrowserPreflight,
    /// The credential lacks a scope.
    ScopeMissing {
        /// The scope.
        scope: Arc<str>,
    },
    /// The workspace's plan does not do.
    PlanRequired {
        /// Its plan.
        has: Plan,
        /// Those that would do.
        needs: Vec<Plan>,
    },
    /// The workspace lacks a feature.
    FeatureRequired {
        /// The feature.
        feature: Arc<str>,
    },
    /// The credential lacks a role.
    RoleRequired {
        /// The role.
        role: Role,
    },
    /// Only a person who owns the workspace may, not a token.
    OwnerRequired,
    /// The workspace is not served.
    WorkspaceSuspended {
        /// [`WorkspaceState::Suspended`] or [`WorkspaceState::Deleted`].
        state: WorkspaceState,
    },
    /// The JWT names a workspace that is not registered.
    WorkspaceUnknown,
    /// No such endpoint.
    NotFound,
    /// One of our own resources is not there.
    Missing {
        /// What is not, as a whole sentence.
        message: String,
    },
    /// The state of one of our own resources does not allow the change.
    Conflict {
        /// Why not, as a whole sentence.
        message: String,
    },
    /// The endpoint has no such method.
    MethodNotAllowed {
        /// The value of `Allow`: "GET, HEAD, POST".
        allow: String,
    },
    /// `Accept` names no version that the endpoint has.
    VersionUnsupported {
        /// The media types on offer.
        choices: Vec<String>,
    },
    /// `Content-Type` names no version that the endpoint has.
    MediaTypeUnsupported {
        /// The media types on offer.
        choices: Vec<String>,
    },
    /// The request did not come in time.
    RequestTimeout {
        /// The time that it had.
        limit: Duration,
    },
    /// The body is too long.
    BodyTooLarge {
        /// The longest that is taken.
        limit_bytes: u64,
    },
    /// The request target is too long.
    UriTooLong {
        /// The longest that is taken.
        limit_bytes: u64,
    },
    /// `Expect` asks for what nobody offers.
    ExpectationFailed,
    /// The header section is too long or has too many fields.
    HeadersTooLarge {
        /// The limit.
        limit: HeadersLimit,
    },
    /// The credential's region is served elsewhere.
    WrongRegion {
        /// Its region.
        region: Arc<str>,
        /// Where that region is served.
        base_url: Arc<str>,
    },
    /// The body breaks a rule of the endpoint.
    InputInvalid {
        /// The field that breaks it.
        field: String,
        /// The rule, as a whole sentence.
        message: String,
    },
    /// A rate limit is used up.
    RateLimited(Exhausted),
    /// A quota of a day or longer is used up.
    QuotaExceeded(Exhausted),
    /// Too many requests of the caller are being served.
    TooManyInFlight {
        /// The policy that refused.
        policy: Arc<str>,
        /// How many may be served at once.
        limit: u64,
    },
    /// A fault of our own code.
    Internal,
    /// A method or transfer coding that the gateway does not implement.
    NotImplemented {
        /// What it is: "the transfer coding".
        what: &'static str,
    },
    /// No connection to the upstream.
    UpstreamUnreachable,
    /// The upstream broke off, or what it said is not HTTP.
    UpstreamBroken,
    /// The upstream's breaker is open.
    UpstreamOpen {
        /// Time until it is tried again, if that is known.
        wait: Option<Duration>,
    },
    /// The upstream was too slow.
    UpstreamTimeout,
    /// The JWT's issuer cannot be asked for its keys.
    IssuerUnavailable,
    /// GitHub's keys cannot be had.
    SignerUnavailable,
    /// The token registry cannot be read.
    RegistryUnavailable,
    /// The token registry cannot be read or written for one of our own resources.
    StoreUnavailable,
    /// It cannot be learnt whether a change of one of our own resources was made.
    StoreUnsure,
    /// A limit cannot be evaluated.
    LimitsUnavailable,
    /// The gateway is at one of its own bounds.
    Overloaded,
    /// The gateway is shutting down.
    Draining,
}

impl Refusal {
    /// The outcome that this refusal is: its word in body, log and metrics.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::BadRequest { .. } => Outcome::BadRequest,
            Self::AmbiguousPath { .. } => Outcome::AmbiguousPath,
            Self::SeveralCredentials => Outcome::SeveralCredentials,
            Self::SignatureInvalid { .. } => Outcome::SignatureInvalid,
            Self::CredentialMissing => Outcome::CredentialMissing,
            Self::CredentialInQuery => Outcome::CredentialInQuery,
            Self::CredentialMalformed => Outcome::CredentialMalformed,
            Self::TokenUnknown => Outcome::TokenUnknown,
            Self::TokenRevoked => Outcome::TokenRevoked,
            Self::TokenExpired => Outcome::TokenExpired,
            Self::JwtInvalid => Outcome::JwtInvalid,
            Self::JwtExpired => Outcome::JwtExpired,
            Self::JwtRevoked => Outcome::JwtRevoked,
            Self::AddressNotAllowed { .. } => Outcome::AddressNotAllowed,
            Self::BrowserPreflight => Outcome::BrowserPreflight,
            Self::ScopeMissing { .. } => Outcome::ScopeMissing,
            Self::PlanRequired { .. } => Outcome::PlanRequired,
            Self::FeatureRequired { .. } => Outcome::FeatureRequired,
            Self::RoleRequired { .. } | Self::OwnerRequired => Outcome::RoleRequired,
            Self::WorkspaceSuspended { .. } => Outcome::WorkspaceSuspended,
            Self::WorkspaceUnknown => Outcome::WorkspaceUnknown,
            Self::NotFound | Self::Missing { .. } => Outcome::NotFound,
            Self::Conflict { .. } => Outcome::Conflict,
            Self::MethodNotAllowed { .. } => Outcome::MethodNotAllowed,
            Self::VersionUnsupported { .. } => Outcome::VersionUnsupported,
            Self::MediaTypeUnsupported { .. } => Outcome::MediaTypeUnsupported,
            Self::RequestTimeout { .. } => Outcome::RequestTimeout,
            Self::BodyTooLarge { .. } => Outcome::BodyTooLarge,
            Self::UriTooLong { .. } => Outcome::UriTooLong,
            Self::ExpectationFailed => Outcome::ExpectationFailed,
            Self::HeadersTooLarge { .. } => Outcome::HeadersTooLarge,
            Self::WrongRegion { .. } => Outcome::WrongRegion,
            Self::InputInvalid { .. } => Outcome::InputInvalid,
            Self::RateLimited(_) => Outcome::RateLimited,
            Self::QuotaExceeded(_) => Outcome::QuotaExceeded,
            Self::TooManyInFlight { .. } => Outcome::TooManyInFlight,
            Self::Internal => Outcome::Internal,
            Self::NotImplemented { .. } => Outcome::NotImplemented,
            Self::UpstreamUnreachable => Outcome::UpstreamUnreachable,
            Self::UpstreamBroken => Outcome::UpstreamBroken,
            Self::UpstreamOpen { .. } => Outcome::UpstreamOpen,
            Self::UpstreamTimeout => Outcome::UpstreamTimeout,
            Self::IssuerUnavailable => Outcome::IssuerUnavailable,
            Self::SignerUnavailable => Outcome::SignerUnavailable,
            Self::RegistryUnavailable | Self::StoreUnavailable | Self::StoreUnsure => {
                Outcome::RegistryUnavailable
            }
            Self::LimitsUnavailable => Outcome::LimitsUnavailable,
            Self::Overloaded => Outcome::Overloaded,
            Self::Draining => Outcome::Draining,
        }
    }

    /// The status code of its answer.
    pub fn status(&self) -> u16 {
        self.row().status
    }
}
