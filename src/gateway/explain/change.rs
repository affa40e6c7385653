//! What would turn a refusal into an answer, for those who run the gateway or own the workspace.

use crate::domain::Outcome;
use crate::reply::Refusal;

/// What can be done about a refusal.
pub(super) const fn of(refusal: &Refusal) -> &'static str {
    match refusal.outcome() {
        Outcome::CredentialMissing => {
            "Give a token (--token-stdin, --token-id or --workspace), or mark the endpoint `public`."
        }
        Outcome::CredentialInQuery | Outcome::CredentialMalformed | Outcome::SeveralCredentials => {
            "The client has to send one `Authorization: Bearer TOKEN` and no token elsewhere."
        }
        Outcome::TokenUnknown => {
            "Check the token's copy and that it belongs to this registry; `tollgate token create` makes one."
        }
        Outcome::TokenRevoked | Outcome::TokenExpired => {
            "`tollgate token create` or `tollgate token rotate` makes another token."
        }
        Outcome::JwtInvalid | Outcome::JwtExpired | Outcome::JwtRevoked => {
            "The client has to get another access token; compare its claims with `[[authentication.issuers]]`."
        }
        Outcome::AddressNotAllowed => {
            "`tollgate token show ID` lists where the token may be used from, `tollgate token set ID --from CIDR` changes it."
        }
        Outcome::BrowserPreflight => "Nothing: browsers are never served. The call belongs on a server.",
        Outcome::ScopeMissing => "`tollgate token create --scope SCOPE` makes a token with the scope.",
        Outcome::PlanRequired => "`tollgate workspace set ID --plan PLAN`, or the endpoint's `plans`.",
        Outcome::FeatureRequired => {
            "`tollgate workspace set ID --enable FEATURE`, or the endpoint's `feature`."
        }
        Outcome::RoleRequired => "`tollgate token create --role owner` makes a token with the role.",
        Outcome::WorkspaceSuspended => "`tollgate workspace set ID --state active`.",
        Outcome::WorkspaceUnknown => {
            "`tollgate workspace create ID`, or `claims_suffice = true` for the issuer."
        }
        Outcome::NotFound | Outcome::MethodNotAllowed => {
            "Add the endpoint to a table of `[endpoints]`, or set `unmatched = \"forward\"`."
        }
        Outcome::VersionUnsupported | Outcome::MediaTypeUnsupported => {
            "The client has to name one of the endpoint's versions, or add the version to the endpoint's `versions`."
        }
        Outcome::WrongRegion => "Ask the gateway of that region, or set `place.mode = \"route\"`.",
        Outcome::RateLimited | Outcome::QuotaExceeded => {
            "Wait, raise the policy's `quota` or `burst`, or `tollgate limits set` for this token or workspace."
        }
        Outcome::TooManyInFlight => {
            "Wait for an earlier request's answer, or raise the cap in `[limits.in_flight]`."
        }
        Outcome::AmbiguousPath
        | Outcome::BadRequest
        | Outcome::ExpectationFailed
        | Outcome::NotImplemented => "The client has to send it as the message says.",
        Outcome::UriTooLong | Outcome::HeadersTooLarge | Outcome::BodyTooLarge | Outcome::RequestTimeout => {
            "The client has to send less, or raise the bound in `[listen]`."
        }
        Outcome::IssuerUnavailable => "The issuer's keys have to be had: config/docs/issuers.md.",
        Outcome::SignatureInvalid | Outcome::SignerUnavailable => {
            "Only GitHub's alerts are checked so: config/docs/secret-scanning.md."
        }
        Outcome::RegistryUnavailable => "The token store has to be readable: `[tokens]`.",
        Outcome::LimitsUnavailable | Outcome::Overloaded | Outcome::Draining | Outcome::Internal => {
            "Look at the gateway's own log and metrics."
        }
        Outcome::Conflict => "The message says what stands in the way.",
        Outcome::UpstreamUnreachable
        | Outcome::UpstreamBroken
        | Outcome::UpstreamOpen
        | Outcome::UpstreamTimeout
        | Outcome::InputInvalid => "Look at the upstream.",
        Outcome::Forwarded | Outcome::Answered | Outcome::ClientGone => "Nothing.",
    }
}
