//! `tollgate operator`: who may use the admin API and the status page.

use std::io::Write;

use clap::{Args, Subcommand};

use super::output::{Table, json, pairs};
use super::registry::seconds;
use super::{Error, RegistryAccess};
use crate::clock::{Clock, Now};
use crate::tokens::{MintedOperator, Moment, OperatorRecord};

/// Create, list and revoke operators.
#[derive(Clone, Debug, Args)]
pub struct OperatorArgs {
    /// Write JSON: one object, or an array for a list.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: OperatorCommand,
}

/// What to do with operators.
#[derive(Clone, Debug, Subcommand)]
pub enum OperatorCommand {
    /// Make an operator; its token is shown once.
    Create {
        /// Its name, by which the audit trail knows it: 1 to 64 of A-Z a-z 0-9 . _ -. It is never given again.
        name: String,
        /// How long its token lives, for example 90d; for ever if left out.
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires: Option<u64>,
    },
    /// List operators, also revoked ones.
    List,
    /// Revoke an operator's token.
    Revoke {
        /// Its name.
        name: String,
    },
}

/// Does what was asked and writes the result to `out`.
pub fn run(
    args: &OperatorArgs,
    access: &RegistryAccess,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let now = clock.now();
    let mint = access.open(clock)?;
    match &args.command {
        OperatorCommand::Create { name, expires } => {
            show_minted(&mint.create_operator(access.act(now), name, *expires)?, now, args.json, out)
        }
        OperatorCommand::List => list(&mint.store().operators()?, now, args.json, out),
        OperatorCommand::Revoke { name } => {
            show(&mint.revoke_operator(access.act(now), name)?, now, args.json, out)
        }
    }
}

fn show_minted(minted: &MintedOperator, now: Now, as_json: bool, out: &mut dyn Write) -> Result<(), Error> {
    if as_json {
        let mut value = serde_json::to_value(minted.record.view(now.unix_seconds()))?;
        value["token"] = minted.token.expose().as_str().into();
        return json(out, &value);
    }
    show(&minted.record, now, false, out)?;
    writeln!(out, "\n{}\n", minted.token.expose())?;
    writeln!(
        out,
        "This is the operator's token. Keep it now: only its hash is stored, it cannot be shown again."
    )?;
    Ok(())
}

fn show(operator: &OperatorRecord, now: Now, as_json: bool, out: &mut dyn Write) -> Result<(), Error> {
    let view = operator.view(now.unix_seconds());
    if as_json {
        return json(out, &view);
    }
    let text = |moment: Option<Moment>| moment.map(|moment| moment.to_string());
    pairs(
        out,
        &[
            ("name", Some(operator.name.clone())),
            ("state", Some(view.state.name().to_owned())),
            ("created", text(Some(view.created_at))),
            ("expires", Some(text(view.expires_at).unwrap_or_else(|| "never".to_owned()))),
            ("revoked", text(view.revoked_at)),
        ],
    )
}

fn list(operators: &[OperatorRecord], now: Now, as_json: bool, out: &mut dyn Write) -> Result<(), Error> {
    let views: Vec<_> = operators.iter().map(|operator| operator.view(now.unix_seconds())).collect();
    if as_json {
        return json(out, &views);
    }
    if views.is_empty() {
        writeln!(out, "There is no operator yet; make one with `tollgate operator create NAME`.")?;
        return Ok(());
    }
    let mut table = Table::new(["NAME", "STATE", "CREATED", "EXPIRES"]);
    for view in &views {
        let expires = view.expires_at.map_or_else(|| "never".to_owned(), |end| end.to_string());
        table.row([view.name, view.state.name(), &view.created_at.to_string(), &expires]);
    }
    table.write(out)
}
