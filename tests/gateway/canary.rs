//! No secret is written anywhere: tokens are planted wherever a client can put them, and searched for in everything
//! that a gateway writes, shows or sends: its logs, metrics and status, the audit trail and the journal, webhooks and
//! e-mails, and every byte of its folder and of its database.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tollgate::tokens::{Format, SystemRandom};

use crate::fleet::Fleet;
use crate::support::{
    Answer, Behaviour, Gateway, GitHub, Receiver, Sink, Upstream, alert, config, raw, run, until,
};

const ALERTS: &str = "/alerts";

/// A secret in all spellings in which it could be written.
struct Canary {
    what: &'static str,
    secret: String,
}

impl Canary {
    fn spellings(&self) -> Vec<Vec<u8>> {
        let bytes = self.secret.as_bytes();
        let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let middle = bytes.len() / 4..bytes.len() * 3 / 4;
        vec![
            bytes[middle].to_vec(),
            STANDARD.encode(bytes).into_bytes()[..32].to_vec(),
            hex.into_bytes()[..64].to_vec(),
        ]
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.spellings().iter().any(|spelling| bytes.windows(spelling.len()).any(|window| window == spelling))
    }
}

/// `[notifications]` and `[secret_scanning]` with keys in a folder.
fn sections(sink: &Sink, keys: &Path) -> String {
    format!(
        "[secret_scanning]\npath = {ALERTS:?}\nkeys_file = \"{}\"\n[notifications]\nallow_private_addresses = true\n\
         [notifications.smtp]\nhost = \"127.0.0.1\"\nport = {}\nencryption = \"none\"\nfrom = \"tollgate@example.com\"\n",
        keys.display(),
        sink.port()
    )
}

/// Sends a token in every place that a request has.
fn plant(gateway: &Gateway, good: &str, canary: &str) {
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
    ] {
        let answer = gateway.connect().send(&bytes);
        assert!(answer.status >= 200, "it is answered");
    }
    let shown = gateway.operate_with("GET", "/v1/tokens", "", "");
    assert_eq!(shown.status, 200);
    crate::support::send_admin(gateway.admin, "GET", "/v1/tokens", &own, "");
    gateway.operate("POST", "/v1/tokens", &body);
}

/// Plants, leaks and waits until the owners are told; everything that was shown or sent.
fn play(
    gateway: &Gateway,
    operators: &Path,
    github: &GitHub,
    (receiver, sink): (&Receiver, &Sink),
    canaries: &[&Canary],
) -> Vec<(String, Vec<u8>)> {
    let file = operators.to_str().unwrap();
    for contact in [&*receiver.url(), "owner@example.com"] {
        assert!(run(&["workspace", "-c", file, "set", "ws-us", "--add-contact", contact]).status.success());
    }
    let (_, good) = gateway.token("ws-us", &[]);
    for canary in canaries {
        plant(gateway, &good, &canary.secret);
    }
    let found = alert(canaries.iter().map(|canary| canary.secret.as_str()));
    let with_url = String::from_utf8(found.clone()).unwrap();
    let with_url = with_url.replace("octocat", &canaries[0].secret);
    assert_eq!(gateway.connect().send(&raw("POST", ALERTS, "", &found)).status, 400);
    let answer: Answer = gateway.connect().send(&github.post(ALERTS, with_url.as_bytes()));
    assert_eq!(answer.status, 200);
    for canary in canaries {
        plant(gateway, &good, &canary.secret);
    }
    until("the owners to be told", || {
        (!receiver.hooks().is_empty() && !sink.mails().is_empty()).then_some(())
    });
    let mut told = vec![
        ("answer to GitHub".to_owned(), answer.body.clone()),
        ("metrics".to_owned(), crate::support::ask_admin(gateway.admin, "/metrics").body),
    ];
    for path in ["/status.json", "/v1/audit-events?count=1000", "/v1/tokens", "/openapi.json"] {
        told.push((path.to_owned(), gateway.operate("GET", path, "").body));
    }
    for hook in receiver.hooks() {
        told.push(("webhook".to_owned(), [hook.head.as_bytes(), &hook.body].concat()));
        if let Some(id) = hook.json()["data"]["tokenId"].as_str() {
            let path = format!("/v1/tokens/{id}/requests?count=1000");
            told.push((path.clone(), gateway.operate("GET", &path, "").body));
        }
    }
    told.extend(sink.mails().iter().map(|mail| ("e-mail".to_owned(), mail.text().into_bytes())));
    let listed = run(&["audit", "-c", file, "list", "--format", "jsonl"]);
    told.push(("audit list".to_owned(), [listed.stdout, listed.stderr].concat()));
    told
}

/// Every file below a folder.
fn files(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, into);
        } else if path.is_file() {
            into.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

fn search(told: &[(String, Vec<u8>)], canaries: &[&Canary]) {
    let found: Vec<String> = told
        .iter()
        .flat_map(|(place, bytes)| {
            canaries
                .iter()
                .filter(|canary| canary.is_in(bytes))
                .map(move |canary| format!("{} is in {place}", canary.what))
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

fn never_made() -> String {
    Format::new("sgp_").mint('u', &SystemRandom).unwrap().expose().clone()
}

fn signer() -> (GitHub, tempfile::TempDir) {
    let (github, folder) = (GitHub::new(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("keys.json"), github.keys()).unwrap();
    (github, folder)
}

#[test]
fn no_token_is_in_anything_that_a_gateway_writes_shows_or_sends() {
    let ((github, keys), receiver, sink) = (signer(), Receiver::start(&["200 OK"]), Sink::start(0));
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let sections = sections(&sink, &keys.path().join("keys.json"));
    let mut gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &sections));
    let live = Canary { what: "the leaked token", secret: gateway.token("ws-us", &[]).1 };
    let stranger = Canary { what: "a token that nobody made", secret: never_made() };
    let operator = Canary { what: "the operator's token", secret: gateway.operator.clone() };
    let file = gateway.file.clone();
    let mut told = play(&gateway, &file, &github, (&receiver, &sink), &[&live, &stranger]);
    gateway.process.signal("TERM");
    gateway.process.wait();
    told.push(("the log".to_owned(), gateway.process.output().into_bytes()));
    let written = told.len();
    files(file.parent().unwrap(), &mut told);
    let names: Vec<&str> = told[written..].iter().filter_map(|(place, _)| place.rsplit('/').next()).collect();
    for name in ["tollgate.db", "tollgate.journal", "tollgate.snapshot"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    search(&told, &[&live, &stranger, &operator]);
}

/// The same on PostgreSQL, whose own files are searched: rows, dead rows, indexes and its log of changes.
#[test]
fn no_token_is_in_any_page_of_the_database() {
    let ((github, keys), receiver, sink) = (signer(), Receiver::start(&["200 OK"]), Sink::start(0));
    let fleet = Fleet::with(&sections(&sink, &keys.path().join("keys.json")));
    let (id, token) = fleet.token();
    let live = Canary { what: "the leaked token", secret: token };
    let stranger = Canary { what: "a token that nobody made", secret: never_made() };
    let mut told =
        play(&fleet.replicas[0], &fleet.operators(), &github, (&receiver, &sink), &[&live, &stranger]);
    let entries = format!("SELECT count(*) > 0 FROM tollgate.journal_entry WHERE token = '{id}'");
    until("the journal to be in the database", || (fleet.server.sql("test0", &entries) == "t").then_some(()));
    fleet.server.sql("postgres", "CHECKPOINT");
    for replica in &fleet.replicas {
        told.push(("a log".to_owned(), replica.process.output().into_bytes()));
        files(replica.file.parent().unwrap(), &mut told);
    }
    let before = told.len();
    files(&fleet.server.roots_file().with_file_name("data"), &mut told);
    let knows =
        told[before..].iter().any(|(_, bytes)| bytes.windows(id.len()).any(|window| window == id.as_bytes()));
    assert!(knows, "the search is blind");
    search(&told, &[&live, &stranger]);
}
