//! `/v1/tokens/{id}/requests`

use http::Method;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;

use super::page::{CURSOR, PER_PAGE, Wanted, page_schema};
use super::route::Route;
use super::work::{Answer, Work};
use crate::gateway::refuse_change::for_operator;
use crate::journal::{Kept, Place, Question, Which};
use crate::reply::Refusal;
use crate::tokens::Moment;

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::GET,
    path: "/v1/tokens/{id}/requests",
    operation: "listTokenRequests",
    about: "Lists what a token did, as the journal has it: requests that may have changed something, and refused ones, also after it was revoked. The latest first; empty where no journal is kept.",
    query: &[CURSOR, PER_PAGE],
    body: None,
    status: 200,
    answer: SchemaGenerator::subschema_for::<Page>,
    refusals: &[404],
    run: list,
}];

/// A request of the journal.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
struct TokenRequestEvent<'k> {
    /// Its number in the journal.
    id: u64,
    timestamp: Moment,
    method: &'k str,
    /// The operation of the endpoint table, or `unmatched`.
    operation: &'k str,
    /// The path that was asked for.
    resource: &'k str,
    /// 0 if there was no answer.
    status: u16,
    outcome: &'k str,
    /// Whether an upstream may have acted on it: `no`, `maybe` or `yes`.
    forwarded: &'k str,
    address: &'k str,
    user_agent: &'k str,
    request_id: &'k str,
}

page_schema!(Page, requests: TokenRequestEvent<'static>);

fn list(work: &Work) -> Result<Answer, Refusal> {
    let wanted = Wanted::of(work)?;
    let after = match wanted.after.as_str() {
        "" => None,
        key => Some(place(key).ok_or_else(|| Refusal::InputInvalid {
            field: "cursor".to_owned(),
            message: "`cursor` is no `pagination.next` of an earlier page.".to_owned(),
        })?),
    };
    let token = work.mint().token(work.parameter(0)).map_err(|error| for_operator(&error))?;
    let question = Question {
        token_id: &token.id,
        which: Which::All,
        from_unix_millis: 0,
        before_unix_millis: u64::MAX,
        after,
        count: wanted.to_read(),
    };
    let read = work.node.journal().map_or(Ok(Vec::new()), |journal| journal.entries(&question));
    let read = read.map_err(|error| {
        tracing::error!(%error, "what a token did cannot be shown");
        Refusal::RegistryUnavailable
    })?;
    let key = |kept: &Kept| format!("{}.{}", kept.entry.at_unix_millis, kept.number);
    wanted.answer("requests", read, key, |kept| serde_json::to_value(event(kept)))
}

fn place(key: &str) -> Option<Place> {
    let (at, number) = key.split_once('.')?;
    Some(Place { at_unix_millis: at.parse().ok()?, number: number.parse().ok()? })
}

fn event(kept: &Kept) -> TokenRequestEvent<'_> {
    let entry = &kept.entry;
    TokenRequestEvent {
        id: kept.number,
        timestamp: Moment(entry.at_unix_millis / 1_000),
        method: &entry.method,
        operation: &entry.operation,
        resource: &entry.resource,
        status: entry.status,
        outcome: &entry.outcome,
        forwarded: &entry.forwarded,
        address: &entry.address,
        user_agent: &entry.user_agent,
        request_id: &entry.request_id,
    }
}
