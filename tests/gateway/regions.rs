//! A region's requests reach that region's upstream or none, whatever fails and whatever the client says.

use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;
use tollgate::clock::Clock;
use tollgate::sample::{DemoIssuer, DemoWorkspaces, Issuer, SigningAlgorithm};

use crate::support::{Answer, Behaviour, Gateway, H2, Upstream, config, request};

const ISSUER: &str = "https://issuer.example";

/// An issuer with its keys in a folder's `jwks.json`.
fn issuer(folder: &TempDir) -> (Arc<Issuer>, serde_json::Value, String) {
    let workspaces = DemoWorkspaces { us: "ws-us", eu: "ws-eu" };
    let made = DemoIssuer::prepare(folder.path(), ISSUER, "api", workspaces, Clock::system()).unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, json!(made.issuer.jwks()).to_string()).unwrap();
    let file = file.display();
    let section = format!(
        "[[authentication.issuers]]\nissuer = {ISSUER:?}\naudiences = [\"api\"]\njwks_file = \"{file}\"\nregions = [\"us\", \"eu\"]\n"
    );
    (made.issuer, made.description["claims"].clone(), section)
}

/// A gateway and its two credentials of one region.
struct Region {
    gateway: Gateway,
    opaque: String,
    jwt: String,
    _keys: TempDir,
}

impl Region {
    fn start(region: &str, us: &str, eu: &str) -> Self {
        let keys = tempfile::tempdir().unwrap();
        let (issuer, claims, section) = issuer(&keys);
        let more = format!("{section}\n[upstream]\nfirst_byte_timeout_seconds = 1\n");
        let gateway = Gateway::start(&config(us, eu, &more));
        let (_, opaque) = gateway.token(&format!("ws-{region}"), &["--role", "owner"]);
        let claims = claims[region].as_object().unwrap().clone();
        let jwt = issuer.sign(claims, SigningAlgorithm::Es256).unwrap();
        let who = gateway.ask(&jwt, "/tollgate/v1/whoami").json();
        assert_eq!(who["data"]["region"], region);
        Self { gateway, opaque, jwt, _keys: keys }
    }

    /// Every way to ask that we can think of; `other` is the region to be lured to.
    fn ask_everything(&self, other: &str) -> Vec<Answer> {
        let mut answers = Vec::new();
        let lures = format!(
            "X-Tollgate-Region: {other}\r\nX-Region: {other}\r\nx_tollgate_workspace: ws-{other}\r\nX-Forwarded-Host: {other}.example\r\n\
             Forwarded: host={other}.example\r\nX-Original-URL: http://{other}.example/\r\n"
        );
        let targets = [
            "/sources".to_owned(),
            format!("/{other}/sources?region={other}"),
            format!("/sample/raw/{other}"),
        ];
        for token in [&self.opaque, &self.jwt] {
            for target in &targets {
                for method in ["GET", "POST", "DELETE"] {
                    let bytes = request(method, target, token, &lures);
                    answers.push(self.gateway.connect().send(&bytes));
                }
            }
            let host = format!(
                "GET http://{other}.example/sources HTTP/1.1\r\nHost: {other}.example\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            answers.push(self.gateway.connect().send(host.as_bytes()));
            answers.push(H2::connect(self.gateway.address).ask("GET", "/sources", token));
        }
        answers
    }
}

/// The upstreams in the order US, EU.
fn pair<'u>(region: &str, home: &'u str, away: &'u str) -> (&'u str, &'u str) {
    if region == "us" { (home, away) } else { (away, home) }
}

/// While the home upstream does this, nothing reaches the other one, and the caller is told this.
fn isolated(region: &str, other: &str, home: Behaviour, allowed: &[u16]) {
    let (home, away) = (Upstream::start(home), Upstream::start(Behaviour::status(200, other)));
    let (home_url, away_url) = (home.url(), away.url());
    let (us, eu) = pair(region, &home_url, &away_url);
    let world = Region::start(region, us, eu);
    for answer in world.ask_everything(other) {
        assert!(allowed.contains(&answer.status), "{answer:?}");
        assert_ne!(answer.region(), Some(other));
    }
    assert!(home.connections() > 0);
    away.assert_untouched("the other region");
}

#[test]
fn a_healthy_region_serves_its_own() {
    isolated("eu", "us", Behaviour::status(200, "eu"), &[200]);
    isolated("us", "eu", Behaviour::status(200, "us"), &[200]);
}

#[test]
fn a_failing_region_is_not_left() {
    isolated("eu", "us", Behaviour::status(503, "eu"), &[503]);
    isolated("us", "eu", Behaviour::status(500, "us"), &[500]);
}

#[test]
fn a_redirecting_region_is_not_followed() {
    let away = Upstream::start(Behaviour::status(200, "us"));
    let redirect =
        format!("HTTP/1.1 307 Go\r\nLocation: {}/sources\r\nContent-Length: 0\r\n\r\n", away.url());
    let home = Upstream::start(Behaviour::Answer(redirect));
    let world = Region::start("eu", &away.url(), &home.url());
    for answer in world.ask_everything("us") {
        assert_eq!(answer.status, 307);
    }
    away.assert_untouched("the gateway follows no redirect");
}

#[test]
fn a_region_that_resets_or_closes_is_not_left() {
    isolated("eu", "us", Behaviour::Reset, &[502]);
    isolated("eu", "us", Behaviour::Close, &[502]);
    isolated("us", "eu", Behaviour::Reset, &[502]);
}

#[test]
fn a_hanging_region_is_not_left() {
    // Two regions, but not one after the other: each answer takes its second.
    for (region, other) in [("eu", "us"), ("us", "eu")] {
        let (home, away) = (Upstream::start(Behaviour::Hang), Upstream::start(Behaviour::status(200, other)));
        let (home_url, away_url) = (home.url(), away.url());
        let (us, eu) = pair(region, &home_url, &away_url);
        let world = Region::start(region, us, eu);
        for token in [&world.opaque, &world.jwt] {
            let answer = world.gateway.ask(token, "/sources");
            assert_eq!(answer.said(), (504, "upstream_timeout".to_owned()));
            assert_eq!(answer.error()["data"]["forwarded"], "maybe");
        }
        away.assert_untouched("the other region");
    }
}

#[test]
fn a_region_that_is_down_is_not_left() {
    for (region, other) in [("eu", "us"), ("us", "eu")] {
        let away = Upstream::start(Behaviour::status(200, other));
        let (home, away_url) = (Upstream::refusing(), away.url());
        let (us, eu) = pair(region, &home, &away_url);
        let world = Region::start(region, us, eu);
        let answers = world.ask_everything(other);
        assert_eq!(answers[0].said(), (502, "upstream_unreachable".to_owned()));
        for answer in answers {
            let said = answer.said();
            assert!([(502, "upstream_unreachable"), (503, "upstream_open")].contains(&(said.0, &said.1)));
            assert_eq!(answer.error()["data"]["forwarded"], "no");
        }
        away.assert_untouched("the other region");
    }
}

#[test]
fn a_fence_sends_foreign_callers_home() {
    let (us, eu) =
        (Upstream::start(Behaviour::status(200, "us")), Upstream::start(Behaviour::status(200, "eu")));
    let keys = tempfile::tempdir().unwrap();
    let (issuer, claims, section) = issuer(&keys);
    let more = format!("{section}\n[place]\nmode = \"fence\"\nregion = \"us\"\n");
    // A gateway of another registry makes a token that this one has never seen.
    let foreign = Gateway::start(&config(&us.url(), &eu.url(), ""));
    let (_, unknown) = foreign.token("ws-eu", &[]);
    let gateway = Gateway::start(&config(&us.url(), &eu.url(), &more));
    let (_, home) = gateway.token("ws-us", &[]);
    let file = gateway.file.to_str().unwrap();
    let made =
        crate::support::run_json(&["token", "--config", file, "create", "--json", "--workspace", "ws-eu"]);
    let known = made["token"].as_str().unwrap().to_owned();
    crate::support::until("the registry", || (gateway.ask(&known, "/sources").status == 421).then_some(()));
    let jwt = issuer.sign(claims["eu"].as_object().unwrap().clone(), SigningAlgorithm::Es256).unwrap();
    for (what, token) in [("known", &known), ("unknown here", &unknown), ("jwt", &jwt)] {
        for target in ["/sources", "/tollgate/v1/whoami", "/no/such"] {
            let answer = gateway.ask(token, target);
            assert_eq!(answer.said(), (421, "wrong_region".to_owned()), "{what} {target}");
            let data = &answer.error()["data"];
            assert_eq!((&data["region"], &data["baseUrl"]), (&"eu".into(), &"https://eu.example".into()));
            assert!(answer.field("x-ratelimit-remaining").is_none());
        }
    }
    assert_eq!((us.connections(), eu.connections()), (0, 0));
    let decided = gateway.metrics().count("tollgate_limit_decisions_total", &[]);
    assert_eq!(decided, 0, "a refused request consumes nothing");
    assert_eq!(gateway.ask(&home, "/sources").region(), Some("us"));
    let mut misspelled = unknown.clone();
    let last = if misspelled.pop() == Some('a') { 'b' } else { 'a' };
    misspelled.push(last);
    assert_eq!(gateway.ask(&misspelled, "/sources").said(), (401, "token_unknown".to_owned()));
    eu.assert_untouched("the fence");
}
