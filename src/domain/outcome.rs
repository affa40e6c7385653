//! The closed list of outcomes. Every request ends in exactly one of them, and its word is the same in the
//! response body (`data.reason`), the log, the metric label and the audit event.

/// Who has to act on an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Nobody: the request was served.
    Served,
    /// The caller (4xx).
    Caller,
    /// Us, the gateway's operators (5xx with `Retry-After`).
    Gateway,
    /// The operators of the API behind (502, 503, 504).
    Upstream,
}

macro_rules! outcomes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $family:ident;)+) => {
        /// How a request ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Outcome { $($(#[$doc])* $variant,)+ }

        impl Outcome {
            /// Every outcome, in the order of the documentation's table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable word.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// Who has to act.
            pub const fn family(self) -> Family {
                match self { $(Self::$variant => Family::$family,)+ }
            }
        }
    };
}

outcomes! {
    /// The upstream's answer was passed on, whatever its status.
    Forwarded = "forwarded", Served;
    /// One of our own pages (`/tollgate/v1/…`) was served.
    Answered = "answered", Served;
    /// The client left before its answer was complete.
    ClientGone = "client_gone", Caller;
    /// Framing or syntax of the message is broken.
    BadRequest = "bad_request", Caller;
    /// The path can be read in two ways.
    AmbiguousPath = "ambiguous_path", Caller;
    /// More than one credential was sent.
    SeveralCredentials = "several_credentials", Caller;
    /// An alert of leaked tokens is not signed by GitHub.
    SignatureInvalid = "signature_invalid", Caller;
    /// No credential was sent.
    CredentialMissing = "credential_missing", Caller;
    /// The credential came in the query.
    CredentialInQuery = "credential_in_query", Caller;
    /// `Authorization` is not `Bearer` and one token68.
    CredentialMalformed = "credential_malformed", Caller;
    /// Not a token of ours.
    TokenUnknown = "token_unknown", Caller;
    /// The genuine token was revoked.
    TokenRevoked = "token_revoked", Caller;
    /// The genuine token has expired.
    TokenExpired = "token_expired", Caller;
    /// Signature, issuer, audience or claims of the JWT do not hold.
    JwtInvalid = "jwt_invalid", Caller;
    /// The genuine JWT has expired.
    JwtExpired = "jwt_expired", Caller;
    /// The genuine JWT was revoked.
    JwtRevoked = "jwt_revoked", Caller;
    /// The genuine token is bound to address ranges, and the request comes from elsewhere.
    AddressNotAllowed = "address_not_allowed", Caller;
    /// A CORS preflight: a browser tried to call.
    BrowserPreflight = "browser_preflight", Caller;
    /// The credential lacks the endpoint's scope.
    ScopeMissing = "scope_missing", Caller;
    /// The workspace's plan does not include the API.
    PlanRequired = "plan_required", Caller;
    /// The workspace lacks the endpoint's feature.
    FeatureRequired = "feature_required", Caller;
    /// The credential lacks the endpoint's role.
    RoleRequired = "role_required", Caller;
    /// The workspace is suspended or deleted.
    WorkspaceSuspended = "workspace_suspended", Caller;
    /// The JWT names a workspace that the registry does not know.
    WorkspaceUnknown = "workspace_unknown", Caller;
    /// No such endpoint.
    NotFound = "not_found", Caller;
    /// The endpoint has no such method.
    MethodNotAllowed = "method_not_allowed", Caller;
    /// `Accept` names no version that the endpoint has.
    VersionUnsupported = "version_unsupported", Caller;
    /// `Content-Type` names no version that the endpoint has.
    MediaTypeUnsupported = "media_type_unsupported", Caller;
    /// The request was not complete in time.
    RequestTimeout = "request_timeout", Caller;
    /// The body is longer than the limit.
    BodyTooLarge = "body_too_large", Caller;
    /// The request target is longer than the limit.
    UriTooLong = "uri_too_long", Caller;
    /// `Expect` asks for something other than `100-continue`.
    ExpectationFailed = "expectation_failed", Caller;
    /// The header section is longer than the limit, or has too many fields.
    HeadersTooLarge = "headers_too_large", Caller;
    /// The credential belongs to a region that this gateway does not serve.
    WrongRegion = "wrong_region", Caller;
    /// The state of what the request names does not allow it.
    Conflict = "conflict", Caller;
    /// The body breaks a rule of the endpoint.
    InputInvalid = "input_invalid", Caller;
    /// A rate limit is used up.
    RateLimited = "rate_limited", Caller;
    /// A quota of a day or longer is used up.
    QuotaExceeded = "quota_exceeded", Caller;
    /// Too many requests of the caller are being served.
    TooManyInFlight = "too_many_in_flight", Caller;
    /// A fault of the gateway's own code.
    Internal = "internal", Gateway;
    /// A method or transfer coding that the gateway does not implement.
    NotImplemented = "not_implemented", Caller;
    /// No connection to the upstream could be made.
    UpstreamUnreachable = "upstream_unreachable", Upstream;
    /// The upstream broke off or answered something that is not HTTP.
    UpstreamBroken = "upstream_broken", Upstream;
    /// The upstream's breaker is open.
    UpstreamOpen = "upstream_open", Upstream;
    /// The upstream did not answer in time.
    UpstreamTimeout = "upstream_timeout", Upstream;
    /// The JWT's issuer cannot be asked for its keys.
    IssuerUnavailable = "issuer_unavailable", Gateway;
    /// GitHub's keys, by which an alert of leaked tokens is checked, cannot be had.
    SignerUnavailable = "signer_unavailable", Gateway;
    /// The token registry cannot be read.
    RegistryUnavailable = "registry_unavailable", Gateway;
    /// A limit cannot be evaluated.
    LimitsUnavailable = "limits_unavailable", Gateway;
    /// The gateway is at one of its own bounds.
    Overloaded = "overloaded", Gateway;
    /// The gateway is shutting down.
    Draining = "draining", Gateway;
}

impl Outcome {
    /// Reads a word of [`Outcome::reason`].
    pub fn by_reason(reason: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|outcome| outcome.reason() == reason)
    }

    /// Its place in [`Outcome::ALL`]; used as an index of metric cells.
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_indexes_follow_the_list() {
        for (index, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(outcome.index(), index);
            assert_eq!(Outcome::ALL.iter().filter(|other| other.reason() == outcome.reason()).count(), 1);
        }
    }
}
