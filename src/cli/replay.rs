//! `tollgate replay`.

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::limits::Format;
use super::output::{Table, json, thousands};
use super::token::open;
use super::{Error, environment};
use crate::config::load;
use crate::replay::{DeprecatedCallers, NewlyRefused, Report, replay};

/// `tollgate replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The access log (JSON), or - for standard input.
    log: PathBuf,
    /// How the report is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Writes who would newly be refused; exit code 1 if there is one.
pub(super) fn run(args: &ReplayArgs, config: &Path, out: &mut dyn Write) -> Result<(), Error> {
    let config = load(config, &environment)?;
    let mut log = open(&args.log)?;
    let mut told = std::io::stderr();
    let is_terminal = told.is_terminal();
    let report = replay(&mut *log, &config, &mut |lines| {
        if is_terminal {
            // Progress that cannot be shown is no reason to end.
            let _ = write!(told, "\r{} lines", thousands(lines));
        }
    })?;
    if is_terminal {
        writeln!(std::io::stderr(), "\r\x1b[K")?;
    }
    match args.format {
        Format::Json => json(out, &report)?,
        Format::Text => text(&report, out)?,
    }
    if report.newly_refused > 0 { Err(Error::NewlyRefused(report.newly_refused)) } else { Ok(()) }
}

fn text(report: &Report, out: &mut dyn Write) -> Result<(), Error> {
    let span = report.first.zip(report.last).map(|(first, last)| format!(" from {first} to {last}"));
    writeln!(out, "{} requests{}", thousands(report.requests), span.unwrap_or_default())?;
    if report.malformed > 0 {
        let lines = if report.malformed == 1 { "line" } else { "lines" };
        writeln!(out, "{} {lines} could not be read, left out:", thousands(report.malformed))?;
        for malformed in &report.first_malformed {
            writeln!(out, "  line {}: {}", malformed.line, malformed.reason)?;
        }
    }
    for warning in &report.warnings {
        writeln!(out, "note: {warning}")?;
    }
    writeln!(out)?;
    if report.refused.is_empty() {
        writeln!(out, "Nobody would newly be refused.")?;
    } else {
        refused(&report.refused, out)?;
    }
    if report.newly_served > 0 {
        writeln!(out, "\n{} requests that were refused would be served.", thousands(report.newly_served))?;
    }
    if !report.deprecated.is_empty() {
        deprecated(&report.deprecated, out)?;
    }
    Ok(())
}

fn refused(rows: &[NewlyRefused], out: &mut dyn Write) -> Result<(), Error> {
    writeln!(out, "Newly refused:")?;
    let mut table = Table::new([
        "WORKSPACE",
        "STATUS",
        "REASON",
        "POLICY",
        "REQUESTS",
        "SHARE",
        "FIRST",
        "LAST",
        "TOKENS",
    ]);
    for row in rows {
        let (status, requests) = (row.status.to_string(), thousands(row.requests));
        let share = format!("{:.1} %", row.share * 100.0);
        let (first, last, tokens) = (row.first.to_string(), row.last.to_string(), row.tokens.join(", "));
        let policy = row.policy.as_deref().unwrap_or_default();
        table.row([&row.workspace, &status, row.reason, policy, &requests, &share, &first, &last, &tokens]);
    }
    table.write(out)
}

fn deprecated(rows: &[DeprecatedCallers], out: &mut dyn Write) -> Result<(), Error> {
    writeln!(out, "\nVersions that are going away:")?;
    let mut table = Table::new(["OPERATION", "VERSION", "REQUESTS", "WORKSPACES"]);
    for row in rows {
        let (requests, workspaces) = (thousands(row.requests), row.workspaces.join(", "));
        table.row([&row.operation, &row.version, &requests, &workspaces]);
    }
    table.write(out)
}
