//! `tollgate limits`: overrides of limits, for one token or workspace, until a date.

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json as object;

use super::output::{Table, json, pairs};
use super::registry::{Until, quota, until};
use super::{Error, RegistryAccess, environment};
use crate::admin::check_override;
use crate::clock::{Clock, Now};
use crate::config::load;
use crate::domain::{OverrideHolder, Quota};
use crate::limits::Ceiling;
use crate::tokens::{HeldOverride, Mint, Moment, NewOverride, OverrideRecord};

const PAGE: u32 = 1_000;

/// Show and set overrides of limits.
#[derive(Clone, Debug, Args)]
pub struct LimitsArgs {
    /// How results are written.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub format: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: LimitsCommand,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One line of JSON.
    Json,
}

/// What to do with limits.
#[derive(Clone, Debug, Subcommand)]
pub enum LimitsCommand {
    /// Show the overrides of a token, of a workspace, or all.
    Show(Holder),
    /// Put another quota in place of a policy's, for one token or workspace and until a date.
    Set(Box<SetLimit>),
}

/// Whose limits.
#[derive(Clone, Debug, Args)]
#[group(multiple = false)]
pub struct Holder {
    /// A token, by its id; its successors by rotation keep the override.
    #[arg(long, value_name = "ID")]
    pub token: Option<String>,
    /// A workspace: each of its tokens, or all together, as the policy counts.
    #[arg(long, value_name = "ID")]
    pub workspace: Option<String>,
}

/// `tollgate limits set`.
#[derive(Clone, Debug, Args)]
pub struct SetLimit {
    /// Whose.
    #[command(flatten)]
    pub holder: Holder,
    /// The policy: a name of `limits.policies`, an endpoint's own limit by its operation, or `token` for the
    /// token's own limit.
    #[arg(long, value_name = "NAME")]
    pub policy: String,
    /// How much instead, for example "600 per minute".
    #[arg(long, value_parser = quota, required_unless_present = "remove")]
    pub quota: Option<Quota>,
    /// Requests that may come at once; the quota's number if left out.
    #[arg(long, value_name = "N", requires = "quota")]
    pub burst: Option<std::num::NonZeroU32>,
    /// When it ends by itself: a day (ends as it begins, UTC), a time such as 2026-12-01T12:00:00Z, or so long
    /// from now such as 7d.
    #[arg(long, value_name = "DATE", value_parser = until, required_unless_present = "remove")]
    pub until: Option<Until>,
    /// Why; goes into the audit trail.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// End the override now.
    #[arg(long, conflicts_with_all = ["quota", "until"])]
    pub remove: bool,
}

impl Holder {
    fn named(&self) -> Option<OverrideHolder> {
        let token = self.token.clone().map(OverrideHolder::Token);
        token.or_else(|| self.workspace.clone().map(OverrideHolder::Workspace))
    }
}

/// Does what was asked and writes the result to `out`. `config` is read whole to set an override, so that its
/// policy is known to exist.
pub fn run(
    args: &LimitsArgs,
    access: &RegistryAccess,
    config: &Path,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let now = clock.now();
    match &args.command {
        LimitsCommand::Show(holder) => {
            let mint = access.open(clock)?;
            let held = match holder.named() {
                Some(holder) => of(&mint, &holder)?,
                None => all(&mint)?,
            };
            show(&held, now, args.format, out)
        }
        LimitsCommand::Set(set) => {
            let needs_holder = "say whose limit: --token ID or --workspace ID";
            let holder = set.holder.named().ok_or_else(|| Error::Usage(needs_holder.to_owned()))?;
            if set.remove {
                let removed = access.open(clock)?.remove_override(access.act(now), &holder, &set.policy)?;
                return tell_removed(&holder, &removed, args.format, out);
            }
            let rules = load(config, &environment)?.limits;
            let (quota, until) = set.quota.zip(set.until).ok_or_else(|| {
                Error::Usage("say how much and how long: --quota \"600 per minute\" --until DATE".to_owned())
            })?;
            let quota = set.burst.map_or(quota, |burst| quota.with_burst(burst));
            let new = NewOverride {
                policy: set.policy.clone(),
                quota,
                until_unix_seconds: until.unix_seconds(now),
                reason: set.reason.clone(),
            };
            let mint = access.open(clock)?;
            let ceilings = check_override(&rules, &mint, &holder, &new, now)?;
            let record = mint.set_override(access.act(now), &holder, &new)?;
            tell_set(&holder, &record, &ceilings, args.format, out)
        }
    }
}

fn of(mint: &Mint, holder: &OverrideHolder) -> Result<Vec<HeldOverride>, Error> {
    let held = |holder: OverrideHolder, overrides: Vec<OverrideRecord>| {
        overrides.into_iter().map(move |record| HeldOverride { holder: holder.clone(), record })
    };
    let (own, workspace) = match holder {
        OverrideHolder::Token(id) => {
            let token = mint.token(id)?;
            let workspace = token.workspace;
            (Some((OverrideHolder::Token(token.family), token.overrides)), workspace)
        }
        OverrideHolder::Workspace(id) => (None, id.clone()),
    };
    let of_workspace = mint.workspace(&workspace)?.overrides;
    let own = own.into_iter().flat_map(|(holder, overrides)| held(holder, overrides));
    Ok(own.chain(held(OverrideHolder::Workspace(workspace), of_workspace)).collect())
}

fn all(mint: &Mint) -> Result<Vec<HeldOverride>, Error> {
    let mut all: Vec<HeldOverride> = Vec::new();
    loop {
        let after = all.last().map(|last| (&last.holder, last.record.policy.as_str()));
        let page = mint.store().overrides(after, PAGE)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

fn show(held: &[HeldOverride], now: Now, format: Format, out: &mut dyn Write) -> Result<(), Error> {
    let state =
        |record: &OverrideRecord| if record.is_in_force(now.unix_seconds()) { "in force" } else { "ended" };
    if format == Format::Json {
        let row = |one: &HeldOverride| {
            let mut row = serde_json::to_value(one.record.view())?;
            row[one.holder.kind()] = one.holder.id().into();
            row["in_force"] = one.record.is_in_force(now.unix_seconds()).into();
            Ok(row)
        };
        return json(out, &held.iter().map(row).collect::<Result<Vec<_>, Error>>()?);
    }
    if held.is_empty() {
        writeln!(out, "There is no override; set one with `tollgate limits set`.")?;
        return Ok(());
    }
    let mut table = Table::new(["FOR", "POLICY", "QUOTA", "BURST", "UNTIL", "STATE", "REASON"]);
    for HeldOverride { holder, record } in held {
        let view = record.view();
        let (whose, burst) = (format!("{} {}", holder.kind(), holder.id()), view.burst.to_string());
        let until = view.until.to_string();
        table.row([&whose, view.policy, &view.quota, &burst, &until, state(record), view.reason]);
    }
    table.write(out)
}

fn tell_set(
    holder: &OverrideHolder,
    record: &OverrideRecord,
    ceilings: &[Ceiling],
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let view = record.view();
    if format == Format::Json {
        let mut value = serde_json::to_value(&view)?;
        value[holder.kind()] = holder.id().into();
        let bound = |one: &Ceiling| object!({"policy": &*one.policy, "quota": one.quota.to_string()});
        value["bound_by"] = ceilings.iter().map(bound).collect::<Vec<_>>().into();
        return json(out, &value);
    }
    let rows = [
        (holder.kind(), Some(holder.id().to_owned())),
        ("policy", Some(record.policy.clone())),
        ("quota", Some(view.quota.clone())),
        ("burst", Some(view.burst.to_string())),
        ("until", Some(view.until.to_string())),
        ("reason", Some(record.reason.clone()).filter(|reason| !reason.is_empty())),
    ];
    pairs(out, &rows)?;
    for Ceiling { policy, quota } in ceilings {
        writeln!(
            out,
            "The policy `{policy}` still admits only {quota} over all tokens of the workspace, less than this \
             override: raise it too with `--workspace`, or nothing above it gets through."
        )?;
    }
    Ok(())
}

fn tell_removed(
    holder: &OverrideHolder,
    removed: &OverrideRecord,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Error> {
    if format == Format::Json {
        return json(out, &object!({"removed": removed.view(), holder.kind(): holder.id()}));
    }
    let (policy, quota, until) = (&removed.policy, removed.quota, Moment(removed.until_unix_seconds));
    Ok(writeln!(out, "removed: {policy} for {holder}, {quota} until {until}")?)
}

#[cfg(test)]
mod tests;
