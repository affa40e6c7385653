//! The one table: what each refusal says.
//!
//! A message names in braces what it quotes: a member of the row's data, `{said}`, or `{documentation}`, which
//! becomes a sentence with the link of the settings, if there is one.

use std::time::Duration;

use super::refusal::{Exhausted, HeadersLimit, Refusal};
use crate::domain::{Outcome, Plan};

/// A value in `data` and in the message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Datum<'r> {
    Text(&'r str),
    Number(u64),
    Texts(&'r [String]),
    Plans(&'r [Plan]),
}

/// The `WWW-Authenticate` field (RFC 6750, section 3).
#[derive(Clone, Copy, Debug)]
pub(super) enum Challenge<'r> {
    None,
    /// No `error` where no credential was understood (section 3.1).
    Bare,
    InvalidRequest,
    InvalidToken,
    InsufficientScope(&'r str),
}

/// When the caller should come back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Retry {
    /// Repeating does not help, or is the caller's own decision.
    Unsaid,
    /// After the time of the settings.
    Soon,
    /// After this time.
    After(Duration),
}

/// How many data a row can have.
pub(super) const DATA: usize = 5;

/// What one refusal says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'r> {
    pub(super) outcome: Outcome,
    pub(super) status: u16,
    /// The `type` of the envelope.
    pub(super) kind: &'static str,
    pub(super) message: &'static str,
    pub(super) said: &'r str,
    /// The envelope's `field`.
    pub(super) field: Option<&'r str>,
    pub(super) data: [Option<(&'static str, Datum<'r>)>; DATA],
    pub(super) challenge: Challenge<'r>,
    pub(super) allow: Option<&'r str>,
    pub(super) retry: Retry,
    /// Whether framing is in doubt or the connection is ending.
    pub(super) close: bool,
}

impl<'r> Row<'r> {
    const fn new(outcome: Outcome, status: u16, kind: &'static str, message: &'static str) -> Self {
        Self {
            outcome,
            status,
            kind,
            message,
            said: "",
            field: None,
            data: [None; DATA],
            challenge: Challenge::None,
            allow: None,
            retry: Retry::Unsaid,
            close: false,
        }
    }

    const fn unauthorized(outcome: Outcome, message: &'static str) -> Self {
        Self { challenge: Challenge::InvalidToken, ..Self::new(outcome, 401, "unauthorized", message) }
    }

    const fn forbidden(outcome: Outcome, message: &'static str) -> Self {
        Self::new(outcome, 403, "forbidden", message)
    }

    const fn closing(outcome: Outcome, status: u16, message: &'static str) -> Self {
        Self { close: true, ..Self::new(outcome, status, "bad-request", message) }
    }

    const fn unavailable(outcome: Outcome, message: &'static str) -> Self {
        Self { retry: Retry::Soon, ..Self::new(outcome, 503, "unavailable", message) }
    }

    fn exhausted(outcome: Outcome, message: &'static str, limit: &'r Exhausted) -> Self {
        let wait_millis = u64::try_from(limit.wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self { retry: Retry::After(limit.wait), ..Self::new(outcome, 429, "RequestError", message) }
            .with("remainingPoints", Datum::Number(limit.remaining))
            .with("consumedPoints", Datum::Number(limit.consumed))
            .with("msBeforeNext", Datum::Number(wait_millis))
            .with("policy", Datum::Text(&limit.policy))
    }

    fn with(mut self, name: &'static str, datum: Datum<'r>) -> Self {
        if let Some(free) = self.data.iter_mut().find(|place| place.is_none()) {
            *free = Some((name, datum));
        }
        self
    }

    /// The value of one of its data.
    pub(super) fn datum(&self, name: &str) -> Option<Datum<'r>> {
        self.data.iter().flatten().find(|(known, _)| *known == name).map(|(_, datum)| *datum)
    }
}

impl Refusal {
    /// The row of this refusal.
    #[rustfmt::skip]
    pub(super) fn row(&self) -> Row<'_> {
        use Datum::{Number, Plans, Text, Texts};
        match self {
            Self::BadRequest { what } => Row { said: what, ..Row::closing(Outcome::BadRequest, 400,
                "The request is not well-formed HTTP: {said}. The connection is closed; send a well-formed request on a new one.") },
            Self::AmbiguousPath { what } => Row { said: what, ..Row::new(Outcome::AmbiguousPath, 400, "bad-request",
                "The path can be read in more than one way: {said}.") },
            Self::SeveralCredentials => Row { challenge: Challenge::InvalidRequest, ..Row::new(Outcome::SeveralCredentials, 400, "bad-request",
                "The request carries more than one credential. Send one Authorization field, and no token in the query.") },

            Self::CredentialMissing => Row { challenge: Challenge::Bare, ..Row::unauthorized(Outcome::CredentialMissing,
                "Authorization header is required. Send `Authorization: Bearer <token>`.") },
            Self::CredentialInQuery => Row { challenge: Challenge::Bare, ..Row::unauthorized(Outcome::CredentialInQuery,
                "A token in the query is not accepted, because addresses end up in logs. Send it in the Authorization header, and rotate it if the address was shared.") },
            Self::CredentialMalformed => Row::unauthorized(Outcome::CredentialMalformed,
                "The Authorization header is not `Bearer` and one token. Send `Authorization: Bearer <token>`, with one space and nothing after the token."),
            Self::TokenUnknown => Row::unauthorized(Outcome::TokenUnknown,
                "The token is not valid. Check that it was copied whole and belongs to this API."),
            Self::TokenRevoked => Row::unauthorized(Outcome::TokenRevoked,
                "The token was revoked. Ask an owner of the workspace for a new one."),
            Self::TokenExpired => Row::unauthorized(Outcome::TokenExpired,
                "The token has expired. Ask an owner of the workspace for a new one."),
            Self::JwtInvalid => Row::unauthorized(Outcome::JwtInvalid,
                "The access token is not valid here: its signature, issuer, audience or claims do not hold. Request a new one from the authorization server of this region."),
            Self::JwtExpired => Row::unauthorized(Outcome::JwtExpired,
                "The access token has expired. Request a new one from the authorization server."),
            Self::JwtRevoked => Row::unauthorized(Outcome::JwtRevoked,
                "The access token was revoked. Request a new one, or ask an owner of the workspace why."),

            Self::BrowserPreflight => Row::forbidden(Outcome::BrowserPreflight,
                "This API cannot be called from a browser: its tokens give access to a whole workspace and must not be in a web page. Make the call from a server.{documentation}"),
            Self::ScopeMissing { scope } => Row { challenge: Challenge::InsufficientScope(scope), ..Row::forbidden(Outcome::ScopeMissing,
                "The token lacks the scope `{scope}`, which this endpoint needs. Use a token that has it.") }
                .with("scope", Text(scope)),
            Self::PlanRequired { has, needs } => Row::forbidden(Outcome::PlanRequired,
                "The workspace is on the plan `{plan}`, and this endpoint needs `{plansRequired}`. An owner of the workspace can change the plan.")
                .with("plan", Text(has.name())).with("plansRequired", Plans(needs)),
            Self::FeatureRequired { feature } => Row::forbidden(Outcome::FeatureRequired,
                "The workspace does not have the feature `{feature}`, which this endpoint needs. Ask for it to be enabled.")
                .with("feature", Text(feature)),
            Self::RoleRequired { role } => Row::forbidden(Outcome::RoleRequired,
                "This endpoint needs a token with the role `{role}`. Use one that an owner of the workspace made with that role.")
                .with("role", Text(role.name())),
            Self::WorkspaceSuspended { state } => Row::forbidden(Outcome::WorkspaceSuspended,
                "The workspace is {state}, and its requests are not served. Ask the API's support to restore it.")
                .with("state", Text(state.name())),
            Self::WorkspaceUnknown => Row::forbidden(Outcome::WorkspaceUnknown,
                "The access token names a workspace that is not registered here. Check the region, or ask the API's support to register the workspace."),

            Self::NotFound => Row::new(Outcome::NotFound, 404, "not-found",
                "There is no such endpoint. Check the path against the API's reference.{documentation}"),
            Self::MethodNotAllowed { allow } => Row { allow: Some(allow), ..Row::new(Outcome::MethodNotAllowed, 405, "method-not-allowed",
                "The endpoint does not have this method. Use one of: {allow}.") }
                .with("allow", Text(allow)),
            Self::VersionUnsupported { choices } => Row::new(Outcome::VersionUnsupported, 406, "not-acceptable",
                "The endpoint has no version that the Accept header names. Name one of: {choices}.")
                .with("choices", Texts(choices)),
            Self::MediaTypeUnsupported { choices } => Row::new(Outcome::MediaTypeUnsupported, 415, "unsupported-media-type",
                "The endpoint does not take the media type that the Content-Type header names. Name one of: {choices}.")
                .with("choices", Texts(choices)),

            Self::RequestTimeout { limit } => Row::closing(Outcome::RequestTimeout, 408,
                "The request was not complete within {limitSeconds} s. Send it again, faster, on a new connection.")
                .with("limitSeconds", Number(limit.as_secs().max(1))),
            Self::BodyTooLarge { limit_bytes } => Row::closing(Outcome::BodyTooLarge, 413,
                "The body is longer than {limitBytes} bytes. Send less at once.")
                .with("limitBytes", Number(*limit_bytes)),
            Self::UriTooLong { limit_bytes } => Row::closing(Outcome::UriTooLong, 414,
                "The request target is longer than {limitBytes} bytes. Send fewer or shorter parameters.")
                .with("limitBytes", Number(*limit_bytes)),
            Self::ExpectationFailed => Row::closing(Outcome::ExpectationFailed, 417,
                "The Expect header asks for something other than `100-continue`. Send the request without it."),
            Self::HeadersTooLarge { limit: HeadersLimit::Bytes(bytes) } => Row::closing(Outcome::HeadersTooLarge, 431,
                "The header section is longer than {limitBytes} bytes. Send fewer or shorter fields.")
                .with("limitBytes", Number(*bytes)),
            Self::HeadersTooLarge { limit: HeadersLimit::Fields(fields) } => Row::closing(Outcome::HeadersTooLarge, 431,
                "The header section has more than {limitFields} fields. Send fewer.")
                .with("limitFields", Number(*fields)),

            Self::WrongRegion { region, base_url } => Row::new(Outcome::WrongRegion, 421, "wrong-region",
                "The workspace lives in the region `{region}`, which is not served here. Send the request to {baseUrl}.")
                .with("region", Text(region)).with("baseUrl", Text(base_url)),
            Self::InputInvalid { field, message } => Row { said: message, field: Some(field), ..Row::new(Outcome::InputInvalid, 422, "input-validation",
                "{said}") },

            Self::RateLimited(limit) => Row::exhausted(Outcome::RateLimited,
                "Too many requests: the limit `{policy}` is used up. Repeat the request in {msBeforeNext} ms.", limit),
            Self::QuotaExceeded(limit) => Row::exhausted(Outcome::QuotaExceeded,
                "Too many requests: the quota `{policy}` is used up. Repeat the request in {msBeforeNext} ms.", limit),
            Self::TooManyInFlight { policy, limit } => Row { retry: Retry::After(IN_FLIGHT_WAIT), ..Row::new(Outcome::TooManyInFlight, 429, "RequestError",
                "Too many requests at once: the limit `{policy}` lets {consumedPoints} be served at a time. Repeat the request when an earlier one has been answered.") }
                .with("remainingPoints", Number(0)).with("consumedPoints", Number(*limit))
                .with("msBeforeNext", Number(IN_FLIGHT_WAIT.as_millis() as u64)).with("policy", Text(policy)),

            Self::Internal => Row { close: true, ..Row::new(Outcome::Internal, 500, "internal",
                "The gateway failed on this request by a fault of its own. Repeat it if that is safe, and report the request id if it happens again.") },
            Self::NotImplemented { what } => Row { said: what, close: true, ..Row::new(Outcome::NotImplemented, 501, "internal",
                "The gateway does not implement {said} of this request. Send it without.") },

            Self::UpstreamUnreachable => Row::new(Outcome::UpstreamUnreachable, 502, "upstream",
                "The API could not be reached. The request was not acted upon; repeat it."),
            Self::UpstreamBroken => Row::new(Outcome::UpstreamBroken, 502, "upstream",
                "The API broke off its answer. `forwarded` says whether the request may have been acted upon; repeat it if that is safe."),
            Self::UpstreamOpen { wait } => Row { retry: wait.map_or(Retry::Soon, Retry::After), ..Row::new(Outcome::UpstreamOpen, 503, "upstream",
                "The API is failing and gets no requests for a short while. The request was not acted upon; repeat it later.") },
            Self::UpstreamTimeout => Row::new(Outcome::UpstreamTimeout, 504, "upstream",
                "The API did not answer in time. `forwarded` says whether the request may have been acted upon; repeat it if that is safe."),

            Self::IssuerUnavailable => Row::unavailable(Outcome::IssuerUnavailable,
                "The access token cannot be checked at the moment, because its issuer's keys cannot be had. It may well be good; repeat the request later."),
            Self::RegistryUnavailable => Row::unavailable(Outcome::RegistryUnavailable,
                "The token cannot be checked at the moment. It may well be good; repeat the request later."),
            Self::LimitsUnavailable => Row::unavailable(Outcome::LimitsUnavailable,
                "The request cannot be counted at the moment, and nothing is served uncounted. Repeat it later."),
            Self::Overloaded => Row::unavailable(Outcome::Overloaded,
                "The gateway has more to do than it can. Repeat the request later."),
            Self::Draining => Row { close: true, ..Row::unavailable(Outcome::Draining,
                "This gateway is shutting down. Repeat the request on a new connection.") },
        }
    }
}

/// What a caller with too many requests in flight is told to wait: the end of a request cannot be foreseen.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(1);
