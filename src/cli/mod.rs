//! The command line.
//!
//! Decides how a command's words become calls of the rooms above and how their results are written: aligned
//! text for people, JSON for programs. Invariants: nothing is decided here that another way in (the admin
//! API) would have to decide again; a token is written once, when it is made. It refuses to know sockets.

pub mod audit;
mod check;
mod demo;
mod diff;
mod error;
mod explain;
mod init;
pub mod jwt;
pub mod limits;
pub mod operator;
mod output;
mod peppers;
mod registry;
mod replay;
mod scan;
mod schema;
mod serve;
pub mod token;
pub mod workspace;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub use error::Error;
pub use registry::RegistryAccess;

use crate::clock::Clock;
use crate::config::load_registry;
use crate::telemetry::tell_panics_by_place;

/// A rate-limiting, authenticating gateway in front of a public, multi-tenant REST API.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
struct ConfigArg {
    /// The configuration file.
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        env = "TOLLGATE_CONFIG",
        default_value = "tollgate.toml"
    )]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: gateway, two regional sample APIs and a sample OAuth issuer.
    Demo(demo::DemoArgs),
    /// Write a short configuration for your own API, a token store, and a first token.
    Init(init::InitArgs),
    /// Run the gateway.
    Serve {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Tell every mistake of a configuration at once.
    Check {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        args: check::CheckArgs,
    },
    /// Tell what changes for callers between two configurations, and what takes a restart.
    Diff(diff::DiffArgs),
    /// Print the JSON Schema of a configuration or an endpoint table, for editors.
    Schema(schema::SchemaArgs),
    /// Say what would be done with a request, and why.
    Explain {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        args: Box<explain::ExplainArgs>,
    },
    /// Create, list, show and change workspaces.
    Workspace {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        args: workspace::WorkspaceArgs,
    },
    /// Create, list, show, rotate, revoke and import tokens.
    Token {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        args: token::TokenArgs,
    },
    /// Create, list and revoke operators: who may use the admin API and the status page.
    Operator {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        args: operator::OperatorArgs,
    },
    /// Revoke JWTs before they expire.
    Jwt {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        args: jwt::JwtArgs,
    },
    /// List changes of workspaces and tokens, and prove that nobody altered what is written of them.
    Audit {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        args: audit::AuditArgs,
    },
    /// Say who of an access log would newly be refused under a configuration.
    Replay {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        args: replay::ReplayArgs,
    },
    /// Look for tokens in files, or in what a commit would add: offline, by format and checksum.
    Scan(scan::ScanArgs),
    /// Show and set overrides of limits, for one token or workspace, until a date.
    Limits {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        args: limits::LimitsArgs,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    tell_panics_by_place();
    let cli = Cli::parse();
    // Not locked: the access log writes to standard output from its own thread.
    let mut out = io::stdout();
    let result = run(cli.command, &mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told if standard error is gone too.
            if let Error::Config(found) | Error::Incomparable(found) = &error {
                let _ = output::diagnostics(found);
            }
            let _ = writeln!(io::stderr(), "tollgate: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command, out: &mut dyn Write) -> Result<(), Error> {
    let clock = Clock::system();
    match command {
        Command::Demo(args) => demo::run(&args, &clock, out),
        Command::Init(args) => init::run(&args, &clock, out),
        Command::Serve { config } => serve::run(&config.config, &clock),
        Command::Check { config, args } => check::run(&config.config, args, out),
        Command::Diff(args) => diff::run(&args, out),
        Command::Schema(args) => schema::run(args, out),
        Command::Explain { config, args } => explain::run(&config.config, &args, &clock, out),
        Command::Workspace { config, args } => workspace::run(&args, &registry(&config)?, &clock, out),
        Command::Token { config, args } => token::run(&args, &registry(&config)?, &clock, out),
        Command::Operator { config, args } => operator::run(&args, &registry(&config)?, &clock, out),
        Command::Jwt { config, args } => jwt::run(&args, &registry(&config)?, &config.config, &clock, out),
        Command::Audit { config, args } => audit::run(&args, &registry(&config)?, &clock, out),
        Command::Replay { config, args } => replay::run(&args, &config.config, out),
        Command::Scan(args) => scan::run(&args, out),
        Command::Limits { config, args } => {
            limits::run(&args, &registry(&config)?, &config.config, &clock, out)
        }
    }
}

fn registry(config: &ConfigArg) -> Result<RegistryAccess, Error> {
    let loaded = load_registry(&config.config, &environment)?;
    Ok(RegistryAccess::new(loaded.tokens, loaded.regions, environment("USER").as_deref()))
}

/// The process's environment, for `${NAME}` in a configuration.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
