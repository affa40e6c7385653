//! What a message says, as JSON; the same facts as a text are in `text`.

use serde::{Deserialize, Serialize, Serializer};

use super::used::Used;
use crate::domain::Role;
use crate::journal::{Activity, Entry};
use crate::tokens::store::LogEntry;
use crate::tokens::{Leak, Moment, TokenRecord};

/// How far back a message looks.
pub(super) const LOOKS_BACK_MILLIS: u64 = 24 * 3_600_000;

/// What the log says of a leaked token.
#[derive(Debug, Deserialize)]
pub(super) struct LeakBody {
    pub(super) workspace: String,
    pub(super) name: String,
    pub(super) leak: Leak,
    #[serde(default)]
    pub(super) also_revoked: Vec<String>,
}

/// A message: `{"type":"token.leaked","timestamp":…,"data":{…}}`, the payload that Standard Webhooks proposes.
#[derive(Debug, Serialize)]
pub(super) struct Message {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) timestamp: Moment,
    pub(super) data: Contents,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Contents {
    One(Box<Data>),
    Many(Many),
    Used(Box<Used>),
}

/// Several leaks of one workspace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Many {
    pub(super) workspace_id: String,
    pub(super) leaks: u64,
    /// The first of them.
    pub(super) tokens: Vec<Data>,
    pub(super) tokens_left_out: u64,
    pub(super) next_steps: ListSteps,
}

/// Where all of them are told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListSteps {
    /// For a workspace owner.
    pub(super) list: Call,
    /// For the operator.
    pub(super) list_command: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Data {
    pub(super) workspace_id: String,
    pub(super) token_id: String,
    pub(super) token_name: String,
    pub(super) revoked_at: Moment,
    pub(super) also_revoked: Vec<String>,
    pub(super) found: Found,
    /// [`None`] where no journal is kept.
    pub(super) activity: Option<Report>,
    pub(super) next_steps: NextSteps,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found {
    pub(super) by: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) url: String,
    pub(super) source: String,
    pub(super) reported_at: Moment,
}

/// What the token and those that were revoked with it did in the 24 hours before, and until the message was made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) from: Moment,
    #[serde(flatten)]
    pub(super) activity: Activity,
    /// Oldest first.
    pub(super) requests: Vec<Line>,
    /// More of the same time that are not listed.
    pub(super) requests_left_out: u64,
    /// Gateways that had not yet handed on what they noted.
    pub(super) gateways_missing: u64,
}

/// A request of the report.
#[derive(Debug)]
pub(super) struct Line(pub(super) Entry);

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Entry {
            token_id,
            method,
            operation,
            resource,
            outcome,
            status,
            forwarded,
            address,
            user_agent,
            request_id,
            ..
        } = &self.0;
        serde_json::json!({
            "time": Moment(self.0.at_unix_millis / 1_000).to_string(), "tokenId": token_id, "method": method,
            "operation": operation, "resource": resource, "status": status, "outcome": outcome, "forwarded": forwarded,
            "address": address, "userAgent": user_agent, "requestId": request_id,
        })
        .serialize(serializer)
    }
}

/// One step that gives the owner a working token again, in two ways.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NextSteps {
    pub(super) replace: Replace,
    pub(super) review: Call,
}

#[derive(Debug, Serialize)]
pub(super) struct Replace {
    /// For the operator.
    pub(super) command: String,
    /// For a workspace owner.
    pub(super) request: Call,
}

#[derive(Debug, Serialize)]
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<serde_json::Value>,
}

impl Message {
    /// The message of leaks, of which `told` is the first.
    pub(super) fn of_leaks(told: Data, others: Vec<Data>, leaks: u64, base_url: &str) -> Self {
        let timestamp = told.revoked_at;
        if leaks <= 1 {
            return Self { kind: "token.leaked", timestamp, data: Contents::One(Box::new(told)) };
        }
        let workspace_id = told.workspace_id.clone();
        let list_command =
            format!("tollgate audit list --workspace {} --kind token.revoked", quoted(&workspace_id));
        let next_steps = ListSteps { list: get(base_url, "tokens"), list_command };
        let tokens: Vec<Data> = std::iter::once(told).chain(others).collect();
        let tokens_left_out = leaks.saturating_sub(tokens.len() as u64);
        let many = Many { workspace_id, leaks, tokens, tokens_left_out, next_steps };
        Self { kind: "tokens.leaked", timestamp, data: Contents::Many(many) }
    }

    /// The workspace that it is about.
    pub(super) fn workspace_id(&self) -> &str {
        match &self.data {
            Contents::One(one) => &one.workspace_id,
            Contents::Many(many) => &many.workspace_id,
            Contents::Used(used) => &used.workspace_id,
        }
    }
}

impl Data {
    /// What is told of a leak's log entry; `token` is the token as it is now, `base_url` that of its region, `report`
    /// what it did.
    pub(super) fn of_leak(
        entry: &LogEntry,
        body: LeakBody,
        token: Option<&TokenRecord>,
        base_url: &str,
        report: Option<Report>,
    ) -> Self {
        let next_steps = NextSteps {
            replace: Replace {
                command: command(&body, token),
                request: Call {
                    method: "POST",
                    body: Some(request_body(&body, token)),
                    ..get(base_url, "tokens")
                },
            },
            review: get(base_url, &format!("audit-events?tokenId={}", entry.subject)),
        };
        let LeakBody { workspace, name, leak, also_revoked } = body;
        let found = Found {
            by: leak.found_by().to_owned(),
            kind: leak.kind().to_owned(),
            url: leak.url().to_owned(),
            source: leak.source().to_owned(),
            reported_at: leak.reported_at(),
        };
        Self {
            workspace_id: workspace,
            token_id: entry.subject.clone(),
            token_name: name,
            revoked_at: Moment(entry.at_unix_millis / 1_000),
            also_revoked,
            found,
            activity: report,
            next_steps,
        }
    }
}

/// A request for one of the owners' resources.
fn get(base_url: &str, resource: &str) -> Call {
    let url = format!("{}/tollgate/v1/{resource}", base_url.trim_end_matches('/'));
    Call { method: "GET", url, body: None }
}

fn request_body(body: &LeakBody, token: Option<&TokenRecord>) -> serde_json::Value {
    let scopes = token.map(|token| token.scopes.clone()).unwrap_or_default();
    let role = token.map_or(Role::Restricted, |token| token.role);
    serde_json::json!({"name": body.name, "scopes": scopes, "role": role.name()})
}

/// The command that makes a token of the same name, scopes, role and limit.
fn command(body: &LeakBody, token: Option<&TokenRecord>) -> String {
    let mut command = format!("tollgate token create --workspace {}", body.workspace);
    let mut add = |option: &str, value: &str| {
        command.push_str(" --");
        command.push_str(option);
        command.push(' ');
        command.push_str(&quoted(value));
    };
    if !body.name.is_empty() {
        add("name", &body.name);
    }
    if let Some(token) = token {
        for scope in &token.scopes {
            add("scope", scope);
        }
        add("role", token.role.name());
        if let Some(limit) = token.own_limit {
            add("limit", &limit.to_string());
        }
    }
    command
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/@".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_word_for_a_shell() {
        for (word, expected) in [
            ("ci", "ci"),
            ("public_api:read_write", "public_api:read_write"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", "'it'\\''s'"),
            ("$(reboot)", "'$(reboot)'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
