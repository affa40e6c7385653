//! `tollgate scan`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Error;
use super::output::thousands;
use crate::scan::{self, Count, Told};
use crate::tokens::Format;

/// `tollgate scan`. It needs no configuration, so that it runs in any developer's repository.
#[derive(Clone, Debug, Args)]
pub(super) struct ScanArgs {
    /// Files and folders; - is standard input. In a git repository, what git ignores is left out.
    #[arg(required_unless_present = "staged", conflicts_with = "staged", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Look through the lines that a git commit would add, as in a pre-commit hook.
    #[arg(long)]
    staged: bool,
    /// What the tokens start with, as `tokens.prefix` of the configuration says.
    #[arg(long, default_value = "sgp_", value_parser = format)]
    prefix: Format,
    /// How tokens are told.
    #[arg(long, value_enum, default_value = "text")]
    format: Output,
}

/// How tokens are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// One line for each, `file:line:column: token`, and how much was searched.
    Text,
    /// One JSON object a line for each.
    Json,
}

fn format(prefix: &str) -> Result<Format, String> {
    let fix = "write 2 to 16 of A-Z a-z 0-9 _ with _ at the end, for example sgp_";
    Format::checked(prefix).ok_or_else(|| format!("`{prefix}` cannot start a token; {fix}"))
}

/// Tells every token; exit code 1 if there is one or something could not be read.
pub(super) fn run(args: &ScanArgs, out: &mut dyn Write) -> Result<(), Error> {
    let mut tell = |told: Told| match told {
        Told::Found(found) if args.format == Output::Json => {
            writeln!(out, "{}", serde_json::to_string(&found)?)
        }
        Told::Found(found) => {
            writeln!(out, "{}:{}:{}: {}", found.file, found.line, found.column, found.token)
        }
        Told::Unreadable(path, error) => {
            writeln!(io::stderr(), "tollgate: {} was not searched: {error}", path.display())
        }
    };
    let count = if args.staged {
        scan::staged(&args.prefix, Path::new("."), &mut tell)?
    } else {
        scan::paths(&args.prefix, &args.paths, &mut tell)?
    };
    finish(count, args.format, out)
}

fn finish(count: Count, format: Output, out: &mut dyn Write) -> Result<(), Error> {
    let Count { found, files, binary, unreadable } = count;
    let some = |number: u64, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{} {many}", thousands(number)),
    };
    let searched = some(files, "file", "files");
    if found > 0 {
        let tokens = some(found, "token", "tokens");
        let advice = "revoke what was ever pushed, then take it out";
        return Err(Error::Leaks(format!("{tokens} in {searched}; {advice}")));
    }
    if unreadable > 0 {
        let places = some(unreadable, "place", "places");
        return Err(Error::Leaks(format!("no tokens in {searched}, but {places} could not be read")));
    }
    if format == Output::Text {
        let skipped = match binary {
            0 => String::new(),
            binary => format!(", {} left alone", some(binary, "binary file", "binary files")),
        };
        writeln!(out, "no tokens in {searched}{skipped}")?;
    }
    Ok(())
}
