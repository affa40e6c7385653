//! Tokens and audit events as owners see them, in the API's spelling.

use serde::Serialize;
use serde_json::Value;

use super::events::Event;
use crate::domain::{Network, Role};
use crate::journal::{Entry, Kept};
use crate::tokens::store::{ChangeKind, LogEntry};
use crate::tokens::{Moment, TokenRecord, TokenState};

/// A token.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenView<'r> {
    id: &'r str,
    state: TokenState,
    name: &'r str,
    scopes: &'r [String],
    role: Role,
    own_limit: Option<String>,
    allowed_networks: &'r [Network],
    decoy: bool,
    created_at: Moment,
    expires_at: Option<Moment>,
    revoked_at: Option<Moment>,
    revoked_reason: Option<&'r str>,
    overlap_until: Option<Moment>,
    replaced_by: Option<&'r str>,
    last_used_at: Option<Moment>,
    /// The token itself, in the one answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'r str>,
}

impl<'r> TokenView<'r> {
    pub(super) fn of(record: &'r TokenRecord, token: Option<&'r str>, unix_seconds: u64) -> Self {
        Self {
            id: &record.id,
            state: record.state_at(unix_seconds),
            name: &record.name,
            scopes: &record.scopes,
            role: record.role,
            own_limit: record.own_limit.map(|quota| quota.to_string()),
            allowed_networks: &record.allowed_networks,
            decoy: record.is_decoy,
            created_at: Moment(record.created_at_unix_seconds),
            expires_at: record.expires_at_unix_seconds.map(Moment),
            revoked_at: record.revoked_at_unix_seconds.map(Moment),
            revoked_reason: record.revoked_reason.as_deref(),
            overlap_until: record.overlap_until_unix_seconds.map(Moment),
            replaced_by: record.replaced_by.as_deref(),
            last_used_at: record.last_used_unix_seconds.map(Moment),
            token,
        }
    }
}

/// A change of the audit trail, or a request of the journal, in the shape of the API's own audit events.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventView {
    id: String,
    timestamp: Moment,
    r#type: String,
    actor: String,
    resource_id: String,
    resource_type: &'static str,
    resource_name: String,
    /// What only a request has.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestView>,
}

/// How a request came and ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestView {
    method: String,
    status: u16,
    outcome: String,
    forwarded: String,
    address: String,
    user_agent: String,
    request_id: String,
}

impl EventView {
    pub(super) fn of(event: &Event) -> Self {
        match event {
            Event::Change(entry) => Self::change(entry),
            Event::Request(kept) => Self::request(kept),
        }
    }

    /// `resourceId` is the path that was asked for, `resourceName` the operation.
    fn request(kept: &Kept) -> Self {
        let Entry {
            method, operation, resource, outcome, forwarded, address, user_agent, request_id, ..
        } = kept.entry.clone();
        Self {
            id: format!("request-{}", kept.number),
            timestamp: Moment(kept.entry.at_unix_millis / 1_000),
            r#type: if kept.entry.is_write() { "API Request Forwarded" } else { "API Request Refused" }
                .to_owned(),
            actor: kept.entry.token_id.clone(),
            resource_id: resource,
            resource_type: "REQUEST",
            resource_name: operation,
            request: Some(RequestView {
                method,
                status: kept.entry.status,
                outcome,
                forwarded,
                address,
                user_agent,
                request_id,
            }),
        }
    }

    fn change(entry: &LogEntry) -> Self {
        let kind = ChangeKind::by_name(&entry.kind);
        let details: Value = serde_json::from_str(&entry.body).unwrap_or_default();
        let name = details.get("name").and_then(Value::as_str).unwrap_or_default();
        Self {
            id: entry.seq.to_string(),
            timestamp: Moment(entry.at_unix_millis / 1_000),
            r#type: kind.map_or_else(|| entry.kind.clone(), |kind| kind.title().to_owned()),
            actor: entry.actor.clone(),
            resource_id: entry.subject.clone(),
            resource_type: kind.map_or("", ChangeKind::resource_type),
            resource_name: name.to_owned(),
            request: None,
        }
    }
}
