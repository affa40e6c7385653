//! From each room's own error to what the caller is told.

use std::sync::Arc;
use std::time::Duration;

use crate::authentication::Refused;
use crate::authorization::Denied;
use crate::domain::{ApiVersion, Endpoint, RegionId, Regions};
use crate::input::{InputFault, Violation};
use crate::limits::{Exceeded, ExceededKind};
use crate::message::{BodyFault, HeadFault};
use crate::reply::{Exhausted, HeadersLimit, Refusal};
use crate::routing::{Match, PathFault, Unmatched, UnmatchedReason};
use crate::secret_scanning;
use crate::upstream::Fault;

/// A head that is no acceptable request.
pub(super) const fn head(fault: HeadFault) -> Refusal {
    match fault {
        HeadFault::Malformed(what) => Refusal::BadRequest { what },
        HeadFault::TargetTooLong { limit_bytes } => Refusal::UriTooLong { limit_bytes: limit_bytes as u64 },
        HeadFault::TooLarge { limit_bytes, .. } => {
            Refusal::HeadersTooLarge { limit: HeadersLimit::Bytes(limit_bytes as u64) }
        }
        HeadFault::TooManyFields { limit_fields } => {
            Refusal::HeadersTooLarge { limit: HeadersLimit::Fields(limit_fields as u64) }
        }
        HeadFault::UnknownTransferCoding => Refusal::NotImplemented { what: "the transfer coding" },
        HeadFault::UnknownMethod => Refusal::NotImplemented { what: "the method" },
        HeadFault::UnknownExpectation => Refusal::ExpectationFailed,
        HeadFault::BodyTooLarge { limit_bytes } => Refusal::BodyTooLarge { limit_bytes },
        HeadFault::TooManyConnections => Refusal::Overloaded,
        HeadFault::Timeout { limit_seconds } => {
            Refusal::RequestTimeout { limit: Duration::from_secs(limit_seconds) }
        }
    }
}

/// A path that can be read in two ways.
pub(crate) fn path(fault: PathFault) -> Refusal {
    Refusal::AmbiguousPath { what: fault.to_string() }
}

/// A caller that was not identified.
pub(crate) fn identify(refused: &Refused, regions: &Regions) -> Refusal {
    match refused {
        Refused::CredentialMissing => Refusal::CredentialMissing,
        Refused::CredentialInQuery(_) => Refusal::CredentialInQuery,
        Refused::CredentialMalformed => Refusal::CredentialMalformed,
        Refused::SeveralCredentials => Refusal::SeveralCredentials,
        Refused::TokenUnknown | Refused::Decoy(_) => Refusal::TokenUnknown,
        Refused::AddressNotAllowed { address, .. } => {
            Refusal::AddressNotAllowed { address: address.to_canonical().to_string() }
        }
        Refused::TokenRevoked(_) => Refusal::TokenRevoked,
        Refused::TokenExpired(_) => Refusal::TokenExpired,
        Refused::JwtInvalid(_) => Refusal::JwtInvalid,
        Refused::JwtExpired => Refusal::JwtExpired,
        Refused::JwtRevoked => Refusal::JwtRevoked,
        Refused::WorkspaceUnknown { .. } => Refusal::WorkspaceUnknown,
        Refused::PlanRequired { has, needs } => Refusal::PlanRequired { has: *has, needs: needs.to_vec() },
        Refused::WrongRegion(region) => wrong_region(*region, regions),
        Refused::IssuerUnavailable { .. } => Refusal::IssuerUnavailable,
        Refused::RegistryUnavailable => Refusal::RegistryUnavailable,
    }
}

/// The endpoint and version that a request is for, none if it is forwarded all the same, or the refusal that
/// an identified caller is told.
pub(crate) fn unless_forwarded<'t>(
    matched: &Match<'t>,
) -> Result<(Option<&'t Endpoint>, Option<ApiVersion>), Refusal> {
    match matched {
        Match::Matched(matched) => Ok((Some(matched.endpoint), matched.version)),
        Match::Unmatched(found) => unmatched(found).map_or(Ok((None, None)), Err),
    }
}

fn unmatched(unmatched: &Unmatched<'_>) -> Option<Refusal> {
    unmatched.outcome()?;
    let list = |choices: &str| choices.split(", ").map(str::to_owned).collect();
    Some(match unmatched.reason {
        UnmatchedReason::UnknownPath | UnmatchedReason::Misspelled(_) => Refusal::NotFound,
        UnmatchedReason::UnknownMethod(allow) => Refusal::MethodNotAllowed { allow: allow.to_string() },
        UnmatchedReason::MethodNotImplemented => Refusal::NotImplemented { what: "the method" },
        UnmatchedReason::EscapedSlash => Refusal::AmbiguousPath { what: unmatched.reason.to_string() },
        UnmatchedReason::VersionUnsupported { choices, .. } => {
            Refusal::VersionUnsupported { choices: list(choices) }
        }
        UnmatchedReason::MediaTypeUnsupported { choices, .. } => {
            Refusal::MediaTypeUnsupported { choices: list(choices) }
        }
    })
}

/// A caller that may not.
pub(crate) fn permit(denied: Denied) -> Refusal {
    match denied {
        Denied::CredentialMissing => Refusal::CredentialMissing,
        Denied::WorkspaceSuspended(state) => Refusal::WorkspaceSuspended { state },
        Denied::PlanRequired { has, needs } => Refusal::PlanRequired { has, needs },
        Denied::ScopeMissing(scope) => Refusal::ScopeMissing { scope },
        Denied::FeatureRequired(feature) => Refusal::FeatureRequired { feature },
        Denied::RoleRequired(role) => Refusal::RoleRequired { role },
    }
}

/// A limit that is used up. Of one that callers are not to see, only when to come back is told: its numbers would
/// tell its quota.
pub(crate) fn exceeded(exceeded: &Exceeded) -> Refusal {
    let policy = exceeded.exposed_policy().map_or_else(|| Arc::from("hidden"), Arc::from);
    let shown = |number: u32| if exceeded.exposed { u64::from(number) } else { 0 };
    let exhausted = |policy| Exhausted {
        policy,
        wait: exceeded.wait,
        remaining: shown(exceeded.remaining),
        consumed: shown(exceeded.consumed),
    };
    match exceeded.kind {
        ExceededKind::RateLimited => Refusal::RateLimited(exhausted(policy)),
        ExceededKind::QuotaExceeded => Refusal::QuotaExceeded(exhausted(policy)),
        ExceededKind::TooManyInFlight => {
            Refusal::TooManyInFlight { policy, limit: u64::from(exceeded.burst) }
        }
        ExceededKind::LimitsUnavailable => Refusal::LimitsUnavailable,
    }
}

/// A body that is not sent on.
pub(super) fn input(fault: InputFault) -> Refusal {
    match fault {
        InputFault::Violation(Violation { field, message }) => Refusal::InputInvalid { field, message },
        InputFault::Body(fault) => body(fault),
    }
}

/// A fault of the client's body.
pub(super) const fn body(fault: BodyFault) -> Refusal {
    match fault {
        BodyFault::Malformed(what) => Refusal::BadRequest { what },
        BodyFault::Gone => Refusal::BadRequest { what: "the body ended early" },
        BodyFault::TooLarge { limit_bytes } => Refusal::BodyTooLarge { limit_bytes },
        BodyFault::AnswerBroken | BodyFault::AnswerLate => Refusal::UpstreamBroken,
        BodyFault::Timeout { limit_seconds } => {
            Refusal::RequestTimeout { limit: Duration::from_secs(limit_seconds) }
        }
    }
}

/// An alert of leaked tokens that is not answered.
pub(super) fn alert(fault: &secret_scanning::Fault) -> Refusal {
    match fault {
        secret_scanning::Fault::Signature(what) => Refusal::SignatureInvalid { what },
        secret_scanning::Fault::SignerUnavailable => Refusal::SignerUnavailable,
        secret_scanning::Fault::Body(fault) => body(*fault),
        secret_scanning::Fault::Alert(fault) => {
            Refusal::InputInvalid { field: String::new(), message: fault.to_string() }
        }
        secret_scanning::Fault::Overloaded => Refusal::Overloaded,
        secret_scanning::Fault::StoreUnavailable | secret_scanning::Fault::QueueUnavailable => {
            Refusal::RegistryUnavailable
        }
    }
}

/// A caller of another region.
pub(crate) fn wrong_region(region: RegionId, regions: &Regions) -> Refusal {
    let region = regions.region(region);
    Refusal::WrongRegion { region: Arc::clone(&region.name), base_url: Arc::clone(&region.base_url) }
}

/// What a workspace's share of the upstream's places is called among the limits.
const SHARE_POLICY: &str = "upstream share";

/// A request that got no answer from its upstream. A fault of the client's body stays the client's.
pub(super) fn forward(fault: Fault) -> Refusal {
    match fault {
        Fault::Unreachable => Refusal::UpstreamUnreachable,
        Fault::ConnectTimeout | Fault::Timeout => Refusal::UpstreamTimeout,
        Fault::TooManyConnections | Fault::TooManyInFlight => Refusal::Overloaded,
        Fault::OverShare { held } => {
            Refusal::TooManyInFlight { policy: Arc::from(SHARE_POLICY), limit: u64::from(held.max(1)) }
        }
        Fault::Open { wait } => Refusal::UpstreamOpen { wait: Some(wait) },
        Fault::ClosedUnanswered | Fault::Broken => Refusal::UpstreamBroken,
        Fault::Client(fault) => body(fault),
    }
}
