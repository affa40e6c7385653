//! `tollgate audit`: the trail of changes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::output::{Table, json, thousands};
use super::registry::{Until, seconds, until};
use super::{Error, RegistryAccess};
use crate::clock::{Clock, Now};
use crate::tokens::store::{ChangeKind, LogEntry, log};
use crate::tokens::{HeadKey, Moment, SignedHead, Store, hexadecimal};

const PAGE: u32 = 1_000;
/// How far the clocks of those who write one trail may be apart.
const CLOCKS_DIFFER_MILLIS: u64 = 10 * 60 * 1_000;

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
    Verify(Verify),
    /// Sign the number and hash of the last entry with the key of `tokens.audit_key_file`, as one line of JSON.
    Head,
}

/// `tollgate audit verify`.
#[derive(Clone, Debug, Args)]
pub struct Verify {
    /// Also hold the trail against the signed heads in this file: lines of `tollgate audit head` or of the log.
    #[arg(long, value_name = "FILE")]
    pub heads: Option<PathBuf>,
    /// The key that heads are trusted by, as they show it. Without it, that of `tokens.audit_key_file`.
    #[arg(long, value_name = "BASE64", requires = "heads")]
    pub public_key: Option<String>,
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
        AuditCommand::Verify(asked) => {
            verify(&**mint.store(), out)?;
            match &asked.heads {
                Some(file) => hold_against(&**mint.store(), file, &trusted_key(asked, access)?, out),
                None => Ok(()),
            }
        }
        AuditCommand::Head => {
            let key = HeadKey::open(key_file(access)?)?;
            json(out, &key.sign(mint.store().head()?, clock.now()))
        }
    }
}

fn key_file(access: &RegistryAccess) -> Result<&Path, Error> {
    let none = || Error::Usage("no key signs heads: name its file in `tokens.audit_key_file`".to_owned());
    access.rules().audit_key_file.as_deref().ok_or_else(none)
}

fn trusted_key(asked: &Verify, access: &RegistryAccess) -> Result<String, Error> {
    match &asked.public_key {
        Some(key) => Ok(key.clone()),
        None => Ok(HeadKey::open(key_file(access)?)?.public_key()),
    }
}

/// Holds a trail that was verified against every signed head of a file.
fn hold_against(store: &dyn Store, file: &Path, trusted: &str, out: &mut dyn Write) -> Result<(), Error> {
    let mut newest = None;
    let mut count = 0;
    for line in BufReader::new(File::open(file)?).lines() {
        let Some(head) = SignedHead::in_line(&line?) else { continue };
        if let Err(why) = head.check(store, trusted)? {
            return Err(Error::NotTheHead { seq: head.seq, signed_at: head.signed_at, why });
        }
        count += 1;
        newest = newest.max(Some((head.seq, head.signed_at)));
    }
    let Some((seq, signed_at)) = newest else {
        return Err(Error::Usage(format!("there is no signed head in {}", file.display())));
    };
    Ok(writeln!(
        out,
        "{} signed heads agree; the newest is that of entry {}, signed {signed_at}",
        thousands(count),
        thousands(seq)
    )?)
}

fn list_changes(store: &dyn Store, asked: &ListChanges, now: Now, out: &mut dyn Write) -> Result<(), Error> {
    let from_millis = now.unix_millis.saturating_sub(asked.since.saturating_mul(1_000));
    let before_millis = asked.until.map_or(u64::MAX, |end| end.unix_seconds(now).saturating_mul(1_000));
    let mut table = Table::new(["ID", "TIME", "TYPE", "ACTOR", "RESOURCE", "NAME", "DETAILS"]);
    let mut pages = Pages::of(store, asked, from_millis)?;
    let mut found = false;
    while let Some(page) = pages.next()? {
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

/// The entries that may be asked for, the oldest first.
struct Pages<'s> {
    store: &'s dyn Store,
    /// The entry behind which the next page begins.
    last: u64,
    /// All of one token's entries in place of pages of the log.
    of_token: Option<Vec<LogEntry>>,
}

impl<'s> Pages<'s> {
    fn of(store: &'s dyn Store, asked: &ListChanges, from_millis: u64) -> Result<Self, Error> {
        let of_token = asked.token.as_deref().map(|token| entries_of(store, token)).transpose()?;
        let last = if of_token.is_some() { 0 } else { before(store, from_millis)? };
        Ok(Self { store, last, of_token })
    }

    fn next(&mut self) -> Result<Option<Vec<LogEntry>>, Error> {
        if let Some(entries) = &mut self.of_token {
            return Ok(Some(std::mem::take(entries)).filter(|entries| !entries.is_empty()));
        }
        let page = self.store.log(self.last, PAGE)?;
        let Some(end) = page.last() else { return Ok(None) };
        self.last = end.seq;
        Ok(Some(page))
    }
}

/// Every entry about one subject, found by the index, the oldest first.
fn entries_of(store: &dyn Store, subject: &str) -> Result<Vec<LogEntry>, Error> {
    let (mut entries, mut end) = (Vec::new(), u64::MAX);
    loop {
        let page = store.log_of(&[subject], end, PAGE)?;
        let Some(oldest) = page.last() else { break };
        end = oldest.seq;
        entries.extend(page);
    }
    entries.reverse();
    Ok(entries)
}

/// An entry behind which everything since a time is, found by halving: times follow the numbers, but for the clocks of
/// gateways.
fn before(store: &dyn Store, from_millis: u64) -> Result<u64, Error> {
    let from_millis = from_millis.saturating_sub(CLOCKS_DIFFER_MILLIS);
    let (mut older, mut newer) = (0, store.head()?.0 + 1);
    while newer - older > 1 {
        let middle = older + (newer - older) / 2;
        match store.log(middle - 1, 1)?.first() {
            Some(entry) if entry.at_unix_millis < from_millis => older = middle,
            Some(_) | None => newer = middle,
        }
    }
    Ok(older)
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

fn kind(text: &str) -> Result<ChangeKind, String> {
    ChangeKind::by_name(text).ok_or_else(|| {
        let all: Vec<&str> = ChangeKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("`{text}` is no kind of change; write one of {}", all.join(", "))
    })
}

#[cfg(test)]
mod tests;
