//! A change made by another process is felt within a second, whatever is warm.

use std::time::{Duration, Instant};

use crate::support::{Behaviour, Client, Gateway, H2, Upstream, config, request, run};

const PROMISE: Duration = Duration::from_secs(1);

/// A gateway, a token, and connections of both versions on which it has been served many times.
struct Warm {
    gateway: Gateway,
    id: String,
    token: String,
    h1: Vec<Client>,
    h2: Vec<H2>,
    upstream: Upstream,
}

impl Warm {
    fn new() -> Self {
        let upstream = Upstream::start(Behaviour::status(200, "us"));
        let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), ""));
        let (id, token) = gateway.token("ws-us", &["--role", "owner"]);
        // Several connections, so that every core has the token warm.
        let h1 = (0..8).map(|_| gateway.connect()).collect();
        let h2 = (0..4).map(|_| H2::connect(gateway.address)).collect();
        let mut warm = Self { gateway, id, token, h1, h2, upstream };
        for _ in 0..20 {
            assert!(warm.everywhere().iter().all(|(status, _)| *status == 200));
        }
        warm
    }

    /// One request on every connection.
    fn everywhere(&mut self) -> Vec<(u16, String)> {
        let bytes = request("GET", "/sources", &self.token, "");
        let mut said: Vec<_> = self.h1.iter_mut().map(|client| client.send(&bytes).said()).collect();
        said.extend(self.h2.iter_mut().map(|client| client.ask("GET", "/sources", &self.token).said()));
        said
    }

    fn command(&self, words: &[&str]) {
        let (room, rest) = words.split_first().unwrap();
        let output = run(&[&[room, "--config", self.gateway.file.to_str().unwrap()], rest].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Asks on all connections until all are refused; the time from the end of the command to then.
    fn until_refused(&mut self, status: u16, reason: &str) -> Duration {
        let done = Instant::now();
        loop {
            let said = self.everywhere();
            if said.iter().all(|said| *said == (status, reason.to_owned())) {
                return done.elapsed();
            }
            assert!(done.elapsed() < 10 * PROMISE, "still served: {said:?}");
        }
    }
}

#[test]
fn a_token_revoked_by_another_process_ends_within_a_second() {
    let mut warm = Warm::new();
    let id = warm.id.clone();
    warm.command(&["token", "revoke", &id]);
    let took = warm.until_refused(401, "token_revoked");
    println!("refused everywhere after {took:?}");
    assert!(took <= PROMISE, "{took:?}");
    let before = warm.upstream.bytes().len();
    for _ in 0..5 {
        assert!(warm.everywhere().iter().all(|(status, _)| *status == 401), "and it stays so");
    }
    assert_eq!(warm.upstream.bytes().len(), before, "nothing more is forwarded");
}

#[test]
fn a_workspace_suspended_by_another_process_ends_within_a_second() {
    let mut warm = Warm::new();
    warm.command(&["workspace", "set", "ws-us", "--state", "suspended"]);
    let took = warm.until_refused(403, "workspace_suspended");
    println!("refused everywhere after {took:?}");
    assert!(took <= PROMISE, "{took:?}");
    warm.command(&["workspace", "set", "ws-us", "--state", "active"]);
    let done = Instant::now();
    while warm.everywhere().iter().any(|(status, _)| *status != 200) {
        assert!(done.elapsed() < 10 * PROMISE, "still refused");
    }
}

#[test]
fn a_rotated_token_ends_with_its_overlap() {
    let mut warm = Warm::new();
    let id = warm.id.clone();
    warm.command(&["token", "rotate", &id, "--overlap", "0s"]);
    let took = warm.until_refused(401, "token_revoked");
    assert!(took <= PROMISE, "{took:?}");
}
