//! One issuer of JWTs: whom it may speak for, what its tokens must look like, and how its claims are read.

use std::sync::Arc;

use super::Refused;
use super::jwks::IssuerKeys;
use super::jwt::{Algorithm, ClaimName, Claims, Header, InvalidJwt};
use super::subject::SubjectKey;
use super::verified::Identity;
use crate::clock::Now;
use crate::domain::{Plan, RegionId, Role, Workspace, WorkspaceState};

/// What the `typ` header of an issuer's tokens may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typ {
    /// `JWT`
    Jwt,
    /// `at+jwt` (RFC 9068), with or without `application/`.
    AtJwt,
    /// Left out.
    Absent,
}

impl Typ {
    /// Reads a header's value; media types ignore case, and `application/` may be left out (RFC 7515, section 4.1.9).
    fn of(typ: Option<&str>) -> Option<Self> {
        let Some(typ) = typ else { return Some(Self::Absent) };
        let lower = typ.to_ascii_lowercase();
        match lower.strip_prefix("application/").unwrap_or(&lower) {
            "jwt" => Some(Self::Jwt),
            "at+jwt" => Some(Self::AtJwt),
            _ => None,
        }
    }
}

/// Which claims say what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClaimNames {
    pub(super) workspace: String,
    pub(super) region: String,
    pub(super) role: String,
    pub(super) scopes: String,
    /// [`None`]: `client_id`, else `azp`, else `sub`.
    pub(super) client: Option<String>,
    pub(super) plan: String,
}

/// The rules of an issuer, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) issuer: Arc<str>,
    pub(super) audiences: Vec<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) typ: Vec<Typ>,
    pub(super) leeway_seconds: i64,
    pub(super) max_lifetime_seconds: i64,
    pub(super) claims: ClaimNames,
    /// The regions that it may speak for; never empty.
    pub(super) regions: Vec<(Arc<str>, RegionId)>,
    /// The plans that it is for; empty for all.
    pub(super) plans: Arc<[Plan]>,
    pub(super) claims_suffice: bool,
    /// Features of workspaces that are known by claims alone.
    pub(super) claimed_features: Arc<[Arc<str>]>,
    pub(super) role_default: Role,
    pub(super) accept_sender_constrained: bool,
    /// The region of a gateway that serves only one.
    pub(super) fenced_to: Option<RegionId>,
}

/// An issuer with its keys.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) rules: Rules,
    pub(super) keys: Arc<IssuerKeys>,
}

impl Rules {
    /// What the header must say before any key is looked for.
    pub(super) fn check_header(&self, header: &Header) -> Result<(), InvalidJwt> {
        if !header.algorithm.is_some_and(|algorithm| self.algorithms.contains(&algorithm)) {
            return Err(InvalidJwt::AlgorithmNotAllowed);
        }
        match Typ::of(header.typ.as_deref()) {
            Some(typ) if self.typ.contains(&typ) => Ok(()),
            Some(_) | None => Err(InvalidJwt::TypNotAllowed),
        }
    }

    /// What the claims must say before any key is looked for; all but the expiry, which is only told to the
    /// holder of a genuine token.
    pub(super) fn check_claims(&self, claims: &Claims, now: Now) -> Result<(), InvalidJwt> {
        let now = now.unix_seconds().cast_signed();
        if !claims.audiences.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(InvalidJwt::Audience);
        }
        if claims.sender_constrained && !self.accept_sender_constrained {
            return Err(InvalidJwt::SenderConstrained);
        }
        if claims.not_before.is_some_and(|not_before| now < not_before.saturating_sub(self.leeway_seconds)) {
            return Err(InvalidJwt::NotYetValid);
        }
        if claims.issued_at.is_some_and(|issued_at| now < issued_at.saturating_sub(self.leeway_seconds)) {
            return Err(InvalidJwt::IssuedInFuture);
        }
        let (start, leeway) = claims.issued_at.map_or((now, self.leeway_seconds), |issued_at| (issued_at, 0));
        if claims.expires_at.saturating_sub(start) > self.max_lifetime_seconds + leeway {
            return Err(InvalidJwt::LifetimeTooLong);
        }
        Ok(())
    }

    /// Whether a time of expiry has passed.
    pub(super) fn is_past(&self, expires_at: i64, now: Now) -> bool {
        now.unix_seconds().cast_signed() >= expires_at.saturating_add(self.leeway_seconds)
    }

    /// Whom verified claims speak of.
    pub(super) fn identity(&self, claims: Claims, subjects: &SubjectKey) -> Result<Identity, Refused> {
        let names = &self.claims;
        let id: Arc<str> = match claims.name(&names.workspace, ClaimName::Workspace)? {
            Some(id) if is_workspace_id(id) => id.into(),
            Some(_) => return Err(InvalidJwt::ClaimMalformed(ClaimName::Workspace).into()),
            None => return Err(InvalidJwt::ClaimMissing(ClaimName::Workspace).into()),
        };
        let client: Arc<str> = self.client(&claims)?.into();
        let region = self.region(&claims)?;
        let claimed_workspace = match (self.claims_suffice, region) {
            (true, Some(region)) => Some(Arc::new(self.workspace(&id, region, &claims, subjects)?)),
            (true, None) | (false, _) => None,
        };
        let scopes = claims.words(&names.scopes, ClaimName::Scopes)?;
        Ok(Identity {
            subject: subjects.of_client(&self.issuer, &client),
            client,
            workspace: id,
            region,
            claimed_workspace,
            role: self.role(&claims)?,
            scopes: scopes.into_iter().map(Arc::from).collect(),
            expires_at: claims.expires_at,
            not_before: claims.not_before,
            issued_at: claims.issued_at.and_then(|at| u64::try_from(at).ok()),
            token_id: claims.token_id,
            sub: claims.subject,
        })
    }

    fn client<'c>(&self, claims: &'c Claims) -> Result<&'c str, InvalidJwt> {
        let named = |name| claims.name(name, ClaimName::Client);
        let client = match &self.claims.client {
            Some(name) => named(name)?,
            None => match named("client_id")? {
                Some(client) => Some(client),
                None => named("azp")?,
            }
            .map_or_else(|| named("sub"), |client| Ok(Some(client)))?,
        };
        client.ok_or(InvalidJwt::ClaimMissing(ClaimName::Client))
    }

    /// The region that the token speaks of: its claim, or the issuer's only one. [`None`] where it names none
    /// of the issuer's; what the registry says of the workspace then decides alone.
    fn region(&self, claims: &Claims) -> Result<Option<RegionId>, InvalidJwt> {
        match (claims.name(&self.claims.region, ClaimName::Region)?, self.regions.as_slice()) {
            (Some(name), regions) => {
                Ok(regions.iter().find(|(known, _)| **known == *name).map(|(_, id)| *id))
            }
            (None, [(_, only)]) => Ok(Some(*only)),
            (None, _) => Ok(None),
        }
    }

    /// The owner's role if the claim names it, and the restricted one if it names anything else.
    fn role(&self, claims: &Claims) -> Result<Role, InvalidJwt> {
        let roles = claims.texts(&self.claims.role, ClaimName::Role)?;
        if roles.is_empty() {
            return Ok(self.role_default);
        }
        let is_owner = roles.iter().any(|name| Role::by_name(name) == Some(Role::Owner));
        Ok(if is_owner { Role::Owner } else { Role::Restricted })
    }

    fn workspace(
        &self,
        id: &Arc<str>,
        region: RegionId,
        claims: &Claims,
        subjects: &SubjectKey,
    ) -> Result<Workspace, InvalidJwt> {
        let plan = match claims.name(&self.claims.plan, ClaimName::Plan)? {
            Some(name) => Plan::by_name(name).ok_or(InvalidJwt::ClaimMalformed(ClaimName::Plan))?,
            None => Plan::Business,
        };
        Ok(Workspace {
            id: Arc::clone(id),
            subject: subjects.of_workspace(&self.issuer, id),
            region,
            plan,
            features: Arc::clone(&self.claimed_features),
            state: WorkspaceState::Active,
            overrides: Arc::default(),
        })
    }

    /// Whether the issuer may speak for a region.
    pub(super) fn speaks_for(&self, region: RegionId) -> bool {
        self.regions.iter().any(|(_, known)| *known == region)
    }
}

fn is_workspace_id(id: &str) -> bool {
    id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}
