//! `tollgate token`: the opaque tokens of workspaces.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json as object;

use super::output::{Table, json, list, pairs, thousands};
use super::peppers::{self, PepperCommand};
use super::registry::{network, plan, quota, role, seconds, token_state};
use super::{Error, RegistryAccess};
use crate::clock::{Clock, Now};
use crate::domain::{Network, Plan, Quota, Role};
use crate::tokens::{
    self, Format, ImportDefaults, Leak, LineRefused, Mint, Minted, Moment, Scheme, TokenChange, TokenRecord,
    TokenRequest, TokenState, TokenView,
};

const PAGE: u32 = 1_000;
const DAY_SECONDS: u64 = 86_400;
const REFUSED_LINES_SHOWN: usize = 20;

/// Create, list, show, change, rotate, revoke and import tokens.
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    /// Write JSON: one object, or an array for a list.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What to do with tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is shown once.
    Create(CreateToken),
    /// List tokens.
    List(ListTokens),
    /// Show what is known of one token.
    Show {
        /// Its id, which starts with tok_.
        id: String,
    },
    /// Change a token's name, or from where it may be used.
    Set(SetToken),
    /// Replace a token by a new one of the same scopes, role, limits and networks; it is shown once.
    Rotate(RotateToken),
    /// Revoke a token, and those that it replaced and that still work.
    Revoke(RevokeToken),
    /// Take over the tokens of another system, from plain texts or hashes.
    Import(ImportTokens),
    /// List the peppers under which tokens are hashed, and rotate them.
    Peppers {
        /// What to do; a list if left out.
        #[command(subcommand)]
        command: Option<PepperCommand>,
    },
    /// Print what secret scanners need to find tokens: a regular expression, a rule for gitleaks, and the fields of
    /// a custom pattern of GitHub.
    Pattern {
        /// Only one of them.
        #[arg(long, value_enum, value_name = "SCANNER")]
        only: Option<Scanner>,
    },
}

/// For whom a pattern is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scanner {
    /// The regular expression alone.
    Regex,
    /// A rule in TOML.
    Gitleaks,
    /// The fields of GitHub's form.
    Github,
}

/// `tollgate token create`.
#[derive(Clone, Debug, Args)]
pub struct CreateToken {
    /// The workspace that it is for.
    #[arg(long)]
    pub workspace: String,
    /// A name for people.
    #[arg(long, default_value = "")]
    pub name: String,
    /// A scope that it holds; may be repeated. Without any it gets the configured ones.
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// Its role: owner or restricted.
    #[arg(long, default_value = "restricted", value_parser = role)]
    pub role: Role,
    /// A limit of its own, for example "5 per minute".
    #[arg(long, value_name = "QUOTA", value_parser = quota)]
    pub limit: Option<Quota>,
    /// How long it lives, for example 90d; for ever if left out.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub expires: Option<u64>,
    /// Where it may be used from, for example 203.0.113.0/24; may be repeated, up to 16 times. From everywhere if left
    /// out.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub from: Vec<Network>,
    /// Make a decoy: it is never valid, and whoever uses it is told of.
    #[arg(long)]
    pub decoy: bool,
}

/// `tollgate token set`.
#[derive(Clone, Debug, Args)]
pub struct SetToken {
    /// Its id, which starts with tok_.
    pub id: String,
    /// Another name for people.
    #[arg(long)]
    pub name: Option<String>,
    /// Where it may be used from, in place of all of before; may be repeated, up to 16 times.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub from: Vec<Network>,
    /// It may be used from everywhere.
    #[arg(long, conflicts_with = "from")]
    pub from_anywhere: bool,
}

/// `tollgate token list`.
#[derive(Clone, Debug, Args)]
pub struct ListTokens {
    /// Only those of one workspace.
    #[arg(long)]
    pub workspace: Option<String>,
    /// Only those that are active, expired or revoked.
    #[arg(long, value_parser = token_state)]
    pub state: Option<TokenState>,
    /// Only those that were not used for so many days; one that was never used counts from when it was made.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    pub unused_days: Option<u64>,
    /// Only those that are hashed under this pepper version; 0 for hashes that were imported.
    #[arg(long, value_name = "VERSION", conflicts_with = "workspace")]
    pub pepper: Option<u16>,
}

/// `tollgate token rotate`.
#[derive(Clone, Debug, Args)]
pub struct RotateToken {
    /// Its id, which starts with tok_.
    pub id: String,
    /// How long the old one goes on working, for example 1h; 0s ends it at once.
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = seconds)]
    pub overlap: u64,
    /// How long the new one lives; as long as the old one was made for if left out.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub expires: Option<u64>,
}

/// `tollgate token revoke`.
#[derive(Clone, Debug, Args)]
pub struct RevokeToken {
    /// Its id, which starts with tok_.
    pub id: String,
    /// Why; goes into the audit trail.
    #[arg(long, default_value = "revoked by an operator")]
    pub reason: String,
    /// It was found where strangers can read it, at this address: the whole family is revoked and the workspace's
    /// contacts are told.
    #[arg(long, value_name = "URL", conflicts_with = "reason")]
    pub leaked_at: Option<String>,
}

/// `tollgate token import`.
#[derive(Clone, Debug, Args)]
pub struct ImportTokens {
    /// A file with one token a line, or - for standard input. A line is the plain text, sha256:HEX or
    /// hmac:VERSION:HEX, and may go on with a tab and the workspace, and a tab and its region.
    pub file: PathBuf,
    /// The workspace of lines that name none.
    #[arg(long)]
    pub workspace: Option<String>,
    /// The region of workspaces that are made because they do not exist yet.
    #[arg(long)]
    pub region: Option<String>,
    /// The plan of workspaces that are made.
    #[arg(long, default_value = "business", value_parser = plan)]
    pub plan: Plan,
    /// A scope that the tokens hold; may be repeated. Without any they get the configured ones.
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// Their role: owner, so that they can do what they could before, or restricted.
    #[arg(long, default_value = "owner", value_parser = role)]
    pub role: Role,
    /// How long they live from now; for ever if left out.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub expires: Option<u64>,
    /// Where they may be used from; may be repeated, up to 16 times. From everywhere if left out.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub from: Vec<Network>,
}

/// Does what was asked and writes the result to `out`. Progress of an import goes to standard error if that
/// is a terminal.
pub fn run(
    args: &TokenArgs,
    access: &RegistryAccess,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let now = clock.now();
    let act = access.act(now);
    let mint = || access.open(clock);
    match &args.command {
        TokenCommand::Create(create) => {
            let request = TokenRequest {
                workspace: create.workspace.clone(),
                name: create.name.clone(),
                scopes: create.scopes.clone(),
                role: create.role,
                own_limit: create.limit,
                lifetime_seconds: create.expires,
                allowed_networks: create.from.clone(),
                decoy: create.decoy,
            };
            show_minted(&mint()?.create_token(act, &request)?, now, args.json, out)
        }
        TokenCommand::List(filter) => list_all(&mint()?, filter, now, args.json, out),
        TokenCommand::Show { id } => show_with_networks(&mint()?, id, now, args.json, out),
        TokenCommand::Set(set) => {
            let replaces = set.from_anywhere || !set.from.is_empty();
            let allowed_networks = replaces.then(|| set.from.clone());
            let change = TokenChange { name: set.name.clone(), allowed_networks };
            show(&mint()?.set_token(act, &set.id, &change)?, now, args.json, out)
        }
        TokenCommand::Rotate(rotate) => {
            let mint = mint()?;
            let minted = mint.rotate_token(act, &rotate.id, rotate.overlap, rotate.expires)?;
            show_minted(&minted, now, args.json, out)?;
            if let (false, Some(until)) = (args.json, mint.token(&rotate.id)?.overlap_until_unix_seconds) {
                writeln!(out, "{} works until {}.", rotate.id, Moment(until))?;
            }
            Ok(())
        }
        TokenCommand::Revoke(RevokeToken { id, leaked_at: Some(url), .. }) => {
            let leak = Leak::new(act.actor, "", url, "", now.unix_seconds());
            show(&mint()?.revoke_leaked(act, id, leak)?, now, args.json, out)
        }
        TokenCommand::Revoke(revoke) => {
            show(&mint()?.revoke_token(act, &revoke.id, &revoke.reason)?, now, args.json, out)
        }
        TokenCommand::Import(import) => run_import(import, &mint()?, access, now, args.json, out),
        TokenCommand::Peppers { command } => peppers::run(command.as_ref(), access, now, args.json, out),
        TokenCommand::Pattern { only } => show_pattern(&access.rules().format, *only, args.json, out),
    }
}

fn show_pattern(
    format: &Format,
    only: Option<Scanner>,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let (pattern, gitleaks) = (format.pattern(), format.gitleaks_rule());
    let github = format.github_custom_pattern();
    if as_json {
        let github: serde_json::Map<_, _> =
            github.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        return json(out, &object!({"pattern": pattern, "gitleaks": gitleaks, "github": github}));
    }
    let fields = github.map(|(name, value)| (name, Some(value)));
    match only {
        Some(Scanner::Regex) => writeln!(out, "{pattern}")?,
        Some(Scanner::Gitleaks) => write!(out, "{gitleaks}")?,
        Some(Scanner::Github) => pairs(out, &fields)?,
        None => {
            writeln!(out, "{pattern}\n\ngitleaks, in .gitleaks.toml:\n\n{gitleaks}")?;
            writeln!(out, "GitHub, a custom pattern of a repository or organisation:\n")?;
            pairs(out, &fields)?;
        }
    }
    Ok(())
}

/// Writes what was made and, for the only time, the token.
fn show_minted(minted: &Minted, now: Now, as_json: bool, out: &mut dyn Write) -> Result<(), Error> {
    if as_json {
        let mut value = serde_json::to_value(minted.record.view(now.unix_seconds()))?;
        value["token"] = minted.token.expose().as_str().into();
        return json(out, &value);
    }
    show(&minted.record, now, false, out)?;
    writeln!(out, "\n{}\n", minted.token.expose())?;
    if minted.record.is_decoy {
        writeln!(
            out,
            "This is the decoy. Put it where only a thief looks: whoever uses it is refused as with any unknown token, and told of."
        )?;
        return Ok(());
    }
    writeln!(out, "This is the token. Keep it now: only its hash is stored, it cannot be shown again.")?;
    Ok(())
}

fn show(token: &TokenRecord, now: Now, as_json: bool, out: &mut dyn Write) -> Result<(), Error> {
    let view = token.view(now.unix_seconds());
    if as_json {
        return json(out, &view);
    }
    let text = |moment: Option<Moment>| moment.map(|moment| moment.to_string());
    let networks: Vec<String> = view.allowed_networks.iter().map(Network::to_string).collect();
    let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    pairs(
        out,
        &[
            ("id", Some(token.id.clone())),
            ("state", Some(view.state.name().to_owned())),
            ("workspace", Some(token.workspace.clone())),
            ("name", named(&token.name)),
            ("scopes", list(&token.scopes)),
            ("role", Some(token.role.name().to_owned())),
            ("limit", view.own_limit),
            ("from", list(&networks)),
            ("decoy", view.decoy.then(|| "yes: never valid, its use is told".to_owned())),
            ("created", text(Some(view.created_at))),
            ("expires", Some(text(view.expires_at).unwrap_or_else(|| "never".to_owned()))),
            ("revoked", text(view.revoked_at)),
            ("because", token.revoked_reason.clone()),
            ("works until", text(view.overlap_until)),
            ("replaced by", token.replaced_by.clone()),
            ("last used", text(view.last_used_at)),
        ],
    )
}

/// Writes a token and where its family was seen.
fn show_with_networks(
    mint: &Mint,
    id: &str,
    now: Now,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let token = mint.token(id)?;
    let known = mint.store().known_networks(id)?;
    if as_json {
        let mut value = serde_json::to_value(token.view(now.unix_seconds()))?;
        let known = known.iter().map(|one| {
            object!({"network": one.network, "first_seen_at": Moment(one.first_seen_unix_seconds),
                     "seen_at": Moment(one.seen_unix_seconds)})
        });
        value["known_networks"] = known.collect();
        return json(out, &value);
    }
    show(&token, now, false, out)?;
    let networks: Vec<String> = known.iter().map(|one| one.network.to_string()).collect();
    pairs(out, &[("seen from", list(&networks))])
}

fn list_all(
    mint: &Mint,
    filter: &ListTokens,
    now: Now,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Error> {
    if let Some(workspace) = &filter.workspace {
        mint.workspace(workspace)?;
    }
    let mut all: Vec<TokenRecord> = Vec::new();
    let mut after = String::new();
    loop {
        let page = match filter.pepper {
            Some(version) => mint.store().tokens_under(Scheme::of(version), &after, PAGE)?,
            None => mint.store().tokens(filter.workspace.as_deref(), &after, PAGE)?,
        };
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        let wanted = |token: &TokenRecord| {
            filter.state.is_none_or(|state| state == token.state_at(now.unix_seconds()))
                && filter.unused_days.is_none_or(|days| token.is_unused_for(days * DAY_SECONDS, now))
        };
        all.extend(page.into_iter().filter(wanted));
    }
    let views: Vec<TokenView<'_>> = all.iter().map(|token| token.view(now.unix_seconds())).collect();
    if as_json {
        return json(out, &views);
    }
    if views.is_empty() {
        writeln!(out, "There is no such token; make one with `tollgate token create --workspace ID`.")?;
        return Ok(());
    }
    let mut table = Table::new(["ID", "WORKSPACE", "NAME", "STATE", "ROLE", "EXPIRES", "LAST USED"]);
    let text = |moment: Option<Moment>, none: &str| moment.map_or(none.to_owned(), |m| m.to_string());
    for view in &views {
        let is_armed = view.decoy && view.state == TokenState::Active;
        let state = if is_armed { "decoy" } else { view.state.name() };
        let (expires, used) = (text(view.expires_at, "never"), text(view.last_used_at, ""));
        table.row([view.id, view.workspace, view.name, state, view.role.name(), &expires, &used]);
    }
    table.write(out)
}

fn run_import(
    import: &ImportTokens,
    mint: &Mint,
    access: &RegistryAccess,
    now: Now,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let defaults = ImportDefaults {
        workspace: import.workspace.clone(),
        region: import.region.clone().or_else(|| access.region(None).ok()),
        plan: import.plan,
        scopes: import.scopes.clone(),
        role: import.role,
        lifetime_seconds: import.expires,
        allowed_networks: import.from.clone(),
    };
    let mut file = open(&import.file)?;
    let mut progress = std::io::stderr();
    let is_terminal = progress.is_terminal();
    let mut refused: Vec<LineRefused> = Vec::new();
    let mut failed = Ok(());
    let count = mint.import(access.act(now), &mut *file, &defaults, &mut |count, lines| {
        let room = REFUSED_LINES_SHOWN - refused.len();
        refused.extend(lines.iter().take(room).cloned());
        if is_terminal && failed.is_ok() {
            failed = write!(progress, "\r{} lines", thousands(count.lines));
        }
    })?;
    if is_terminal {
        writeln!(progress, "\r\x1b[K")?;
    }
    failed?;
    if as_json {
        let lines: Vec<_> =
            refused.iter().map(|refused| object!({"line": refused.line, "reason": refused.reason})).collect();
        json(
            out,
            &object!({"lines": count.lines, "added": count.added, "known": count.known,
                      "refused": count.refused, "first_refused": lines}),
        )?;
    } else {
        for refused in &refused {
            writeln!(out, "line {}: {}", refused.line, refused.reason)?;
        }
        if count.refused > refused.len() as u64 {
            writeln!(out, "… and {} more", thousands(count.refused - refused.len() as u64))?;
        }
        let (lines, added, known) = (count.lines, count.added, count.known);
        writeln!(
            out,
            "{} lines: {} tokens added, {} there already, {} not taken",
            thousands(lines),
            thousands(added),
            thousands(known),
            thousands(count.refused)
        )?;
    }
    if count.refused > 0 { Err(Error::LinesRefused(count.refused)) } else { Ok(()) }
}

/// Opens a file for reading, `-` being standard input.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>, Error> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let file = File::open(path).map_err(|source| tokens::Error::File {
        file: path.to_owned(),
        action: "read",
        source,
    })?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
}

#[cfg(test)]
mod tests;
