//! `/v1/workspaces`

use http::Method;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Deserialize;

use super::page::{CURSOR, PER_PAGE, Wanted, page_schema};
use super::route::Route;
use super::work::{Answer, Work};
use crate::domain::{Plan, WorkspaceState};
use crate::gateway::refuse_change::for_operator;
use crate::reply::Refusal;
use crate::tokens::{NewWorkspace, WorkspaceChange, WorkspaceRecord, WorkspaceView};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/workspaces",
        operation: "createWorkspace",
        about: "Makes a workspace.",
        query: &[],
        body: Some(SchemaGenerator::subschema_for::<CreateWorkspace>),
        status: 201,
        answer: SchemaGenerator::subschema_for::<One>,
        refusals: &[409],
        run: create,
    },
    Route {
        method: Method::GET,
        path: "/v1/workspaces",
        operation: "listWorkspaces",
        about: "Lists workspaces by id.",
        query: &[CURSOR, PER_PAGE],
        body: None,
        status: 200,
        answer: SchemaGenerator::subschema_for::<Page>,
        refusals: &[],
        run: list,
    },
    Route {
        method: Method::GET,
        path: "/v1/workspaces/{id}",
        operation: "getWorkspace",
        about: "Shows a workspace.",
        query: &[],
        body: None,
        status: 200,
        answer: SchemaGenerator::subschema_for::<One>,
        refusals: &[404],
        run: get,
    },
    Route {
        method: Method::PATCH,
        path: "/v1/workspaces/{id}",
        operation: "updateWorkspace",
        about: "Changes a workspace; what is left out stays as it is. The state `deleted` revokes its tokens for good. In another region its older tokens carry the old one's letter: rotate them.",
        query: &[],
        body: Some(SchemaGenerator::subschema_for::<UpdateWorkspace>),
        status: 200,
        answer: SchemaGenerator::subschema_for::<One>,
        refusals: &[404],
        run: update,
    },
];

/// A workspace to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateWorkspace {
    /// Its id: 1 to 64 of `A-Z a-z 0-9 _ -`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-]{1,64}$"))]
    id: String,
    /// Where its data lives; may be left out if the configuration has one region.
    region: Option<String>,
    /// Its plan; `business` if left out.
    plan: Option<Plan>,
    /// The features that are enabled for it.
    #[serde(default)]
    features: Vec<String>,
    /// E-mail and https:// webhook addresses that are told of leaked tokens.
    #[serde(default)]
    contacts: Vec<String>,
}

/// What changes in a workspace.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct UpdateWorkspace {
    /// Another home region.
    region: Option<String>,
    /// Another plan.
    plan: Option<Plan>,
    /// Another state.
    state: Option<WorkspaceState>,
    /// Features to enable.
    enable: Vec<String>,
    /// Features to disable.
    disable: Vec<String>,
    /// Contacts to add.
    add_contacts: Vec<String>,
    /// Contacts to remove.
    remove_contacts: Vec<String>,
}

#[derive(JsonSchema)]
#[schemars(rename = "WorkspaceData")]
#[expect(dead_code, reason = "only described")]
struct One {
    workspace: WorkspaceView<'static>,
}

page_schema!(Page, workspaces: WorkspaceView<'static>);

fn create(work: &Work) -> Result<Answer, Refusal> {
    let body: CreateWorkspace = work.read()?;
    let mut regions = work.mint().regions().iter().map(|(_, region)| region.name.to_string());
    let region = match (body.region, regions.next(), regions.next()) {
        (Some(region), _, _) => region,
        (None, Some(only), None) => only,
        (None, _, _) => {
            let message = "Say where its data lives: the configuration has several regions.".to_owned();
            return Err(Refusal::InputInvalid { field: "region".to_owned(), message });
        }
    };
    let new = NewWorkspace {
        id: body.id,
        region,
        plan: body.plan.unwrap_or(Plan::Business),
        features: body.features,
        contacts: body.contacts,
    };
    made(&work.changed(work.mint().create_workspace(work.act(), &new))?)
}

/// What a request that makes a workspace is answered.
pub(super) fn made(workspace: &WorkspaceRecord) -> Result<Answer, Refusal> {
    Answer::of(201, "workspace", &workspace.view())
}

fn list(work: &Work) -> Result<Answer, Refusal> {
    let wanted = Wanted::of(work)?;
    let read = work.mint().store().workspaces(&wanted.after, wanted.to_read());
    let read = read.map_err(|error| for_operator(&error))?;
    let show = |workspace: &WorkspaceRecord| serde_json::to_value(workspace.view());
    wanted.answer("workspaces", read, |workspace| workspace.id.clone(), show)
}

fn get(work: &Work) -> Result<Answer, Refusal> {
    let found = work.mint().workspace(work.parameter(0)).map_err(|error| for_operator(&error))?;
    Answer::of(200, "workspace", &found.view())
}

fn update(work: &Work) -> Result<Answer, Refusal> {
    let body: UpdateWorkspace = work.read()?;
    let change = WorkspaceChange {
        region: body.region,
        plan: body.plan,
        state: body.state,
        enable: body.enable,
        disable: body.disable,
        add_contacts: body.add_contacts,
        remove_contacts: body.remove_contacts,
    };
    let set = work.registry().set_workspace(work.mint(), work.act(), work.parameter(0), &change);
    let after = work.changed(set)?;
    Answer::of(200, "workspace", &after.view())
}
