//! `tollgate audit`: the trail of changes.

use std::io::{IsTerminal as _, Write};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::output::{Table, json, thousands};
use super::registry::{Until, seconds, until};
use super::{Error, RegistryAccess};
use crate::clock::{Clock, Now};
use crate::tokens::store::{ChangeKind, LogEntry, log};
use crate::tokens::{Moment, Store};

const PAGE: u32 = 1_000;

/// List or verify the audit trail.
#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What to do with the audit trail.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// List changes, the oldest first.
    List(ListChanges),
    /// Check that no entry was altered, dropped or moved since it was written.
    Verify,
}

/// `tollgate audit list`.
#[derive(Clone, Debug, Args)]
pub struct ListChanges {
    /// Only those of one token.
    #[arg(long, value_name = "ID")]
    pub token: Option<String>,
    /// Only those of one workspace and its tokens.
    #[arg(long, value_name = "ID")]
    pub workspace: Option<String>,
    /// Only those of one kind, for example token.revoked.
    #[arg(long, value_parser = kind)]
    pub kind: Option<ChangeKind>,
    /// How far back, for example 7d.
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = seconds)]
    pub since: u64,
    /// Only those before a day such as 2026-12-01 or a time such as 2026-12-01T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = until)]
    pub until: Option<Until>,
    /// How to write them.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// How changes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned text.
    Text,
    /// JSON Lines: one object a line.
    Jsonl,
}

/// A change with the fields of the API's audit events, and what stands behind it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'e> {
    id: String,
    timestamp: String,
    r#type: &'e str,
    actor: &'e str,
    resource_id: &'e str,
    resource_type: &'static str,
    resource_name: &'e str,
    details: &'e Value,
    hash: String,
}

/// Does what was asked and writes the result to `out`.
pub fn run(
    args: &AuditArgs,
    access: &RegistryAccess,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mint = access.open(clock)?;
    match &args.command {
        AuditCommand::List(list) => list_changes(&**mint.store(), list, clock.now(), out),
        AuditCommand::Verify => verify(&**mint.store(), out),
    }
}

fn list_changes(store: &dyn Store, asked: &ListChanges, now: Now, out: &mut dyn Write) -> Result<(), Error> {
    let from_millis = now.unix_millis.saturating_sub(asked.since.saturating_mul(1_000));
    let before_millis = asked.until.map_or(u64::MAX, |end| end.unix_seconds(now).saturating_mul(1_000));
    let mut table = Table::new(["ID", "TIME", "TYPE", "ACTOR", "RESOURCE", "NAME", "DETAILS"]);
    let (mut last, mut found) = (0, false);
    loop {
        let page = store.log(last, PAGE)?;
        let Some(end) = page.last() else { break };
        last = end.seq;
        for entry in &page {
            let body: Value = serde_json::from_str(&entry.body).unwrap_or_default();
            let is_then = (from_millis..before_millis).contains(&entry.at_unix_millis);
            if !is_then || !is_asked_for(asked, entry, &body) {
                continue;
            }
            found = true;
            let event = event(entry, &body);
            match asked.format {
                Format::Jsonl => json(out, &event)?,
                Format::Text => table.row([
                    &event.id,
                    &event.timestamp,
                    event.r#type,
                    event.actor,
                    event.resource_id,
                    event.resource_name,
                    &told(&body),
                ]),
            }
        }
    }
    match asked.format {
        Format::Jsonl => Ok(()),
        Format::Text if found => table.write(out),
        Format::Text => {
            Ok(writeln!(out, "There is no such change; --since looks further back than 90 days.")?)
        }
    }
}

fn is_asked_for(list: &ListChanges, entry: &LogEntry, body: &Value) -> bool {
    let of_token = list.token.as_ref().is_none_or(|token| entry.subject == *token);
    let of_workspace = list.workspace.as_ref().is_none_or(|workspace| {
        let is_itself = entry.kind.starts_with("workspace.") && entry.subject == *workspace;
        is_itself || body["workspace"] == **workspace
    });
    of_token && of_workspace && list.kind.is_none_or(|kind| kind.name() == entry.kind)
}

fn event<'e>(entry: &'e LogEntry, body: &'e Value) -> Event<'e> {
    let kind = ChangeKind::by_name(&entry.kind);
    Event {
        id: entry.seq.to_string(),
        timestamp: Moment(entry.at_unix_millis / 1_000).to_string(),
        r#type: kind.map_or(entry.kind.as_str(), |kind| kind.title()),
        actor: &entry.actor,
        resource_id: &entry.subject,
        resource_type: kind.map_or("", ChangeKind::resource_type),
        resource_name: body["name"].as_str().unwrap_or_default(),
        details: body,
        hash: hexadecimal(&entry.hash),
    }
}

/// Why, and where a leaked token was found.
fn told(body: &Value) -> String {
    let reason = body["reason"].as_str().unwrap_or_default();
    match (body["leak"]["found_by"].as_str(), body["leak"]["url"].as_str()) {
        (Some(found_by), Some(url)) => format!("{reason}: found by {found_by} at {url}"),
        _ => reason.to_owned(),
    }
}

fn verify(store: &dyn Store, out: &mut dyn Write) -> Result<(), Error> {
    let head = store.head()?.0;
    let mut progress = std::io::stderr();
    let is_terminal = progress.is_terminal();
    let verified = log::verify(store, &mut |done| {
        if is_terminal {
            // Whoever cannot be shown how far it is still learns how it ends.
            let _ = write!(progress, "\r{} of {} entries", thousands(done), thousands(head));
        }
    });
    if is_terminal {
        writeln!(progress, "\r\x1b[K")?;
    }
    let entries = verified?;
    let hash = hexadecimal(&store.head()?.1);
    writeln!(out, "{} entries follow from each other; the last has the hash {hash}", thousands(entries))?;
    Ok(writeln!(out, "Keep number and hash somewhere else: they prove later that no entry was dropped.")?)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        text
    })
}

fn kind(text: &str) -> Result<ChangeKind, String> {
    ChangeKind::by_name(text).ok_or_else(|| {
        let all: Vec<&str> = ChangeKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("`{text}` is no kind of change; write one of {}", all.join(", "))
    })
}

#[cfg(test)]
mod tests;
