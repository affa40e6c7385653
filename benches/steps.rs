//! What each step of the request path costs.
//!
//! ```text
//! cargo bench --bench steps               all of them, about two minutes
//! cargo bench --bench steps -- --quick    roughly, in a few seconds
//! ```
//!
//! The steps stand in the order of a request. What the kernel takes for sockets is not in them: `benches/load` has
//! the whole.

#![expect(clippy::unwrap_used, reason = "a bench may panic")]

mod support;

use std::hint::black_box;
use std::io::BufReader;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arc_swap::ArcSwap;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tollgate::authentication::{Attempt, Authenticator, Caller, SubjectKey};
use tollgate::authorization::{UnmatchedNeeds, permit};
use tollgate::clock::{Clock, Now};
use tollgate::config::{self, Config};
use tollgate::domain::{Endpoint, Forwarded, Outcome, Plan, Role};
use tollgate::gateway::{Gateway, Owners, Parts, PlacedTokens, Snapshot};
use tollgate::limits::shared::{Answer, Asking, CentralStore, Grant, Outage, Question};
use tollgate::limits::{Admission, Attempt as Admitting, Charge, Counters, Exceeded, Limits, Strictest};
use tollgate::listen::{Peer, Service};
use tollgate::message::{Delivery, Head, HeadLimits, RequestBody, request_head, response_head};
use tollgate::reply::{Dialect, Exhausted, Refusal, Rendered, Replies};
use tollgate::routing::Match;
use tollgate::telemetry::{Arrival, Build, Core, Telemetry};
use tollgate::tokens::{Act, ImportDefaults, Mint, Registry, Sighting, SystemRandom};
use tollgate::upstream::{Groups, OwnFields, Pools, response_lines};

use self::support::Site;

const HEAD_LIMITS: HeadLimits = HeadLimits { head_bytes: 64 * 1024, fields: 100, target_bytes: 8 * 1024 };
const NOWHERE: &str = "127.0.0.1:9";

/// A gateway's parts without sockets.
struct World {
    site: Site,
    registry: Arc<Registry>,
    owners: Arc<Owners>,
    snapshot: Arc<Snapshot>,
    telemetry: Telemetry,
    core: Arc<Core>,
    clock: Clock,
    peer: Peer,
}

impl World {
    fn build() -> Self {
        let nowhere = NOWHERE.parse().unwrap();
        let site = Site::create(nowhere, nowhere);
        let config = config::load(&site.configuration(), &|_| None).ok().unwrap();
        let clock = Clock::system();
        let now = clock.now();
        let mint = Mint::open(&config.tokens, config.places.regions(), Box::new(SystemRandom), now).unwrap();
        let defaults = ImportDefaults {
            workspace: None,
            region: None,
            plan: Plan::Business,
            scopes: Vec::new(),
            role: Role::Owner,
            lifetime_seconds: None,
            allowed_networks: Vec::new(),
        };
        let mut tokens = BufReader::new(std::fs::File::open(site.tokens()).unwrap());
        mint.import(Act::by("bench", now), &mut tokens, &defaults, &mut |_, _| {}).unwrap();
        let registry = Registry::open(&mint, now).unwrap();
        let build = Build { version: "bench", commit: "bench" };
        let telemetry = Telemetry::new(&config.logs, 1, &clock, 1, build).unwrap();
        let authenticator = authenticator(&config, &clock);
        let labels = telemetry.labels();
        let snapshot = Snapshot {
            alerts: None,
            operation_labels: config
                .table
                .endpoints()
                .iter()
                .map(|row| labels.operation(&row.operation))
                .collect(),
            region_labels: config
                .places
                .regions()
                .iter()
                .map(|(_, region)| labels.region(&region.name))
                .collect(),
            policy_labels: config.limits.names().iter().map(|name| labels.policy(name)).collect(),
            unmatched: UnmatchedNeeds { scope: None, plans: Vec::new() },
            table: config.table.clone(),
            authenticator,
            limits: Limits::new(Arc::clone(&config.limits), Counters::new([7; 32])),
            input: config.input.clone(),
            places: config.places.clone(),
            upstreams: Arc::new(Groups::new(config.upstream.clone(), None)),
            replies: Replies::new(config.replies.clone()),
        };
        let peer = Peer { address: nowhere, local: nowhere, is_tls: false };
        let (snapshot, core) = (Arc::new(snapshot), telemetry.core(0));
        let owners = Arc::new(Owners::new(Arc::new(mint), Arc::clone(&registry), None, clock.clone()));
        Self { site, registry, owners, snapshot, telemetry, core, clock, peer }
    }

    fn identify(&self, head: &Head, now: Now) -> Caller {
        let tokens = PlacedTokens::new(&self.registry, &self.snapshot.places);
        match self.snapshot.authenticator.try_identify(head, &tokens, now) {
            Attempt::Decided(Ok(caller)) => caller,
            _ => unreachable!("the bench's credentials are good"),
        }
    }

    fn endpoint(&self, operation: &str) -> &Endpoint {
        self.snapshot.table.by_operation(operation).unwrap()
    }
}

fn opaque(index: usize) -> Head {
    parsed(&support::request_with("/v1/data", &support::opaque_token(index)))
}

/// An authenticator whose issuer's keys are loaded.
fn authenticator(config: &Config, clock: &Clock) -> Authenticator {
    let subjects = SubjectKey::new(&[9; 32]);
    let settings = config.authentication.clone();
    let (authenticator, refreshers) = Authenticator::new(settings, subjects, clock.now());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for refresher in refreshers {
            tokio::spawn(refresher.run(clock.clone()));
        }
        while !authenticator.issuers(clock.now()).all(|issuer| issuer.has_keys) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    authenticator
}

fn parsed(request: &[u8]) -> Head {
    let mut head = Head::with_room();
    request_head(request, &HEAD_LIMITS, &mut head).unwrap().unwrap();
    head
}

fn reading(c: &mut Criterion, world: &World) {
    let request = support::request_with("/v1/data", &support::opaque_token(0));
    let mut group = c.benchmark_group("message");
    group.throughput(Throughput::Bytes(request.len() as u64));
    let mut head = Head::with_room();
    group.bench_function("parse a request head", |b| {
        b.iter(|| {
            head.clear();
            request_head(black_box(&request), &HEAD_LIMITS, &mut head).is_ok()
        });
    });
    group.finish();
    let head = opaque(0);
    c.bench_function("routing/match", |b| b.iter(|| world.snapshot.table.find(black_box(&head)).is_ok()));
}

fn deciding(c: &mut Criterion, world: &World) {
    let now = world.clock.now();
    let tokens: Vec<Head> = (0..support::OPAQUE_TOKENS).map(opaque).collect();
    let jwts: Vec<Head> = (0..support::JWTS)
        .map(|index| parsed(&support::request_with("/v1/data", &world.site.jwt(index))))
        .collect();
    for (name, heads) in [("opaque token", &tokens), ("JWT, verified before", &jwts)] {
        for head in heads {
            world.identify(head, now);
        }
        let mut next = heads.iter().cycle();
        c.bench_function(&format!("authentication/{name}"), |b| {
            b.iter(|| world.identify(next.next().unwrap(), now));
        });
    }
    let endpoint = world.endpoint("data");
    let caller = || world.identify(&tokens[0], now);
    c.bench_function("authorization/permit", |b| {
        b.iter_batched(
            caller,
            |caller| permit(Some(caller), Some(endpoint), None, &world.snapshot.unmatched).is_ok(),
            BatchSize::SmallInput,
        );
    });
    networks(c, world, &tokens);
    limits(c, world, caller);
    leases(c, world, caller);
}

/// What it costs that tokens are told of when they come from a new network: nothing is new here.
fn networks(c: &mut Criterion, world: &World, tokens: &[Head]) {
    let now = world.clock.now();
    // As many as are noted at once.
    let callers: Vec<Caller> = tokens.iter().take(500).map(|head| world.identify(head, now)).collect();
    let address = world.peer.address.ip();
    let seen = |caller: &Caller| Sighting {
        token_id: caller.token_id().to_string(),
        address,
        user_agent: String::new(),
        request_id: String::new(),
        at_unix_seconds: now.unix_seconds(),
    };
    let note = |caller: &Caller| {
        world.registry.note_network(caller.subject(), black_box(address), now, || seen(caller));
    };
    let mut measure = |name: &str| {
        let mut next = callers.iter().cycle();
        c.bench_function(&format!("authentication/note a network, {name}"), |b| {
            b.iter(|| note(next.next().unwrap()));
        });
    };
    measure("not watched");
    let teller = world.registry.tell_sightings(world.clock.clone(), Some(Duration::ZERO)).unwrap();
    callers.iter().for_each(note);
    measure("seen before");
    drop(teller);
}

fn limits(c: &mut Criterion, world: &World, caller: impl Fn() -> Caller) {
    let charge = Charge { address: world.peer.address.ip(), path_parameter: &|_| None, body_bytes: 0 };
    let mut lines = Vec::new();
    for (name, operation) in [("admit by two policies", "data"), ("refuse", "scarce")] {
        let endpoint = world.endpoint(operation);
        let permitted = || permit(Some(caller()), Some(endpoint), None, &world.snapshot.unmatched).unwrap();
        // Time goes on, so that the buckets of what is to be admitted stay nearly full.
        let mut now = world.clock.now();
        c.bench_function(&format!("limits/{name}, and its field lines"), |b| {
            b.iter_batched(
                permitted,
                |permit| {
                    now.monotonic_nanos += 10_000;
                    lines.clear();
                    match world.snapshot.limits.admit(permit, &charge, now) {
                        Ok(admission) => admission.write_headers(&mut lines, now, Strictest::Ours),
                        Err(exceeded) => exceeded.write_headers(&mut lines, now),
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
}

/// A central store that always has tokens, and answers at once.
struct Plenty;

impl CentralStore for Plenty {
    fn ask(&self, question: Question) -> Asking {
        let grant = |asked: &tollgate::limits::shared::Asked| Grant {
            tokens: asked.want,
            left: 1_000_000,
            period: 1,
            until_full_nanos: 0,
        };
        let grants = question.asked.iter().map(grant).collect();
        Box::pin(std::future::ready(Ok(Answer::Granted(grants))))
    }

    fn is_up(&self) -> bool {
        true
    }

    fn last_outage(&self) -> Option<Outage> {
        None
    }

    fn deadline_nanos(&self) -> u64 {
        1_000_000_000
    }

    fn round_trip_nanos(&self) -> u64 {
        1_000_000
    }

    fn patience_nanos(&self) -> u64 {
        5_000_000
    }

    fn replicas(&self) -> NonZeroU32 {
        NonZeroU32::MIN
    }
}

/// Admission by tokens that are leased, beside which the same policies are decided by governor above.
fn leases(c: &mut Criterion, world: &World, caller: impl Fn() -> Caller) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let charge = Charge { address: world.peer.address.ip(), path_parameter: &|_| None, body_bytes: 0 };
    let endpoint = world.endpoint("data");
    let stores = || Some(Arc::new(Plenty) as Arc<dyn CentralStore>);
    let rules = Arc::clone(world.snapshot.limits.rules());
    let limits = Limits::new(rules, Counters::new([7; 32]))
        .shared_through(vec![stores(), stores()], world.snapshot.places.own());
    let mut now = world.clock.now();
    let mut lines = Vec::new();
    let (mut all, mut lacking) = (0_u64, 0_u64);
    c.bench_function("limits/admit by two policies' leases, and its field lines", |b| {
        let permitted = || permit(Some(caller()), Some(endpoint), None, &world.snapshot.unmatched).unwrap();
        b.iter_batched(
            permitted,
            |permit| {
                now.monotonic_nanos += 10_000;
                lines.clear();
                all += 1;
                let mut attempt = limits.try_admit(permit, &charge, now);
                let mut admission: Admission<'_> = loop {
                    match attempt {
                        Admitting::Decided(admitted) => break admitted.map_err(|_: Exceeded| ()).unwrap(),
                        Admitting::NeedsShared(permit, wanted) => {
                            lacking += 1;
                            let so_far = runtime.block_on(wanted.settled(&world.clock));
                            now.monotonic_nanos += 100_000;
                            attempt = limits.admit_after(so_far, permit, &charge, now);
                        }
                    }
                };
                admission.ask_ahead(&world.clock);
                admission.write_headers(&mut lines, now, Strictest::Ours);
            },
            BatchSize::SmallInput,
        );
    });
    assert!(lacking <= 8 + all / 100, "{lacking} of {all} found no lease");
}

fn answering(c: &mut Criterion, world: &World) {
    let answer =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"1\"\r\nContent-Length: 2\r\n\r\n";
    let mut head = Head::new();
    response_head(answer, false, &mut head).unwrap();
    let mut fields = Vec::new();
    let own = OwnFields { x_rate_limit: true, rate_limit: true, deprecation: false, sunset: false };
    c.bench_function("upstream/field lines of an answer", |b| {
        b.iter(|| {
            fields.clear();
            response_lines(black_box(&head), own, &mut fields);
        });
    });
    let exhausted = Exhausted {
        policy: "caller".into(),
        wait: Duration::from_millis(1_234),
        remaining: 0,
        consumed: 6_000,
    };
    let mut rendered = Rendered::with_room();
    for (name, refusal) in
        [("token_unknown", Refusal::TokenUnknown), ("rate_limited", Refusal::RateLimited(exhausted))]
    {
        c.bench_function(&format!("reply/render {name}"), |b| {
            b.iter(|| {
                let id = black_box("01hzy3v9w3q4x5y6z7a8b9c0de");
                let replies = &world.snapshot.replies;
                replies.render(&refusal, Dialect::Envelope, id, Forwarded::No, &mut rendered);
            });
        });
    }
    c.bench_function("telemetry/a record, opened and closed", |b| {
        b.iter(|| world.core.open(arrival(world, b"GET")).finish(Outcome::Forwarded, 200));
    });
}

fn arrival(world: &World, method: &'static [u8]) -> Arrival<'static> {
    Arrival {
        request_id: world.core.request_id(None),
        trace: world.core.trace(None),
        now: world.clock.now(),
        method,
        path: b"/v1/data",
        user_agent: b"bench/1",
        accept: b"application/json",
        content_type: b"",
        peer: Some(world.peer.address),
        protocol: "HTTP/1.1",
    }
}

/// What the journal keeps of every write: nobody holds it to a number of lines a second, as it is with refusals.
fn writing(c: &mut Criterion, world: &World, journal: &str) {
    let token_id = world.identify(&opaque(0), world.clock.now()).token_id().clone();
    c.bench_function(&format!("telemetry/the record of a write{journal}"), |b| {
        b.iter(|| {
            let mut record = world.core.open(arrival(world, b"POST"));
            record.facts.token_id = Some(token_id.clone());
            record.facts.forwarded.set(Forwarded::Yes);
            record.finish(Outcome::Forwarded, 201);
        });
    });
}

/// The whole path of requests that end here, between parsing and writing.
fn refusing(c: &mut Criterion, world: &World, journal: &str) {
    let parts = Parts {
        snapshot: Arc::new(ArcSwap::new(Arc::clone(&world.snapshot))),
        registry: Arc::clone(&world.registry),
        owners: Arc::clone(&world.owners),
        clock: world.clock.clone(),
    };
    let pools = Pools::new(world.clock.clone(), 1);
    let gateway = Gateway::new(parts, Arc::clone(&world.core), pools);
    let scarce = support::request_with("/v1/scarce", &support::opaque_token(0));
    let unknown = support::request_with("/v1/data", "tk_0000000000000000000000000000000000000000");
    for (request, status) in [(scarce, 429), (unknown, 401), (support::preflight(), 403)] {
        let head = parsed(&request);
        let poll = || {
            let answer = pin!(gateway.serve(black_box(&head), RequestBody::Empty, &world.peer));
            answer.poll(&mut Context::from_waker(Waker::noop()))
        };
        let serve = || {
            let Poll::Ready(answer) = poll() else { unreachable!("a refusal waits for nothing") };
            answer.completion.unwrap().sent(0, Delivery::Complete);
            answer.status
        };
        // The first is within its limit; it is not waited for.
        drop(poll());
        assert_eq!(serve(), status);
        c.bench_function(&format!("gateway/the whole of a {status}{journal}"), |b| b.iter(serve));
    }
}

fn steps(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let world = World::build();
    assert!(matches!(world.snapshot.table.find(&opaque(0)), Ok(Match::Matched(_))));
    reading(c, &world);
    deciding(c, &world);
    answering(c, &world);
    writing(c, &world, "");
    refusing(c, &world, "");
    let world = World::build();
    world.telemetry.keep_journal(Box::new(std::io::sink())).unwrap();
    writing(c, &world, ", with a journal");
    refusing(c, &world, ", with a journal");
}

criterion_group!(benches, steps);
criterion_main!(benches);
