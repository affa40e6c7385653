//! What a message says of a token's use: of a decoy, or from a network that is new to the token.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::message::{Call, Contents, Message};
use super::text::named;
use crate::tokens::Moment;
use crate::tokens::store::{ChangeKind, LogEntry};

/// What the log says of a use.
#[derive(Debug, Deserialize)]
pub(super) struct UseBody {
    pub(super) workspace: String,
    name: String,
    address: String,
    user_agent: String,
    request_id: String,
    at: String,
    count: Option<u64>,
    first_at: Option<String>,
    network: Option<String>,
    #[serde(default)]
    known: Vec<String>,
}

/// A use of a token.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Used {
    pub(super) workspace_id: String,
    token_id: String,
    token_name: String,
    address: String,
    user_agent: String,
    request_id: String,
    at: String,
    /// Uses since the last message about it; of decoys alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_at: Option<String>,
    /// The network that is new; not of decoys.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    known_networks: Option<Vec<String>>,
    next_steps: Steps,
    /// Whether the workspace has contacts, so that the operator need not be told.
    #[serde(skip)]
    pub(super) has_contacts: bool,
}

#[derive(Debug, Serialize)]
struct Steps {
    review: Call,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotate: Option<Call>,
}

/// Whether an entry tells of a use.
pub(super) fn is_use(entry: &LogEntry) -> bool {
    [ChangeKind::DecoyUsed, ChangeKind::TokenNewNetwork].iter().any(|kind| kind.name() == entry.kind)
}

impl Message {
    /// The message of a use's log entry; `base_url` is that of the workspace's region.
    pub(super) fn of_use(entry: &LogEntry, body: UseBody, base_url: &str, has_contacts: bool) -> Self {
        let base = base_url.trim_end_matches('/');
        let id = &entry.subject;
        let review =
            Call { method: "GET", url: format!("{base}/tollgate/v1/audit-events?tokenId={id}"), body: None };
        let is_decoy = body.count.is_some();
        let rotate =
            Call { method: "POST", url: format!("{base}/tollgate/v1/tokens/{id}/rotate"), body: None };
        let used = Used {
            workspace_id: body.workspace,
            token_id: id.clone(),
            token_name: body.name,
            address: body.address,
            user_agent: body.user_agent,
            request_id: body.request_id,
            at: body.at,
            uses: body.count,
            first_at: body.first_at,
            network: body.network,
            known_networks: (!is_decoy).then_some(body.known),
            next_steps: Steps { review, rotate: (!is_decoy).then_some(rotate) },
            has_contacts,
        };
        let kind = if is_decoy { "token.decoy_used" } else { "token.new_network" };
        let timestamp = Moment(entry.at_unix_millis / 1_000);
        Self { kind, timestamp, data: Contents::Used(Box::new(used)) }
    }
}

/// The subject of a mail.
pub(super) fn subject(used: &Used) -> String {
    let (token, workspace) = (named(&used.token_id, &used.token_name), &used.workspace_id);
    match used.uses {
        Some(_) => format!("Decoy used: {token} of workspace {workspace}"),
        None => format!("New network: {token} of workspace {workspace}"),
    }
}

/// The text of a mail.
pub(super) fn write_text(text: &mut String, used: &Used) -> std::fmt::Result {
    let (token, workspace) = (named(&used.token_id, &used.token_name), &used.workspace_id);
    match (used.uses, &used.network) {
        (Some(count), _) => {
            writeln!(text, "The decoy {token} of workspace {workspace} was used, {count} times since")?;
            writeln!(
                text,
                "{}. It is never valid: nothing was let",
                used.first_at.as_deref().unwrap_or(&used.at)
            )?;
            writeln!(text, "through. Whoever used it has seen the place where it was put.\n")?;
        }
        (None, network) => {
            let network = network.as_deref().unwrap_or_default();
            writeln!(text, "The {token} of workspace {workspace} was used from the network")?;
            writeln!(text, "{network}, where it was never seen before.\n")?;
        }
    }
    let seen = [("Address", &used.address), ("At", &used.at), ("User agent", &used.user_agent)];
    for (what, value) in seen.into_iter().chain([("Request", &used.request_id)]) {
        if !value.is_empty() {
            writeln!(text, "{what:<12} {value}")?;
        }
    }
    if let Some(known) = used.known_networks.as_ref().filter(|known| !known.is_empty()) {
        writeln!(text, "{:<12} {}", "Seen before", known.join(", "))?;
    }
    writeln!(text, "\nWHAT TO DO NOW\n")?;
    let review = &used.next_steps.review;
    if let Some(rotate) = &used.next_steps.rotate {
        writeln!(
            text,
            "If one of yours calls from there, nothing. If not, the token has leaked: replace it\n"
        )?;
        writeln!(text, "     {} {}\n", rotate.method, rotate.url)?;
        writeln!(text, "and look through what it did:\n\n     {} {}\n", review.method, review.url)?;
        writeln!(text, "For an hour other networks of this token are in the audit trail alone.")
    } else {
        writeln!(text, "Look who can read that place, and replace every other secret that lies there.")?;
        writeln!(text, "The decoy goes on telling, once an hour while it is used. All of it:\n")?;
        writeln!(text, "     {} {}", review.method, review.url)
    }
}
