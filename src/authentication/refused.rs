//! Why a request was not identified.

use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::{Outcome, Plan, RegionId, Secret};

use super::jwt::InvalidJwt;
use super::registry::Whose;

/// A refusal to identify. Its messages name no part of any credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No credential was sent.
    #[error("no credential was sent; send `Authorization: Bearer <token>`")]
    CredentialMissing,
    /// The only credential came in the query. Its value is carried so that a live one can be reported as exposed.
    #[error(
        "the credential came in the query, where logs and browsers keep it; send `Authorization: Bearer <token>`"
    )]
    CredentialInQuery(Secret<Box<[u8]>>),
    /// `Authorization` is not `Bearer` and one token68 (RFC 6750, section 2.1).
    #[error("the Authorization field is not `Bearer` and one token; send `Authorization: Bearer <token>`")]
    CredentialMalformed,
    /// More than one credential was sent.
    #[error(
        "more than one credential was sent; send one Authorization field and no access_token in the query"
    )]
    SeveralCredentials,
    /// Not a token of ours.
    #[error("the token is not known; check that it was copied whole, or create one")]
    TokenUnknown,
    /// A decoy, which is to be told of. Whoever sent it is told what is told of any unknown token.
    #[error("the token is not known; check that it was copied whole, or create one")]
    Decoy(Whose),
    /// The genuine token is bound to networks, and the address is in none of them.
    #[error(
        "the token may not be used from {address}; `tollgate token show {}` lists from where it may",
        .whose.token_id
    )]
    AddressNotAllowed {
        /// Whose it is.
        whose: Whose,
        /// Where the request came from.
        address: IpAddr,
    },
    /// The genuine token was revoked.
    #[error("the token was revoked; create a new one")]
    TokenRevoked(Whose),
    /// The genuine token has expired.
    #[error("the token has expired; create a new one")]
    TokenExpired(Whose),
    /// The JWT does not hold. The reason is for the log; callers are told only that it is invalid.
    #[error("the JWT is invalid: {0}")]
    JwtInvalid(InvalidJwt),
    /// The genuine JWT has expired.
    #[error("the JWT has expired; ask the issuer for a new one")]
    JwtExpired,
    /// The genuine JWT was revoked.
    #[error("the JWT was revoked; ask the issuer for a new one")]
    JwtRevoked,
    /// The genuine JWT names a workspace that the registry does not know.
    #[error("the workspace {workspace} is not known here; check the JWT's workspace claim")]
    WorkspaceUnknown {
        /// The id in the claim.
        workspace: Arc<str>,
    },
    /// The genuine JWT's issuer is not for workspaces of this plan.
    #[error("the issuer is not for workspaces on the plan {}; use a token of the registry", .has.name())]
    PlanRequired {
        /// The workspace's plan.
        has: Plan,
        /// The plans that the issuer is for.
        needs: Arc<[Plan]>,
    },
    /// The genuine credential belongs to a region that this gateway does not serve.
    #[error("the credential belongs to another region; use that region's base URL")]
    WrongRegion(RegionId),
    /// Nothing can be said of the JWT because its issuer's keys cannot be had.
    #[error("the keys of issuer {issuer} cannot be loaded; check its jwks_uri or jwks_file, and try again")]
    IssuerUnavailable {
        /// The issuer, as configured.
        issuer: Arc<str>,
    },
    /// Nothing can be said of the credential because the registry cannot be read.
    #[error("the token registry cannot be read; check the store, and try again")]
    RegistryUnavailable,
}

impl Refused {
    /// The outcome of a request that is refused so.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::CredentialMissing => Outcome::CredentialMissing,
            Self::CredentialInQuery(_) => Outcome::CredentialInQuery,
            Self::CredentialMalformed => Outcome::CredentialMalformed,
            Self::SeveralCredentials => Outcome::SeveralCredentials,
            Self::TokenUnknown | Self::Decoy(_) => Outcome::TokenUnknown,
            Self::AddressNotAllowed { .. } => Outcome::AddressNotAllowed,
            Self::TokenRevoked(_) => Outcome::TokenRevoked,
            Self::TokenExpired(_) => Outcome::TokenExpired,
            Self::JwtInvalid(_) => Outcome::JwtInvalid,
            Self::JwtExpired => Outcome::JwtExpired,
            Self::JwtRevoked => Outcome::JwtRevoked,
            Self::WorkspaceUnknown { .. } => Outcome::WorkspaceUnknown,
            Self::PlanRequired { .. } => Outcome::PlanRequired,
            Self::WrongRegion(_) => Outcome::WrongRegion,
            Self::IssuerUnavailable { .. } => Outcome::IssuerUnavailable,
            Self::RegistryUnavailable => Outcome::RegistryUnavailable,
        }
    }

    /// Whose token it was that is refused, where that is known though it proves nobody.
    pub const fn whose(&self) -> Option<&Whose> {
        match self {
            Self::TokenRevoked(whose)
            | Self::TokenExpired(whose)
            | Self::Decoy(whose)
            | Self::AddressNotAllowed { whose, .. } => Some(whose),
            _ => None,
        }
    }

    /// Whether it is charged to the address that sent it: only what a guesser or forger would send, never a
    /// genuine credential that was revoked or has expired, and never a failure of ours.
    pub const fn counts_against_address(&self) -> bool {
        matches!(self, Self::TokenUnknown | Self::Decoy(_) | Self::CredentialMalformed | Self::JwtInvalid(_))
    }
}

impl From<InvalidJwt> for Refused {
    fn from(reason: InvalidJwt) -> Self {
        Self::JwtInvalid(reason)
    }
}
