//! `/v1/overrides`, and those of one token or workspace.

use std::num::NonZeroU32;

use http::Method;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::jwts::moment;
use super::page::{CURSOR, PER_PAGE, Wanted, page_schema};
use super::route::Route;
use super::tokens::quota;
use super::work::{Answer, Work};
use crate::clock::Now;
use crate::domain::{LimitOverride, OverrideHolder, Quota};
use crate::gateway::refuse_change::for_operator;
use crate::limits::{Ceiling, NotOverridable, Rules};
use crate::reply::Refusal;
use crate::tokens::{self, HeldOverride, Mint, NewOverride, OverrideRecord, OverrideView};

macro_rules! of_holder {
    ($path:literal, $holder:expr, $set:literal, $get:literal, $remove:literal) => {
        [
            Route {
                method: Method::PUT,
                path: $path,
                operation: $set,
                about: "Puts another quota in place of a policy's until a time. The policy is a name of `limits.policies`, an endpoint's own limit by its operation, or `token` for a token's own limit.",
                query: &[],
                body: Some(SchemaGenerator::subschema_for::<SetOverride>),
                status: 200,
                answer: SchemaGenerator::subschema_for::<SetData>,
                refusals: &[404, 409],
                run: |work| set(work, &$holder(work.parameter(0).to_owned())),
            },
            Route {
                method: Method::GET,
                path: $path,
                operation: $get,
                about: "Shows an override.",
                query: &[],
                body: None,
                status: 200,
                answer: SchemaGenerator::subschema_for::<One>,
                refusals: &[404],
                run: |work| get(work, &$holder(work.parameter(0).to_owned())),
            },
            Route {
                method: Method::DELETE,
                path: $path,
                operation: $remove,
                about: "Ends an override now; the answer is what it was.",
                query: &[],
                body: None,
                status: 200,
                answer: SchemaGenerator::subschema_for::<One>,
                refusals: &[404],
                run: |work| remove(work, &$holder(work.parameter(0).to_owned())),
            },
        ]
    };
}

const OF_TOKEN: [Route; 3] = of_holder!(
    "/v1/tokens/{id}/overrides/{policy}",
    OverrideHolder::Token,
    "setTokenOverride",
    "getTokenOverride",
    "deleteTokenOverride"
);
const OF_WORKSPACE: [Route; 3] = of_holder!(
    "/v1/workspaces/{id}/overrides/{policy}",
    OverrideHolder::Workspace,
    "setWorkspaceOverride",
    "getWorkspaceOverride",
    "deleteWorkspaceOverride"
);
const LIST: Route = Route {
    method: Method::GET,
    path: "/v1/overrides",
    operation: "listOverrides",
    about: "Lists the overrides of all tokens and workspaces, also some that have ended.",
    query: &[CURSOR, PER_PAGE],
    body: None,
    status: 200,
    answer: SchemaGenerator::subschema_for::<Page>,
    refusals: &[],
    run: list,
};

pub(super) const ROUTES: &[Route] = &{
    let [a, b, c] = OF_TOKEN;
    let [d, e, f] = OF_WORKSPACE;
    [LIST, a, b, c, d, e, f]
};

/// An override to be set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SetOverride {
    /// How much instead, for example `600 per minute`.
    quota: String,
    /// Requests that may come at once; the quota's number if left out.
    burst: Option<NonZeroU32>,
    /// When it ends by itself (RFC 3339).
    until: String,
    /// Goes into the audit trail; up to 256 characters.
    #[serde(default)]
    reason: String,
}

/// An override with its holder: `token`, a family by its first token, or `workspace`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HeldOverride")]
struct View<'r> {
    token: Option<&'r str>,
    workspace: Option<&'r str>,
    #[serde(flatten)]
    given: OverrideView<'r>,
    in_force: bool,
}

/// A policy over the whole workspace that admits less than an override of one of its tokens.
#[derive(Serialize, JsonSchema)]
struct BoundBy {
    policy: String,
    quota: String,
}

#[derive(JsonSchema)]
#[schemars(rename = "OverrideData")]
#[expect(dead_code, reason = "only described")]
struct One {
    r#override: View<'static>,
}

#[derive(JsonSchema)]
#[schemars(rename = "SetOverrideData")]
#[expect(dead_code, reason = "only described")]
struct SetData {
    r#override: View<'static>,
    /// What still admits less over all tokens of the workspace.
    bound_by: Vec<BoundBy>,
}

page_schema!(Page, overrides: View<'static>);

/// Why an override is not to be set.
#[derive(Debug, thiserror::Error)]
pub enum OverrideRefused {
    /// Its holder is not there, or cannot be looked up.
    #[error(transparent)]
    Registry(#[from] tokens::Error),
    /// It makes no sense for its policy.
    #[error(transparent)]
    NotOverridable(#[from] NotOverridable),
}

/// What would still bind, once it is known that an override makes sense.
pub fn check(
    rules: &Rules,
    mint: &Mint,
    holder: &OverrideHolder,
    new: &NewOverride,
    now: Now,
) -> Result<Vec<Ceiling>, OverrideRefused> {
    let (own_limit, workspace) = match holder {
        OverrideHolder::Token(id) => {
            let token = mint.token(id)?;
            let given = in_force(&token.overrides, "token", now);
            (token.own_limit.or(given), mint.workspace(&token.workspace)?)
        }
        OverrideHolder::Workspace(id) => (None, mint.workspace(id)?),
    };
    rules.check_override(holder, &new.policy, new.quota, own_limit)?;
    let in_place = |policy: &str| in_force(&workspace.overrides, policy, now);
    Ok(rules.ceilings(&new.policy, new.quota, workspace.plan, in_place))
}

fn in_force(overrides: &[OverrideRecord], policy: &str, now: Now) -> Option<Quota> {
    let seen: Vec<LimitOverride> = overrides.iter().map(OverrideRecord::as_met).collect();
    LimitOverride::in_force(&seen, policy, now.unix_seconds())
}

fn view<'r>(holder: &'r OverrideHolder, record: &'r OverrideRecord, now: Now) -> View<'r> {
    let (token, workspace) = match holder {
        OverrideHolder::Token(id) => (Some(id.as_str()), None),
        OverrideHolder::Workspace(id) => (None, Some(id.as_str())),
    };
    View { token, workspace, given: record.view(), in_force: record.is_in_force(now.unix_seconds()) }
}

fn set(work: &Work, holder: &OverrideHolder) -> Result<Answer, Refusal> {
    let body: SetOverride = work.read()?;
    let given = quota("quota", &body.quota)?;
    let new = NewOverride {
        policy: work.parameter(1).to_owned(),
        quota: body.burst.map_or(given, |burst| given.with_burst(burst)),
        until_unix_seconds: moment("until", &body.until)?,
        reason: body.reason,
    };
    let ceilings = check(&work.node.limits(), work.mint(), holder, &new, work.now);
    let ceilings = ceilings.map_err(|refused| match refused {
        OverrideRefused::Registry(error) => for_operator(&error),
        OverrideRefused::NotOverridable(why) => {
            Refusal::InputInvalid { field: "policy".to_owned(), message: format!("{why}.") }
        }
    })?;
    let record = work.changed(work.mint().set_override(work.act(), holder, &new))?;
    let mut answer = Answer::of(200, "override", &view(holder, &record, work.now))?;
    let bound = |one: &Ceiling| BoundBy { policy: one.policy.to_string(), quota: one.quota.to_string() };
    let bound: Vec<BoundBy> = ceilings.iter().map(bound).collect();
    answer.body["data"]["bound_by"] = serde_json::json!(bound);
    Ok(answer)
}

fn get(work: &Work, holder: &OverrideHolder) -> Result<Answer, Refusal> {
    let overrides = match holder {
        OverrideHolder::Token(id) => work.mint().token(id).map(|token| token.overrides),
        OverrideHolder::Workspace(id) => work.mint().workspace(id).map(|workspace| workspace.overrides),
    };
    let policy = work.parameter(1);
    let overrides = overrides.map_err(|error| for_operator(&error))?;
    let found = overrides.iter().find(|one| one.policy == policy).ok_or_else(|| {
        let (holder, policy) = (holder.clone(), policy.to_owned());
        for_operator(&tokens::Error::OverrideUnknown { holder, policy })
    })?;
    Answer::of(200, "override", &view(holder, found, work.now))
}

fn remove(work: &Work, holder: &OverrideHolder) -> Result<Answer, Refusal> {
    let removed = work.changed(work.mint().remove_override(work.act(), holder, work.parameter(1)))?;
    Answer::of(200, "override", &view(holder, &removed, work.now))
}

fn list(work: &Work) -> Result<Answer, Refusal> {
    let wanted = Wanted::of(work)?;
    let invalid = || {
        let message = "`cursor` is no `pagination.next` of an earlier page.".to_owned();
        Refusal::InputInvalid { field: "cursor".to_owned(), message }
    };
    // A key is the holder's kind and id and the policy, whose name may hold anything.
    let after = match wanted.after.splitn(3, ' ').collect::<Vec<_>>()[..] {
        [""] => None,
        [kind, id, policy] => Some((OverrideHolder::of(kind, id.to_owned()).ok_or_else(invalid)?, policy)),
        _ => return Err(invalid()),
    };
    let after = after.as_ref().map(|(holder, policy)| (holder, *policy));
    let read = work.mint().store().overrides(after, wanted.to_read());
    let read = read.map_err(|error| for_operator(&error))?;
    let key = |one: &HeldOverride| format!("{} {} {}", one.holder.kind(), one.holder.id(), one.record.policy);
    let show = |one: &HeldOverride| serde_json::to_value(view(&one.holder, &one.record, work.now));
    wanted.answer("overrides", read, key, show)
}
