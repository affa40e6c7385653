//! Revoked JWTs as they are stored and shown, and the checks before they reach the store.
//!
//! A revocation cannot be lifted, and need not be: whom it names gets another token from the issuer. It ends when
//! no token that it names could still be accepted.

use schemars::JsonSchema;
use serde::Serialize;

use super::mint::{check_text, check_workspace_id, invalid};
use super::random::push_base62;
use super::store::jwt_revocations::NewJwtRevocation;
use super::{Act, Error, Mint, Moment};
use crate::domain::JwtLifetime;

const ID_CHARACTERS: usize = 16;
/// The longest issuer, `jti` or `sub` that can be named, in bytes.
const LONGEST_NAME_BYTES: usize = 1_024;
/// How far beyond now `issued before` may lie: issuers' clocks differ.
const LONGEST_AHEAD_SECONDS: u64 = 300;

/// Which JWTs are revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtsRevoked {
    /// One token.
    Token {
        /// Its `iss`.
        issuer: String,
        /// Its `jti`.
        jti: String,
    },
    /// A subject's tokens whose `iat` is before a time; one without `iat` counts as issued before any.
    Subject {
        /// Their `iss`.
        issuer: String,
        /// Their `sub`.
        subject: String,
        /// The time.
        issued_before_unix_seconds: u64,
    },
    /// All issuers' tokens for a workspace whose `iat` is before a time.
    Workspace {
        /// The workspace's id.
        workspace: String,
        /// The time.
        issued_before_unix_seconds: u64,
    },
}

/// A revocation as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtRevocation {
    /// Public id, `jwr_` and 16 characters.
    pub id: String,
    /// Which JWTs.
    pub jwts: JwtsRevoked,
    /// Why.
    pub reason: String,
    /// When.
    pub revoked_at_unix_seconds: u64,
    /// When none of them can live any more.
    pub ends_at_unix_seconds: u64,
}

/// A revocation as the command line and the admin API write it: by `issuer` and `jti`, by `issuer` and `subject`, or
/// by `workspace`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "JwtRevocation")]
#[expect(missing_docs, reason = "the fields are those of `JwtRevocation`")]
pub struct JwtRevocationView<'r> {
    pub id: &'r str,
    pub issuer: Option<&'r str>,
    pub jti: Option<&'r str>,
    pub subject: Option<&'r str>,
    pub workspace: Option<&'r str>,
    pub issued_before: Option<Moment>,
    pub reason: &'r str,
    pub revoked_at: Moment,
    pub ends_at: Moment,
}

impl JwtRevocation {
    /// What people and programs are shown of it.
    pub fn view(&self) -> JwtRevocationView<'_> {
        let mut view = JwtRevocationView {
            id: &self.id,
            issuer: None,
            jti: None,
            subject: None,
            workspace: None,
            issued_before: None,
            reason: &self.reason,
            revoked_at: Moment(self.revoked_at_unix_seconds),
            ends_at: Moment(self.ends_at_unix_seconds),
        };
        match &self.jwts {
            JwtsRevoked::Token { issuer, jti } => {
                view.issuer = Some(issuer);
                view.jti = Some(jti);
            }
            JwtsRevoked::Subject { issuer, subject, issued_before_unix_seconds: time } => {
                view.issuer = Some(issuer);
                view.subject = Some(subject);
                view.issued_before = Some(Moment(*time));
            }
            JwtsRevoked::Workspace { workspace, issued_before_unix_seconds: time } => {
                view.workspace = Some(workspace);
                view.issued_before = Some(Moment(*time));
            }
        }
        view
    }
}

impl JwtsRevoked {
    /// `issued before` where nobody says otherwise: the end of the present second, so that a token of this very
    /// second is revoked too.
    pub const fn until_now(act: Act<'_>) -> u64 {
        act.now.unix_seconds() + 1
    }
}

impl Mint {
    /// Revokes JWTs; [`Error::IssuerUnknown`] for an issuer that is not among the accepted ones,
    /// [`Error::WorkspaceUnknown`] for a workspace of which no issuer can speak. In force in every process within one
    /// look at the log, also for tokens that were verified before.
    pub fn revoke_jwts(
        &self,
        act: Act<'_>,
        jwts: &JwtsRevoked,
        reason: &str,
        accepted: &[JwtLifetime],
    ) -> Result<JwtRevocation, Error> {
        let knows = |workspace: &str| self.workspace(workspace).map(drop);
        let new = self.jwt_revocation(act, jwts, reason, accepted, knows)?;
        self.store.revoke_jwts(act, &new)
    }

    /// A revocation that may be written; `knows` says whether there is a workspace.
    pub(super) fn jwt_revocation(
        &self,
        act: Act<'_>,
        jwts: &JwtsRevoked,
        reason: &str,
        accepted: &[JwtLifetime],
        knows: impl FnOnce(&str) -> Result<(), Error>,
    ) -> Result<NewJwtRevocation, Error> {
        check_text("reason", reason, 256)?;
        let now = act.now.unix_seconds();
        let (longest, latest) = match jwts {
            JwtsRevoked::Token { issuer, jti } => {
                check_named("jti", jti)?;
                check_is_no_jwt(jti)?;
                (longest_of(issuer, accepted)?, now)
            }
            JwtsRevoked::Subject { issuer, subject, issued_before_unix_seconds } => {
                check_named("subject", subject)?;
                (longest_of(issuer, accepted)?, *issued_before_unix_seconds)
            }
            JwtsRevoked::Workspace { workspace, issued_before_unix_seconds } => {
                check_workspace_id(workspace)?;
                if !accepted.iter().any(|issuer| issuer.claims_suffice) {
                    knows(workspace)?;
                }
                let longest = accepted.iter().map(|issuer| issuer.longest_seconds).max();
                (longest.unwrap_or(0), *issued_before_unix_seconds)
            }
        };
        if latest > now + LONGEST_AHEAD_SECONDS {
            let fix = "write a time that is at most 5 minutes ahead";
            return Err(invalid("time of issue", &Moment(latest).to_string(), fix));
        }
        let mut id = String::from("jwr_");
        push_base62(&mut id, ID_CHARACTERS, &*self.random)?;
        let ends_at_unix_seconds = now.max(latest).saturating_add(longest).saturating_add(1);
        let (jwts, reason) = (jwts.clone(), reason.to_owned());
        Ok(NewJwtRevocation { id, jwts, reason, ends_at_unix_seconds })
    }
}

fn check_named(what: &'static str, name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > LONGEST_NAME_BYTES {
        return Err(invalid(what, name, "write the claim's text as the token has it, up to 1,024 bytes"));
    }
    Ok(())
}

/// A whole JWT in place of its `jti` would revoke nothing, and be kept where many can read it.
fn check_is_no_jwt(jti: &str) -> Result<(), Error> {
    if jti.starts_with("eyJ") && jti.matches('.').count() == 2 {
        return Err(invalid("jti", jti, "it is a whole JWT; write the claim's text, which is inside of it"));
    }
    Ok(())
}

/// A mistyped issuer would revoke nothing and say that it did.
fn longest_of(issuer: &str, accepted: &[JwtLifetime]) -> Result<u64, Error> {
    let known = || accepted.iter().map(|known| &*known.issuer).collect::<Vec<_>>().join(", ");
    let found = accepted.iter().find(|known| *known.issuer == *issuer);
    found
        .map(|known| known.longest_seconds)
        .ok_or_else(|| Error::IssuerUnknown { issuer: issuer.to_owned(), known: known() })
}
