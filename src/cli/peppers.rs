//! `tollgate token peppers`: the keys under which tokens are hashed.

use std::io::Write;

use clap::Subcommand;

use super::output::{Table, json, thousands};
use super::{Error, RegistryAccess};
use crate::clock::Now;
use crate::tokens::{PepperView, Rotation, SystemRandom};

/// What to do with peppers.
#[derive(Clone, Debug, Subcommand)]
pub enum PepperCommand {
    /// List them, and how many tokens are hashed under each.
    List,
    /// Add a new one to the pepper file: its tokens are recognised from the next start on, none is made under it yet.
    Add,
    /// Have new tokens, and those that are seen, hashed under a version of the pepper file.
    Use {
        /// Which.
        version: u16,
    },
    /// Give a version up and take it out of the pepper file, once no working token is hashed under it.
    Retire {
        /// Which.
        version: u16,
        /// Also if working tokens are hashed under it: they stop working.
        #[arg(long)]
        force: bool,
    },
}

/// Does what was asked, a list if nothing was.
pub(super) fn run(
    command: Option<&PepperCommand>,
    access: &RegistryAccess,
    now: Now,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let rotation = Rotation::open(access.rules(), Box::new(SystemRandom))?;
    match command {
        None | Some(PepperCommand::List) => {}
        Some(PepperCommand::Add) => {
            let version = rotation.add(now)?;
            if !as_json {
                writeln!(
                    out,
                    "Version {version} was added to {}. Put the same line into every gateway's file and restart each; then \
                     run `tollgate token peppers use {version}`.\n",
                    access.rules().pepper_file.display()
                )?;
            }
        }
        Some(PepperCommand::Use { version }) => {
            rotation.put_first(*version)?;
            if !as_json {
                writeln!(
                    out,
                    "Version {version} is the first of {}. Put it first in every gateway's file and restart each: new tokens \
                     and those that are seen are hashed under it.\n",
                    access.rules().pepper_file.display()
                )?;
            }
        }
        Some(PepperCommand::Retire { version, force }) => {
            let retired = rotation.retire(access.act(now), *version, *force)?;
            if !as_json {
                writeln!(
                    out,
                    "Version {version} was retired, with {} working tokens and {} that ended. Take it out of every other \
                     gateway's file and restart each. Import no file that may hold one of those that ended: it would work \
                     again.\n",
                    thousands(retired.working_tokens),
                    thousands(retired.ended_tokens)
                )?;
            }
        }
    }
    show(&rotation.list(now)?, as_json, out)
}

fn show(peppers: &[PepperView], as_json: bool, out: &mut dyn Write) -> Result<(), Error> {
    if as_json {
        return json(out, &peppers);
    }
    let mut table = Table::new(["PEPPER", "STATE", "WORKING TOKENS", "ENDED TOKENS", "OPERATORS"]);
    for pepper in peppers {
        let name = if pepper.version == 0 { "none".to_owned() } else { pepper.version.to_string() };
        let counts = [pepper.working_tokens, pepper.ended_tokens, pepper.working_operators].map(thousands);
        table.row([&name, pepper.state.name(), &counts[0], &counts[1], &counts[2]]);
    }
    table.write(out)
}
