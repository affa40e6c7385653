//! No secret is written anywhere: tokens are planted wherever a client can put them, and searched for in everything
//! that a gateway writes, shows or sends: its answers, its logs at their most talkative, metrics and status, the audit
//! trail and the journal, webhooks and e-mails, and every byte of its folder, of its database and of the database's log.
//! Searched for are API tokens however they were made, an owner's JWT, the operator's token, the pepper, and the secret
//! that webhooks are signed by.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem::Finder;
use serde_json::json;
use tollgate::tokens::{Format, SystemRandom};

use crate::fleet::Fleet;
use crate::support::{
    Answer, Behaviour, Gateway, GitHub, Receiver, Signer, Sink, Upstream, alert, config, now, raw, run,
    run_json, until,
};

const ALERTS: &str = "/alerts";
const ISSUER: &str = "https://issuer.test";
/// The file of the pepper, the one place where it may be.
const PEPPER: &str = "tollgate.pepper";

/// A secret in all spellings in which it could be written.
struct Canary {
    what: &'static str,
    secret: Vec<u8>,
}

impl Canary {
    fn new(what: &'static str, secret: impl Into<Vec<u8>>) -> Self {
        Self { what, secret: secret.into() }
    }

    /// As a client would send it.
    fn text(&self) -> &str {
        std::str::from_utf8(&self.secret).unwrap()
    }

    fn spellings(&self) -> Vec<Vec<u8>> {
        let bytes = &self.secret;
        let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let middle = bytes.len() / 4..bytes.len() * 3 / 4;
        let encoded = STANDARD.encode(bytes).into_bytes();
        vec![bytes[middle].to_vec(), encoded[..32].to_vec(), hex.into_bytes()[..48].to_vec()]
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.spellings().iter().any(|spelling| Finder::new(spelling).find(bytes).is_some())
    }
}

/// Where and what was shown.
type Told = Vec<(String, Vec<u8>)>;

/// Who signs alerts, who signs owners' JWTs, and who is told.
struct Others {
    github: GitHub,
    issuer: Signer,
    receiver: Receiver,
    sink: Sink,
    keys: tempfile::TempDir,
}

impl Others {
    fn new() -> Self {
        let (github, issuer, keys) = (GitHub::new(), Signer::fresh("a"), tempfile::tempdir().unwrap());
        std::fs::write(keys.path().join("github.json"), github.keys()).unwrap();
        let set = json!({"keys": [issuer.jwk()]}).to_string();
        std::fs::write(keys.path().join("issuer.json"), set).unwrap();
        Self { github, issuer, receiver: Receiver::start(&["200 OK"]), sink: Sink::start(0), keys }
    }

    /// What a configuration has for them, and logs that say everything.
    fn sections(&self) -> String {
        let (keys, port) = (self.keys.path().display(), self.sink.port());
        format!(
            "[logs]\ndestination = \"stdout\"\nlevel = \"trace\"\n\
             [secret_scanning]\npath = {ALERTS:?}\nkeys_file = \"{keys}/github.json\"\n\
             [[authentication.issuers]]\nissuer = {ISSUER:?}\naudiences = [\"api\"]\n\
             jwks_file = \"{keys}/issuer.json\"\nregions = [\"us\", \"eu\"]\n\
             [notifications]\nallow_private_addresses = true\n[notifications.smtp]\nhost = \"127.0.0.1\"\n\
             port = {port}\nencryption = \"none\"\nfrom = \"tollgate@example.com\"\n"
        )
    }

    /// The JWT of an owner of the workspace in the US.
    fn owner(&self) -> String {
        let now = now();
        self.issuer.sign(&json!({
            "iss": ISSUER, "aud": "api", "sub": "ana", "client_id": "ana", "jti": "1", "iat": now, "exp": now + 3_000,
            "workspace": "ws-us", "region": "us", "role": "Workspace Owner", "scope": "public_api:read_write",
        }))
    }
}

/// Sends a token in every place that a request has.
fn plant(gateway: &Gateway, (good, owner): (&str, &str), canary: &str, told: &mut Told) {
    let by_owner = format!("Authorization: Bearer {owner}\r\n");
    let bearer = format!("Authorization: Bearer {good}\r\n");
    let own = format!("Authorization: Bearer {canary}\r\n");
    let basic = format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("user:{canary}")));
    let field = |name: &str, value: &str| format!("{bearer}{name}: {value}\r\n");
    let body = format!("{{\"token\":\"{canary}\"}}");
    for bytes in [
        raw("GET", "/sources", &own, b""),
        raw("POST", "/sources", &own, body.as_bytes()),
        raw("POST", "/sources", &bearer, body.as_bytes()),
        raw("GET", &format!("/sources?access_token={canary}"), "", b""),
        raw("GET", &format!("/sources?x={canary}"), &bearer, b""),
        raw("PATCH", &format!("/sources/{canary}"), &bearer, b"{}"),
        raw("GET", &format!("/{canary}//"), &bearer, b""),
        raw("GET", "/sources", &basic, b""),
        raw("GET", "/sources", &format!("Authorization: {canary}\r\n"), b""),
        raw("GET", "/sources", &format!("{own}{own}"), b""),
        raw("DELETE", "/sources/a", &field("User-Agent", canary), b""),
        raw("DELETE", "/sources/a", &field("Cookie", &format!("session={canary}")), b""),
        raw("DELETE", "/sources/a", &field("Accept", &format!("application/{canary}")), b""),
        raw("DELETE", "/sources/a", &field("Referer", &format!("https://a.example/?t={canary}")), b""),
        raw("DELETE", "/sources/a", &field("X-Request-Id", canary), b""),
        raw("DELETE", "/sources/a", &field("X-Forwarded-For", canary), b""),
        raw("DELETE", "/sources/a", &field("Origin", &format!("https://{canary}.example")), b""),
        raw(
            "OPTIONS",
            "/sources",
            &format!("Origin: https://{canary}\r\nAccess-Control-Request-Method: GET\r\n"),
            b"",
        ),
        raw(canary, "/sources", &bearer, b""),
        raw("GET", "/sources", &format!("{bearer}{canary}: x\r\n"), b""),
        format!("GET /{canary} NONSENSE\r\n{canary}\r\n\r\n").into_bytes(),
        raw("POST", ALERTS, &own, body.as_bytes()),
        raw("GET", "/tollgate/v1/tokens", &own, b""),
        raw("DELETE", &format!("/tollgate/v1/tokens/{canary}"), &by_owner, b""),
        raw("GET", &format!("/tollgate/v1/audit-events?tokenId={canary}"), &by_owner, b""),
    ] {
        let asked = String::from_utf8_lossy(&bytes).lines().take(3).collect::<Vec<_>>().join(" ");
        told.push((format!("the answer to {asked}"), whole(&gateway.connect().send(&bytes))));
    }
    let key = format!("Idempotency-Key: {canary}\r\n");
    for answer in [
        gateway.operate("GET", "/v1/tokens", ""),
        crate::support::send_admin(gateway.admin, "GET", "/v1/tokens", &own, ""),
        gateway.operate("POST", "/v1/tokens", &body),
        gateway.operate_with("POST", "/v1/tokens", &key, &body),
        gateway.operate("POST", &format!("/v1/tokens/{canary}/revoke"), "{}"),
        gateway.operate("GET", &format!("/v1/tokens?cursor={canary}"), ""),
        gateway.operate("GET", &format!("/v1/tokens?workspace={canary}"), ""),
    ] {
        told.push(("an answer to the operator".to_owned(), whole(&answer)));
    }
}

/// Every byte of an answer that says something.
fn whole(answer: &Answer) -> Vec<u8> {
    let fields =
        answer.fields.iter().flat_map(|(name, value)| [name.as_bytes(), b": ", value.as_bytes(), b"\n"]);
    fields.chain([&*answer.body]).collect::<Vec<_>>().concat()
}

/// Tokens made over HTTP, by the operator and by an owner: their ids and secrets.
fn made_over_http(gateway: &Gateway, owner: &str, told: &mut Told) -> [(String, Canary); 2] {
    let made = |what, answer: &Answer| {
        assert_eq!(answer.status, 201, "{answer:?}");
        let token = &answer.json()["data"]["token"];
        let text = |name: &str| token[name].as_str().unwrap().to_owned();
        (text("id"), Canary::new(what, text("token")))
    };
    let key = "Idempotency-Key: \"once\"\r\n";
    let ask = || gateway.operate_with("POST", "/v1/tokens", key, r#"{"workspace":"ws-us","name":"ci"}"#);
    let by_operator = made("a token made by the operator", &ask());
    told.push(("the same answer again".to_owned(), whole(&ask())));
    let fields = format!("Authorization: Bearer {owner}\r\nContent-Type: application/json\r\n");
    let create = raw("POST", "/tollgate/v1/tokens", &fields, br#"{"name":"ci"}"#);
    let answer = until("the issuer's keys", || {
        Some(gateway.connect().send(&create)).filter(|answer| answer.status != 503)
    });
    [by_operator, made("a token made by an owner", &answer)]
}

/// The pepper, and what webhooks to the workspace in the US are signed by.
fn keys_at_rest(operators: &Path) -> [Canary; 2] {
    let pepper = std::fs::read_to_string(operators.with_file_name(PEPPER)).unwrap();
    let pepper = STANDARD.decode(pepper.trim().split_once(':').unwrap().1).unwrap();
    let file = operators.to_str().unwrap();
    let shown = run_json(&["workspace", "-c", file, "webhook-secret", "ws-us", "--json"]);
    let webhook = shown["webhook_secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
    [
        Canary::new("the pepper", pepper),
        Canary::new("the webhook's secret", STANDARD.decode(webhook).unwrap()),
    ]
}

/// Makes, plants and leaks tokens and waits until the owners are told; everything that was shown or sent, and the
/// secrets that may not be in it.
fn play(gateway: &Gateway, operators: &Path, others: &Others, leaked: String) -> (Told, Vec<Canary>) {
    let file = operators.to_str().unwrap();
    for contact in [&*others.receiver.url(), "owner@example.com"] {
        assert!(run(&["workspace", "-c", file, "set", "ws-us", "--add-contact", contact]).status.success());
    }
    let (mut told, owner, (_, good)) = (Told::new(), others.owner(), gateway.token("ws-us", &[]));
    let [(first_id, first), (second_id, second)] = made_over_http(gateway, &owner, &mut told);
    let stranger = Format::new("sgp_").mint('u', &SystemRandom).unwrap().expose().clone();
    let tokens = [
        Canary::new("the leaked token", leaked),
        Canary::new("a token that nobody made", stranger),
        first,
        second,
    ];
    let signature = owner.rsplit('.').next().unwrap().to_owned();
    let others_own = [
        Canary::new("the owner's JWT", owner.clone()),
        Canary::new("the JWT's signature", &*signature),
        Canary::new("the operator's token", gateway.operator.clone()),
    ];
    // By itself a signature is nothing, and nothing by which it could be known.
    let planted: Vec<&Canary> =
        tokens.iter().chain(&others_own).filter(|canary| canary.secret != signature.as_bytes()).collect();
    for canary in &planted {
        plant(gateway, (&good, &owner), canary.text(), &mut told);
    }
    let found = alert(tokens.iter().map(Canary::text));
    let with_url = String::from_utf8(found.clone()).unwrap().replace("octocat", tokens[0].text());
    assert_eq!(gateway.connect().send(&raw("POST", ALERTS, "", &found)).status, 400);
    let answer = gateway.connect().send(&others.github.post(ALERTS, with_url.as_bytes()));
    assert_eq!(answer.status, 200);
    told.push(("the answer to GitHub".to_owned(), whole(&answer)));
    for canary in &planted {
        plant(gateway, (&good, &owner), canary.text(), &mut told);
    }
    until("the owners to be told", || {
        (!others.receiver.hooks().is_empty() && !others.sink.mails().is_empty()).then_some(())
    });
    told.push(("metrics".to_owned(), whole(&crate::support::ask_admin(gateway.admin, "/metrics"))));
    let paths =
        ["/status.json", "/v1/audit-events?count=1000", "/v1/tokens", "/openapi.json"].map(str::to_owned);
    let requests = [&first_id, &second_id].map(|id| format!("/v1/tokens/{id}/requests?count=1000"));
    for path in paths.into_iter().chain(requests) {
        let shown = gateway.operate("GET", &path, "");
        assert_eq!(shown.status, 200, "{path}");
        told.push((path, whole(&shown)));
    }
    let fields = format!("Authorization: Bearer {owner}\r\n");
    for path in ["tokens".to_owned(), format!("audit-events?tokenId={second_id}&count=200")] {
        let shown = gateway.connect().send(&raw("GET", &format!("/tollgate/v1/{path}"), &fields, b""));
        assert_eq!(shown.status, 200, "{path}: {shown:?}");
        told.push((path, whole(&shown)));
    }
    let hooks = others.receiver.hooks();
    told.extend(hooks.iter().map(|hook| ("webhook".to_owned(), [hook.head.as_bytes(), &hook.body].concat())));
    told.extend(others.sink.mails().iter().map(|mail| ("e-mail".to_owned(), mail.text().into_bytes())));
    let listed = run(&["audit", "-c", file, "list", "--format", "jsonl"]);
    told.push(("audit list".to_owned(), [listed.stdout, listed.stderr].concat()));
    (told, tokens.into_iter().chain(others_own).chain(keys_at_rest(operators)).collect())
}

/// Every file below a folder.
fn files(folder: &Path, into: &mut Told) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, into);
        } else if path.is_file() && !path.ends_with(PEPPER) {
            into.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

fn search(told: &Told, canaries: &[Canary]) {
    let found: Vec<String> = told
        .iter()
        .flat_map(|(place, bytes)| {
            let written = canaries.iter().filter(|canary| canary.is_in(bytes));
            written.map(move |canary| format!("{} is in {place}", canary.what))
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_secret_is_in_anything_that_a_gateway_writes_shows_or_sends() {
    let (others, upstream) = (Others::new(), Upstream::start(Behaviour::status(200, "us")));
    let mut gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &others.sections()));
    let (_, leaked) = gateway.token("ws-us", &[]);
    let file = gateway.file.clone();
    let (mut told, canaries) = play(&gateway, &file, &others, leaked);
    gateway.process.signal("TERM");
    gateway.process.wait();
    told.push(("the log".to_owned(), gateway.process.output().into_bytes()));
    let written = told.len();
    files(file.parent().unwrap(), &mut told);
    let names: Vec<&str> = told[written..].iter().filter_map(|(place, _)| place.rsplit('/').next()).collect();
    for name in ["tollgate.db", "tollgate.journal", "tollgate.snapshot"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    search(&told, &canaries);
}

/// The same on PostgreSQL, whose own files are searched: rows, dead rows, indexes, its log of changes, and the log of
/// its server, which says every statement with its parameters.
#[test]
fn no_secret_is_in_any_page_or_log_of_the_database() {
    let others = Others::new();
    let fleet = Fleet::with(&others.sections());
    for sql in ["ALTER SYSTEM SET log_min_duration_statement = 0", "SELECT pg_reload_conf()"] {
        fleet.server.sql("postgres", sql);
    }
    let (id, leaked) = fleet.token();
    let (mut told, canaries) = play(&fleet.replicas[0], &fleet.operators(), &others, leaked);
    let entries = format!("SELECT count(*) > 0 FROM tollgate.journal_entry WHERE token = '{id}'");
    until("the journal to be in the database", || (fleet.server.sql("test0", &entries) == "t").then_some(()));
    fleet.server.sql("postgres", "CHECKPOINT");
    for replica in &fleet.replicas {
        told.push(("a log".to_owned(), replica.process.output().into_bytes()));
        files(replica.file.parent().unwrap(), &mut told);
    }
    let data = fleet.server.roots_file().with_file_name("data");
    let before = told.len();
    files(&data, &mut told);
    told.push(("the server's log".to_owned(), std::fs::read(data.with_file_name("log")).unwrap()));
    let knows = |bytes: &[u8]| Finder::new(&id).find(bytes).is_some();
    let (pages, log) = told[before..].split_at(told.len() - before - 1);
    assert!(pages.iter().any(|(_, bytes)| knows(bytes)), "the search is blind");
    assert!(knows(&log[0].1), "the server's log does not say everything");
    search(&told, &canaries);
}
