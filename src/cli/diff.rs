//! `tollgate diff`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::check::Format;
use super::{Error, environment, output};
use crate::config::{Config, load};
use crate::effects::{Effect, Subject, between};

/// The most endpoints that are named where many change in the same way.
const NAMED: usize = 5;

/// `tollgate diff`.
#[derive(Clone, Debug, Args)]
pub(super) struct DiffArgs {
    /// The configuration that is.
    old: PathBuf,
    /// The configuration that will be.
    new: PathBuf,
    /// How differences are written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Tells what changes; exit code 1 if callers notice something, 2 if a configuration has mistakes.
pub(super) fn run(args: &DiffArgs, out: &mut dyn Write) -> Result<(), Error> {
    let loaded =
        |path: &Path| -> Result<Config, Error> { load(path, &environment).map_err(Error::Incomparable) };
    let effects = between(&loaded(&args.old)?, &loaded(&args.new)?);
    match args.format {
        Format::Json => output::json(out, &effects)?,
        Format::Text => text(&effects, out)?,
    }
    match effects.iter().filter(|effect| effect.callers).count() {
        0 => Ok(()),
        1 => Err(Error::Differs("callers notice 1 difference".to_owned())),
        count => Err(Error::Differs(format!("callers notice {count} differences"))),
    }
}

fn text(effects: &[Effect], out: &mut dyn Write) -> Result<(), Error> {
    if effects.is_empty() {
        writeln!(out, "no differences")?;
    }
    for (heading, callers) in [("callers notice:", true), ("callers do not notice:", false)] {
        let lines = grouped(effects.iter().filter(|effect| effect.callers == callers));
        if !lines.is_empty() {
            writeln!(out, "{heading}")?;
        }
        for line in lines {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}

/// One line for each effect; one for all endpoints that change in the same way.
fn grouped<'e>(effects: impl Iterator<Item = &'e Effect>) -> Vec<String> {
    let mut groups: Vec<(Effect, Vec<&str>)> = Vec::new();
    for effect in effects {
        let same = |(first, _): &&mut (Effect, Vec<&str>)| {
            effect.subject == Subject::Endpoint
                && effect.property.is_some()
                && *effect == Effect { name: effect.name.clone(), ..first.clone() }
        };
        match groups.iter_mut().find(same) {
            Some((_, names)) => names.push(&effect.name),
            None => groups.push((effect.clone(), vec![&effect.name])),
        }
    }
    let line = |(first, names): (Effect, Vec<&str>)| {
        let first_names = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let name = match names.len().saturating_sub(NAMED) {
            0 => first_names,
            more => format!("{first_names} and {more} more"),
        };
        Effect { name, ..first }.to_string()
    };
    groups.into_iter().map(line).collect()
}
