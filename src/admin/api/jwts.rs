//! `/v1/jwt-revocations`

use http::Method;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Deserialize;

use super::page::{CURSOR, PER_PAGE, Wanted, page_schema};
use super::route::Route;
use super::work::{Answer, Work};
use crate::gateway::refuse_change::for_operator;
use crate::reply::Refusal;
use crate::tokens::{JwtRevocation, JwtRevocationView, JwtsRevoked};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/jwt-revocations",
        operation: "revokeJwts",
        about: "Revokes JWTs: one by `issuer` and `jti`, a subject's by `issuer` and `subject`, or a workspace's by `workspace`; the last two if they were issued before a time. It cannot be lifted: whom it names gets another token from the issuer.",
        query: &[],
        body: Some(SchemaGenerator::subschema_for::<RevokeJwts>),
        status: 201,
        answer: SchemaGenerator::subschema_for::<One>,
        refusals: &[404, 409],
        run: revoke,
    },
    Route {
        method: Method::GET,
        path: "/v1/jwt-revocations",
        operation: "listJwtRevocations",
        about: "Lists revocations by id, also some whose end has come.",
        query: &[CURSOR, PER_PAGE],
        body: None,
        status: 200,
        answer: SchemaGenerator::subschema_for::<Page>,
        refusals: &[],
        run: list,
    },
];

/// Which JWTs are revoked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RevokeJwts {
    /// Their `iss`, which the configuration accepts.
    issuer: Option<String>,
    /// The `jti` of one token.
    #[schemars(length(min = 1, max = 1_024))]
    jti: Option<String>,
    /// The `sub` of all tokens of somebody.
    #[schemars(length(min = 1, max = 1_024))]
    subject: Option<String>,
    /// The workspace that they are for.
    workspace: Option<String>,
    /// Only those whose `iat` is before this time (RFC 3339), at most 5 minutes ahead; now if left out. A token without
    /// `iat` counts as issued before any time.
    issued_before: Option<String>,
    /// Goes into the audit trail; up to 256 characters.
    #[schemars(length(max = 256))]
    reason: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename = "JwtRevocationData")]
#[expect(dead_code, reason = "only described")]
struct One {
    jwt_revocation: JwtRevocationView<'static>,
}

page_schema!(Page, jwt_revocations: JwtRevocationView<'static>);

fn revoke(work: &Work) -> Result<Answer, Refusal> {
    let body: RevokeJwts = work.read()?;
    let before = body.issued_before.as_deref().map(|text| moment("issued_before", text)).transpose()?;
    let issued_before_unix_seconds = before.unwrap_or_else(|| JwtsRevoked::until_now(work.act()));
    let jwts = match (body.issuer, body.jti, body.subject, body.workspace) {
        (Some(issuer), Some(jti), None, None) if before.is_none() => JwtsRevoked::Token { issuer, jti },
        (Some(issuer), None, Some(subject), None) => {
            JwtsRevoked::Subject { issuer, subject, issued_before_unix_seconds }
        }
        (None, None, None, Some(workspace)) => {
            JwtsRevoked::Workspace { workspace, issued_before_unix_seconds }
        }
        _ => {
            let message = "Name `issuer` and `jti`, or `issuer` and `subject`, or `workspace`, and nothing beside; \
                           `issued_before` goes with the last two.";
            return Err(Refusal::InputInvalid { field: String::new(), message: message.to_owned() });
        }
    };
    let reason = body.reason.as_deref().unwrap_or("revoked by an operator");
    let accepted = work.node.accepted_jwts();
    let revoked = work.registry().revoke_jwts(work.mint(), work.act(), (&jwts, reason), &accepted);
    let made = work.changed(revoked)?;
    Answer::of(201, "jwt_revocation", &made.view())
}

fn list(work: &Work) -> Result<Answer, Refusal> {
    let wanted = Wanted::of(work)?;
    let read = work.mint().store().jwt_revocations(&wanted.after, wanted.to_read());
    let read = read.map_err(|error| for_operator(&error))?;
    let show = |revocation: &JwtRevocation| serde_json::to_value(revocation.view());
    wanted.answer("jwt_revocations", read, |revocation| revocation.id.clone(), show)
}

/// Reads a time of a field, RFC 3339.
pub(super) fn moment(field: &str, text: &str) -> Result<u64, Refusal> {
    let read = text.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_second()).ok());
    read.ok_or_else(|| Refusal::InputInvalid {
        field: field.to_owned(),
        message: format!("`{field}` is a time since 1970 such as 2026-12-01T12:00:00Z."),
    })
}
