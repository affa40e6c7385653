//! `/v1/tokens`

use http::Method;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::page::{CURSOR, PER_PAGE, Wanted, page_schema};
use super::route::{QueryParameter, Route};
use super::work::{Answer, Work};
use crate::clock::Now;
use crate::domain::{Quota, Role};
use crate::gateway::refuse_change::{for_operator, networks};
use crate::reply::Refusal;
use crate::tokens::{Minted, TokenChange, TokenRecord, TokenRequest, TokenView};

const WORKSPACE: QueryParameter = QueryParameter {
    name: "workspace",
    about: "Only those of this workspace.",
    schema: |_| json_schema!({"type": "string"}),
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/tokens",
        operation: "createToken",
        about: "Makes a token. The answer holds it for the only time; a repeated request with the same `Idempotency-Key` is answered the same with `token` null, also after a crash: rotate a token that nobody was told, or revoke it.",
        query: &[],
        body: Some(SchemaGenerator::subschema_for::<CreateToken>),
        status: 201,
        answer: SchemaGenerator::subschema_for::<Made>,
        refusals: &[404, 409],
        run: create,
    },
    Route {
        method: Method::GET,
        path: "/v1/tokens",
        operation: "listTokens",
        about: "Lists tokens by id, also revoked and expired ones.",
        query: &[WORKSPACE, CURSOR, PER_PAGE],
        body: None,
        status: 200,
        answer: SchemaGenerator::subschema_for::<Page>,
        refusals: &[404],
        run: list,
    },
    Route {
        method: Method::GET,
        path: "/v1/tokens/{id}",
        operation: "getToken",
        about: "Shows what is known of a token.",
        query: &[],
        body: None,
        status: 200,
        answer: SchemaGenerator::subschema_for::<One>,
        refusals: &[404],
        run: get,
    },
    Route {
        method: Method::PATCH,
        path: "/v1/tokens/{id}",
        operation: "updateToken",
        about: "Changes a token that works. What is left out stays.",
        query: &[],
        body: Some(SchemaGenerator::subschema_for::<UpdateToken>),
        status: 200,
        answer: SchemaGenerator::subschema_for::<One>,
        refusals: &[404, 409],
        run: update,
    },
    Route {
        method: Method::POST,
        path: "/v1/tokens/{id}/rotate",
        operation: "rotateToken",
        about: "Replaces a token by a new one of the same scopes, role, limits and networks. The answer holds the new one for the only time; the old one goes on working for the overlap.",
        query: &[],
        body: Some(SchemaGenerator::subschema_for::<RotateToken>),
        status: 201,
        answer: SchemaGenerator::subschema_for::<Made>,
        refusals: &[404, 409],
        run: rotate,
    },
    Route {
        method: Method::POST,
        path: "/v1/tokens/{id}/revoke",
        operation: "revokeToken",
        about: "Revokes a token, and those that it replaced and that still work. Doing it again changes nothing.",
        query: &[],
        body: Some(SchemaGenerator::subschema_for::<RevokeToken>),
        status: 200,
        answer: SchemaGenerator::subschema_for::<One>,
        refusals: &[404],
        run: revoke,
    },
];

/// A token to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateToken {
    /// Its workspace's id.
    workspace: String,
    /// A name for people, up to 128 characters.
    #[serde(default)]
    #[schemars(length(max = 128))]
    name: String,
    /// What it may do; the configured scopes if left out.
    #[serde(default)]
    scopes: Vec<String>,
    /// Its role; `restricted` if left out.
    role: Option<Role>,
    /// A limit of its own, for example `5 per minute`.
    own_limit: Option<String>,
    /// How long it lives; for ever if left out.
    #[schemars(range(min = 1, max = 3_162_240_000_u64))]
    lifetime_seconds: Option<u64>,
    /// Where it may be used from, as networks in CIDR notation; from everywhere if left out.
    #[serde(default)]
    #[schemars(length(max = 16))]
    allowed_networks: Vec<String>,
    /// Whether it is a decoy: never valid, and whoever uses it is told of.
    #[serde(default)]
    decoy: bool,
}

/// What changes in a token.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct UpdateToken {
    /// Another name.
    #[schemars(length(max = 128))]
    name: Option<String>,
    /// Other networks, in place of all of before; none lets it be used from everywhere.
    #[schemars(length(max = 16))]
    allowed_networks: Option<Vec<String>>,
}

/// How a token is replaced.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RotateToken {
    /// How long the old one goes on working; an hour if left out, 0 ends it at once.
    #[schemars(range(max = 3_162_240_000_u64))]
    overlap_seconds: Option<u64>,
    /// How long the new one lives; as long as the old one was made for if left out.
    #[schemars(range(min = 1, max = 3_162_240_000_u64))]
    lifetime_seconds: Option<u64>,
}

/// Why a token is revoked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RevokeToken {
    /// Goes into the audit trail; up to 256 characters.
    #[schemars(length(max = 256))]
    reason: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename = "TokenData")]
#[expect(dead_code, reason = "only described")]
struct One {
    token: TokenView<'static>,
}

#[derive(JsonSchema)]
#[schemars(rename = "MintedTokenData")]
#[expect(dead_code, reason = "only described")]
struct Made {
    token: MintedToken<'static>,
}

/// A token with its plain text, which is shown once.
#[derive(Serialize, JsonSchema)]
struct MintedToken<'r> {
    #[serde(flatten)]
    view: TokenView<'r>,
    /// The token itself; null where a repeated request cannot be shown it again.
    token: Option<&'r str>,
}

page_schema!(Page, tokens: TokenView<'static>);

/// What an old token's overlap is if nobody says.
const OVERLAP_SECONDS: u64 = 3_600;

/// What a request that makes a token is answered; without the token itself where it is repeated.
pub(super) fn made(record: &TokenRecord, token: Option<&str>, now: Now) -> Result<Answer, Refusal> {
    Answer::of(201, "token", &MintedToken { view: record.view(now.unix_seconds()), token })
}

fn minted(work: &Work, minted: &Minted) -> Result<Answer, Refusal> {
    made(&minted.record, Some(minted.token.expose().as_str()), work.now)
}

fn shown(work: &Work, token: &TokenRecord) -> Result<Answer, Refusal> {
    Answer::of(200, "token", &token.view(work.now.unix_seconds()))
}

fn create(work: &Work) -> Result<Answer, Refusal> {
    let body: CreateToken = work.read()?;
    let own_limit = body.own_limit.map(|text| quota("own_limit", &text)).transpose()?;
    let request = TokenRequest {
        workspace: body.workspace,
        name: body.name,
        scopes: body.scopes,
        role: body.role.unwrap_or(Role::Restricted),
        own_limit,
        lifetime_seconds: body.lifetime_seconds,
        allowed_networks: networks("allowed_networks", &body.allowed_networks)?,
        decoy: body.decoy,
    };
    minted(work, &work.changed(work.mint().create_token(work.act(), &request))?)
}

fn list(work: &Work) -> Result<Answer, Refusal> {
    let wanted = Wanted::of(work)?;
    let workspace = work.query("workspace");
    if let Some(workspace) = workspace {
        work.mint().workspace(workspace).map_err(|error| for_operator(&error))?;
    }
    let read = work.mint().store().tokens(workspace, &wanted.after, wanted.to_read());
    let read = read.map_err(|error| for_operator(&error))?;
    let show = |token: &TokenRecord| serde_json::to_value(token.view(work.now.unix_seconds()));
    wanted.answer("tokens", read, |token| token.id.clone(), show)
}

fn get(work: &Work) -> Result<Answer, Refusal> {
    shown(work, &work.mint().token(work.parameter(0)).map_err(|error| for_operator(&error))?)
}

fn update(work: &Work) -> Result<Answer, Refusal> {
    let body: UpdateToken = work.read()?;
    let read = |texts: Vec<String>| networks("allowed_networks", &texts);
    let allowed_networks = body.allowed_networks.map(read).transpose()?;
    let change = TokenChange { name: body.name, allowed_networks };
    shown(work, &work.changed(work.mint().set_token(work.act(), work.parameter(0), &change))?)
}

fn rotate(work: &Work) -> Result<Answer, Refusal> {
    let body: RotateToken = work.read()?;
    let overlap = body.overlap_seconds.unwrap_or(OVERLAP_SECONDS);
    let rotated = work.mint().rotate_token(work.act(), work.parameter(0), overlap, body.lifetime_seconds);
    minted(work, &work.changed(rotated)?)
}

fn revoke(work: &Work) -> Result<Answer, Refusal> {
    let body: RevokeToken = work.read()?;
    let reason = body.reason.as_deref().unwrap_or("revoked by an operator");
    shown(work, &work.changed(work.registry().revoke(work.act(), work.parameter(0), reason))?)
}

/// Reads a quota of a field.
pub(super) fn quota(field: &str, text: &str) -> Result<Quota, Refusal> {
    text.parse().map_err(|error: crate::domain::QuotaError| Refusal::InputInvalid {
        field: field.to_owned(),
        message: format!("{error}."),
    })
}
