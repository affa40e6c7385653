//! `tollgate demo`, as design.md section 3 says it.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use crate::support::{
    Behaviour, Client, Demo, PATIENCE, Process, Upstream, ask_admin, request, run, run_json, tollgate, until,
};

const TOKENS: [&str; 7] = ["us", "eu", "revoked", "expired", "free_plan", "suspended", "tiny_limit"];

fn keys(demo: &Demo, pointer: &str) -> Vec<String> {
    let mut keys: Vec<String> =
        demo.json.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect();
    keys.sort();
    keys
}

fn sorted(names: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_line_of_json_is_the_documented_one() {
    let demo = Demo::start();
    assert!(demo.ready_after < Duration::from_secs(10), "{:?}", demo.ready_after);
    let all = [
        "public",
        "public_tls",
        "ca_file",
        "admin",
        "operator_token",
        "config_file",
        "data",
        "tokens",
        "jwt",
        "upstreams",
        "github",
    ];
    assert_eq!(keys(&demo, ""), sorted(&all));
    assert_eq!(keys(&demo, "/tokens"), sorted(&TOKENS));
    for name in TOKENS {
        let at = format!("/tokens/{name}");
        assert_eq!(keys(&demo, &at), sorted(&["id", "token", "workspace", "region"]));
        assert!(demo.text(&format!("{at}/id")).starts_with("tok_"));
        let token = demo.token(name);
        let letter = if name == "eu" { "e" } else { "u" };
        assert!(token.strip_prefix("sgp_").is_some_and(|rest| rest.starts_with(letter) && rest.len() == 64));
        assert_eq!(demo.text(&format!("{at}/region")), if name == "eu" { "eu" } else { "us" });
    }
    let jwt = [
        "issuer",
        "audience",
        "jwks_uri",
        "token_endpoint",
        "typ",
        "leeway_seconds",
        "keys",
        "clients",
        "claims",
    ];
    assert_eq!(keys(&demo, "/jwt"), sorted(&jwt));
    assert_eq!((demo.text("/jwt/typ"), demo.json["jwt"]["leeway_seconds"].as_u64()), ("at+jwt", Some(60)));
    assert_eq!([demo.text("/jwt/keys/0/alg"), demo.text("/jwt/keys/1/alg")], ["RS256", "ES256"]);
    for key in ["/jwt/keys/0", "/jwt/keys/1"] {
        assert_eq!(keys(&demo, key), sorted(&["kid", "alg", "private_key_file"]));
        assert!(demo.path(&format!("{key}/private_key_file")).is_file());
    }
    assert_eq!(keys(&demo, "/jwt/clients"), sorted(&["us", "eu"]));
    for client in ["/jwt/clients/us", "/jwt/clients/eu"] {
        assert_eq!(keys(&demo, client), sorted(&["client_id", "kid", "private_key_file"]));
        assert!(demo.path(&format!("{client}/private_key_file")).is_file());
    }
    assert_eq!(keys(&demo, "/jwt/claims"), sorted(&["us", "eu", "owner"]));
    for kind in ["us", "eu", "owner"] {
        let claims = keys(&demo, &format!("/jwt/claims/{kind}"));
        assert!(!["iat", "exp", "jti"].iter().any(|name| claims.contains(&(*name).to_owned())), "{claims:?}");
    }
    assert_eq!(keys(&demo, "/upstreams"), sorted(&["us", "eu"]));
    assert_eq!(keys(&demo, "/github"), sorted(&["path", "key_identifier", "private_key_file"]));
    assert!(demo.path("/github/private_key_file").is_file());
    assert!(demo.path("/ca_file").is_file() && demo.path("/config_file").is_file());
    assert!(demo.path("/data").is_dir());
    assert_eq!(demo.process.stdout.text().lines().count(), 1, "one line and nothing else");
}

#[test]
fn the_certificate_names_the_address_and_localhost() {
    let demo = Demo::start();
    let ca_file = demo.path("/ca_file");
    for name in ["127.0.0.1", "localhost"] {
        let mut client = Client::connect_tls(demo.tls_address(), name, &ca_file).unwrap();
        let answer = client.send(&request("GET", "/sources", demo.token("eu"), ""));
        assert_eq!((answer.status, answer.region()), (200, Some("eu")), "{name}");
    }
    for name in ["api.example", "127.0.0.2"] {
        assert!(Client::connect_tls(demo.tls_address(), name, &ca_file).is_err(), "{name}");
    }
}

#[test]
fn busy_default_ports_move_on_and_say_so() {
    // Whoever else has one of them keeps it busy as well.
    let _held: Vec<_> = [8080, 8443, 9901].map(|port| TcpListener::bind(("127.0.0.1", port))).into();
    let guide = Process::start(tollgate(&["demo"]));
    let text = until("the guide", || {
        let text = guide.stdout.text();
        text.contains("console.error").then_some(text)
    });
    for (port, name) in [(8080, "plain text"), (8443, "TLS"), (9901, "the status page")] {
        assert!(text.contains(&format!("note: port {port} is busy, so {name} is on ")), "{text}");
    }
    let json = Process::start(tollgate(&["demo", "--json"]));
    let line = until("the line of JSON", || json.stdout.text().lines().next().map(str::to_owned));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    for (key, default) in [("public", ":8080"), ("public_tls", ":8443"), ("admin", ":9901")] {
        assert!(!line[key].as_str().unwrap().ends_with(default), "{line}");
    }
    until("the note in the log", || json.stderr.text().contains("port 8080 is busy").then_some(()));
    assert_eq!(json.stdout.text().lines().count(), 1);
}

#[test]
fn a_port_that_was_asked_for_and_is_busy_is_an_error() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let output = run(&["demo", "--json", "--port", &port, "--tls-port", "0", "--admin-port", "0"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&port) && output.stdout.is_empty(), "{said}");
}

#[test]
fn a_named_folder_is_made_kept_and_used_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("made/by/the demo");
    let named = folder.to_str().unwrap();
    let mut first = Demo::with(&["--data", named]);
    let (token, id) = (first.token("us").to_owned(), first.text("/tokens/us/id").to_owned());
    let keys = first.json["jwt"]["keys"].clone();
    let authority = std::fs::read(first.path("/ca_file")).unwrap();
    assert_eq!(first.path("/data"), folder.canonicalize().unwrap());
    first.process.signal("TERM");
    assert!(first.process.wait().success());
    assert!(folder.is_dir());

    let second = Demo::with(&["--data", named]);
    assert_eq!(second.json["jwt"]["keys"], keys);
    assert_eq!(std::fs::read(second.path("/ca_file")).unwrap(), authority);
    let answer = second.connect().send(&request("GET", "/sources", &token, ""));
    assert_eq!(answer.status, 200, "a token of the first run");
    assert_eq!(second.ask("us", "GET", "/sources").status, 200);
    let shown = run_json(&["token", "--config", second.text("/config_file"), "show", &id, "--json"]);
    assert_eq!(shown["workspace"], "demo-us");
}

#[test]
fn somebody_elses_servers_take_the_place_of_the_sample_apis() {
    let own = Upstream::start(Behaviour::status(200, "mine"));
    let demo = Demo::with(&["--upstream", &format!("us={}", own.url())]);
    assert_eq!(demo.text("/upstreams/us"), own.url());
    assert_eq!(demo.ask("us", "GET", "/sources").region(), Some("mine"));
    assert_eq!(demo.ask("eu", "GET", "/sources").region(), Some("eu"));
    assert_eq!(demo.ask("revoked", "GET", "/sources").status, 401);
    assert!(own.text().starts_with("GET /sources HTTP/1.1\r\n"));
    for wrong in ["us", "xx=http://127.0.0.1:1", "us="] {
        let output = run(&["demo", "--upstream", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn both_signals_end_it_cleanly() {
    for signal in ["TERM", "INT"] {
        let mut demo = Demo::start();
        let folder = demo.path("/data");
        assert!(folder.is_dir());
        assert_eq!(demo.ask("us", "GET", "/sources").status, 200);
        demo.process.signal(signal);
        assert_eq!(demo.process.wait().code(), Some(0), "{signal}: {}", demo.process.stderr.text());
        assert!(!folder.exists(), "{signal}");
    }
}

#[test]
fn the_configuration_works_with_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let url = format!("us={}", upstream.url());
    let mut demo = Demo::with(&["--data", folder.path().to_str().unwrap(), "--upstream", &url]);
    let file = demo.text("/config_file").to_owned();
    let check = run(&["check", "--config", &file]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let listed = run_json(&["workspace", "--config", &file, "list", "--json"]);
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["demo-eu", "demo-free", "demo-suspended", "demo-us"]);
    let made = run_json(&["token", "--config", &file, "create", "--workspace", "demo-us", "--json"]);
    let token = made["token"].as_str().unwrap().to_owned();
    let whoami = request("GET", "/tollgate/v1/whoami", &token, "");
    until("the running demo to know a new token", || {
        (demo.connect().send(&whoami).status == 200).then_some(())
    });
    demo.process.signal("TERM");
    assert!(demo.process.wait().success());

    let serving = Process::start(tollgate(&["serve", "--config", &file]));
    let port = demo.address().port();
    let answer = until("the gateway of the demo's configuration", || {
        let listens = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        listens.then(|| demo.connect().send(&request("GET", "/sources", &token, "")))
    });
    assert_eq!((answer.status, answer.region()), (200, Some("us")), "{}", serving.stderr.text());
}

#[test]
fn its_traffic_is_visible_in_the_metrics() {
    let demo = Demo::with(&["--traffic"]);
    until("traffic of both regions and a refusal", || {
        let metrics = demo.metrics();
        let served = |region| {
            metrics.count("tollgate_requests_total", &[("outcome", "forwarded"), ("region", region)])
        };
        let refused = metrics.count("tollgate_refusals_total", &[]);
        (served("us") > 0 && served("eu") > 0 && refused > 0).then_some(())
    });
    // Its tokens are its own: the printed ones are as good as new.
    assert_eq!(demo.ask("tiny_limit", "GET", "/sources").field("x-ratelimit-remaining"), Some("4"));
}

#[test]
fn probes_and_the_status_page_need_no_credential() {
    let demo = Demo::start();
    for path in ["/livez", "/readyz", "/metrics", "/"] {
        let answer = ask_admin(demo.admin(), path);
        assert_eq!(answer.status, 200, "{path}");
    }
    assert!(PATIENCE > demo.ready_after && Path::new(demo.text("/data")).is_dir());
}
