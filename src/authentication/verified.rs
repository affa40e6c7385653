//! A JWT whose signature was checked, and the checks that every use of it repeats.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::Refused;
use super::caller::{Caller, CredentialKind};
use super::issuer::Issuer;
use super::jwks::Trust;
use super::jwt::{ClaimName, InvalidJwt, VerificationKey};
use super::registry::{JwtIdentity, Tokens};
use crate::clock::Now;
use crate::domain::{RegionId, Role, Subject, TokenId, Workspace};

/// Whom a token's claims speak of.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) client: Arc<str>,
    pub(super) subject: Subject,
    pub(super) workspace: Arc<str>,
    /// The region that the token speaks of, among its issuer's.
    pub(super) region: Option<RegionId>,
    /// What stands in for a workspace that the registry does not know, if the issuer's claims suffice.
    pub(super) claimed_workspace: Option<Arc<Workspace>>,
    pub(super) role: Role,
    pub(super) scopes: Arc<[Arc<str>]>,
    pub(super) expires_at: i64,
    pub(super) not_before: Option<i64>,
    pub(super) issued_at: Option<u64>,
    pub(super) token_id: Option<String>,
    pub(super) sub: String,
}

/// A genuine token. What may change while it lives is judged by [`Verified::caller`] on every use.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) issuer: Arc<Issuer>,
    pub(super) key: Arc<VerificationKey>,
    /// The generation of the key set that last held the key.
    pub(super) generation: AtomicU64,
    pub(super) identity: Identity,
}

impl Verified {
    /// Whether its key may still be used.
    pub(super) fn trust(&self, now: Now) -> Trust {
        self.issuer.keys.trust(&self.key, &self.generation, now)
    }

    /// The caller that it proves at this moment: expiry, revocation, workspace, region and plan are looked up
    /// anew, so a cached token is worth no more than a fresh one.
    pub(super) fn caller<T: Tokens>(&self, tokens: &T, now: Now) -> Result<Caller, Refused> {
        let (rules, identity) = (&self.issuer.rules, &self.identity);
        if rules.is_past(identity.expires_at, now) {
            return Err(Refused::JwtExpired);
        }
        let unix_seconds = now.unix_seconds().cast_signed();
        if identity.not_before.is_some_and(|from| unix_seconds < from.saturating_sub(rules.leeway_seconds)) {
            return Err(InvalidJwt::NotYetValid.into());
        }
        if tokens.jwt_revoked(&self.named()) {
            return Err(Refused::JwtRevoked);
        }
        if !tokens.may_answer(now) {
            return Err(Refused::RegistryUnavailable);
        }
        let workspace = self.workspace(tokens, now)?;
        if !rules.speaks_for(workspace.region) {
            return Err(InvalidJwt::Region.into());
        }
        if !rules.plans.is_empty() && !rules.plans.contains(&workspace.plan) {
            return Err(Refused::PlanRequired { has: workspace.plan, needs: Arc::clone(&rules.plans) });
        }
        Ok(Caller {
            kind: CredentialKind::Jwt,
            token_id: TokenId::from(&identity.client),
            issuer: Some(Arc::clone(&rules.issuer)),
            subject: identity.subject,
            workspace,
            role: identity.role,
            scopes: Arc::clone(&identity.scopes),
            own_limit: None,
            overrides: None,
            allowed_networks: None,
            expires_at_unix_seconds: u64::try_from(identity.expires_at).ok(),
        })
    }

    /// What the registry says of the workspace, else what the claims say where they suffice.
    fn workspace<T: Tokens>(&self, tokens: &T, now: Now) -> Result<Arc<Workspace>, Refused> {
        let (rules, identity) = (&self.issuer.rules, &self.identity);
        if let Some(workspace) = tokens.workspace(&identity.workspace) {
            return Ok(workspace);
        }
        if !tokens.is_current(now) {
            return Err(Refused::RegistryUnavailable);
        }
        if let (Some(home), Some(region)) = (rules.fenced_to, identity.region)
            && home != region
        {
            return Err(Refused::WrongRegion(region));
        }
        match (&identity.claimed_workspace, rules.claims_suffice) {
            (Some(workspace), _) => Ok(Arc::clone(workspace)),
            (None, true) => Err(InvalidJwt::ClaimMissing(ClaimName::Region).into()),
            (None, false) => Err(Refused::WorkspaceUnknown { workspace: Arc::clone(&identity.workspace) }),
        }
    }

    fn named(&self) -> JwtIdentity<'_> {
        JwtIdentity {
            issuer: &self.issuer.rules.issuer,
            jti: self.identity.token_id.as_deref(),
            subject: &self.identity.sub,
            client: &self.identity.client,
            issued_at_unix_seconds: self.identity.issued_at,
            workspace: &self.identity.workspace,
        }
    }
}
