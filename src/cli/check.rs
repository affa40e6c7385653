//! `tollgate check`.

use std::io::Write;
use std::path::Path;

use clap::ValueEnum;

use super::{Error, environment, listed};
use crate::config::load;

/// How mistakes are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One JSON array.
    Json,
}

/// Tells every mistake of a configuration; exit code 1 if there is one.
pub(super) fn run(path: &Path, format: Format, out: &mut dyn Write) -> Result<(), Error> {
    let found = load(path, &environment).err().unwrap_or_default();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?,
        Format::Text if found.is_empty() => writeln!(out, "{}: no mistakes", path.display())?,
        Format::Text => {}
    }
    match (found.is_empty(), format) {
        (true, _) => Ok(()),
        (false, Format::Text) => Err(Error::Config(listed(&found))),
        (false, Format::Json) => Err(Error::Mistakes(found.len())),
    }
}
