//! The one table: what each refusal says.
//!
//! What an outcome always says stands in [`TABLE`]; what one refusal adds, in [`Refusal::row`]. The compiler
//! holds that there is a row for each outcome that is not served, and a line for each refusal.
//!
//! A message names in braces what it quotes: a member of the row's data, `{said}`, or `{documentation}`, which
//! becomes a sentence with the link of the settings, if there is one.

use std::time::Duration;

use super::refusal::{Exhausted, HeadersLimit, Refusal};
use crate::domain::{Outcome, Plan, Role};

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

/// Every outcome that is not served, in the order of the documentation's table.
#[rustfmt::skip]
const TABLE: &[Row<'static>] = &[
    Row::new(Outcome::BadRequest, 400, "bad-request",
        "The request is not well-formed HTTP: {said}. The connection is closed; send a well-formed request on a new one.").closing(),
    Row::new(Outcome::AmbiguousPath, 400, "bad-request",
        "The path can be read in more than one way: {said}."),
    Row::new(Outcome::SeveralCredentials, 400, "bad-request",
        "The request carries more than one credential. Send one Authorization field, and no token in the query.").challenging(Challenge::InvalidRequest),
    Row::new(Outcome::SignatureInvalid, 400, "bad-request",
        "The alert is not believed: {said}. Send the bytes that GitHub signed, with both of its fields."),
    Row::new(Outcome::CredentialMissing, 401, "unauthorized",
        "Authorization header is required. Send `Authorization: Bearer <token>`.").challenging(Challenge::Bare),
    Row::new(Outcome::CredentialInQuery, 401, "unauthorized",
        "A token in the query is not accepted, because addresses end up in logs. Send it in the Authorization header, and rotate it if the address was shared.").challenging(Challenge::Bare),
    Row::new(Outcome::CredentialMalformed, 401, "unauthorized",
        "The Authorization header is not `Bearer` and one token. Send `Authorization: Bearer <token>`, with one space and nothing after the token.").challenging(Challenge::InvalidToken),
    Row::new(Outcome::TokenUnknown, 401, "unauthorized",
        "The token is not valid. Check that it was copied whole and belongs to this API.").challenging(Challenge::InvalidToken),
    Row::new(Outcome::TokenRevoked, 401, "unauthorized",
        "The token was revoked. Ask an owner of the workspace for a new one.").challenging(Challenge::InvalidToken),
    Row::new(Outcome::TokenExpired, 401, "unauthorized",
        "The token has expired. Ask an owner of the workspace for a new one.").challenging(Challenge::InvalidToken),
    Row::new(Outcome::JwtInvalid, 401, "unauthorized",
        "The access token is not valid here: its signature, issuer, audience or claims do not hold. Request a new one from the authorization server of this region.").challenging(Challenge::InvalidToken),
    Row::new(Outcome::JwtExpired, 401, "unauthorized",
        "The access token has expired. Request a new one from the authorization server.").challenging(Challenge::InvalidToken),
    Row::new(Outcome::JwtRevoked, 401, "unauthorized",
        "The access token was revoked. Request a new one, or ask an owner of the workspace why.").challenging(Challenge::InvalidToken),
    Row::new(Outcome::AddressNotAllowed, 403, "forbidden",
        "The token may not be used from the address {address}. Call from an address that it is bound to, or ask an owner of the workspace to change them."),
    Row::new(Outcome::BrowserPreflight, 403, "forbidden",
        "This API cannot be called from a browser: its tokens give access to a whole workspace and must not be in a web page. Make the call from a server.{documentation}"),
    Row::new(Outcome::ScopeMissing, 403, "forbidden",
        "The token lacks the scope `{scope}`, which this request needs. Use a token that has it."),
    Row::new(Outcome::PlanRequired, 403, "forbidden",
        "The workspace is on the plan `{plan}`, and this endpoint needs `{plansRequired}`. An owner of the workspace can change the plan."),
    Row::new(Outcome::FeatureRequired, 403, "forbidden",
        "The workspace does not have the feature `{feature}`, which this endpoint needs. Ask for it to be enabled."),
    Row::new(Outcome::RoleRequired, 403, "forbidden",
        "This endpoint needs a token with the role `{role}`. Use one that an owner of the workspace made with that role."),
    Row::new(Outcome::WorkspaceSuspended, 403, "forbidden",
        "The workspace is {state}, and its requests are not served. Ask the API's support to restore it."),
    Row::new(Outcome::WorkspaceUnknown, 403, "forbidden",
        "The access token names a workspace that is not registered here. Check the region, or ask the API's support to register the workspace."),
    Row::new(Outcome::NotFound, 404, "not-found",
        "There is no such endpoint. Check the path against the API's reference.{documentation}"),
    Row::new(Outcome::MethodNotAllowed, 405, "method-not-allowed",
        "The endpoint does not have this method. Use one of: {allow}."),
    Row::new(Outcome::VersionUnsupported, 406, "not-acceptable",
        "The endpoint has no version that the Accept header names. Name one of: {choices}."),
    Row::new(Outcome::MediaTypeUnsupported, 415, "unsupported-media-type",
        "The endpoint does not take the media type that the Content-Type header names. Name one of: {choices}."),
    Row::new(Outcome::RequestTimeout, 408, "bad-request",
        "The request was not complete within {limitSeconds} s. Send it again, faster, on a new connection.").closing(),
    Row::new(Outcome::BodyTooLarge, 413, "bad-request",
        "The body is longer than {limitBytes} bytes. Send less at once.").closing(),
    Row::new(Outcome::UriTooLong, 414, "bad-request",
        "The request target is longer than {limitBytes} bytes. Send fewer or shorter parameters.").closing(),
    Row::new(Outcome::ExpectationFailed, 417, "bad-request",
        "The Expect header asks for something other than `100-continue`. Send the request without it.").closing(),
    Row::new(Outcome::HeadersTooLarge, 431, "bad-request",
        "The header section is larger than {limitBytes} bytes. Send fewer or shorter fields.").closing(),
    Row::new(Outcome::WrongRegion, 421, "wrong-region",
        "The workspace lives in the region `{region}`, which is not served here. Send the request to {baseUrl}."),
    Row::new(Outcome::Conflict, 409, "conflict",
        "{said}"),
    Row::new(Outcome::InputInvalid, 422, "input-validation",
        "{said}"),
    Row::new(Outcome::RateLimited, 429, "RequestError",
        "Too many requests: the limit `{policy}` is used up. Repeat the request in {msBeforeNext} ms."),
    Row::new(Outcome::QuotaExceeded, 429, "RequestError",
        "Too many requests: the quota `{policy}` is used up. Repeat the request in {msBeforeNext} ms."),
    Row::new(Outcome::TooManyInFlight, 429, "RequestError",
        "Too many requests at once: the limit `{policy}` lets {consumedPoints} be served at a time. Repeat the request when an earlier one has been answered."),
    Row::new(Outcome::Internal, 500, "internal",
        "The gateway failed on this request by a fault of its own. Repeat it if that is safe, and report the request id if it happens again.").closing(),
    Row::new(Outcome::NotImplemented, 501, "internal",
        "The gateway does not implement {said} of this request. Send it without.").closing(),
    Row::new(Outcome::UpstreamUnreachable, 502, "upstream",
        "The API could not be reached. The request was not acted upon; repeat it."),
    Row::new(Outcome::UpstreamBroken, 502, "upstream",
        "The API broke off its answer. `forwarded` says whether the request may have been acted upon; repeat it if that is safe."),
    Row::new(Outcome::UpstreamOpen, 503, "upstream",
        "The API is failing and gets no requests for a short while. The request was not acted upon; repeat it later.").retried_soon(),
    Row::new(Outcome::UpstreamTimeout, 504, "upstream",
        "The API did not answer in time. `forwarded` says whether the request may have been acted upon; repeat it if that is safe."),
    Row::new(Outcome::IssuerUnavailable, 503, "unavailable",
        "The access token cannot be checked at the moment, because its issuer's keys cannot be had. It may well be good; repeat the request later.").retried_soon(),
    Row::new(Outcome::SignerUnavailable, 503, "unavailable",
        "The alert cannot be checked at the moment, because GitHub's keys cannot be had. It may well be genuine; repeat it later.").retried_soon(),
    Row::new(Outcome::RegistryUnavailable, 503, "unavailable",
        "The token cannot be checked at the moment. It may well be good; repeat the request later.").retried_soon(),
    Row::new(Outcome::LimitsUnavailable, 503, "unavailable",
        "The request cannot be counted at the moment, and nothing is served uncounted. Repeat it later.").retried_soon(),
    Row::new(Outcome::Overloaded, 503, "unavailable",
        "The gateway has more to do than it can. Repeat the request later.").retried_soon(),
    Row::new(Outcome::Draining, 503, "unavailable",
        "This gateway is shutting down. Repeat the request on a new connection.").retried_soon().closing(),
];

/// What the header section's message is where the number of fields is at fault.
const TOO_MANY_FIELDS: &str = "The header section has more than {limitFields} fields. Send fewer.";

/// Who may manage tokens: not a token, or a leaked one could make others.
const OWNER_REQUIRED: &str = "Tokens are managed by a person whose role is Workspace Owner, with an access token (JWT) of that person. An API token cannot do it, whatever its role is.";

/// What is said where the store is away.
const STORE_UNAVAILABLE: &str = "The token store cannot be used at the moment, and nothing was changed. Tokens go on working; repeat the request later.";

/// What is said where the store was lost in the middle of a change.
const STORE_UNSURE: &str = "The token store was lost while the change was made, and it is not known whether it was. Look before you repeat the request.";

/// How many outcomes need no row: `forwarded`, `answered` and `client_gone`.
const SERVED: usize = 3;

/// The place in [`TABLE`] of each outcome, by [`Outcome::index`].
const PLACES: [u8; Outcome::ALL.len()] = {
    let mut places = [u8::MAX; Outcome::ALL.len()];
    let mut at = 0;
    while at < TABLE.len() {
        let place = &mut places[TABLE[at].outcome.index()];
        assert!(*place == u8::MAX, "an outcome has two rows");
        *place = at as u8;
        at += 1;
    }
    assert!(TABLE.len() + SERVED == Outcome::ALL.len(), "an outcome has no row");
    places
};

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

    const fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    const fn retried_soon(self) -> Self {
        Self { retry: Retry::Soon, ..self }
    }

    const fn challenging(self, challenge: Challenge<'r>) -> Self {
        Self { challenge, ..self }
    }

    /// The row of an outcome that is not served.
    const fn of(outcome: Outcome) -> Self {
        TABLE[PLACES[outcome.index()] as usize]
    }

    const fn in_words(self, message: &'static str) -> Self {
        Self { message, ..self }
    }

    const fn saying(self, said: &'r str) -> Self {
        Self { said, ..self }
    }

    fn with(mut self, name: &'static str, datum: Datum<'r>) -> Self {
        if let Some(free) = self.data.iter_mut().find(|place| place.is_none()) {
            *free = Some((name, datum));
        }
        self
    }

    fn counting(self, policy: &'r str, remaining: u64, consumed: u64, wait: Duration) -> Self {
        let wait_millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let data = [
            Some(("remainingPoints", Datum::Number(remaining))),
            Some(("consumedPoints", Datum::Number(consumed))),
            Some(("msBeforeNext", Datum::Number(wait_millis))),
            Some(("policy", Datum::Text(policy))),
            None,
        ];
        Self { retry: Retry::After(wait), data, ..self }
    }

    fn exhausted(self, limit: &'r Exhausted) -> Self {
        self.counting(&limit.policy, limit.remaining, limit.consumed, limit.wait)
    }

    /// The value of one of its data.
    pub(super) fn datum(&self, name: &str) -> Option<Datum<'r>> {
        self.data.iter().flatten().find(|(known, _)| *known == name).map(|(_, datum)| *datum)
    }
}

impl Refusal {
    /// The row of this refusal.
    pub(super) fn row(&self) -> Row<'_> {
        use Datum::{Number, Plans, Text, Texts};
        let row = Row::of(self.outcome());
        match self {
            Self::BadRequest { what } | Self::NotImplemented { what } | Self::SignatureInvalid { what } => {
                row.saying(what)
            }
            Self::AmbiguousPath { what: said } | Self::Conflict { message: said } => row.saying(said),
            Self::AddressNotAllowed { address } => row.with("address", Text(address)),
            Self::ScopeMissing { scope } => {
                row.challenging(Challenge::InsufficientScope(scope)).with("scope", Text(scope))
            }
            Self::PlanRequired { has, needs } => {
                row.with("plan", Text(has.name())).with("plansRequired", Plans(needs))
            }
            Self::FeatureRequired { feature } => row.with("feature", Text(feature)),
            Self::RoleRequired { role } => row.with("role", Text(role.name())),
            Self::OwnerRequired => row.in_words(OWNER_REQUIRED).with("role", Text(Role::Owner.name())),
            Self::Missing { message } => row.in_words("{said}").saying(message),
            Self::StoreUnavailable => row.in_words(STORE_UNAVAILABLE),
            Self::StoreUnsure => row.in_words(STORE_UNSURE),
            Self::WorkspaceSuspended { state } => row.with("state", Text(state.name())),
            Self::MethodNotAllowed { allow } => Row { allow: Some(allow), ..row }.with("allow", Text(allow)),
            Self::VersionUnsupported { choices } | Self::MediaTypeUnsupported { choices } => {
                row.with("choices", Texts(choices))
            }
            Self::RequestTimeout { limit } => row.with("limitSeconds", Number(limit.as_secs().max(1))),
            Self::BodyTooLarge { limit_bytes } | Self::UriTooLong { limit_bytes } => {
                row.with("limitBytes", Number(*limit_bytes))
            }
            Self::HeadersTooLarge { limit: HeadersLimit::Bytes(bytes) } => {
                row.with("limitBytes", Number(*bytes))
            }
            Self::HeadersTooLarge { limit: HeadersLimit::Fields(fields) } => {
                row.in_words(TOO_MANY_FIELDS).with("limitFields", Number(*fields))
            }
            Self::WrongRegion { region, base_url } => {
                row.with("region", Text(region)).with("baseUrl", Text(base_url))
            }
            Self::InputInvalid { field, message } => Row { field: Some(field), ..row }.saying(message),
            Self::RateLimited(limit) | Self::QuotaExceeded(limit) => row.exhausted(limit),
            Self::TooManyInFlight { policy, limit } => row.counting(policy, 0, *limit, IN_FLIGHT_WAIT),
            Self::UpstreamOpen { wait: Some(wait) } => Row { retry: Retry::After(*wait), ..row },
            Self::SeveralCredentials
            | Self::CredentialMissing
            | Self::CredentialInQuery
            | Self::CredentialMalformed
            | Self::TokenUnknown
            | Self::TokenRevoked
            | Self::TokenExpired
            | Self::JwtInvalid
            | Self::JwtExpired
            | Self::JwtRevoked
            | Self::BrowserPreflight
            | Self::WorkspaceUnknown
            | Self::NotFound
            | Self::ExpectationFailed
            | Self::Internal
            | Self::UpstreamUnreachable
            | Self::UpstreamBroken
            | Self::UpstreamOpen { wait: None }
            | Self::UpstreamTimeout
            | Self::IssuerUnavailable
            | Self::SignerUnavailable
            | Self::RegistryUnavailable
            | Self::LimitsUnavailable
            | Self::Overloaded
            | Self::Draining => row,
        }
    }
}

/// What a caller with too many requests in flight is told to wait: the end of a request cannot be foreseen.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(1);
