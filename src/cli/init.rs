//! `tollgate init`: from nothing to a gateway in front of one's own API.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Error, environment};
use crate::clock::Clock;
use crate::config::{load, load_text};
use crate::domain::{Plan, Role};
use crate::tokens::{Act, Mint, NewWorkspace, SystemRandom, TokenRequest};

const WORKSPACE: &str = "my-workspace";
const OPERATOR: &str = "first";

/// `tollgate init`.
#[derive(Clone, Debug, Args)]
pub(super) struct InitArgs {
    /// Your API, for example `http://127.0.0.1:3000`.
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// Where to put the files.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Where the gateway will listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Where operators will look.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901")]
    admin: String,
}

/// Writes configuration, store, pepper and a first token. Overwrites nothing.
pub(super) fn run(args: &InitArgs, clock: &Clock, out: &mut dyn Write) -> Result<(), Error> {
    let path = args.dir.join("tollgate.toml");
    let text = configuration(args);
    load_text(&path, &text, &environment)?;
    fs::create_dir_all(&args.dir)?;
    write_new(&path, &text)?;
    let config = load(&path, &environment)?;
    let now = clock.now();
    let mint = Mint::open(&config.tokens, config.places.regions(), Box::new(SystemRandom), now)?;
    let act = Act::by("cli:init", now);
    mint.create_workspace(
        act,
        &NewWorkspace {
            id: WORKSPACE.to_owned(),
            region: "main".to_owned(),
            plan: Plan::Business,
            features: Vec::new(),
            contacts: Vec::new(),
        },
    )?;
    let minted = mint.create_token(
        act,
        &TokenRequest {
            workspace: WORKSPACE.to_owned(),
            name: "first token".to_owned(),
            scopes: config.tokens.scopes.clone(),
            role: Role::Owner,
            own_limit: None,
            lifetime_seconds: None,
            allowed_networks: Vec::new(),
            decoy: false,
        },
    )?;
    let operator = mint.create_operator(act, OPERATOR, None)?;
    guide(args, &path, minted.token.expose(), operator.token.expose(), out)
}

fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
        Error::Usage(format!("cannot write {}: {error}; choose another folder with --dir", path.display()))
    })?;
    Ok(file.write_all(text.as_bytes())?)
}

fn guide(
    args: &InitArgs,
    path: &Path,
    token: &str,
    operator: &str,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let path = path.display();
    writeln!(
        out,
        "wrote {path}, the token store and its pepper beside it (keep a copy of the pepper elsewhere)"
    )?;
    writeln!(out, "\nyour first token, shown once:\n\n  {token}\n")?;
    writeln!(out, "start the gateway, then call your API through it:\n")?;
    writeln!(out, "  tollgate serve --config {path}")?;
    writeln!(out, "  curl -H 'Authorization: Bearer {token}' http://{}/", args.listen)?;
    writeln!(out, "\nmore tokens: tollgate token create --config {path} --workspace {WORKSPACE} --name ci")?;
    writeln!(
        out,
        "\nstatus page and admin API: http://{}/, with the token of the operator `{OPERATOR}`:",
        args.admin
    )?;
    writeln!(out, "\n  {operator}\n")?;
    Ok(())
}

fn configuration(args: &InitArgs) -> String {
    let InitArgs { upstream, listen, admin, .. } = args;
    format!(
        r#"# Every key with its default: config/README.md of tollgate. `tollgate check` tells every mistake.

[listen]
plain = [{listen:?}]
# To serve other machines, end TLS here:
# tls = [{{ address = "0.0.0.0:443", certificates = [{{ chain_file = "cert.pem", key_file = "key.pem" }}] }}]

[admin]
address = {admin:?}

[upstream]
servers = [{upstream:?}]

# Everything is forwarded under the policies below. List endpoints to give them limits of their own:
# [[endpoints.extra]]
# operation = "listThings"
# method = "GET"
# path = "/things/{{thingId}}"
# limits = [{{ quota = "60 per minute" }}]

[[limits.policies]]
name = "default"
per = ["token"]
quota = "6000 per minute"

[[limits.policies]]
name = "workspace"
per = ["workspace"]
quota = "30000 per minute"
"#
    )
}
