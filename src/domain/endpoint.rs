//! A row of the API: one method on one path template.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::{Plan, Quota, Role};

/// The request methods that an API uses. Everything else is refused before matching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`; also matches `HEAD`.
    Get,
    /// `HEAD`, matched as [`Method::Get`].
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 7] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Options];

    /// The method token (RFC 9110, section 9).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// Reads a method token; methods are case-sensitive.
    pub fn by_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name().as_bytes() == name)
    }

    /// Whether repeating the request has the same effect as sending it once (RFC 9110, section 9.2.2).
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch)
    }
}

/// How finished a version is; the most finished one is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stability {
    /// May change at any time.
    Alpha,
    /// May change with notice.
    Beta,
    /// Does not change.
    Stable,
}

/// A version of an endpoint as its media type names it: `v1`, `v1beta`, `v1alpha`, `v2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiVersion {
    /// 1 in `v1beta`.
    pub major: u16,
    /// Beta in `v1beta`.
    pub stability: Stability,
}

impl ApiVersion {
    /// Reads `v1`, `v1beta`, `v1alpha`, `v2`, …
    pub fn by_name(name: &str) -> Option<Self> {
        let rest = name.strip_prefix('v')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (major, suffix) = rest.split_at(digits);
        let stability = match suffix {
            "" => Stability::Stable,
            "beta" => Stability::Beta,
            "alpha" => Stability::Alpha,
            _ => return None,
        };
        (!major.starts_with('0')).then_some(())?;
        Some(Self { major: major.parse().ok()?, stability })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.stability {
            Stability::Stable => "",
            Stability::Beta => "beta",
            Stability::Alpha => "alpha",
        };
        write!(f, "v{}{suffix}", self.major)
    }
}

/// Whose requests one of an endpoint's own limits counts together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LimitScope {
    /// Each token on its own.
    Token,
    /// All tokens of a workspace.
    Workspace,
    /// All tokens of a workspace, for each value of the named path parameter.
    PathParameter(Arc<str>),
}

/// A limit that belongs to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointLimit {
    /// How much.
    pub quota: Quota,
    /// Counted by what.
    pub scope: LimitScope,
}

/// One operation of the API with everything that a decision about it needs.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its place in the endpoint table; used in keys and metric cells.
    pub index: u16,
    /// Its name, for example `listSources`; unique.
    pub operation: Arc<str>,
    /// Its method; [`None`] matches every method.
    pub method: Option<Method>,
    /// Its path template, for example `/sources/{sourceId}`.
    pub template: Arc<str>,
    /// The versions on offer, most stable first; empty if the endpoint is not versioned.
    pub versions: Vec<ApiVersion>,
    /// The scope that a credential must hold; [`None`] asks for none.
    pub scope: Option<Arc<str>>,
    /// The plans that may call it.
    pub plans: Vec<Plan>,
    /// The workspace feature that it needs.
    pub feature: Option<Arc<str>>,
    /// The role that its caller must hold.
    pub role: Option<Role>,
    /// How many requests one request for it counts as in policies over several endpoints.
    pub cost: NonZeroU32,
    /// Its own limits, beside the policies that match everything.
    pub limits: Vec<EndpointLimit>,
    /// Served without a credential. Only where the configuration says so.
    pub public: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_and_write_the_same() {
        for name in ["v1", "v1beta", "v1alpha", "v2", "v12alpha"] {
            assert_eq!(ApiVersion::by_name(name).unwrap().to_string(), name);
        }
        for name in ["", "v", "1", "v1gamma", "v-1", "v01", "V1", "vbeta", "v99999"] {
            assert!(ApiVersion::by_name(name).is_none(), "{name}");
        }
    }

    #[test]
    fn stability_orders_versions() {
        assert!(
            ApiVersion::by_name("v1").unwrap().stability > ApiVersion::by_name("v1beta").unwrap().stability
        );
    }
}
