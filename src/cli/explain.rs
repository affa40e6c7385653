//! `tollgate explain`.

use std::io::{self, BufRead as _, Write};
use std::net::IpAddr;
use std::path::Path;

use clap::{ArgGroup, Args};

use super::check::Format;
use super::output::{pairs, thousands};
use super::registry::{plan, role};
use super::{Error, environment};
use crate::admin;
use crate::assembly;
use crate::clock::Clock;
use crate::config::load;
use crate::domain::{Plan, Role, Secret};
use crate::gateway::explain::{AsIf, Asker, Explanation, IdentityView, LimitView, Question};

/// The variable that holds an operator's token.
const OPERATOR_TOKEN: &str = "TOLLGATE_OPERATOR_TOKEN";
/// The longest token that is read.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;

/// `tollgate explain`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("asker").args(["token_id", "token_stdin", "workspace"]))]
pub(super) struct ExplainArgs {
    /// The request's method.
    method: String,
    /// The request's path, with a query if it has one.
    path: String,
    /// A header of the request; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// By the holder of the token with this id.
    #[arg(long, value_name = "ID")]
    token_id: Option<String>,
    /// By the holder of the token or JWT that stands in standard input, on one line.
    #[arg(long)]
    token_stdin: bool,
    /// By a new token of this workspace, which need not exist.
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    /// The workspace's plan: free, team or business.
    #[arg(long, requires = "workspace", value_parser = plan)]
    plan: Option<Plan>,
    /// The workspace's home region.
    #[arg(long, requires = "workspace")]
    region: Option<String>,
    /// A feature of the workspace; may be repeated.
    #[arg(long = "feature", value_name = "FEATURE", requires = "workspace")]
    features: Vec<String>,
    /// A scope of the token; may be repeated.
    #[arg(long = "scope", value_name = "SCOPE", requires = "workspace")]
    scopes: Vec<String>,
    /// The token's role: owner or restricted.
    #[arg(long, requires = "workspace", value_parser = role)]
    role: Option<Role>,
    /// Where the request comes from.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    address: IpAddr,
    /// Ask the running node whose operators' listener is here, and say what is left of each limit. The variable
    /// `TOLLGATE_OPERATOR_TOKEN` has to hold an operator's token.
    #[arg(long, value_name = "URL")]
    live: Option<String>,
    /// How the explanation is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Says what would be done with a request; exit code 1 if it would be refused.
pub(super) fn run(path: &Path, args: &ExplainArgs, clock: &Clock, out: &mut dyn Write) -> Result<(), Error> {
    let question = args.question()?;
    let explanation = if let Some(url) = &args.live {
        admin::ask(url, &operator_token()?, &question)?
    } else {
        let config = load(path, &environment)?;
        let store = &config.tokens.store;
        if !store.may_exist() {
            return Err(Error::Usage(format!(
                "there is no token store at {store}; --live asks a running node"
            )));
        }
        assembly::explain(&config, &question, clock)?.map_err(|error| Error::Usage(error.to_string()))?
    };
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&explanation)?)?,
        Format::Text => text(&question, &explanation, out)?,
    }
    if explanation.is_served() { Ok(()) } else { Err(Error::WouldRefuse) }
}

impl ExplainArgs {
    fn question(&self) -> Result<Question, Error> {
        let mut question = Question::new(&self.method, &self.path);
        question.fields.clone_from(&self.headers);
        question.address = self.address;
        let is_credential =
            |header: &String| header.trim_start().to_ascii_lowercase().starts_with("authorization");
        if self.headers.iter().any(is_credential) {
            let why =
                "a token on the command line can be read by everybody on this machine; use --token-stdin";
            return Err(Error::Usage(why.to_owned()));
        }
        question.asker = if self.token_stdin {
            Asker::Token(token()?)
        } else if let Some(id) = &self.token_id {
            Asker::TokenId(id.clone())
        } else if let Some(workspace) = &self.workspace {
            Asker::AsIf(AsIf {
                workspace: workspace.clone(),
                plan: self.plan,
                region: self.region.clone(),
                features: self.features.clone(),
                scopes: self.scopes.clone(),
                role: self.role,
            })
        } else {
            Asker::Request
        };
        Ok(question)
    }
}

/// The operator's token, from the environment: a command line can be read by everybody on the machine.
fn operator_token() -> Result<Secret<String>, Error> {
    let token = environment(OPERATOR_TOKEN).filter(|token| !token.is_empty());
    token.map(Secret::new).ok_or_else(|| {
        Error::Usage(format!(
            "--live asks with an operator's token: put one into the variable {OPERATOR_TOKEN} (`tollgate operator create NAME` makes one)"
        ))
    })
}

fn token() -> Result<Secret<String>, Error> {
    let mut line = String::new();
    io::Read::take(io::stdin().lock(), MAX_TOKEN_BYTES).read_line(&mut line)?;
    match line.trim() {
        "" => Err(Error::Usage("standard input holds no token".to_owned())),
        token => Ok(Secret::new(token.to_owned())),
    }
}

fn text(question: &Question, explanation: &Explanation, out: &mut dyn Write) -> Result<(), Error> {
    let (method, target) = (&question.method, &question.target);
    match &explanation.refusal {
        None => writeln!(out, "{method} {target}: {}\n", explanation.outcome)?,
        Some(refusal) => {
            writeln!(out, "{method} {target}: refused with {} {}\n", refusal.status, explanation.outcome)?;
            writeln!(out, "  {}\n  What would change it: {}\n", refusal.message, refusal.change)?;
        }
    }
    let endpoint = explanation.endpoint.as_ref();
    let mut rows = vec![
        (
            "endpoint",
            endpoint.map(|endpoint| {
                let method = endpoint.method.as_deref().unwrap_or("ANY");
                format!("{} ({method} {})", endpoint.operation, endpoint.path)
            }),
        ),
        ("version", explanation.version.clone()),
        ("needs", endpoint.map(needs)),
        ("caller", explanation.identity.as_ref().map(caller)),
        ("holds", explanation.identity.as_ref().map(holds)),
    ];
    rows.extend(explanation.limits.iter().map(|view| ("limit", Some(limit(view)))));
    let place = explanation.place.as_ref();
    rows.push((
        "region",
        place.map(|place| format!("{}, upstream {}", place.region, place.upstreams.join(" or "))),
    ));
    rows.push((
        "deadlines",
        place.map(|place| {
            let all = place.deadlines;
            format!(
                "connect {} s, answer begins {} s, pause {} s, in all {} s",
                all.connect_seconds, all.first_byte_seconds, all.idle_seconds, all.total_seconds
            )
        }),
    ));
    rows.extend(explanation.notes.iter().map(|note| ("note", Some(note.clone()))));
    pairs(out, &rows)
}

fn needs(endpoint: &crate::gateway::explain::EndpointView) -> String {
    if endpoint.public {
        return "nothing: it is public".to_owned();
    }
    let mut needs = Vec::new();
    needs.extend(endpoint.scope.as_ref().map(|scope| format!("scope {scope}")));
    needs.push(format!("plan {}", endpoint.plans.join(" or ")));
    needs.extend(endpoint.feature.as_ref().map(|feature| format!("feature {feature}")));
    needs.extend(endpoint.role.as_ref().map(|role| format!("role {role}")));
    needs.join(", ")
}

fn caller(who: &IdentityView) -> String {
    let IdentityView { kind, token_id, workspace, region, plan, state, .. } = who;
    let kind = if kind == "jwt" { "JWT client" } else { "token" };
    format!("{kind} {token_id} of workspace {workspace} (region {region}, plan {plan}, {state})")
}

fn holds(who: &IdentityView) -> String {
    let list = |what: &str, words: &[String]| match words {
        [] => format!("no {what}s"),
        words => format!("{what} {}", words.join(", ")),
    };
    format!("role {}, {}, {}", who.role, list("scope", &who.scopes), list("feature", &who.features))
}

/// One limit: its key, its worst window, and what is left.
fn limit(limit: &LimitView) -> String {
    let key: Vec<String> = limit.key.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let period = limit.quota.rsplit(' ').next().unwrap_or_default();
    let worst = thousands(limit.worst_window.requests);
    let cost = if limit.cost > 1 { format!(", each request counts {}", limit.cost) } else { String::new() };
    let shadow = if limit.mode == "shadow" { " (shadow: never refuses)" } else { "" };
    let left = match limit.remaining {
        None => String::new(),
        Some(left) if limit.refuses => {
            format!("; {} left, room for this in {:.1} s", thousands(left.into()), limit.wait_seconds)
        }
        Some(left) => format!("; {} left", thousands(left.into())),
    };
    format!(
        "{}{shadow} by {}: {}, burst {}{cost}: at most {worst} in one {period} once{left}",
        limit.policy,
        key.join(" "),
        limit.quota,
        thousands(limit.burst.into()),
    )
}
