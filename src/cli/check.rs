//! `tollgate check`.

use std::io::Write;
use std::path::Path;

use clap::{Args, ValueEnum};

use super::error::counted;
use super::{Error, environment, output};
use crate::config::{Config, load};
use crate::telemetry::most_series;

/// `tollgate check`.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct CheckArgs {
    /// How mistakes are written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// End with exit code 1 if there is a warning.
    #[arg(long)]
    deny_warnings: bool,
}

/// How mistakes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people: to standard error, each with its line.
    Text,
    /// One JSON array to standard output.
    Json,
}

/// Tells every mistake of a configuration; exit code 1 if there is one.
pub(super) fn run(path: &Path, args: CheckArgs, out: &mut dyn Write) -> Result<(), Error> {
    let CheckArgs { format, deny_warnings } = args;
    let loaded = load(path, &environment);
    let (found, passes) = match &loaded {
        Ok(config) => (&config.warnings, config.warnings.is_empty() || !deny_warnings),
        Err(found) => (found, false),
    };
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(found)?)?,
        Format::Text => output::diagnostics(found)?,
    }
    if !passes {
        return Err(Error::Told(counted(found)));
    }
    if format == Format::Text {
        let warned = if found.is_empty() { String::new() } else { format!(", {}", counted(found)) };
        writeln!(out, "{}: no mistakes{warned}", path.display())?;
        if let Ok(config) = &loaded {
            writeln!(out, "  {}", summary(config))?;
        }
    }
    Ok(())
}

/// What a configuration has, in one line.
fn summary(config: &Config) -> String {
    let endpoints = config.table.endpoints();
    let regions = config.places.regions().len();
    let limits = config.limits.names().len();
    let series = most_series(endpoints, regions, limits, config.listen.workers);
    let words = |count: usize, word: &str| {
        format!("{} {word}{}", output::thousands(count as u64), if count == 1 { "" } else { "s" })
    };
    format!(
        "{}, {}, {}, {}; at most {} metric series of requests and limits",
        words(regions, "region"),
        words(endpoints.len(), "endpoint"),
        words(config.limits.policies().len(), "limit"),
        words(config.written.authentication.issuers.len(), "issuer"),
        output::thousands(series as u64),
    )
}
