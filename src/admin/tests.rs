mod callers;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};

use super::*;
use crate::clock::{Clock, Now};
use crate::domain::{JwtLifetime, Outcome, Problems, Region, Regions, Secret};
use crate::gateway::explain::{Explanation, NotAQuestion, Question};
use crate::journal::Journal;
use crate::limits;
use crate::telemetry::{self, Arrival, Build, Telemetry};
use crate::tokens::{self, Act, Mint, Registry, Rules, SystemRandom};

struct Fake {
    telemetry: Telemetry,
    mint: Mint,
    registry: Arc<Registry>,
    token: Secret<String>,
    _folder: tempfile::TempDir,
    clock: Clock,
    ready: AtomicBool,
    seconds: AtomicUsize,
}

impl Fake {
    fn new() -> Arc<Self> {
        let settings = telemetry::Settings { access: telemetry::Access::Off, ..Default::default() };
        let checked =
            telemetry::from_settings(&settings, std::path::Path::new(""), &mut Problems::new()).unwrap();
        let clock = Clock::manual(1_700_000_000);
        let build = Build { version: "0.1.0", commit: "0123456789abcdef" };
        let telemetry = Telemetry::new(&checked, 1, &clock, 1, build).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let rules = Rules::from_settings(&tokens::Settings::default(), folder.path(), &mut Problems::new());
        let home = Region { name: "main".into(), letter: 'm', base_url: "https://main.example".into() };
        let regions = Regions::new(vec![home]);
        let mint = Mint::open(&rules.unwrap(), &regions, Box::new(SystemRandom), clock.now()).unwrap();
        let act = Act::by("test", clock.now());
        let token = mint.create_operator(act, "ana", None).unwrap().token;
        let registry = Registry::open(&mint, clock.now()).unwrap();
        let (ready, seconds) = (AtomicBool::new(true), AtomicUsize::new(0));
        Arc::new(Self { telemetry, mint, registry, token, _folder: folder, clock, ready, seconds })
    }
}

impl Control for Fake {
    fn mint(&self) -> &Mint {
        &self.mint
    }

    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn journal(&self) -> Option<&dyn Journal> {
        None
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn limits(&self) -> Arc<limits::Rules> {
        let rules = limits::Rules::from_settings(&limits::Settings::default(), &[], &mut Problems::new());
        Arc::new(rules.unwrap())
    }

    fn accepted_jwts(&self) -> Vec<JwtLifetime> {
        Vec::new()
    }

    fn request_id(&self, inbound: Option<&[u8]>) -> String {
        self.telemetry.core(0).request_id(inbound).to_string()
    }
}

impl Operator for Fake {
    fn ready(&self) -> Readiness {
        let reasons = if self.ready.load(Ordering::SeqCst) { vec![] } else { vec!["draining".to_owned()] };
        Readiness { reasons, notes: Vec::new() }
    }

    fn metrics(&self) -> String {
        self.telemetry.metrics_text()
    }

    fn status(&self) -> Status {
        Status {
            now_unix_millis: self.clock.now().unix_millis,
            started_unix_seconds: 1_699_990_000,
            readiness: self.ready(),
            build: BuildStatus { version: "0.1.0", commit: "0123456789abcdef", cores: 1 },
            config: ConfigStatus {
                generation: 1,
                files: vec!["/etc/tollgate/tollgate.toml".to_owned()],
                loaded_unix_seconds: 1_699_990_000,
                last_error: None,
            },
            traffic: self.telemetry.traffic(),
            upstreams: vec![UpstreamStatus {
                region: "us".to_owned(),
                name: "us-a".to_owned(),
                address: "10.0.0.1:8080".to_owned(),
                healthy: true,
                detail: String::new(),
                in_flight: 0,
                in_flight_limit: 1_000,
                ejections: 0,
            }],
            issuers: vec![IssuerStatus {
                issuer: "https://oauth2.example.com".to_owned(),
                keys: 2,
                age_seconds: Some(30),
                last_error: None,
            }],
            registry: RegistryStatus {
                store_reached: true,
                unwritten_revocations: 0,
                store: "sqlite".to_owned(),
                workspaces: 4,
                tokens: 8,
                staleness_seconds: Some(0.1),
                last_error: None,
            },
            notifications: NotificationStatus::default(),
            shared_limits: vec![SharedLimitsStatus {
                region: "us".to_owned(),
                address: "redis://127.0.0.1:6379".to_owned(),
                breaker: "closed",
                since_seconds: 60,
                replicas: 8,
                modes: [("lease", 2), ("strict", 1)].into(),
                last_error: None,
            }],
        }
    }

    fn explain(&self, question: &Question) -> Result<Explanation, NotAQuestion> {
        let outcome = format!("{} {}", question.method, question.target);
        Ok(Explanation { outcome, ..Explanation::default() })
    }

    fn each_second(&self) {
        self.seconds.fetch_add(1, Ordering::SeqCst);
    }
}

fn checked(text: &str) -> Checked {
    from_settings(&toml::from_str(text).unwrap(), &mut Problems::new()).unwrap()
}

/// An answerer, and the operator behind it.
fn admin(settings: &str) -> (Admin, Arc<Fake>) {
    let operator = Fake::new();
    (Admin::new(&checked(settings), operator.clone()), operator)
}

/// Sends a request with these fields and this body.
fn send(
    admin: &Admin,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(admin.answer(request.body(Full::new(body.into())).unwrap()))
}

/// Asks as the operator, under these names.
fn ask((admin, operator): &(Admin, Arc<Fake>), method: &str, path: &str, hosts: &[&str]) -> Response<Bytes> {
    let bearer = format!("Bearer {}", operator.token.expose());
    let mut fields = vec![("authorization", bearer.as_str())];
    fields.extend(hosts.iter().map(|host| ("host", *host)));
    send(admin, method, path, &fields, "")
}

fn body_of(response: &Response<Bytes>) -> Value {
    assert_eq!(response.headers()["content-type"], "application/json");
    serde_json::from_slice(response.body()).unwrap()
}

#[test]
fn a_rebound_name_is_refused_on_every_path() {
    let admin = admin("host_names = [\"Gateway.Internal\"]");
    let good: [&[&str]; 8] = [
        &[],
        &["127.0.0.1"],
        &["127.0.0.1:9901"],
        &["[::1]:9901"],
        &["[::1]"],
        &["localhost:1"],
        &["LOCALHOST"],
        &["gateway.internal:9901"],
    ];
    let bad: [&[&str]; 11] = [
        &["evil.example"],
        &["evil.example:9901"],
        &["localhost.evil.example"],
        &["127.0.0.1.evil.example"],
        &["localhost", "localhost"],
        &[""],
        &["localhost:"],
        &["localhost:99999"],
        &["[::1"],
        &["[evil]"],
        &["a@localhost"],
    ];
    for path in ["/", "/status.json", "/explain.json", "/metrics", "/livez", "/readyz", "/none"] {
        for hosts in good {
            assert_ne!(ask(&admin, "GET", path, hosts).status(), 421, "{path} {hosts:?}");
        }
        for hosts in bad {
            assert_eq!(ask(&admin, "GET", path, hosts).status(), 421, "{path} {hosts:?}");
        }
    }
}

#[test]
fn only_reading_is_possible_and_no_other_origin_may_read() {
    let admin = admin("");
    for path in ["/", "/status.json", "/explain.json", "/metrics", "/livez", "/readyz"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
            let response = ask(&admin, method, path, &["localhost"]);
            assert_eq!(
                (response.status().as_u16(), &response.headers()["allow"]),
                (405, &"GET, HEAD".parse().unwrap())
            );
        }
        let response = ask(&admin, "GET", path, &["localhost"]);
        assert_eq!(response.status(), 200, "{path}");
        assert!(response.headers().keys().all(|name| !name.as_str().starts_with("access-control")));
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert!(
            response.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'")
        );
    }
    assert_eq!(ask(&admin, "GET", "/status", &["localhost"]).status(), 404);
}

#[test]
fn readiness_tells_its_reasons_and_liveness_does_not_care() {
    let admin = admin("");
    let operator = Arc::clone(&admin.1);
    let response = ask(&admin, "GET", "/readyz", &[]);
    assert_eq!((response.status().as_u16(), body_of(&response)["status"].as_str()), (200, Some("ready")));
    operator.ready.store(false, Ordering::SeqCst);
    let response = ask(&admin, "GET", "/readyz", &[]);
    assert_eq!(response.status(), 503);
    assert_eq!(
        body_of(&response),
        serde_json::json!({"status": "not_ready", "reasons": ["draining"], "notes": []})
    );
    assert_eq!(ask(&admin, "GET", "/livez", &[]).status(), 200);
}

#[test]
fn metrics_and_status_come_from_the_operator() {
    let admin = admin("");
    let operator = Arc::clone(&admin.1);
    let core = operator.telemetry.core(0);
    core.open(Arrival {
        request_id: core.request_id(None),
        trace: core.trace(None),
        now: operator.clock.now(),
        method: b"GET",
        path: b"/",
        user_agent: b"",
        accept: b"",
        content_type: b"",
        peer: None,
        protocol: "HTTP/1.1",
    })
    .finish(Outcome::TokenUnknown, 401);
    let response = ask(&admin, "GET", "/metrics", &[]);
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(response.body().to_vec()).unwrap();
    assert!(text.contains("tollgate_refusals_total{reason=\"token_unknown\"} 1"));
    let status = body_of(&ask(&admin, "GET", "/status.json", &[]));
    assert_eq!(status["traffic"]["outcomes"][0]["reason"], "token_unknown");
    assert_eq!(status["upstreams"][0]["name"], "us-a");
}

#[test]
fn a_running_node_is_asked_what_it_would_do() {
    let operator = Fake::new();
    let running = start(&checked("address = \"127.0.0.1:0\""), operator.clone()).unwrap();
    let url = format!("http://{}", running.address());
    let stranger = Secret::new("sga_nobody".to_owned());
    let refused = super::ask(&url, &stranger, &Question::new("PUT", "/")).unwrap_err();
    assert!(matches!(&refused, AskFailed::Refused(_, why) if why.contains("not valid")), "{refused}");
    let explanation = super::ask(&url, &operator.token, &Question::new("PUT", "/a?b=%20")).unwrap();
    assert_eq!(explanation.outcome, "PUT /a?b=%20");
    let mut question = Question::new("PUT", "/");
    question.fields.push("é".repeat(20_000));
    assert!(super::ask(&url, &operator.token, &question).is_err());
    running.stop();
    let failed = super::ask(&url, &operator.token, &Question::new("GET", "/")).unwrap_err();
    assert!(matches!(failed, AskFailed::Unreachable(..)), "{failed}");
}

#[test]
fn the_page_is_self_contained_and_its_policy_names_its_script() {
    let admin = admin("");
    let response = ask(&admin, "GET", "/", &[]);
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    let page = String::from_utf8(response.body().to_vec()).unwrap();
    assert_eq!(page.matches("<script>").count(), 1);
    assert_eq!(page.matches("<style>").count(), 1);
    for outside in ["http://", "https://", "src=", "@import", "innerHTML", " style=", "onclick"] {
        let allowed = page.matches("http://www.w3.org/2000/svg").count();
        let found = page.matches(outside).count();
        assert_eq!(found, if outside == "http://" { allowed } else { 0 }, "{outside}");
    }
}

#[test]
fn the_page_reads_only_what_the_status_has() {
    let status = serde_json::to_value(Fake::new().status()).unwrap();
    let page = include_str!("page.html");
    let members = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    for (object, value) in [("status", &status), ("traffic", &status["traffic"])] {
        let known = members(value);
        for piece in page.split(&format!("{object}.")).skip(1) {
            let name: String = piece.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            assert!(known.contains(&name) || name == "json", "{object}.{name} is not in the status");
        }
    }
    for (object, value) in [
        ("registry", &status["registry"]),
        ("issuer", &status["issuers"][0]),
        ("store", &status["shared_limits"][0]),
    ] {
        let known = members(value);
        for piece in page.split(&format!(" {object}.")).skip(1) {
            let name: String = piece.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            assert!(known.contains(&name), "{object}.{name} is not in the status");
        }
    }
}

fn talk(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_listener_answers_over_a_socket_and_stops() {
    let operator = Fake::new();
    let running = start(&checked("address = \"127.0.0.1:0\""), operator.clone()).unwrap();
    let mut stream = TcpStream::connect(running.address()).unwrap();
    let answer = talk(&mut stream, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("{\"status\":\"alive\"}"),
        "{answer}"
    );
    while operator.seconds.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    let _idle = TcpStream::connect(running.address()).unwrap();
    let address = running.address();
    let before = Instant::now();
    running.stop();
    assert!(before.elapsed() < Duration::from_secs(10));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_silent_connection_is_closed_and_connections_are_bounded() {
    let running = start(
        &checked("address = \"127.0.0.1:0\"\nmax_connections = 1\nheader_timeout_seconds = 1"),
        Fake::new(),
    )
    .unwrap();
    let mut silent = TcpStream::connect(running.address()).unwrap();
    silent.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    let mut waiting = TcpStream::connect(running.address()).unwrap();
    let answer = talk(&mut waiting, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "served once the silent one was closed: {answer}");
    let mut rest = Vec::new();
    assert!(silent.read_to_end(&mut rest).is_ok() || rest.is_empty());
    running.stop();
}

#[test]
fn settings_tell_every_mistake_at_once() {
    let keys = |text: &str| -> Vec<String> {
        let mut problems = Problems::new();
        let result = from_settings(&toml::from_str(text).unwrap(), &mut problems);
        assert_eq!(result.is_none(), !problems.is_empty());
        problems.0.into_iter().map(|problem| problem.key).collect()
    };
    let wrong = "address = \"0.0.0.0:9901\"\nhost_names = [\"ok.example\", \"*.x\"]\nmax_connections = 0\nheader_timeout_seconds = 0";
    let expected =
        ["admin.address", "admin.host_names[1]", "admin.max_connections", "admin.header_timeout_seconds"];
    assert_eq!(keys(wrong), expected);
    for address in ["localhost:9901", "127.0.0.1", "[::]:1", "192.0.2.1:9901", ""] {
        assert_eq!(keys(&format!("address = \"{address}\"")), ["admin.address"], "{address}");
    }
    for address in ["127.0.0.1:0", "[::1]:9901", "127.3.2.1:1", "[::ffff:127.0.0.1]:1"] {
        assert!(keys(&format!("address = \"{address}\"")).is_empty(), "{address}");
    }
    assert!(toml::from_str::<Settings>("adress = \"x\"").is_err());
}

/// Every reference to a schema.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_description_is_whole() {
    let admin = admin("");
    let description = body_of(&ask(&admin, "GET", "/openapi.json", &[]));
    assert_eq!(description["openapi"], "3.1.0");
    let mut found = Vec::new();
    references(&description, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(description.pointer(pointer).is_some(), "{reference}");
    }
    let mut operations = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(operation["operationId"].as_str().unwrap().to_owned());
            let declared: Vec<&str> = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            for name in &declared {
                assert!(path.contains(&format!("{{{name}}}")), "{path}");
            }
            assert_eq!(path.matches('{').count(), declared.len());
            let keyed = operation["parameters"].to_string().contains("Idempotency-Key");
            assert_eq!(keyed, method == "post", "{path} {method}");
            assert!(operation["responses"]["401"].is_object() && operation["summary"].is_string());
        }
    }
    let all = operations.len();
    operations.sort_unstable();
    operations.dedup();
    assert_eq!((operations.len(), all >= 20), (all, true), "operation ids are unique: {operations:?}");
    let token = &description["components"]["schemas"]["Token"];
    assert_eq!(token["properties"]["created_at"], json!({"type": "string", "format": "date-time"}));
}
