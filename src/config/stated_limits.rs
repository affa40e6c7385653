//! The 68 limits that Segment's endpoint table states: from the file through the checked configuration to the
//! decision and the refusal's words, on a clock of our own.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use super::{Config, load_text};
use crate::authentication::Caller;
use crate::authorization::{UnmatchedNeeds, permit};
use crate::clock::Clock;
use crate::domain::{
    Endpoint, EndpointLimit, Forwarded, LimitScope, Plan, RegionId, Role, Subject, Workspace, WorkspaceState,
};
use crate::limits::{Admission, Charge, Counters, Exceeded, ExceededKind, Limits};
use crate::reply::{Dialect, Exhausted, Refusal, Rendered, Replies};

const CONFIG: &str = "[listen]\nplain = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"http://127.0.0.1:1\"]\n\
                      [endpoints]\ntables = [\"endpoints.toml\"]\n";

/// A gateway's limits, and the one endpoint and limit that are looked at.
struct World {
    clock: Clock,
    endpoints: Vec<Endpoint>,
    limits: Limits,
    replies: Replies,
}

/// Callers so many that no limit but the one that is looked at is met: a new token when the last one has had
/// its share.
struct Callers {
    share: u64,
    asked: u64,
    new_tokens: bool,
}

/// What the wire says of a refusal.
#[derive(Debug)]
struct Told {
    retry_after: Option<Duration>,
    before_next: Duration,
    policy: String,
}

impl World {
    fn new() -> Self {
        let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/tollgate.toml"));
        let Config { table, limits, replies, retry_after_ceiling_seconds, .. } =
            load_text(file, CONFIG, &|_| None).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let ceiling = Duration::from_secs(u64::from(retry_after_ceiling_seconds));
        Self {
            clock: Clock::manual(1_700_000_000),
            endpoints: table.endpoints().to_vec(),
            limits: Limits::new(limits, Counters::new([7; 32])),
            replies: Replies::new(replies).with_retry_after_ceiling(ceiling),
        }
    }

    fn ask(&self, endpoint: &Endpoint, token: u64) -> Result<Admission<'_>, Exceeded> {
        let workspace = Workspace {
            id: "ws".into(),
            subject: Subject(1_000_000),
            region: RegionId(0),
            plan: Plan::Business,
            features: endpoint.feature.iter().cloned().collect::<Vec<_>>().into(),
            state: WorkspaceState::Active,
            overrides: std::sync::Arc::default(),
        };
        let scopes = ["public_api:read_write"];
        let caller = Caller::for_test(token, workspace).with(Role::Owner, &scopes, None);
        let needs = UnmatchedNeeds { scope: None, plans: Plan::ALL.to_vec() };
        // A permit borrows what it was asked with.
        let endpoint = self.endpoints.iter().find(|row| row.index == endpoint.index);
        let permit = permit(Some(caller), endpoint, None, &needs).unwrap();
        let address = "192.0.2.1".parse().unwrap();
        let charge = Charge { address, path_parameter: &|_| Some(Cow::Borrowed(b"one")), body_bytes: 0 };
        self.limits.admit(permit, &charge, self.clock.now())
    }

    fn told(&self, exceeded: &Exceeded) -> Told {
        let limit = Exhausted {
            policy: exceeded.exposed_policy().unwrap().into(),
            wait: exceeded.wait,
            remaining: exceeded.remaining.into(),
            consumed: exceeded.consumed.into(),
        };
        let refusal = match exceeded.kind {
            ExceededKind::RateLimited => Refusal::RateLimited(limit),
            ExceededKind::QuotaExceeded => Refusal::QuotaExceeded(limit),
            ExceededKind::TooManyInFlight | ExceededKind::LimitsUnavailable => panic!("{exceeded:?}"),
        };
        let mut out = Rendered::default();
        self.replies.render(&refusal, Dialect::Envelope, "id", Forwarded::No, &mut out);
        assert_eq!(out.status, 429);
        let retry_after = out.each_field().find(|(name, _)| name.eq_ignore_ascii_case(b"retry-after"));
        let seconds = retry_after.map(|(_, value)| str::from_utf8(value).unwrap().parse().unwrap());
        let body: serde_json::Value = serde_json::from_slice(&out.body).unwrap();
        let data = &body["errors"][0]["data"];
        Told {
            retry_after: seconds.map(Duration::from_secs),
            before_next: Duration::from_millis(data["msBeforeNext"].as_u64().unwrap()),
            policy: data["policy"].as_str().unwrap().to_owned(),
        }
    }
}

impl Callers {
    fn of(endpoint: &Endpoint, limit: &EndpointLimit) -> Self {
        let others = endpoint.limits.iter().filter(|other| other.scope == LimitScope::Token);
        let share = others.map(|other| u64::from(other.quota.burst.get())).min().unwrap_or(1_000);
        Self { share, asked: 0, new_tokens: limit.scope != LimitScope::Token }
    }

    fn ask<'w>(&mut self, world: &'w World, endpoint: &Endpoint) -> Result<Admission<'w>, Exceeded> {
        let token = if self.new_tokens { self.asked / self.share } else { 0 };
        let asked = world.ask(endpoint, token);
        self.asked += 1;
        asked
    }
}

fn name(endpoint: &Endpoint, limit: &EndpointLimit) -> String {
    match &limit.scope {
        LimitScope::Token => endpoint.operation.to_string(),
        LimitScope::Workspace => format!("{}:workspace", endpoint.operation),
        LimitScope::PathParameter(parameter) => format!("{}:{parameter}", endpoint.operation),
    }
}

/// Each stated limit in a world of its own.
fn each(look: impl Fn(&World, &Endpoint, &EndpointLimit)) {
    let mut looked_at = 0;
    let endpoints = World::new().endpoints;
    for endpoint in &endpoints {
        for limit in &endpoint.limits {
            look(&World::new(), endpoint, limit);
            looked_at += 1;
        }
    }
    assert_eq!(looked_at, 68);
}

#[test]
fn the_burst_is_the_tables_and_the_request_after_is_refused_by_its_name() {
    each(|world, endpoint, limit| {
        let name = name(endpoint, limit);
        let mut callers = Callers::of(endpoint, limit);
        let burst = limit.quota.requests.get();
        for place in 0..burst {
            let admission = callers.ask(world, endpoint).unwrap_or_else(|found| panic!("{place}: {found:?}"));
            let mut lines = Vec::new();
            admission.write_headers(&mut lines, world.clock.now(), crate::limits::Strictest::Ours);
            let lines = String::from_utf8(lines).unwrap();
            assert!(
                lines.contains(&format!("\"{name}\";q={burst};w={}", limit.quota.period_seconds)),
                "{lines}"
            );
        }
        let exceeded = callers.ask(world, endpoint).unwrap_err();
        let is_long = limit.quota.period_seconds >= 86_400;
        let kind = if is_long { ExceededKind::QuotaExceeded } else { ExceededKind::RateLimited };
        assert_eq!((exceeded.kind, &*exceeded.name), (kind, name.as_str()));
        assert_eq!(world.told(&exceeded).policy, name);
        assert_eq!((exceeded.remaining, exceeded.consumed), (0, burst));
    });
}

#[test]
fn one_that_waits_as_it_is_told_is_admitted_and_not_before() {
    each(|world, endpoint, limit| {
        let mut callers = Callers::of(endpoint, limit);
        while callers.ask(world, endpoint).is_ok() {}
        for _ in 0..3 {
            let told = world.told(&callers.ask(world, endpoint).unwrap_err());
            let wait = told.retry_after.unwrap_or(told.before_next);
            assert!(wait >= told.before_next && told.before_next > Duration::ZERO, "{told:?}");
            let early = told.before_next.saturating_sub(Duration::from_millis(2));
            world.clock.advance(early);
            assert!(callers.ask(world, endpoint).is_err(), "{told:?}");
            world.clock.advance(wait.saturating_sub(early));
            assert!(callers.ask(world, endpoint).is_ok(), "{told:?}");
            while callers.ask(world, endpoint).is_ok() {}
        }
    });
}

#[test]
fn the_rate_is_the_tables() {
    each(|world, endpoint, limit| {
        let mut callers = Callers::of(endpoint, limit);
        while callers.ask(world, endpoint).is_ok() {}
        let requests = limit.quota.requests.get();
        let step = Duration::from_secs(limit.quota.period_seconds.into()) / (2 * requests);
        let mut admitted = 0;
        for _ in 0..2 * requests {
            // A step and what rounding may owe it.
            world.clock.advance(step + Duration::from_nanos(2));
            admitted += u32::from(callers.ask(world, endpoint).is_ok());
        }
        assert_eq!(admitted, requests, "{} in its period", name(endpoint, limit));
    });
}

#[test]
fn waits_beyond_the_ceiling_leave_retry_after_out() {
    let world = World::new();
    let named = |operation: &str| world.endpoints.iter().find(|row| &*row.operation == operation).unwrap();
    let waits = |operation: &str, place: usize| {
        let endpoint = named(operation);
        let mut callers = Callers::of(endpoint, &endpoint.limits[place]);
        callers.new_tokens = true;
        while callers.ask(&world, endpoint).is_ok() {}
        world.told(&callers.ask(&world, endpoint).unwrap_err())
    };
    // 120 a day: one in 720 s. 700 a month: one in 3,703 s.
    assert_eq!(waits("createDownload", 0).retry_after, Some(Duration::from_mins(12)));
    assert_eq!(waits("createAudiencePreview", 1).retry_after, Some(Duration::from_secs(3_703)));
}
