//! One checked policy.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use super::address::{self, Block};
use super::bucket::Scale;
use super::calendar::Refill;
use super::cell::Measure;
use super::settings::Mode;
use super::shared::Shared;
use crate::domain::{ApiVersion, Endpoint, Plan, Quota};

/// Something that a policy counts apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Each token family or JWT client; on public endpoints, requests without a credential by address.
    Token,
    /// Each workspace.
    Workspace,
    /// Each endpoint; all unmatched requests are one.
    Endpoint,
    /// Each API version.
    Version,
    /// Each plan.
    Plan,
    /// Each IPv4 address and IPv6 /64.
    Address,
    /// Each IPv4 address and IPv6 /48, which one end site may hold all of (RFC 6177).
    Site,
    /// Each value of a path parameter, within each workspace.
    PathParameter(Arc<str>),
}

impl Dimension {
    /// Reads a word of `per`.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "token" => Some(Self::Token),
            "workspace" => Some(Self::Workspace),
            "endpoint" => Some(Self::Endpoint),
            "version" => Some(Self::Version),
            "plan" => Some(Self::Plan),
            "address" => Some(Self::Address),
            "site" => Some(Self::Site),
            _ => name
                .strip_prefix("path.")
                .filter(|parameter| !parameter.is_empty())
                .map(|parameter| Self::PathParameter(parameter.into())),
        }
    }

    /// The word of `per`.
    pub fn name(&self) -> std::borrow::Cow<'static, str> {
        match self {
            Self::Token => "token".into(),
            Self::Workspace => "workspace".into(),
            Self::Endpoint => "endpoint".into(),
            Self::Version => "version".into(),
            Self::Plan => "plan".into(),
            Self::Address => "address".into(),
            Self::Site => "site".into(),
            Self::PathParameter(name) => format!("path.{name}").into(),
        }
    }

    const fn bit(&self) -> u8 {
        match self {
            Self::Token => TOKEN,
            Self::Workspace => WORKSPACE,
            Self::Endpoint => ENDPOINT,
            Self::Version => VERSION,
            Self::Plan => PLAN,
            Self::Address => ADDRESS,
            Self::Site => SITE,
            Self::PathParameter(_) => PATH,
        }
    }
}

pub(super) const TOKEN: u8 = 1;
pub(super) const WORKSPACE: u8 = 1 << 1;
pub(super) const ENDPOINT: u8 = 1 << 2;
pub(super) const VERSION: u8 = 1 << 3;
pub(super) const PLAN: u8 = 1 << 4;
pub(super) const ADDRESS: u8 = 1 << 5;
pub(super) const PATH: u8 = 1 << 6;
pub(super) const SITE: u8 = 1 << 7;

/// One policy: a quota, whose requests it counts together, and which requests it is for.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Unique, and a valid Structured Fields string. An endpoint's own limits carry the operation's name, and
    /// after a colon the scope where it is not the token.
    pub name: Arc<str>,
    /// The name that it had before, whose buckets it takes over.
    pub formerly: Option<Arc<str>>,
    /// What it counts apart.
    pub per: Vec<Dimension>,
    /// How much.
    pub quota: Quota,
    /// How many requests one request counts as, before its endpoint and its body.
    pub cost: NonZeroU32,
    /// It counts as one more for each started so many bytes of its body.
    pub body_bytes_per_cost: Option<NonZeroU64>,
    /// The upstream's response field that says what it counts as instead, in lower case.
    pub cost_from_header: Option<Box<str>>,
    /// Whether it refuses.
    pub mode: Mode,
    /// Whether callers see it.
    pub expose: bool,
    /// The operations that it is for; empty for all requests.
    pub endpoints: Vec<Arc<str>>,
    /// The plans that it is for; empty for all.
    pub plans: Vec<Plan>,
    /// The versions that it is for; empty for all.
    pub versions: Vec<ApiVersion>,
    /// Whether it is an endpoint's own limit, of the endpoint table.
    pub of_endpoint: bool,
    /// How replicas share it, where there is a central store.
    pub shared: Shared,
    pub(super) mask: u8,
    pub(super) scale: Scale,
    pub(super) refill: Refill,
    pub(super) announced: Box<[u8]>,
}

impl Policy {
    /// Fills in what follows from the rest.
    pub(super) fn complete(mut self) -> Self {
        self.scale = Scale::of(&self.quota);
        self.refill = Refill::of(&self.quota);
        self.quota.burst = self.scale.burst;
        self.mask = self.per.iter().fold(0, |mask, dimension| mask | dimension.bit());
        let mut announced = Vec::new();
        super::headers::announce(&mut announced, &self.name, &self.quota);
        self.announced = announced.into();
        self
    }

    /// How its buckets count.
    pub(super) const fn measure(&self) -> Measure {
        Measure { scale: self.scale, refill: self.refill }
    }

    /// Whether it is for requests that matched `endpoint` (or none), whatever their caller and version.
    pub(super) fn is_for(&self, endpoint: Option<&Endpoint>) -> bool {
        let named = self.endpoints.is_empty()
            || endpoint.is_some_and(|endpoint| self.endpoints.contains(&endpoint.operation));
        named
            && self.path_parameters().all(|name| {
                endpoint.is_some_and(|endpoint| template_names(&endpoint.template).any(|has| has == &**name))
            })
    }

    /// Whether it is for a caller of `plan` who asked for `version`.
    pub(super) fn is_for_request(&self, plan: Option<Plan>, version: Option<ApiVersion>) -> bool {
        (self.plans.is_empty() || plan.is_some_and(|plan| self.plans.contains(&plan)))
            && (self.versions.is_empty() || version.is_some_and(|version| self.versions.contains(&version)))
    }

    /// What a request for `endpoint` with a body of so many bytes counts as: at most a whole burst, so that a
    /// request of any size can be admitted. An endpoint's own limits count requests alone.
    pub(super) fn cost_of(
        &self,
        endpoint: Option<&Endpoint>,
        body_bytes: u64,
        burst: NonZeroU32,
    ) -> NonZeroU32 {
        let per_request = match endpoint {
            Some(endpoint) if !self.of_endpoint => self.cost.saturating_mul(endpoint.cost),
            Some(_) | None => self.cost,
        };
        let steps = self.body_bytes_per_cost.map_or(0, |step| body_bytes.div_ceil(step.get()));
        per_request.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX)).min(burst)
    }

    /// Whether a request may be charged more after it was admitted.
    pub(super) const fn defers_cost(&self) -> bool {
        self.body_bytes_per_cost.is_some() || self.cost_from_header.is_some()
    }

    /// Whether callers are told of it.
    pub(super) fn is_shown(&self) -> bool {
        self.expose && self.mode == Mode::Enforce
    }

    /// Whether it counts something that only a proven caller has. What counts by token does not: whoever has
    /// none is counted by address instead.
    pub(super) const fn needs_caller(&self) -> bool {
        self.mask & TOKEN == 0 && self.mask & (WORKSPACE | PLAN | PATH) != 0
    }

    /// Whether it counts each token's requests apart.
    pub(super) const fn counts_tokens_apart(&self) -> bool {
        self.mask & TOKEN != 0
    }

    /// The block of addresses that it counts a request from `address` in, if it counts by any.
    pub(super) fn block(&self, address: IpAddr, is_anonymous: bool) -> Option<Block> {
        if self.mask & ADDRESS != 0 || (is_anonymous && self.mask & TOKEN != 0) {
            return Some(address::prefix(address));
        }
        (self.mask & SITE != 0).then(|| address::site(address))
    }

    /// Whether no two workspaces share one of its buckets.
    pub(super) const fn counts_workspaces_apart(&self) -> bool {
        self.mask & (TOKEN | WORKSPACE | PATH) != 0
    }

    /// Whether a token's own limit stands in its place: it refuses, and counts by token and nothing else,
    /// whatever the endpoint and the version.
    pub(super) fn yields_to_own_limit(&self) -> bool {
        self.mask == TOKEN
            && self.mode == Mode::Enforce
            && !self.of_endpoint
            && self.endpoints.is_empty()
            && self.versions.is_empty()
    }

    /// The path parameters that it counts by.
    pub(super) fn path_parameters(&self) -> impl Iterator<Item = &Arc<str>> {
        self.per.iter().filter_map(|dimension| match dimension {
            Dimension::PathParameter(name) => Some(name),
            Dimension::Token
            | Dimension::Workspace
            | Dimension::Endpoint
            | Dimension::Version
            | Dimension::Plan
            | Dimension::Address
            | Dimension::Site => None,
        })
    }
}

/// The names of a template's parameters: `sourceId` of `/sources/{sourceId}`.
pub(super) fn template_names(template: &str) -> impl Iterator<Item = &str> {
    template.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}
