//! `tollgate workspace`: the tenants.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json as object;

use super::output::{Table, json, list, pairs};
use super::registry::{plan, workspace_state};
use super::{Error, RegistryAccess};
use crate::clock::Clock;
use crate::domain::{Plan, WorkspaceState};
use crate::notifications::{OPERATOR, SigningKeys};
use crate::tokens::{Mint, Moment, NewWorkspace, WorkspaceChange, WorkspaceRecord, WorkspaceView};

const PAGE: u32 = 1_000;
const NOTHING_TO_SET: &str =
    "say what to set: --region, --plan, --state, --enable, --disable, --add-contact or --remove-contact";

/// Create, list, show and change workspaces.
#[derive(Clone, Debug, Args)]
pub struct WorkspaceArgs {
    /// Write JSON: one object, or an array for a list.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: WorkspaceCommand,
}

/// What to do with workspaces.
#[derive(Clone, Debug, Subcommand)]
pub enum WorkspaceCommand {
    /// Make a workspace.
    Create(CreateWorkspace),
    /// List all workspaces.
    List,
    /// Show one workspace.
    Show {
        /// Its id.
        id: String,
    },
    /// Change a workspace; what is not named stays as it is.
    Set(SetWorkspace),
    /// Show the secret that webhooks to a workspace's contacts are signed by.
    WebhookSecret {
        /// The workspace's id.
        #[arg(required_unless_present = "operator")]
        id: Option<String>,
        /// The one of webhooks to the operator instead.
        #[arg(long, conflicts_with = "id")]
        operator: bool,
    },
}

/// `tollgate workspace create`.
#[derive(Clone, Debug, Args)]
pub struct CreateWorkspace {
    /// Its id: 1 to 64 of A-Z a-z 0-9 _ -.
    pub id: String,
    /// Where its data lives; may be left out if the configuration has one region.
    #[arg(long)]
    pub region: Option<String>,
    /// Its plan: free, team or business.
    #[arg(long, default_value = "business", value_parser = plan)]
    pub plan: Plan,
    /// A feature that is enabled for it; may be repeated.
    #[arg(long = "feature", value_name = "NAME")]
    pub features: Vec<String>,
    /// An e-mail or https:// webhook address that is told of leaked tokens; may be repeated.
    #[arg(long = "contact", value_name = "ADDRESS")]
    pub contacts: Vec<String>,
}

/// `tollgate workspace set`.
#[derive(Clone, Debug, Args)]
pub struct SetWorkspace {
    /// Its id.
    pub id: String,
    /// Move it to another region. Tokens made before still carry the old region's letter: rotate them.
    #[arg(long)]
    pub region: Option<String>,
    /// Another plan: free, team or business.
    #[arg(long, value_parser = plan)]
    pub plan: Option<Plan>,
    /// active, suspended, or deleted, which also revokes its tokens for good.
    #[arg(long, value_parser = workspace_state)]
    pub state: Option<WorkspaceState>,
    /// Enable a feature; may be repeated.
    #[arg(long, value_name = "FEATURE")]
    pub enable: Vec<String>,
    /// Disable a feature; may be repeated.
    #[arg(long, value_name = "FEATURE")]
    pub disable: Vec<String>,
    /// Add a contact; may be repeated.
    #[arg(long = "add-contact", value_name = "ADDRESS")]
    pub add_contacts: Vec<String>,
    /// Remove a contact; may be repeated.
    #[arg(long = "remove-contact", value_name = "ADDRESS")]
    pub remove_contacts: Vec<String>,
}

/// Does what was asked and writes the result to `out`.
pub fn run(
    args: &WorkspaceArgs,
    access: &RegistryAccess,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let act = access.act(clock.now());
    match &args.command {
        WorkspaceCommand::Create(create) => {
            let new = NewWorkspace {
                id: create.id.clone(),
                region: access.region(create.region.as_deref())?,
                plan: create.plan,
                features: create.features.clone(),
                contacts: create.contacts.clone(),
            };
            show(&access.open(clock)?.create_workspace(act, &new)?, args.json, out)
        }
        WorkspaceCommand::List => list_all(&access.open(clock)?, args.json, out),
        WorkspaceCommand::Show { id } => show(&access.open(clock)?.workspace(id)?, args.json, out),
        WorkspaceCommand::WebhookSecret { id, .. } => {
            let mint = access.open(clock)?;
            if let Some(id) = id {
                mint.workspace(id)?;
            }
            let secret = SigningKeys::of(mint.peppers()).webhook_secret(id.as_deref().unwrap_or(OPERATOR));
            if args.json {
                return json(out, &object!({"webhook_secret": secret.expose()}));
            }
            Ok(writeln!(out, "{}", secret.expose())?)
        }
        WorkspaceCommand::Set(set) => {
            let change = change(set);
            if change == WorkspaceChange::default() {
                return Err(Error::Usage(NOTHING_TO_SET.to_owned()));
            }
            let mint = access.open(clock)?;
            let before = mint.workspace(&set.id)?;
            let after = mint.set_workspace(act, &set.id, &change)?;
            show(&after, args.json, out)?;
            if before.region != after.region && !args.json {
                writeln!(
                    out,
                    "Its older tokens still carry the letter of `{}`. Gateways that serve one region turn them \
                     away: rotate them (`tollgate token list --workspace {}`).",
                    before.region, after.id
                )?;
            }
            Ok(())
        }
    }
}

fn change(set: &SetWorkspace) -> WorkspaceChange {
    WorkspaceChange {
        region: set.region.clone(),
        plan: set.plan,
        state: set.state,
        enable: set.enable.clone(),
        disable: set.disable.clone(),
        add_contacts: set.add_contacts.clone(),
        remove_contacts: set.remove_contacts.clone(),
    }
}

fn show(workspace: &WorkspaceRecord, as_json: bool, out: &mut dyn Write) -> Result<(), Error> {
    if as_json {
        return json(out, &workspace.view());
    }
    pairs(
        out,
        &[
            ("id", Some(workspace.id.clone())),
            ("region", Some(workspace.region.clone())),
            ("plan", Some(workspace.plan.name().to_owned())),
            ("state", Some(workspace.state.name().to_owned())),
            ("features", list(&workspace.features)),
            ("contacts", list(&workspace.contacts)),
            ("created", Some(Moment(workspace.created_at_unix_seconds).to_string())),
        ],
    )
}

fn list_all(mint: &Mint, as_json: bool, out: &mut dyn Write) -> Result<(), Error> {
    let mut all: Vec<WorkspaceRecord> = Vec::new();
    loop {
        let after = all.last().map_or("", |workspace| &workspace.id);
        let page = mint.store().workspaces(after, PAGE)?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    if as_json {
        return json(out, &all.iter().map(WorkspaceRecord::view).collect::<Vec<WorkspaceView<'_>>>());
    }
    if all.is_empty() {
        writeln!(out, "There is no workspace yet; make one with `tollgate workspace create ID`.")?;
        return Ok(());
    }
    let mut table = Table::new(["ID", "REGION", "PLAN", "STATE", "FEATURES"]);
    for workspace in &all {
        let features = workspace.features.join(", ");
        let (plan, state) = (workspace.plan.name(), workspace.state.name());
        table.row([&workspace.id, &workspace.region, plan, state, &features]);
    }
    table.write(out)
}

#[cfg(test)]
mod tests;
