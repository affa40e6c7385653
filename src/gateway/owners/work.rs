//! The work on the store, off the request's thread.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Owners;
use super::events::{self, Position};
use super::query::{cursor, page, parameters, refused};
use super::resource::{Resource, is_id};
use super::view::{EventView, TokenView};
use crate::clock::Now;
use crate::domain::{Quota, Role};
use crate::gateway::Snapshot;
use crate::gateway::refuse_change::{NO_TOKEN, for_owner, networks};
use crate::input::read_object;
use crate::journal::Journal;
use crate::limits;
use crate::reply::{Refusal, Rendered, own_page};
use crate::tokens::store::Store;
use crate::tokens::{
    Act, Error, Lookup, Mint, Minted, Registry, Rules, TokenChange, TokenRecord, TokenRequest,
};

/// What an old token's overlap is if nobody says.
const OVERLAP_SECONDS: u64 = 3_600;

/// One request, with all that it needs of its thread.
pub(super) struct Work {
    pub(super) resource: Resource,
    pub(super) body: Vec<u8>,
    pub(super) query: Vec<u8>,
    /// The scopes that there are.
    pub(super) scopes: Vec<Arc<str>>,
    /// The scopes that the owner's own credential holds: no more can be given.
    pub(super) held: Arc<[Arc<str>]>,
    pub(super) limits: Arc<limits::Rules>,
    pub(super) actor: String,
    pub(super) workspace: Arc<str>,
    pub(super) request_id: String,
    pub(super) now: Now,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CreateToken {
    #[serde(default)]
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
    role: Option<Role>,
    own_limit: Option<String>,
    lifetime_seconds: Option<u64>,
    #[serde(default)]
    allowed_networks: Vec<String>,
    #[serde(default)]
    decoy: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct UpdateToken {
    name: Option<String>,
    allowed_networks: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RotateToken {
    overlap_seconds: Option<u64>,
    lifetime_seconds: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RevokeToken {
    reason: Option<String>,
}

/// Every scope that the configuration speaks of.
pub(super) fn scopes(snapshot: &Snapshot, rules: &Rules) -> Vec<Arc<str>> {
    let given = rules.scopes.iter().map(|scope| Arc::from(scope.as_str()));
    let mut all: Vec<Arc<str>> = snapshot.table.scopes().cloned().chain(given).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Up to 128 characters of a name that somebody else chose, without control characters.
pub(super) fn printable(name: &str) -> String {
    name.chars().take(128).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

impl Work {
    pub(super) fn run(&self, owners: &Owners) -> Result<Rendered, Refusal> {
        let Owners { mint, registry, journal, clock, .. } = owners;
        let answer = match &self.resource {
            Resource::List => return self.list(&**mint.store()),
            Resource::AuditEvents => return self.events(mint, journal.as_deref()),
            Resource::Create => self.minted(mint.create_token(self.act(), &self.request(mint.rules())?))?,
            Resource::Update(id) => {
                let body: UpdateToken = read_object(&self.body).map_err(invalid)?;
                self.own(mint, id)?;
                let read = |texts: Vec<String>| networks("allowedNetworks", &texts);
                let allowed_networks = body.allowed_networks.map(read).transpose()?;
                let change = TokenChange { name: body.name, allowed_networks };
                let changed = mint.set_token(self.act(), id, &change).map_err(|error| for_owner(&error))?;
                self.write(200, &json!({"token": TokenView::of(&changed, None, self.seconds())}))
            }
            Resource::Rotate(id) => {
                let body: RotateToken = self.optional()?;
                self.all_held(&self.own(mint, id)?.scopes)?;
                let overlap = body.overlap_seconds.unwrap_or(OVERLAP_SECONDS);
                self.minted(mint.rotate_token(self.act(), id, overlap, body.lifetime_seconds))?
            }
            Resource::Revoke(id) => {
                let body: RevokeToken = self.optional()?;
                self.may_end(mint, registry, id)?;
                let reason = body.reason.as_deref().unwrap_or("revoked by an owner");
                let revoked = registry.revoke(self.act(), id, reason).map_err(|error| for_owner(&error))?;
                self.write(200, &json!({"token": TokenView::of(&revoked, None, self.seconds())}))
            }
            Resource::OtherMethods(allow) => {
                return Err(Refusal::MethodNotAllowed { allow: (*allow).to_owned() });
            }
        };
        // The change is made; if it cannot be seen at once, it will be at the next look at the log.
        let _ = registry.sync(clock.now());
        Ok(answer)
    }

    fn act(&self) -> Act<'_> {
        Act::by(&self.actor, self.now)
    }

    const fn seconds(&self) -> u64 {
        self.now.unix_seconds()
    }

    fn request(&self, rules: &Rules) -> Result<TokenRequest, Refusal> {
        let body: CreateToken = read_object(&self.body).map_err(invalid)?;
        let own_limit = body.own_limit.map(|text| self.own_limit(&text)).transpose()?;
        if let Some(scope) = body.scopes.iter().find(|scope| !self.scopes.iter().any(|one| **one == **scope))
        {
            let (scope, all) = (scope.escape_debug(), self.scopes.join("`, `"));
            let message = format!("There is no scope `{scope}` to give. There are `{all}`.");
            return Err(Refusal::InputInvalid { field: "scopes".to_owned(), message });
        }
        self.all_held(&body.scopes)?;
        let scopes = if body.scopes.is_empty() { self.usual(&rules.scopes)? } else { body.scopes };
        Ok(TokenRequest {
            workspace: self.workspace.to_string(),
            name: body.name,
            scopes,
            role: body.role.unwrap_or(Role::Restricted),
            own_limit,
            lifetime_seconds: body.lifetime_seconds,
            allowed_networks: networks("allowedNetworks", &body.allowed_networks)?,
            decoy: body.decoy,
        })
    }

    /// Refuses scopes that the owner's own credential does not hold.
    fn all_held(&self, scopes: &[String]) -> Result<(), Refusal> {
        match scopes.iter().find(|scope| !self.holds(scope)) {
            Some(scope) => Err(Refusal::ScopeMissing { scope: Arc::from(scope.as_str()) }),
            None => Ok(()),
        }
    }

    fn holds(&self, scope: &str) -> bool {
        self.held.iter().any(|held| **held == *scope)
    }

    /// The scopes of a token for which none are named: the configured ones, as far as the owner holds them.
    fn usual(&self, configured: &[String]) -> Result<Vec<String>, Refusal> {
        let held: Vec<String> = configured.iter().filter(|scope| self.holds(scope)).cloned().collect();
        match configured.first() {
            Some(scope) if held.is_empty() => Err(Refusal::ScopeMissing { scope: Arc::from(scope.as_str()) }),
            Some(_) | None => Ok(held),
        }
    }

    /// A limit of a token's own stands in place of the policies that count by token, so an owner's may not admit more.
    fn own_limit(&self, text: &str) -> Result<Quota, Refusal> {
        let no = |message| Refusal::InputInvalid { field: "ownLimit".to_owned(), message };
        let quota: Quota =
            text.parse().map_err(|error: crate::domain::QuotaError| no(format!("{error}.")))?;
        match self.limits.widened_by_own_limit(quota) {
            None => Ok(quota),
            Some((policy, most)) => {
                let burst = most.burst;
                Err(no(format!(
                    "The limit `{policy}` admits less. Write at most {most} with a burst of {burst}."
                )))
            }
        }
    }

    fn optional<T: Default + serde::de::DeserializeOwned>(&self) -> Result<T, Refusal> {
        if self.body.is_empty() { Ok(T::default()) } else { read_object(&self.body).map_err(invalid) }
    }

    /// A token of the caller's workspace; another's is as good as none.
    fn own(&self, mint: &Mint, id: &str) -> Result<TokenRecord, Refusal> {
        if !is_id(id) {
            return Err(Refusal::Missing { message: NO_TOKEN.to_owned() });
        }
        self.if_own(mint.token(id))
    }

    fn if_own(&self, found: Result<TokenRecord, Error>) -> Result<TokenRecord, Refusal> {
        match found {
            Ok(token) if *token.workspace == *self.workspace => Ok(token),
            Ok(_) => Err(Refusal::Missing { message: NO_TOKEN.to_owned() }),
            Err(error) => Err(for_owner(&error)),
        }
    }

    /// Whether a token is the owner's to end; while the store cannot say so, memory does. The store is asked first, because
    /// memory has no order by id.
    fn may_end(&self, mint: &Mint, registry: &Registry, id: &str) -> Result<(), Refusal> {
        if !is_id(id) {
            return Err(Refusal::Missing { message: NO_TOKEN.to_owned() });
        }
        match mint.token(id) {
            Err(error) if error.is_of_the_store() => match registry.look_up_id(id, self.now) {
                Lookup::Found(entry) if entry.workspace().id == self.workspace => Ok(()),
                _ => Err(for_owner(&error)),
            },
            found => self.if_own(found).map(drop),
        }
    }

    fn minted(&self, minted: Result<Minted, Error>) -> Result<Rendered, Refusal> {
        let minted = minted.map_err(|error| for_owner(&error))?;
        let token = Some(minted.token.expose().as_str());
        Ok(self.write(201, &json!({"token": TokenView::of(&minted.record, token, self.seconds())})))
    }

    fn list(&self, store: &dyn Store) -> Result<Rendered, Refusal> {
        let [count, from] = parameters(&self.query, ["count", "cursor"])?;
        let (count, after) = page(count.as_deref(), from.as_deref())?;
        let read = store.tokens(Some(&self.workspace), &after, count + 1);
        let read = read.map_err(|error| for_owner(&error))?;
        let shown = &read[..read.len().min(count as usize)];
        let next = shown.last().filter(|_| read.len() > shown.len()).map(|last| cursor(&last.id));
        let views: Vec<_> = shown.iter().map(|token| TokenView::of(token, None, self.seconds())).collect();
        Ok(self.write(200, &json!({"tokens": views, "pagination": {"next": next}})))
    }

    fn events(&self, mint: &Mint, journal: Option<&dyn Journal>) -> Result<Rendered, Refusal> {
        let [id, count, from] = parameters(&self.query, ["tokenId", "count", "cursor"])?;
        let id = id.ok_or_else(|| refused("tokenId", "has to name a token of the workspace"))?;
        let (count, from) = page(count.as_deref(), from.as_deref())?;
        let from = Position::read(&from)
            .ok_or_else(|| refused("cursor", "is no `pagination.next` of an earlier page"))?;
        let token = self.own(mint, &id)?;
        let (events, next) = events::page(&**mint.store(), journal, &token, from, count)?;
        let events: Vec<_> = events.iter().map(EventView::of).collect();
        let next = next.map(|next| cursor(&next.to_string()));
        Ok(self.write(200, &json!({"events": events, "pagination": {"next": next}})))
    }

    fn write(&self, status: u16, data: &impl Serialize) -> Rendered {
        let mut page = Rendered::with_room();
        own_page(status, data, &self.request_id, &mut page);
        page
    }
}

fn invalid(violation: crate::input::Violation) -> Refusal {
    Refusal::InputInvalid { field: violation.field, message: violation.message }
}
