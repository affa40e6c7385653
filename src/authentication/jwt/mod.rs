//! A JWT as bytes: compact form, header, signature, claims (RFC 7515, 7518, 7519, hardened by RFC 8725).
//!
//! Decides whether a token is what a given key signed and what it claims; knows no issuer's settings, no
//! clock and no registry. Signatures are checked by aws-lc-rs on keys that are parsed once, when their set
//! is loaded; nothing in a token can choose an algorithm or bring a key.

mod algorithm;
mod claims;
mod json;
mod jws;
mod key;

pub use algorithm::Algorithm;
pub(super) use claims::Claims;
pub(super) use json::parse_object;
pub(super) use jws::{Header, Jws};
pub(super) use key::{KeyIgnored, VerificationKey};

/// The longest token that is looked at.
pub(super) const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Why a JWT does not hold. For logs: no part of the token is in its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidJwt {
    /// Longer than 8 KiB.
    #[error("it is longer than 8 KiB")]
    TooLong,
    /// Not three parts of unpadded base64url.
    #[error("it is not three parts of unpadded base64url")]
    NotCompact,
    /// The header is longer than 1 KiB, or not a JSON object of unique members of the right types.
    #[error("its header is not a JSON object of at most 1 KiB with unique members of the right types")]
    HeaderMalformed,
    /// The header has a parameter that extends JWS or brings a key.
    #[error("its header has `{0}`, which is never accepted")]
    HeaderForbidden(&'static str),
    /// `alg` is none that the issuer may use.
    #[error("its algorithm is not among the issuer's")]
    AlgorithmNotAllowed,
    /// The key is for another algorithm.
    #[error("its algorithm is not the one of the key that it names")]
    AlgorithmNotTheKeys,
    /// `typ` is none that the issuer may use.
    #[error("its `typ` is not among the issuer's")]
    TypNotAllowed,
    /// The key set has no such key.
    #[error("its key is not in the issuer's key set")]
    KeyUnknown,
    /// It names no key and several would fit.
    #[error("it names no key and more than one would fit")]
    KeyAmbiguous,
    /// The signature is not the key's.
    #[error("its signature does not verify")]
    Signature,
    /// The payload is not a JSON object of unique members.
    #[error("its payload is not a JSON object with unique members")]
    PayloadMalformed,
    /// A required claim is missing.
    #[error("its claim `{0}` is missing")]
    ClaimMissing(ClaimName),
    /// A claim has the wrong type or cannot be used.
    #[error("its claim `{0}` has the wrong type or form")]
    ClaimMalformed(ClaimName),
    /// `iss` is none that is configured.
    #[error("its issuer is not configured")]
    IssuerUnknown,
    /// `aud` is none of the issuer's audiences.
    #[error("it is for another audience")]
    Audience,
    /// `nbf` lies ahead.
    #[error("it is not valid yet")]
    NotYetValid,
    /// `iat` lies ahead.
    #[error("it says that it was issued in the future")]
    IssuedInFuture,
    /// It lives longer than the issuer's tokens may.
    #[error("its lifetime is longer than the issuer's tokens may have")]
    LifetimeTooLong,
    /// It has expired, and there is no key to tell whether it was ever genuine.
    #[error("it has expired and its key is not known")]
    ExpiredUnverified,
    /// It is bound to a key of its sender (`cnf`), which Bearer does not prove.
    #[error("it is bound to its sender by `cnf`, which a Bearer credential does not prove")]
    SenderConstrained,
    /// The issuer may not speak for the workspace's region.
    #[error("its issuer may not speak for the workspace's region")]
    Region,
}

/// A claim by what it is used for, since its name may be configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClaimName {
    /// `iss`
    Issuer,
    /// `aud`
    Audience,
    /// `exp`
    Expiry,
    /// `nbf`
    NotBefore,
    /// `iat`
    IssuedAt,
    /// `sub`
    Subject,
    /// `jti`
    TokenId,
    /// The claim that names the workspace.
    Workspace,
    /// The claim that names the region.
    Region,
    /// The claim that names the role.
    Role,
    /// The claim that lists the scopes.
    Scopes,
    /// The claim that names the client.
    Client,
    /// The claim that names the plan.
    Plan,
}

impl std::fmt::Display for ClaimName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Issuer => "iss",
            Self::Audience => "aud",
            Self::Expiry => "exp",
            Self::NotBefore => "nbf",
            Self::IssuedAt => "iat",
            Self::Subject => "sub",
            Self::TokenId => "jti",
            Self::Workspace => "workspace",
            Self::Region => "region",
            Self::Role => "role",
            Self::Scopes => "scopes",
            Self::Client => "client",
            Self::Plan => "plan",
        })
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wycheproof;
