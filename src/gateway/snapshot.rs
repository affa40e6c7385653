//! Everything that one request decides by, and everything that outlives it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Owners;
use crate::authentication::{Authenticator, JwtIdentity, TokenEntry, TokenLookup, Tokens, Whose};
use crate::authorization::UnmatchedNeeds;
use crate::clock::{Clock, Now};
use crate::domain::Workspace;
use crate::input;
use crate::limits::Limits;
use crate::place::Places;
use crate::reply::Replies;
use crate::routing::Table;
use crate::secret_scanning::Receiver;
use crate::telemetry::{OperationLabel, PolicyLabel, RegionLabel};
use crate::tokens::{Entry, JwtNames, Lookup, Registry};
use crate::upstream::Groups;

/// One configuration, ready for the request path; immutable.
pub struct Snapshot {
    /// Which endpoint.
    pub table: Table,
    /// Who.
    pub authenticator: Authenticator,
    /// What is asked of a caller whose request matched nothing.
    pub unmatched: UnmatchedNeeds,
    /// How much: these rules over counters that outlive them.
    pub limits: Limits,
    /// What bodies must look like.
    pub input: input::Rules,
    /// Where.
    pub places: Places,
    /// The upstreams of every region.
    pub upstreams: Arc<Groups>,
    /// Who takes alerts of leaked tokens; [`None`] where nobody does.
    pub alerts: Option<Arc<Receiver>>,
    /// What we say ourselves.
    pub replies: Replies,
    /// Labels by endpoint index.
    pub operation_labels: Vec<OperationLabel>,
    /// Labels by region id.
    pub region_labels: Vec<RegionLabel>,
    /// Labels by policy index.
    pub policy_labels: Vec<PolicyLabel>,
}

/// What all cores share.
#[derive(Clone)]
pub struct Parts {
    /// The configuration in force.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Opaque tokens and workspaces.
    pub registry: Arc<Registry>,
    /// What owners of workspaces manage.
    pub owners: Arc<Owners>,
    /// Time.
    pub clock: Clock,
}

/// The registry as identification sees it from behind a fence, if there is one.
pub struct PlacedTokens<'s> {
    registry: &'s Registry,
    places: &'s Places,
    notes_use: bool,
}

impl<'s> PlacedTokens<'s> {
    /// For requests: a token that is found is noted as used.
    pub const fn new(registry: &'s Registry, places: &'s Places) -> Self {
        Self { registry, places, notes_use: true }
    }

    /// For explanations, which note nothing.
    pub(super) const fn unnoted(registry: &'s Registry, places: &'s Places) -> Self {
        Self { registry, places, notes_use: false }
    }

    /// What is said of the token with a public id; [`None`] if there is none.
    pub(super) fn find_by_id(&self, id: &str, now: Now) -> Option<TokenLookup> {
        placed(self.registry.look_up_id(id, now))
    }
}

/// What the registry says, in the words of identification; [`None`] if it does not know the token.
fn placed(lookup: Lookup) -> Option<TokenLookup> {
    Some(match lookup {
        Lookup::Found(entry) => TokenLookup::Found(TokenEntry {
            id: entry.token_id().clone(),
            subject: entry.subject(),
            workspace: Arc::clone(entry.workspace()),
            role: entry.role(),
            scopes: Arc::clone(entry.scopes()),
            own_limit: entry.own_limit(),
            overrides: entry.overrides(),
            expires_at_unix_seconds: entry.expires_at_unix_seconds(),
            allowed_networks: entry.allowed_networks(),
        }),
        Lookup::Decoy(entry) => TokenLookup::Decoy(whose(&entry)),
        Lookup::Revoked(entry) => TokenLookup::Revoked(whose(&entry)),
        Lookup::Expired(entry) => TokenLookup::Expired(whose(&entry)),
        Lookup::Unplaced => TokenLookup::Unplaced,
        Lookup::Unknown => return None,
    })
}

fn whose(entry: &Entry) -> Whose {
    Whose { token_id: entry.token_id().clone(), workspace_id: Arc::clone(&entry.workspace().id) }
}

impl Tokens for PlacedTokens<'_> {
    fn find(&self, token: &[u8], now: Now) -> TokenLookup {
        let found =
            if self.notes_use { self.registry.find(token, now) } else { self.registry.look_up(token, now) };
        // A foreign region's token is not in this registry; its format says where it belongs.
        placed(found).unwrap_or_else(|| match self.registry.token_region(token) {
            Some(region) if self.places.serves(region).is_err() => TokenLookup::Elsewhere(region),
            Some(_) | None => TokenLookup::Unknown,
        })
    }

    fn workspace(&self, id: &str) -> Option<Arc<Workspace>> {
        self.registry.workspace(id)
    }

    fn recognises(&self, value: &[u8]) -> bool {
        self.registry.format().recognise(value).is_some()
    }

    fn is_current(&self, now: Now) -> bool {
        self.registry.is_current(now)
    }

    fn may_answer(&self, now: Now) -> bool {
        self.registry.may_answer(now)
    }

    fn jwt_revoked(&self, jwt: &JwtIdentity<'_>) -> bool {
        let JwtIdentity { issuer, jti, subject, client: _, issued_at_unix_seconds, workspace } = *jwt;
        self.registry.jwt_revoked(&JwtNames { issuer, jti, subject, issued_at_unix_seconds, workspace })
    }
}
