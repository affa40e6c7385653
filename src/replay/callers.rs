//! Who a line's caller is: as the registry has it, else as the log has it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use super::line::Line;
use crate::authentication::{TokenEntry, TokenLookup, Tokens, Whose};
use crate::clock::Now;
use crate::domain::{Endpoint, Plan, Regions, Role, Subject, Workspace, WorkspaceState};
use crate::tokens::{Error, OverrideRecord, Store, TokenRecord};

/// What stands in for a credential, which no log holds.
pub(super) const STAND_IN: &[u8] = b"Bearer replayed";

/// How many tokens and workspaces are remembered each; past it they are looked up anew.
const REMEMBERED: usize = 100_000;
/// Marks subjects that the registry does not give out.
const NOT_OF_THE_REGISTRY: u64 = 1 << 63;

/// The callers of a log.
pub(super) struct Callers {
    store: Option<Arc<dyn Store>>,
    regions: Regions,
    tokens: HashMap<Box<str>, Option<Arc<TokenRecord>>>,
    workspaces: HashMap<Box<str>, Option<Arc<Workspace>>>,
}

/// The registry as one request meets it: its own caller and nobody else.
pub(super) struct OneCaller(pub(super) TokenLookup);

impl Tokens for OneCaller {
    fn find(&self, _token: &[u8], _now: Now) -> TokenLookup {
        self.0.clone()
    }

    fn workspace(&self, _id: &str) -> Option<Arc<Workspace>> {
        None
    }

    fn recognises(&self, _value: &[u8]) -> bool {
        false
    }
}

impl Callers {
    pub(super) fn new(store: Option<Arc<dyn Store>>, regions: Regions) -> Self {
        Self { store, regions, tokens: HashMap::new(), workspaces: HashMap::new() }
    }

    pub(super) const fn has_registry(&self) -> bool {
        self.store.is_some()
    }

    /// What the registry would have said at the line's time. `endpoint` names what the log cannot tell is held.
    pub(super) fn of(
        &mut self,
        line: &Line,
        (token, workspace): (&str, &str),
        endpoint: Option<&Endpoint>,
        default_scope: Option<&Arc<str>>,
    ) -> Result<TokenLookup, Error> {
        let known = if line.issuer.is_none() { self.token(token)? } else { None };
        let known_workspace = self.workspace(workspace)?;
        let seconds = line.unix_millis / 1_000;
        if let Some(record) = &known {
            let over = |end: Option<u64>| end.is_some_and(|end| end <= seconds);
            let whose = || Whose { token_id: token.into(), workspace_id: workspace.into() };
            if over(record.revoked_at_unix_seconds) || over(record.overlap_until_unix_seconds) {
                return Ok(TokenLookup::Revoked(whose()));
            }
            if over(record.expires_at_unix_seconds) {
                return Ok(TokenLookup::Expired(whose()));
            }
        }
        let Some(workspace) =
            known_workspace.or_else(|| self.logged(line, workspace, endpoint).map(Arc::new))
        else {
            return Ok(TokenLookup::Unplaced);
        };
        let needed = endpoint.map_or(default_scope, |endpoint| endpoint.scope.as_ref());
        let entry = match known {
            Some(record) => TokenEntry {
                id: token.into(),
                subject: record.subject(),
                workspace,
                role: record.role,
                scopes: record.scopes.iter().map(|scope| Arc::from(scope.as_str())).collect(),
                own_limit: record.own_limit,
                overrides: (!record.overrides.is_empty())
                    .then(|| OverrideRecord::all_as_met(&record.overrides)),
                expires_at_unix_seconds: record.expires_at_unix_seconds,
                // A replay judges configurations, and where a token may be used from is none.
                allowed_networks: None,
            },
            None => TokenEntry {
                id: token.into(),
                subject: subject("token", line.issuer.as_deref().unwrap_or_default(), token),
                workspace,
                role: line.role.unwrap_or(Role::Owner),
                scopes: needed.cloned().into_iter().collect(),
                own_limit: None,
                overrides: None,
                expires_at_unix_seconds: None,
                allowed_networks: None,
            },
        };
        Ok(TokenLookup::Found(entry))
    }

    fn token(&mut self, id: &str) -> Result<Option<Arc<TokenRecord>>, Error> {
        let Some(store) = &self.store else { return Ok(None) };
        if let Some(known) = self.tokens.get(id) {
            return Ok(known.clone());
        }
        let found = store.token(id)?.map(Arc::new);
        remember(&mut self.tokens, id, found.clone());
        Ok(found)
    }

    fn workspace(&mut self, id: &str) -> Result<Option<Arc<Workspace>>, Error> {
        let Some(store) = &self.store else { return Ok(None) };
        if let Some(known) = self.workspaces.get(id) {
            return Ok(known.clone());
        }
        let record = store.workspace(id)?;
        let found = record.and_then(|record| {
            let region = self.regions.by_name(&record.region)?;
            Some(Arc::new(record.described(region)))
        });
        remember(&mut self.workspaces, id, found.clone());
        Ok(found)
    }

    /// A workspace that only the log tells of; [`None`] if the configuration has no region for it.
    fn logged(&self, line: &Line, id: &str, endpoint: Option<&Endpoint>) -> Option<Workspace> {
        let only = || self.regions.iter().map(|(region, _)| region).next();
        let region = match line.region.as_deref() {
            Some("none") | None => only()?,
            Some(name) => self.regions.by_name(name)?,
        };
        Some(Workspace {
            id: id.into(),
            subject: subject("workspace", "", id),
            region,
            plan: line.plan.unwrap_or(Plan::Business),
            features: endpoint.and_then(|endpoint| endpoint.feature.clone()).into_iter().collect(),
            state: WorkspaceState::Active,
            overrides: Arc::default(),
        })
    }
}

fn remember<T>(known: &mut HashMap<Box<str>, T>, id: &str, found: T) {
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(id.into(), found);
}

/// A number for a name, the same whenever the name comes.
fn subject(kind: &str, issuer: &str, name: &str) -> Subject {
    let mut hasher = DefaultHasher::new();
    (kind, issuer, name).hash(&mut hasher);
    Subject(hasher.finish() | NOT_OF_THE_REGISTRY)
}
