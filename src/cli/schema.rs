//! `tollgate schema`.

use std::io::Write;

use clap::{Args, ValueEnum};

use super::Error;
use crate::config::{configuration_schema, endpoints_schema};

/// `tollgate schema`. A command of its own, because it needs no configuration to look at.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct SchemaArgs {
    /// Which kind of file it is for.
    #[arg(value_enum, default_value = "configuration")]
    of: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A configuration.
    Configuration,
    /// An endpoint table.
    Endpoints,
}

/// Prints a JSON Schema.
pub(super) fn run(args: SchemaArgs, out: &mut dyn Write) -> Result<(), Error> {
    let schema = match args.of {
        Kind::Configuration => configuration_schema(),
        Kind::Endpoints => endpoints_schema(),
    };
    Ok(writeln!(out, "{}", serde_json::to_string_pretty(&schema)?)?)
}
