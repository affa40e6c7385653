//! `tollgate demo leak`: what happens to a token that was pushed to a public repository, with a stopwatch.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::connection::Connection;
use super::data::{DataFolder, WORKSPACES};
use super::github::GitHub;
use crate::cli::{Error, environment};
use crate::clock::Clock;
use crate::config::load_registry;
use crate::domain::{Role, Secret};
use crate::sample::{Channel, Inbox};
use crate::tokens::{Act, Mint, Moment, SystemRandom, TokenRequest};

/// How many connections use the token while it leaks.
const CONNECTIONS: usize = 4;
/// Between two requests of a connection, so that the token's limit is not met before the alert comes.
const PAUSE: Duration = Duration::from_millis(1);
/// How long the token is used before the alert comes.
const WARM: Duration = Duration::from_millis(300);
/// The longest wait for anything that should happen at once.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where the token is said to have been found.
const FOUND_AT: &str =
    "https://github.com/octocat/Hello-World/blob/7fd1a60b01f91b314f59955a4e4d4e80d8edf11d/deploy/.env";
/// How much of the journal is shown.
const JOURNAL_LINES: usize = 8;
/// How much of the e-mail is shown.
const MAIL_LINES: usize = 24;
const LISTED: &str = "/sources?pagination.count=1";

/// `tollgate demo leak`.
#[derive(Clone, Debug, Args)]
pub(super) struct LeakArgs {
    /// The folder of the running demo, as its environment file names it. Without it the newest that runs.
    #[arg(long, value_name = "DIR", env = "TOLLGATE_DATA")]
    data: Option<PathBuf>,
}

/// A token of the demo.
struct Token {
    id: String,
    token: Secret<String>,
}

/// The demo that runs.
struct Running {
    folder: PathBuf,
    public: String,
    mint: Mint,
}

/// When the token was served last and how often, and when it was first refused, from one connection's view.
struct Seen {
    served: u64,
    last_served: Instant,
    refused: Instant,
    reason: String,
}

/// Plays the leak against the running demo.
pub(super) fn run(args: &LeakArgs, clock: &Clock, out: &mut dyn Write) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let demo = find(args.data.as_deref(), clock).await?;
        play(&demo, clock, out).await
    })
}

async fn play(demo: &Running, clock: &Clock, out: &mut dyn Write) -> Result<(), Error> {
    let (leaked, kept) = (demo.make("deploy", clock)?, demo.make("nightly export", clock)?);
    for token in [&leaked, &kept] {
        demo.until_known(token).await?;
    }
    writeln!(out, "two tokens of the workspace {}:", WORKSPACES.us)?;
    writeln!(out, "  {}  \"deploy\", which is about to leak", leaked.id)?;
    writeln!(out, "  {}  \"nightly export\", which is not", kept.id)?;
    write_with(demo, &leaked, out).await?;

    let users: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (public, token) = (demo.public.clone(), leaked.token.clone());
            tokio::spawn(async move { use_until_refused(&public, &token).await })
        })
        .collect();
    tokio::time::sleep(WARM).await;
    let github = GitHub::prepare(&demo.folder)?;
    let finding = json!({"token": leaked.token.expose(), "type": "segment_public_api_token",
                         "url": FOUND_AT, "source": "commit"});
    let body = json!([finding]).to_string().into_bytes();
    let signature = github.sign(&body)?;
    let mut connection = Connection::open(&demo.public).await?;
    writeln!(
        out,
        "\nthe stopwatch starts: GitHub posts its signed alert while {CONNECTIONS} connections use the token"
    )?;
    out.flush()?;
    let start = Instant::now();
    let fields = [
        ("content-type", "application/json"),
        ("github-public-key-identifier", github.key_identifier()),
        ("github-public-key-signature", &signature),
    ];
    let answer = connection.send(Method::POST, super::github::PATH, &fields, body).await?;
    let answered = start.elapsed();
    let mut seen = Vec::new();
    for user in users {
        seen.push(user.await.map_err(|error| Error::Demo(error.to_string()))??);
    }
    tell_times(out, start, &seen, answered, (answer.status, &answer.body))?;
    let still = demo.ask(&kept, LISTED).await?;
    writeln!(out, "            the other token goes on working: {}", still.status)?;
    tell_audit(demo, &leaked, out)?;
    tell_webhook(demo, &leaked, start, out).await?;
    tell_mail(demo, &leaked, start, out).await
}

/// Uses the token for what an owner would want to know of afterwards.
async fn write_with(demo: &Running, token: &Token, out: &mut dyn Write) -> Result<(), Error> {
    let mut connection = Connection::open(&demo.public).await?;
    let authorization = format!("Bearer {}", token.token.expose());
    let fields = [("authorization", &*authorization), ("content-type", "application/json")];
    let body = json!({"slug": "leaked", "enabled": true, "metadataId": "IqDTy1TpoU"}).to_string();
    let answer = connection.send(Method::POST, "/sources", &fields, body.into_bytes()).await?;
    writeln!(out, "  somebody uses the first: POST /sources is answered {}", answer.status)?;
    Ok(())
}

/// Asks without rest until the token is refused.
async fn use_until_refused(public: &str, token: &Secret<String>) -> Result<Seen, Error> {
    let mut connection = Connection::open(public).await?;
    let authorization = format!("Bearer {}", token.expose());
    let fields = [("authorization", &*authorization)];
    let begun = Instant::now();
    let (mut served, mut last_served) = (0, begun);
    while begun.elapsed() < PATIENCE {
        let answer = connection.send(Method::GET, LISTED, &fields, Vec::new()).await?;
        if answer.status == 401 {
            let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let reason = said.pointer("/errors/0/data/reason").and_then(Value::as_str).unwrap_or_default();
            return Ok(Seen { served, last_served, refused: Instant::now(), reason: reason.to_owned() });
        }
        (served, last_served) = (served + 1, Instant::now());
        tokio::time::sleep(PAUSE).await;
    }
    Err(Error::Demo(format!("the token still works {} s later", PATIENCE.as_secs())))
}

fn tell_times(
    out: &mut dyn Write,
    start: Instant,
    seen: &[Seen],
    answered: Duration,
    (status, body): (u16, &[u8]),
) -> Result<(), Error> {
    let served: u64 = seen.iter().map(|seen| seen.served).sum();
    let last =
        seen.iter().map(|seen| seen.last_served).max().unwrap_or(start).saturating_duration_since(start);
    let refused =
        seen.iter().map(|seen| seen.refused).max().unwrap_or(start).saturating_duration_since(start);
    let reason = seen.first().map_or("", |seen| &*seen.reason);
    let mut lines = [
        (last, format!("the last of {served} requests that the token got through is answered")),
        (refused, format!("the token is refused on every connection: 401 {reason}")),
        (answered, format!("GitHub is answered: {status} {}", String::from_utf8_lossy(body))),
    ];
    lines.sort_by_key(|(at, _)| *at);
    for (at, what) in lines {
        writeln!(out, "{:>7.1} ms  {what}", at.as_secs_f64() * 1e3)?;
    }
    Ok(())
}

/// The entry of the audit trail about the leaked token.
fn tell_audit(demo: &Running, leaked: &Token, out: &mut dyn Write) -> Result<(), Error> {
    let store = demo.mint.store();
    let (head, _) = store.head()?;
    let entries = store.log(head.saturating_sub(100), 100)?;
    let found =
        entries.iter().rev().find(|entry| entry.subject == leaked.id && entry.kind == "token.revoked");
    let Some(entry) = found else {
        return Err(Error::Demo("the audit trail says nothing of the token".to_owned()));
    };
    let body: Value = serde_json::from_str(&entry.body).unwrap_or_default();
    let leak = |name: &str| body["leak"][name].as_str().unwrap_or_default();
    writeln!(out, "\nthe audit trail, entry {}:", entry.seq)?;
    writeln!(
        out,
        "  {} {} {} by {}",
        Moment(entry.at_unix_millis / 1000),
        entry.kind,
        entry.subject,
        entry.actor
    )?;
    writeln!(out, "  found in a {}: {}", leak("source"), leak("url"))?;
    Ok(())
}

/// What the workspace's webhook was sent, and the journal of what the token did, which is part of it.
async fn tell_webhook(
    demo: &Running,
    leaked: &Token,
    start: Instant,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let message = demo.message(Channel::Webhook, &leaked.id).await?;
    writeln!(
        out,
        "\n{:>7.1} s   the workspace's webhook is told, signed (Standard Webhooks):",
        seconds(start)
    )?;
    let (head, body) = message.split_once("\r\n\r\n").unwrap_or((&message, ""));
    for line in head.lines().filter(|line| line.starts_with("POST ") || line.starts_with("webhook-")) {
        writeln!(out, "  {line}")?;
    }
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let data = &body["data"];
    writeln!(out, "  {} {} {}", body["type"], data["tokenId"], data["tokenName"])?;
    writeln!(out, "\nthe journal of what the token did, as the webhook was told it:")?;
    let requests = data["activity"]["requests"].as_array().map_or(&[][..], Vec::as_slice);
    for request in requests.iter().take(JOURNAL_LINES) {
        let word = |name: &str| request[name].as_str().unwrap_or_default();
        let (time, method, operation) = (word("time"), word("method"), word("operation"));
        writeln!(out, "  {time} {method} {operation} {} from {}", request["status"], word("address"))?;
    }
    if let more @ 1.. = requests.len().saturating_sub(JOURNAL_LINES) {
        writeln!(out, "  and {more} more")?;
    }
    Ok(())
}

/// The e-mail to the workspace's owner.
async fn tell_mail(demo: &Running, leaked: &Token, start: Instant, out: &mut dyn Write) -> Result<(), Error> {
    let mail = demo.message(Channel::Mail, &leaked.id).await?;
    writeln!(out, "\n{:>7.1} s   the workspace's owner has an e-mail:", seconds(start))?;
    // Quoted-printable breaks long lines softly (RFC 2045, section 6.7).
    for line in mail.replace("=\r\n", "").lines().take(MAIL_LINES) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

fn seconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}

impl Running {
    /// The message about a token by a channel, once it is there.
    async fn message(&self, channel: Channel, token_id: &str) -> Result<String, Error> {
        let (begun, inbox) = (Instant::now(), DataFolder::inbox(&self.folder));
        while begun.elapsed() < PATIENCE {
            if let Some(message) = Inbox::find(&inbox, channel, token_id) {
                return Ok(message);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(Error::Demo(format!("nobody was told of the leak within {} s", PATIENCE.as_secs())))
    }

    fn make(&self, name: &str, clock: &Clock) -> Result<Token, Error> {
        let request = TokenRequest {
            workspace: WORKSPACES.us.to_owned(),
            name: name.to_owned(),
            scopes: Vec::new(),
            role: Role::Owner,
            own_limit: None,
            lifetime_seconds: None,
            allowed_networks: Vec::new(),
            decoy: false,
        };
        let minted = self.mint.create_token(Act::by("cli:demo", clock.now()), &request)?;
        Ok(Token { id: minted.record.id, token: minted.token })
    }

    async fn ask(&self, token: &Token, target: &str) -> Result<super::connection::Answer, Error> {
        let authorization = format!("Bearer {}", token.token.expose());
        let mut connection = Connection::open(&self.public).await?;
        connection.send(Method::GET, target, &[("authorization", &authorization)], Vec::new()).await
    }

    async fn until_known(&self, token: &Token) -> Result<(), Error> {
        let begun = Instant::now();
        while self.ask(token, "/tollgate/v1/whoami").await?.status != 200 {
            if begun.elapsed() > PATIENCE {
                return Err(Error::Demo("the demo's gateway does not know a token that was made".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// The demo of a folder, or the newest one that answers.
async fn find(named: Option<&Path>, clock: &Clock) -> Result<Running, Error> {
    let folders = match named {
        Some(folder) => vec![folder.to_owned()],
        None => temporary_folders()?,
    };
    for folder in folders {
        let Ok(text) = fs::read_to_string(DataFolder::state_file(&folder)) else { continue };
        let Ok(state) = serde_json::from_str::<Value>(&text) else { continue };
        let (Some(public), Some(config)) = (state["public"].as_str(), state["config_file"].as_str()) else {
            continue;
        };
        if Connection::open(public).await.is_err() {
            continue;
        }
        let loaded = load_registry(Path::new(config), &environment)?;
        let mint = Mint::open(&loaded.tokens, &loaded.regions, Box::new(SystemRandom), clock.now())?;
        return Ok(Running { folder, public: public.to_owned(), mint });
    }
    Err(Error::Demo(match named {
        Some(folder) => {
            format!("no demo runs in {}; start it with `tollgate demo --data DIR`", folder.display())
        }
        None => "no demo runs; start `tollgate demo` in another terminal, or name its folder with --data"
            .to_owned(),
    }))
}

/// The temporary folders of this user's demos, the newest first. Anybody may make folders beside them.
fn temporary_folders() -> Result<Vec<PathBuf>, Error> {
    let own = rustix::process::geteuid().as_raw();
    let mut found: Vec<(SystemTime, PathBuf)> = fs::read_dir(std::env::temp_dir())?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("tollgate-demo-"))
        .filter_map(|entry| {
            let metadata = fs::symlink_metadata(entry.path()).ok()?;
            let is_own = metadata.is_dir() && metadata.uid() == own;
            is_own.then(|| Some((metadata.modified().ok()?, entry.path()))).flatten()
        })
        .collect();
    found.sort();
    Ok(found.into_iter().rev().map(|(_, folder)| folder).collect())
}
