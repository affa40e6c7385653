//! `tollgate demo`: everything on one machine, with nothing but the binary.

mod connection;
mod data;
mod github;
mod guide;
mod leak;
mod ports;
mod servers;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use self::data::DataFolder;
use super::{Error, environment, serve};
use crate::admin::AdminError;
use crate::assembly::{StartError, start};
use crate::clock::Clock;
use crate::config::{Config, load};
use crate::domain::Secret;
use crate::telemetry::ProgramLog;

/// `tollgate demo`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DemoArgs {
    #[command(subcommand)]
    command: Option<DemoCommand>,
    /// Print, when ready, one line of JSON instead of the guide; logs go to standard error either way.
    #[arg(long)]
    json: bool,
    /// Keep everything in this folder: made if it is missing, reused if it is there.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Drive a gentle mixed load, with tokens of its own.
    #[arg(long)]
    traffic: bool,
    /// The port for plain text; 0 takes any free one. Without this 8080, or a free one if that is busy.
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// The port for TLS; as --port, with 8443.
    #[arg(long, value_name = "N")]
    tls_port: Option<u16>,
    /// The operators' port; as --port, with 9901.
    #[arg(long, value_name = "N")]
    admin_port: Option<u16>,
    /// Put a server of your own in place of a region's sample API: us=URL or eu=URL.
    #[arg(long, value_name = "REGION=URL", value_parser = upstream)]
    upstream: Vec<(String, String)>,
}

#[derive(Clone, Debug, Subcommand)]
enum DemoCommand {
    /// Play a leaked token against the demo that runs in another terminal, with a stopwatch.
    Leak(leak::LeakArgs),
}

/// A demo that is ready, as the guide and the JSON line describe it.
struct Ready {
    public: String,
    public_tls: String,
    ca_file: PathBuf,
    admin: String,
    config_file: PathBuf,
    data: PathBuf,
    operator_token: Secret<String>,
    tokens: Vec<data::DemoToken>,
    jwt: serde_json::Value,
    owner_jwt: Secret<String>,
    upstreams: [(String, String); 2],
    github: github::GitHub,
    notes: Vec<String>,
}

fn upstream(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((region @ ("us" | "eu"), url)) if !url.is_empty() => Ok((region.to_owned(), url.to_owned())),
        _ => Err(format!("`{text}` is not us=URL or eu=URL")),
    }
}

/// How often free ports are chosen: between the choice and the gateway's start somebody may take one.
const TRIES: u32 = 5;

/// Where the gateway will listen, and what it will do.
struct Plan {
    config: Config,
    config_file: PathBuf,
    notes: Vec<String>,
}

impl Plan {
    fn make(args: &DemoArgs, folder: &DataFolder, servers: &servers::Servers) -> Result<Self, Error> {
        let mut notes = Vec::new();
        let ports = ports::choose(args, &mut notes)?;
        let config_file = folder.write_configuration(ports, servers)?;
        let config = load(&config_file, &environment)?;
        Ok(Self { config, config_file, notes })
    }
}

/// Runs the demo until SIGTERM or Ctrl-C.
pub(super) fn run(args: &DemoArgs, clock: &Clock, out: &mut dyn Write) -> Result<(), Error> {
    if let Some(DemoCommand::Leak(args)) = &args.command {
        return leak::run(args, clock, out);
    }
    let folder = DataFolder::open(args.data.as_deref())?;
    let servers = servers::Servers::start(args, &folder, clock)?;
    let Plan { mut config, mut config_file, mut notes } = Plan::make(args, &folder, &servers)?;
    let tokens = data::tokens(&config, &servers.inbox.webhook, clock)?;
    let log = ProgramLog::install(&config.logs)?;
    let signals = serve::Signals::prepare()?;
    let mut tries = 1;
    let running = loop {
        match start(config, clock) {
            Err(StartError::Listen { .. } | StartError::Admin(AdminError::Bind(..))) if tries < TRIES => {
                tries += 1;
                Plan { config, config_file, notes } = Plan::make(args, &folder, &servers)?;
            }
            started => break started?,
        }
    };
    let address =
        |addresses: &[std::net::SocketAddr]| addresses.first().map(ToString::to_string).unwrap_or_default();
    let ready = Ready {
        public: format!("http://{}", address(&running.plain)),
        public_tls: format!("https://{}", address(&running.tls)),
        ca_file: folder.ca_file(),
        admin: format!("http://{}", running.admin),
        config_file,
        data: folder.path().to_owned(),
        operator_token: tokens.operator,
        tokens: tokens.public,
        jwt: servers.jwt.clone(),
        owner_jwt: servers.owner_jwt.clone(),
        upstreams: servers.upstreams.clone(),
        github: github::GitHub::prepare(folder.path())?,
        notes,
    };
    folder.write_state(&ready)?;
    if args.json {
        for note in &ready.notes {
            tracing::warn!("{note}");
        }
        writeln!(out, "{}", guide::json(&ready))?;
    } else {
        guide::print(&ready, &folder.write_environment(&ready)?, out)?;
    }
    out.flush()?;
    let traffic = args.traffic.then(|| servers.drive(&ready.public, tokens.traffic));
    signals.follow(running, &ready.config_file);
    drop(traffic);
    servers.stop();
    drop(folder);
    drop(log);
    Ok(())
}
