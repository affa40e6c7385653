//! `tollgate explain` says what the gateway does: the same outcome, status, endpoint, version, policy and region, for
//! requests of every kind, and asking changes nothing.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::pages::blocks::blocks;
use crate::support::{
    Answer, Behaviour, Client, Gateway, Signer, Upstream, config, now, raw, run, run_json, tollgate, until,
};

const ISSUER: &str = "https://issuer.test";

/// Long windows, so that no bucket gains a request between an explanation and its request.
const MORE: &str = r#"
[[endpoints.extra]]
operation = "openStatus"
method = "GET"
path = "/open/status"
public = true
[[endpoints.extra]]
operation = "ownersOnly"
method = "POST"
path = "/owners/{id}"
role = "owner"
versions = ["v1", "v1beta"]
[[endpoints.extra]]
operation = "featured"
method = "GET"
path = "/featured"
feature = "Beta Feature"
[[limits.policies]]
name = "default"
per = ["token"]
quota = "90 per day"
[[limits.policies]]
name = "workspace"
per = ["workspace"]
quota = "300 per day"
burst = 200
[[limits.policies]]
name = "versions"
per = ["token", "version"]
quota = "200 per month"
cost = 9
[[limits.policies]]
name = "hidden"
per = ["address"]
quota = "400 per day"
expose = false
[[limits.policies]]
name = "trial"
per = ["plan"]
quota = "3 per day"
mode = "shadow"
[limits.failed_authentications]
quota = "1500 per day"
exempt = []
"#;

/// A gateway with callers of every kind.
struct World {
    gateway: Gateway,
    client: Client,
    operator: Client,
    tokens: Vec<(&'static str, String)>,
    paths: Vec<(String, String)>,
    _upstreams: [Upstream; 3],
}

impl World {
    fn new(unmatched: &str) -> Self {
        let signer = Signer::fresh("k");
        let keys = json!({ "keys": [signer.jwk()] }).to_string();
        let issuer = Upstream::start(Behaviour::Answer(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{keys}",
            keys.len()
        )));
        let [us, eu] = ["us", "eu"].map(|region| Upstream::start(Behaviour::status(200, region)));
        let more = format!(
            "[endpoints]\n{}unmatched = {unmatched:?}\n{MORE}\n[[authentication.issuers]]\nissuer = {ISSUER:?}\n\
             audiences = [\"api\"]\njwks_uri = \"{}/jwks.json\"\nregions = [\"us\", \"eu\"]\n",
            crate::support::segment_table(),
            issuer.url()
        );
        let gateway = Gateway::start(&config(&us.url(), &eu.url(), &more));
        let file = gateway.file.to_str().unwrap().to_owned();
        for (id, plan) in [("ws-free", "free"), ("ws-team", "team"), ("ws-suspended", "business")] {
            let create =
                ["workspace", "--config", &file, "create", id, "--region", "us", "--plan", plan, "--json"];
            run_json(&create);
        }
        let new = |workspace: &str, more: &[&str]| gateway.token(workspace, more).1;
        let mut tokens = vec![
            ("owner", new("ws-us", &["--role", "owner"])),
            ("restricted", new("ws-us", &[])),
            ("eu", new("ws-eu", &["--role", "owner"])),
            ("free", new("ws-free", &[])),
            ("team", new("ws-team", &["--role", "owner"])),
            ("other scope", new("ws-us", &["--scope", "tracking:write"])),
            ("own limit", new("ws-eu", &["--limit", "7 per day"])),
            ("suspended", new("ws-suspended", &[])),
        ];
        run_json(&["workspace", "--config", &file, "set", "ws-suspended", "--state", "suspended", "--json"]);
        let (id, revoked) = gateway.token("ws-us", &[]);
        run_json(&["token", "--config", &file, "revoke", &id, "--json"]);
        until("the revocation", || {
            (gateway.ask(&revoked, "/tollgate/v1/whoami").status == 401).then_some(())
        });
        tokens.push(("revoked", revoked));
        tokens.extend(jwts(&signer));
        until("the issuer's keys", || {
            (gateway
                .ask(&tokens.iter().find(|(kind, _)| *kind == "jwt").unwrap().1, "/tollgate/v1/whoami")
                .status
                == 200)
                .then_some(())
        });
        let (client, operator) = (gateway.connect(), Client::connect(gateway.admin));
        Self { client, operator, tokens, paths: paths(), gateway, _upstreams: [us, eu, issuer] }
    }

    /// What the running node says that it would do.
    fn explain(&mut self, ask: &Ask) -> Value {
        let mut target =
            format!("/explain.json?method={}&target={}", encoded(&ask.method), encoded(&ask.target));
        // As the client sends it.
        let _ = write!(target, "&field={}", encoded("Host: api.example"));
        for field in &ask.fields {
            let _ = write!(target, "&field={}", encoded(field));
        }
        let host = self.gateway.admin;
        let token = ask.token.as_ref().map_or(String::new(), |token| format!("X-Explain-Token: {token}\r\n"));
        let operator = &self.gateway.operator;
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {operator}\r\n{token}\r\n"
        );
        let answer = self.operator.send(request.as_bytes());
        assert_eq!(answer.status, 200, "{ask:?}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// What it does.
    fn send(&mut self, ask: &Ask) -> Answer {
        let mut fields = String::new();
        for field in &ask.fields {
            let _ = write!(fields, "{field}\r\n");
        }
        if let Some(token) = &ask.token {
            let _ = write!(fields, "Authorization: Bearer {token}\r\n");
        }
        let answer = self.client.send(&raw(&ask.method, &ask.target, &fields, b""));
        if answer.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.client = self.gateway.connect();
        }
        answer
    }
}

/// JWTs by what is the matter with them.
fn jwts(signer: &Signer) -> Vec<(&'static str, String)> {
    let now = now();
    let good = json!({
        "iss": ISSUER, "aud": "api", "sub": "s", "iat": now - 200, "exp": now + 7_000, "workspace": "ws-us",
        "scope": "public_api:read_write",
    });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        signer.sign(&claims)
    };
    let mut unknown_key = Signer::fresh("unknown");
    unknown_key.header.kid = Some("unknown".to_owned());
    vec![
        ("jwt", signer.sign(&good)),
        ("jwt eu", with("workspace", json!("ws-eu"))),
        ("jwt expired", with("exp", json!(now - 100))),
        ("jwt audience", with("aud", json!("other"))),
        ("jwt workspace", with("workspace", json!("nobody"))),
        ("jwt scope", with("scope", json!("other"))),
        ("jwt signature", Signer::fresh("k").sign(&good)),
        ("jwt key", unknown_key.sign(&good)),
        ("junk", "abc".to_owned()),
        ("junk jwt", "a.b.c".to_owned()),
    ]
}

/// Methods and paths of the endpoint table, their parameters filled in.
fn paths() -> Vec<(String, String)> {
    let table: toml::Value =
        toml::from_str(&std::fs::read_to_string("config/endpoints.toml").unwrap()).unwrap();
    let rows = table["endpoint"].as_array().unwrap();
    let own = [
        ("GET", "/open/status"),
        ("POST", "/owners/7"),
        ("GET", "/featured"),
        ("GET", "/tollgate/v1/whoami"),
    ];
    let filled = |path: &str| {
        let segments: Vec<&str> =
            path.split('/').map(|segment| if segment.starts_with('{') { "x1" } else { segment }).collect();
        segments.join("/")
    };
    rows.iter()
        .map(|row| (row["method"].as_str().unwrap().to_owned(), filled(row["path"].as_str().unwrap())))
        .chain((0..12).flat_map(|_| own).map(|(method, path)| (method.to_owned(), path.to_owned())))
        .collect()
}

/// One request.
#[derive(Debug)]
struct Ask {
    method: String,
    target: String,
    fields: Vec<String>,
    token: Option<String>,
}

/// A generator that can be had again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of<'c, T: ?Sized>(&mut self, choices: &[&'c T]) -> &'c T {
        choices[self.below(choices.len())]
    }
}

fn ask(dice: &mut Dice, world: &World) -> Ask {
    let (mut method, mut target) = world.paths[dice.below(world.paths.len())].clone();
    if dice.one_in(8) {
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW", "get"];
        dice.of(&methods).clone_into(&mut method);
    }
    match dice.below(40) {
        0 => target.push('/'),
        1 => target = target.to_uppercase(),
        2 => target = target.replacen('/', "//", 1),
        3 => target = target.replacen("x1", "..", 1),
        4 => target = target.replacen("x1", "a%2Fb", 1),
        5 => target.push_str("%2F"),
        6 => target = target.replacen('s', "%73", 1),
        7 => target.push_str(";v=1"),
        8 => target.push_str("%zz"),
        9 => target.push('\\'),
        10 => {
            let others = ["", "nothing", "tollgate/none", "tollgate/v1/limits", "a/b/c/d"];
            target = format!("/{}", dice.of(&others));
        }

        11 => {
            let odd = ["sources", "*", "http://api.example/sources", "/%00", "/é"];
            dice.of(&odd).clone_into(&mut target);
        }
        12 => target.push_str("?access_token=abc"),
        13 => target.push_str("?pagination.count=1"),
        14 => target = format!("/sources/{}", "x".repeat(dice.of(&["a", "bb"]).len() * 5_000)),
        _ => {}
    }
    let mut fields = Vec::new();
    if dice.one_in(4) {
        let types = [
            "*/*",
            "application/json",
            "application/vnd.segment.v1+json",
            "application/vnd.segment.v1alpha+json",
            "application/vnd.segment.stable+json",
            "application/vnd.segment.v9+json",
            "application/problem+json",
            ";",
        ];
        fields.push(format!("Accept: {}", dice.of(&types)));
    }
    if dice.one_in(6) {
        let types = [
            "application/json",
            "text/plain",
            "application/vnd.segment.v1beta+json",
            "application/vnd.segment.v9+json",
        ];
        fields.push(format!("Content-Type: {}", dice.of(&types)));
    }
    let odd = [
        "Origin: https://app.example",
        "Access-Control-Request-Method: POST",
        "Expect: the-unexpected",
        "Authorization: Basic abc",
        "Authorization: Bearer",
        "authorization: Bearer a b",
        "Transfer-Encoding: gzip",
        "X-Long: ",
        "Host: two.example",
        "X Bad: 1",
    ];
    for _ in 0..dice.below(3) {
        if dice.one_in(5) {
            fields.push(dice.of(&odd).to_owned());
        }
    }
    let mut token = (!dice.one_in(12)).then(|| {
        // Good tokens mostly, so that requests come far.
        let most = if dice.one_in(3) { world.tokens.len() } else { 5 };
        world.tokens[dice.below(most)].1.clone()
    });
    if fields.iter().any(|field| field.to_ascii_lowercase().starts_with("authorization")) {
        // Beside another credential it is one more field.
        fields.extend(token.take().map(|token| format!("Authorization: Bearer {token}")));
    }
    Ask { method, target, fields, token }
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Asks and sends as many requests, and compares. Every kind of outcome has to come up.
fn agree(count: usize, unmatched: &str, wanted: &[&str]) {
    let mut world = World::new(unmatched);
    let mut dice = Dice(count as u64);
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut endpoints = HashMap::new();
    for number in 0..count {
        let ask = ask(&mut dice, &world);
        let explained = world.explain(&ask);
        let again = world.explain(&ask);
        for part in ["/outcome", "/refusal/policy", "/identity", "/place"] {
            assert_eq!(again.pointer(part), explained.pointer(part), "asking changes nothing: {ask:?}");
        }
        let answer = world.send(&ask);
        let outcome = explained["outcome"].as_str().unwrap().to_owned();
        let said = answer.reason();
        let context = || format!("request {number}: {ask:?}\nexplained {explained:#}\nanswered {answer:?}");
        match outcome.as_str() {
            "forwarded" => {
                assert_eq!(answer.status, 200, "{}", context());
                assert_eq!(answer.region(), explained["place"]["region"].as_str(), "{}", context());
            }
            "answered" => assert_eq!((answer.status, answer.region()), (200, None), "{}", context()),
            refused => {
                assert_eq!(u64::from(answer.status), explained["refusal"]["status"], "{}", context());
                if ask.method != "HEAD" {
                    assert_eq!(reason_of(&answer, &said), refused, "{}", context());
                    let policy = policy_of(&answer);
                    assert_eq!(policy.as_deref(), explained["refusal"]["policy"].as_str(), "{}", context());
                }
            }
        }
        *seen.entry(outcome).or_default() += 1;
        if let Some(id) = answer.field("x-request-id") {
            let operation = explained["endpoint"]["operation"].as_str().map(str::to_owned);
            let version = explained["version"].as_str().map(str::to_owned);
            endpoints.insert(id.to_owned(), (operation, version, explained["identity"].is_object()));
        }
    }
    for outcome in wanted {
        assert!(seen.contains_key(*outcome), "{outcome} never came up: {seen:?}");
    }
    compare_with_the_log(&world, endpoints);
}

/// The outcome's word, also where the answer is of another shape (RFC 9457).
fn reason_of(answer: &Answer, said: &str) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["reason"].as_str().unwrap_or(said).to_owned()
}

fn policy_of(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let policy = body.pointer("/errors/0/data/policy").or_else(|| body.get("policy"))?;
    policy.as_str().map(str::to_owned)
}

/// The records say for which endpoint and version the requests were taken.
fn compare_with_the_log(
    world: &World,
    mut endpoints: HashMap<String, (Option<String>, Option<String>, bool)>,
) {
    let mut compared = 0;
    until("the records", || {
        let text = world.gateway.process.stdout.text();
        (text.lines().count() >= endpoints.len()).then_some(())
    });
    for line in world.gateway.process.stdout.text().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let Some((operation, version, identified)) =
            record["request_id"].as_str().and_then(|id| endpoints.remove(id))
        else {
            continue;
        };
        let taken_for = record["operation"].as_str().filter(|name| *name != "unmatched");
        // What is matched is told even where the version is not on offer, which a record counts as unmatched.
        if taken_for.is_some() {
            assert_eq!(taken_for, operation.as_deref(), "{record}");
            assert_eq!(record["api_version"].as_str(), version.as_deref(), "{record}");
        }
        // Whose a dead token was is for records alone: it identifies nobody.
        let is_dead = matches!(record["outcome"].as_str(), Some("token_revoked" | "token_expired"));
        let is_told = record["token"].is_string() || record["token_id"].is_string();
        assert_eq!(is_told, identified || is_dead, "{record}");
        compared += 1;
    }
    assert!(compared > 0);
}

fn count() -> usize {
    if std::env::var("TOLLGATE_LONG").as_deref() == Ok("1") { 50_000 } else { 1_000 }
}

#[test]
fn explain_and_the_gateway_agree_where_unknown_paths_are_refused() {
    let wanted = [
        "forwarded",
        "answered",
        "not_found",
        "method_not_allowed",
        "quota_exceeded",
        "token_unknown",
        "token_revoked",
        "jwt_invalid",
        "scope_missing",
        "plan_required",
        "workspace_suspended",
        "ambiguous_path",
        "credential_missing",
        "several_credentials",
        "not_implemented",
        "version_unsupported",
    ];
    agree(count(), "refuse", &wanted);
}

#[test]
fn explain_and_the_gateway_agree_where_unknown_paths_are_forwarded() {
    agree(
        count(),
        "forward",
        &["forwarded", "answered", "quota_exceeded", "token_unknown", "jwt_invalid", "bad_request"],
    );
}

/// Runs the command with a token on standard input.
fn explain(arguments: &[&str], token: &str) -> Output {
    explain_as("", arguments, token)
}

/// As [`explain`], with an operator's token.
fn explain_as(operator: &str, arguments: &[&str], token: &str) -> Output {
    let mut process = tollgate(&[&["explain"], arguments].concat())
        .env("TOLLGATE_OPERATOR_TOKEN", operator)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let _ = writeln!(stdin, "{token}");
    drop(stdin);
    process.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_command_explains_offline_and_live_and_never_shows_a_token() {
    let world = World::new("refuse");
    let file = world.gateway.file.to_str().unwrap();
    let live = format!("http://{}", world.gateway.admin);
    for (kind, token) in &world.tokens {
        let offline = ["--config", file, "GET", "/sources", "--token-stdin", "--format", "json"];
        let online = ["--live", &live, "GET", "/sources", "--token-stdin", "--format", "json"];
        let (offline, online) =
            (explain(&offline, token), explain_as(&world.gateway.operator, &online, token));
        assert_eq!(offline.status.code(), online.status.code(), "{kind}");
        assert!(!text(&offline).contains(token.as_str()) || token.len() < 6, "{kind}: {}", text(&offline));
        assert!(!text(&online).contains(token.as_str()) || token.len() < 6, "{kind}: {}", text(&online));
        let read = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
        let (offline, online) = (read(&offline), read(&online));
        for part in ["outcome", "endpoint", "version", "identity", "place"] {
            assert_eq!(offline[part], online[part], "{kind} {part}");
        }
        assert_eq!(offline["refusal"]["status"], online["refusal"]["status"], "{kind}");
        let names_the_check =
            |answer: &Value| answer["notes"].to_string().contains("What does not hold of the JWT");
        assert_eq!(names_the_check(&offline), offline["outcome"] == "jwt_invalid", "{kind}: {offline}");
    }
}

#[test]
fn the_command_says_what_would_change_a_refusal() {
    let world = World::new("refuse");
    let file = world.gateway.file.to_str().unwrap();
    let said = |arguments: &[&str]| {
        let output = run(&[&["explain", "--config", file], arguments].concat());
        (output.status.code(), text(&output))
    };
    for (arguments, code, says) in [
        (vec!["GET", "/sources"], 1, "refused with 401 credential_missing"),
        (vec!["GET", "/sources", "--workspace", "new", "--plan", "free"], 1, "workspace set ID --plan PLAN"),
        (
            vec!["GET", "/sources", "--workspace", "ws-us", "--scope", "x"],
            1,
            "refused with 403 scope_missing",
        ),
        (vec!["POST", "/owners/7", "--workspace", "ws-us"], 1, "token create --role owner"),
        (vec!["GET", "/featured", "--workspace", "ws-us"], 1, "refused with 403 feature_required"),
        (vec!["GET", "/featured", "--workspace", "ws-us", "--feature", "Beta Feature"], 0, "forwarded"),
        (vec!["GET", "/sources", "--workspace", "ws-suspended"], 1, "--state active"),
        (vec!["GET", "/nothing", "--workspace", "ws-us"], 1, "refused with 404 not_found"),
        (vec!["GET", "/sources", "--workspace", "ws-eu"], 0, "region     eu, upstream http://"),
        (vec!["GET", "/sources", "--workspace", "w", "--region", "eu"], 0, "region     eu, upstream http://"),
        (vec!["GET", "/sources", "--workspace", "w", "--region", "mars"], 2, "no region `mars`"),
        (vec!["GET", "/sources", "--token-id", "tok_none"], 2, "no token has the id"),
        (vec!["GET", "/sources", "-H", "Authorization: Bearer x"], 2, "use --token-stdin"),
        (vec!["GET", "/sources", "-H", "nonsense"], 2, "is no header"),
        (
            vec!["GET", "/sources", "--live", "http://127.0.0.1:1", "--workspace", "w"],
            2,
            "TOLLGATE_OPERATOR_TOKEN",
        ),
        (vec!["GET", "/sources", "--workspace", "w", "--token-id", "t"], 2, "cannot be used with"),
    ] {
        let (found, text) = said(&arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {text}");
        assert!(text.contains(says), "{arguments:?}: {text}");
    }
}

#[test]
fn the_documentation_shows_what_the_command_says() {
    let [us, eu] = ["us", "eu"].map(|region| Upstream::start(Behaviour::status(200, region)));
    let gateway = Gateway::start(&config(&us.url(), &eu.url(), ""));
    let file = gateway.file.to_str().unwrap();
    let mut shown = 0;
    for block in blocks("config/docs/explain.md").iter().filter(|block| block.kind == "sh") {
        let line = block.text.trim().strip_prefix("tollgate ").unwrap();
        let found = text(&run(&line.split(' ').chain(["--config", file]).collect::<Vec<_>>()));
        for line in block.shown.lines() {
            // Ports differ from run to run.
            let piece = line.split("http://").next().unwrap();
            assert!(found.contains(piece), "{line}\nis not in\n{found}");
        }
        shown += block.shown.lines().count();
    }
    assert!(shown > 10, "{shown}");
}
