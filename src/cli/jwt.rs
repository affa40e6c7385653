//! `tollgate jwt`: revoking access tokens before they expire.

use std::io::Write;
use std::path::Path;

use clap::{ArgGroup, Args, Subcommand};

use super::output::{Table, json, pairs};
use super::registry::{Until, until};
use super::{Error, RegistryAccess, environment};
use crate::clock::Clock;
use crate::config::load;
use crate::tokens::{Act, JwtRevocation, JwtRevocationView, JwtsRevoked};

const PAGE: u32 = 1_000;

/// Revoke JWTs and list what is revoked.
#[derive(Clone, Debug, Args)]
pub struct JwtArgs {
    /// Write JSON: one object, or an array for a list.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: JwtCommand,
}

/// What to do with JWTs.
#[derive(Clone, Debug, Subcommand)]
pub enum JwtCommand {
    /// Revoke one token, a subject's tokens, or a workspace's. It cannot be lifted: whom it names gets another token.
    Revoke(RevokeJwts),
    /// List revocations.
    List,
}

/// `tollgate jwt revoke`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("jwts").args(["jti", "subject", "workspace"]).required(true))]
pub struct RevokeJwts {
    /// The `iss` of the tokens, one of the configured issuers.
    #[arg(long, value_name = "URL", required_unless_present = "workspace", conflicts_with = "workspace")]
    pub issuer: Option<String>,
    /// The `jti` of one token.
    #[arg(long, value_name = "ID")]
    pub jti: Option<String>,
    /// The `sub` of all tokens of somebody.
    #[arg(long, value_name = "SUB")]
    pub subject: Option<String>,
    /// The workspace that the tokens are for, whoever issued them.
    #[arg(long, value_name = "ID")]
    pub workspace: Option<String>,
    /// Only tokens issued before this: a day (as it begins, UTC) or a time such as 2026-12-01T12:00:00Z; now if left out.
    #[arg(long, value_name = "DATE", value_parser = until, conflicts_with = "jti")]
    pub issued_before: Option<Until>,
    /// Why; goes into the audit trail.
    #[arg(long, default_value = "revoked by an operator")]
    pub reason: String,
}

impl RevokeJwts {
    fn named(&self, act: Act<'_>) -> Result<JwtsRevoked, Error> {
        let issued_before_unix_seconds = self
            .issued_before
            .map_or_else(|| JwtsRevoked::until_now(act), |until| until.unix_seconds(act.now));
        match (self.issuer.clone(), &self.jti, &self.subject, &self.workspace) {
            (Some(issuer), Some(jti), None, None) => Ok(JwtsRevoked::Token { issuer, jti: jti.clone() }),
            (Some(issuer), None, Some(subject), None) => {
                Ok(JwtsRevoked::Subject { issuer, subject: subject.clone(), issued_before_unix_seconds })
            }
            (None, None, None, Some(workspace)) => {
                Ok(JwtsRevoked::Workspace { workspace: workspace.clone(), issued_before_unix_seconds })
            }
            _ => Err(Error::Usage(
                "say which: --issuer and --jti, --issuer and --subject, or --workspace".to_owned(),
            )),
        }
    }
}

/// Does what was asked and writes the result to `out`. `config` is read whole to revoke, so that the issuer and the
/// longest life of its tokens are known.
pub fn run(
    args: &JwtArgs,
    access: &RegistryAccess,
    config: &Path,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<(), Error> {
    match &args.command {
        JwtCommand::Revoke(revoke) => {
            let act = access.act(clock.now());
            let jwts = revoke.named(act)?;
            let accepted = load(config, &environment)?.authentication.lifetimes();
            let made = access.open(clock)?.revoke_jwts(act, &jwts, &revoke.reason, &accepted)?;
            show(&made, args.json, out)
        }
        JwtCommand::List => list(access, clock, args.json, out),
    }
}

fn show(revocation: &JwtRevocation, as_json: bool, out: &mut dyn Write) -> Result<(), Error> {
    let view = revocation.view();
    if as_json {
        return json(out, &view);
    }
    let text = |text: Option<&str>| text.map(str::to_owned);
    pairs(
        out,
        &[
            ("id", Some(revocation.id.clone())),
            ("issuer", text(view.issuer)),
            ("jti", text(view.jti)),
            ("subject", text(view.subject)),
            ("workspace", text(view.workspace)),
            ("issued before", view.issued_before.map(|time| time.to_string())),
            ("because", Some(revocation.reason.clone())),
            ("kept until", Some(view.ends_at.to_string())),
        ],
    )
}

fn list(access: &RegistryAccess, clock: &Clock, as_json: bool, out: &mut dyn Write) -> Result<(), Error> {
    let mint = access.open(clock)?;
    let mut all: Vec<JwtRevocation> = Vec::new();
    loop {
        let after = all.last().map_or("", |last| &last.id);
        let page = mint.store().jwt_revocations(after, PAGE)?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    let views: Vec<JwtRevocationView<'_>> = all.iter().map(JwtRevocation::view).collect();
    if as_json {
        return json(out, &views);
    }
    if views.is_empty() {
        writeln!(out, "No JWT is revoked; revoke some with `tollgate jwt revoke`.")?;
        return Ok(());
    }
    let mut table = Table::new(["ID", "WHICH", "ISSUED BEFORE", "KEPT UNTIL", "REASON"]);
    for view in &views {
        let which = match (view.jti, view.subject, view.workspace) {
            (Some(jti), _, _) => format!("jti {jti}"),
            (None, Some(subject), _) => format!("subject {subject}"),
            (None, None, workspace) => format!("workspace {}", workspace.unwrap_or_default()),
        };
        let before = view.issued_before.map_or_else(String::new, |time| time.to_string());
        table.row([view.id, &which, &before, &view.ends_at.to_string(), view.reason]);
    }
    table.write(out)
}
