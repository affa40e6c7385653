//! `/v1/operators`

use http::Method;
use schemars::{JsonSchema, SchemaGenerator};

use super::route::Route;
use super::work::{Answer, Work};
use crate::reply::Refusal;
use crate::tokens::OperatorView;

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::POST,
    path: "/v1/operators/{name}/revoke",
    operation: "revokeOperator",
    about: "Revokes an operator's token, also one's own. Doing it again changes nothing.",
    query: &[],
    body: None,
    status: 200,
    answer: SchemaGenerator::subschema_for::<One>,
    refusals: &[404],
    run: revoke,
}];

#[derive(JsonSchema)]
#[schemars(rename = "OperatorData")]
#[expect(dead_code, reason = "only described")]
struct One {
    operator: OperatorView<'static>,
}

fn revoke(work: &Work) -> Result<Answer, Refusal> {
    let revoked = work.changed(work.registry().revoke_operator(work.act(), work.parameter(0)))?;
    Answer::of(200, "operator", &revoked.view(work.now.unix_seconds()))
}
