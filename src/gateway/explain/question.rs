//! A request that was never sent, and who would have sent it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::authentication::{TokenEntry, TokenLookup};
use crate::domain::{Plan, Role, Secret, Subject, Workspace, WorkspaceState};
use crate::gateway::Snapshot;
use crate::tokens::Registry;

/// What would be done with this request?
#[derive(Clone, Debug)]
pub struct Question {
    /// Its method.
    pub method: String,
    /// Its request target: a path, with a query if it has one.
    pub target: String,
    /// Its fields, each `Name: value`. `Host` is added where there is none.
    pub fields: Vec<String>,
    /// Where it comes from.
    pub address: IpAddr,
    /// Who sends it.
    pub asker: Asker,
}

/// Who would send a request.
#[derive(Clone, Debug, Default)]
pub enum Asker {
    /// Whoever its own fields prove.
    #[default]
    Request,
    /// The holder of this token or JWT.
    Token(Secret<String>),
    /// The holder of the opaque token with this id.
    TokenId(String),
    /// The holder of an opaque token that need not exist.
    AsIf(AsIf),
}

/// An opaque token that need not exist, in a workspace that need not exist either.
#[derive(Clone, Debug, Default)]
pub struct AsIf {
    /// The workspace's id. If the registry knows it, what is left out below is the workspace's.
    pub workspace: String,
    /// The workspace's plan; Business if nobody says.
    pub plan: Option<Plan>,
    /// The workspace's home; the gateway's own region if nobody says.
    pub region: Option<String>,
    /// The workspace's features.
    pub features: Vec<String>,
    /// The token's scopes; what unmatched requests need if none is named.
    pub scopes: Vec<String>,
    /// The token's role; restricted if left out.
    pub role: Option<Role>,
}

/// Why a question cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAQuestion {
    /// A part would end its line.
    #[error("the {0} holds a line break or a space that would end it; leave it out")]
    LineBreak(&'static str),
    /// A field without a colon.
    #[error("`{0}` is no header; write `Name: value`")]
    NoField(String),
    /// Two credentials.
    #[error("the token is given apart and in a header; leave one out")]
    TwoCredentials,
    /// The head does not end.
    #[error("the request does not end; check the headers for line breaks")]
    Incomplete,
    /// No token of the id.
    #[error("no token has the id `{0}`; `tollgate token list` shows those that there are")]
    NoSuchToken(String),
    /// No such region.
    #[error("there is no region `{0}`; write one of {1}")]
    NoSuchRegion(String, String),
}

impl Question {
    /// A request without fields from this machine, by whoever its fields prove.
    pub fn new(method: impl Into<String>, target: impl Into<String>) -> Self {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (method, target) = (method.into(), target.into());
        Self { method, target, fields: Vec::new(), address, asker: Asker::Request }
    }

    /// The request's head as HTTP/1.1 writes it.
    pub(super) fn request(&self) -> Result<Vec<u8>, NotAQuestion> {
        let breaks = |text: &str| text.contains(['\r', '\n']);
        for (what, text) in [("method", &self.method), ("path", &self.target)] {
            if breaks(text) || text.contains(' ') {
                return Err(NotAQuestion::LineBreak(what));
            }
        }
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let mut names = Vec::new();
        for field in &self.fields {
            if breaks(field) {
                return Err(NotAQuestion::LineBreak("header"));
            }
            let (name, _) = field.split_once(':').ok_or_else(|| NotAQuestion::NoField(field.clone()))?;
            names.push(name.to_ascii_lowercase());
            let _ = write!(head, "{field}\r\n");
        }
        let has = |name: &str| names.iter().any(|other| other == name);
        if !has("host") {
            head.push_str("Host: gateway\r\n");
        }
        match &self.asker {
            Asker::Request => {}
            _ if has("authorization") => return Err(NotAQuestion::TwoCredentials),
            Asker::Token(token) if breaks(token.expose()) => return Err(NotAQuestion::LineBreak("token")),
            Asker::Token(token) => {
                let _ = write!(head, "Authorization: Bearer {}\r\n", token.expose());
            }
            Asker::TokenId(_) | Asker::AsIf(_) => {}
        }
        head.push_str("\r\n");
        Ok(head.into_bytes())
    }
}

impl AsIf {
    /// What the registry would say of the token.
    pub(super) fn lookup(
        &self,
        snapshot: &Snapshot,
        registry: &Registry,
    ) -> Result<TokenLookup, NotAQuestion> {
        let regions = snapshot.places.regions();
        let region = match &self.region {
            None => None,
            Some(name) => Some(regions.by_name(name).ok_or_else(|| {
                let names: Vec<&str> = regions.iter().map(|(_, region)| &*region.name).collect();
                NotAQuestion::NoSuchRegion(name.clone(), names.join(", "))
            })?),
        };
        let mut workspace =
            registry.workspace(&self.workspace).as_deref().cloned().unwrap_or_else(|| Workspace {
                id: self.workspace.as_str().into(),
                subject: NOBODY,
                region: snapshot.places.own(),
                plan: Plan::Business,
                features: Arc::new([]),
                state: WorkspaceState::Active,
                overrides: Arc::new([]),
            });
        workspace.region = region.unwrap_or(workspace.region);
        workspace.plan = self.plan.unwrap_or(workspace.plan);
        if !self.features.is_empty() {
            workspace.features = self.features.iter().map(|feature| feature.as_str().into()).collect();
        }
        let scopes = self.scopes.iter().map(|scope| Arc::from(scope.as_str()));
        let scopes = if self.scopes.is_empty() {
            snapshot.unmatched.scope.iter().cloned().collect()
        } else {
            scopes.collect()
        };
        Ok(TokenLookup::Found(TokenEntry {
            id: "(a new token)".into(),
            subject: NOBODY,
            workspace: Arc::new(workspace),
            role: self.role.unwrap_or(Role::Restricted),
            scopes,
            own_limit: None,
            overrides: None,
            expires_at_unix_seconds: None,
            allowed_networks: None,
        }))
    }
}

/// A subject that no token and no workspace has: they begin at 1.
const NOBODY: Subject = Subject(0);
