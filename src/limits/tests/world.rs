//! A gateway's limits without the gateway.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::authentication::Caller;
use crate::authorization::{UnmatchedNeeds, permit};
use crate::clock::{Clock, Now};
use crate::domain::{
    ApiVersion, Endpoint, EndpointLimit, LimitOverride, LimitScope, Plan, Problems, Quota, RegionId, Role,
    Subject, Workspace, WorkspaceState,
};
use crate::limits::cells::STEPS;
use crate::limits::shared::Waited;
use crate::limits::{Admission, Attempt, Charge, Counters, Exceeded, Limits, Rules, Settings};

pub(super) const SCOPE: &str = "public_api:read_write";

pub(super) fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

pub(super) fn limit(text: &str, scope: LimitScope) -> EndpointLimit {
    EndpointLimit { quota: quota(text), scope }
}

/// The rows that tests ask for: one of each kind of limit.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let row = |operation: &str, template: &str, limits: Vec<EndpointLimit>| Endpoint {
        index: 0,
        operation: operation.into(),
        method: None,
        template: template.into(),
        versions: ["v1", "v1beta"].map(|name| ApiVersion::by_name(name).unwrap()).to_vec(),
        scope: Some(SCOPE.into()),
        plans: Plan::ALL.to_vec(),
        feature: None,
        role: None,
        cost: std::num::NonZeroU32::MIN,
        limits,
        public: operation == "echo",
    };
    let token = |text: &str| vec![limit(text, LimitScope::Token)];
    let by_space = LimitScope::PathParameter("spaceId".into());
    let mut rows = vec![
        row("listSources", "/sources", Vec::new()),
        row("echo", "/echo", Vec::new()),
        row("getWarehouseSyncs", "/warehouses/{warehouseId}/syncs", token("2 per minute")),
        row("createLabel", "/labels", token("60 per minute")),
        row("createRegulation", "/regulations", token("600 per minute")),
        row(
            "createDownload",
            "/customer-insights/download",
            vec![limit("120 per day", LimitScope::Workspace)],
        ),
        row(
            "createAudiencePreview",
            "/spaces/{spaceId}/audiences/previews",
            vec![limit("5 per minute", LimitScope::Token), limit("700 per month", by_space)],
        ),
    ];
    for (index, row) in (0..).zip(&mut rows) {
        row.index = index;
    }
    rows
}

/// The rules of a configuration, in which `max_cells` bounds the buckets by fewer than the least memory has room for.
pub(super) fn checked(toml: &str, endpoints: &[Endpoint]) -> Result<Rules, Problems> {
    let mut table: toml::Table = toml.parse().unwrap();
    let most = table.remove("max_cells");
    let settings: Settings = table.try_into().unwrap();
    let mut problems = Problems::new();
    let mut rules = Rules::from_settings(&settings, endpoints, &mut problems).ok_or(problems)?;
    if let Some(most) = most {
        rules.max_cells = most.as_integer().unwrap().try_into().unwrap();
    }
    Ok(rules)
}

/// One process: a clock, an endpoint table, rules and their counters.
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) limits: Limits,
}

/// One request.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) token: Option<u64>,
    pub(super) workspace: u64,
    pub(super) plan: Plan,
    pub(super) own_limit: Option<Quota>,
    pub(super) token_overrides: Vec<LimitOverride>,
    pub(super) workspace_overrides: Vec<LimitOverride>,
    pub(super) operation: Option<&'static str>,
    pub(super) version: Option<&'static str>,
    pub(super) address: &'static str,
    pub(super) path_value: &'static [u8],
    pub(super) body_bytes: u64,
}

/// Token 1 of workspace 1000, listing sources.
pub(super) const ASK: Ask = Ask {
    token: Some(1),
    workspace: 1_000,
    plan: Plan::Business,
    own_limit: None,
    token_overrides: Vec::new(),
    workspace_overrides: Vec::new(),
    operation: Some("listSources"),
    version: None,
    address: "192.0.2.1",
    path_value: b"",
    body_bytes: 0,
};

impl Ask {
    pub(super) fn caller(&self) -> Option<Caller> {
        let workspace = Workspace {
            id: "ws".into(),
            subject: Subject(self.workspace),
            region: RegionId(0),
            plan: self.plan,
            features: Arc::from(Vec::new()),
            state: WorkspaceState::Active,
            overrides: self.workspace_overrides.as_slice().into(),
        };
        self.token.map(|token| {
            Caller::for_test(token, workspace)
                .with(Role::Owner, &[SCOPE], self.own_limit)
                .with_overrides(&self.token_overrides)
        })
    }

    pub(super) fn of(operation: &'static str) -> Self {
        Self { operation: Some(operation), ..ASK }
    }

    pub(super) fn by(token: u64) -> Self {
        Self { token: Some(token), ..ASK }
    }

    pub(super) fn address(&self) -> IpAddr {
        self.address.parse().unwrap()
    }
}

impl World {
    pub(super) fn new(toml: &str) -> Self {
        let endpoints = endpoints();
        let rules = checked(toml, &endpoints).unwrap();
        let limits = Limits::new(Arc::new(rules), Counters::new([7; 32]));
        Self { clock: Clock::manual(1_700_000_000), endpoints, limits }
    }

    /// Other rules on the same counters, as a reload does it.
    pub(super) fn reloaded(&self, toml: &str) -> Limits {
        let rules = checked(toml, &self.endpoints).unwrap();
        Limits::new(Arc::new(rules), Arc::clone(self.limits.counters()))
    }

    pub(super) fn reload(&mut self, toml: &str) {
        self.limits = self.reloaded(toml);
        self.limits.counters().changed(self.now());
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    pub(super) fn wait(&self, by: Duration) {
        self.clock.advance(by);
    }

    pub(super) fn ask(&self, ask: &Ask) -> Result<Admission<'_>, Exceeded> {
        self.ask_by(&self.limits, ask)
    }

    pub(super) fn ask_by<'r>(&'r self, limits: &'r Limits, ask: &Ask) -> Result<Admission<'r>, Exceeded> {
        let endpoint = ask
            .operation
            .map(|name| self.endpoints.iter().find(|endpoint| &*endpoint.operation == name).unwrap());
        let version = ask.version.map(|name| ApiVersion::by_name(name).unwrap());
        let needs = UnmatchedNeeds { scope: Some(SCOPE.into()), plans: Plan::ALL.to_vec() };
        let permit = permit(ask.caller(), endpoint, version, &needs).unwrap();
        let value = |_: &str| Some(Cow::Borrowed(ask.path_value));
        limits.admit(
            permit,
            &Charge { address: ask.address(), path_parameter: &value, body_bytes: ask.body_bytes },
            self.now(),
        )
    }

    /// Asks limits that may be shared; once more where the request has waited.
    pub(super) fn attempt<'r>(
        &'r self,
        limits: &'r Limits,
        ask: &Ask,
        now: Now,
        waited: Option<Waited>,
    ) -> Attempt<'r> {
        let endpoint = ask
            .operation
            .map(|name| self.endpoints.iter().find(|endpoint| &*endpoint.operation == name).unwrap());
        let version = ask.version.map(|name| ApiVersion::by_name(name).unwrap());
        let needs = UnmatchedNeeds { scope: Some(SCOPE.into()), plans: Plan::ALL.to_vec() };
        let permit = permit(ask.caller(), endpoint, version, &needs).unwrap();
        let value = |_: &str| Some(Cow::Borrowed(ask.path_value));
        let charge = Charge { address: ask.address(), path_parameter: &value, body_bytes: ask.body_bytes };
        match waited {
            None => limits.try_admit(permit, &charge, now),
            Some(waited) => limits.admit_after(waited, permit, &charge, now),
        }
    }

    /// How many are admitted before the first refusal, at most 100,000.
    pub(super) fn admitted(&self, ask: &Ask) -> usize {
        (0..100_000).take_while(|_| self.ask(ask).is_ok()).count()
    }

    pub(super) fn refused(&self, ask: &Ask) -> Exceeded {
        self.ask(ask).unwrap_err()
    }

    pub(super) fn sweep_all(&self) -> usize {
        (0..STEPS).map(|_| self.limits.counters().sweep(self.now()).removed).sum()
    }
}

/// A small generator, so that a failing run can be had again.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }
}
