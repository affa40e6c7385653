//! `kill -9` of a serving gateway at random moments, while operators create, rotate and revoke tokens through it, on
//! both stores: what was answered is there after the restart, and what was not is there wholly or not at all. Asking
//! again with its `Idempotency-Key` is told what was made, or makes it, and never makes it twice.
//!
//! The short form takes 6 moments on each store; with `TOLLGATE_LONG=1` it is 200.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tollgate::tokens::Store;

use crate::fleet::server::Server;
use crate::killed_writer::{Chance, Change, assert_whole, open};
use crate::support::{Answer, Behaviour, Client, Gateway, Upstream, config};

const OPERATORS: usize = 3;
/// An operator has 10,000 keys a day.
const MOST_CHANGES: usize = 15;

/// A change that was asked for, and what was said to it.
struct Asked {
    change: Change,
    key: String,
    answer: Option<Answer>,
}

impl Asked {
    fn bytes(&self, admin: SocketAddr, operator: &str) -> Vec<u8> {
        let (path, body) = match &self.change {
            Change::Create => {
                ("/v1/tokens".to_owned(), format!(r#"{{"workspace":"ws-us","name":"{}"}}"#, self.key))
            }
            Change::Rotate(id) => (format!("/v1/tokens/{id}/rotate"), "{}".to_owned()),
            Change::Revoke(id) => (format!("/v1/tokens/{id}/revoke"), "{}".to_owned()),
        };
        format!(
            "POST {path} HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {operator}\r\nIdempotency-Key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        )
        .into_bytes()
    }

    /// The token that a success tells of.
    fn token(&self) -> Option<Value> {
        let answer = self.answer.as_ref()?;
        assert_eq!(answer.status / 100, 2, "{}", answer.json());
        Some(answer.json()["data"]["token"].clone())
    }
}

/// Makes, rotates and revokes tokens until the gateway is gone.
fn operate(admin: SocketAddr, operator: &str, name: &str) -> Vec<Asked> {
    let mut asked: Vec<Asked> = Vec::new();
    let Ok(mut client) = Client::try_connect(admin) else { return asked };
    for number in 0..MOST_CHANGES {
        let id = asked.last().and_then(Asked::token).map(|token| token["id"].as_str().unwrap().to_owned());
        let change = match (number % 3, id) {
            (1, Some(id)) => Change::Rotate(id),
            (2, Some(id)) => Change::Revoke(id),
            _ => Change::Create,
        };
        let mut one = Asked { change, key: format!("{name}-{number}"), answer: None };
        let sent = client.try_write(&one.bytes(admin, operator));
        one.answer = sent.and_then(|()| client.try_read(false)).ok();
        let is_over = one.answer.is_none();
        asked.push(one);
        if is_over {
            break;
        }
    }
    asked
}

/// How changes ended that nobody was told of.
#[derive(Debug, Default)]
struct Unanswered {
    /// The key tells what was answered.
    found: usize,
    /// It was a revocation, which was done.
    revoked: usize,
    /// It is made now.
    absent: usize,
}

impl Unanswered {
    /// Asks again, with the same key.
    fn ask_again(&mut self, gateway: &Gateway, store: &dyn Store, one: &mut Asked) {
        let is_done = is_done(store, one);
        let before = store.head().unwrap().0;
        let bytes = one.bytes(gateway.admin, &gateway.operator);
        let ask = || Client::connect(gateway.admin).send(&bytes);
        let answer = ask();
        let is_replayed = answer.field("idempotency-replayed") == Some("true");
        let grown = store.head().unwrap().0 - before;
        match answer.status {
            _ if is_replayed => {
                self.found += 1;
                assert!(is_done && grown == 0, "{}", answer.json());
            }
            200 if is_done => {
                self.revoked += 1;
                assert!(matches!(one.change, Change::Revoke(_)) && grown == 0, "{}", answer.json());
            }
            _ => {
                self.absent += 1;
                assert!(!is_done && grown > 0, "{}", answer.json());
            }
        }
        assert!(ask().field("idempotency-replayed").is_some(), "a third request made another change");
        one.answer = Some(answer);
        assert!(one.change.is_in(store, &one.token().unwrap()));
    }
}

/// Whether the change of a request is there.
fn is_done(store: &dyn Store, one: &Asked) -> bool {
    let token = |id: &str| store.token(id).unwrap().unwrap();
    match &one.change {
        Change::Create => store.tokens(None, "", 100_000).unwrap().iter().any(|token| token.name == one.key),
        Change::Rotate(id) => token(id).replaced_by.is_some(),
        Change::Revoke(id) => token(id).revoked_at_unix_seconds.is_some(),
    }
}

/// What operators did until the gateway was killed after so long.
fn until_killed(gateway: &mut Gateway, after: Duration, moment: usize) -> Vec<Asked> {
    let (admin, operator) = (gateway.admin, gateway.operator.clone());
    let asked = thread::scope(|scope| {
        let workers: Vec<_> = (0..OPERATORS)
            .map(|worker| {
                let operator = &operator;
                scope.spawn(move || operate(admin, operator, &format!("{moment}-{worker}")))
            })
            .collect();
        thread::sleep(after);
        gateway.process.signal("KILL");
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(!gateway.process.wait().success());
    asked
}

/// Kills the gateway on a store at random moments; `restart` is what the store outlives at the end.
fn kill_gateways(tokens: &str, restart: impl Fn()) {
    let is_long = std::env::var("TOLLGATE_LONG").is_ok_and(|long| long == "1");
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let mut gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), tokens));
    let began = Instant::now();
    let undisturbed = operate(gateway.admin, &gateway.operator, "warm");
    let usual = began.elapsed() * OPERATORS as u32;
    assert!(undisturbed.iter().all(|one| one.token().is_some()));
    let (mut random, mut unanswered, mut answered) = (Chance::new(), Unanswered::default(), undisturbed);
    for moment in 0..if is_long { 200 } else { 6 } {
        let after = Duration::from_micros(random.below(usual.as_micros() as u64));
        let asked = until_killed(&mut gateway, after, moment);
        gateway.go();
        let store = open(&gateway.file);
        assert_whole(&*store);
        for mut one in asked {
            match one.token() {
                Some(token) => assert!(one.change.is_in(&*store, &token), "answered and lost: {token}"),
                None => unanswered.ask_again(&gateway, &*store, &mut one),
            }
            answered.extend(Some(one).filter(|one| one.answer.is_some()));
        }
        assert_whole(&*store);
    }
    let last = answered.iter().rev().find(|one| one.token().is_some_and(|token| token["token"].is_string()));
    let last = last.unwrap().token().unwrap();
    let is_revoked = open(&gateway.file).token(last["id"].as_str().unwrap()).unwrap().unwrap();
    let status = if is_revoked.revoked_at_unix_seconds.is_some() { 401 } else { 200 };
    assert_eq!(gateway.ask(last["token"].as_str().unwrap(), "/tollgate/v1/whoami").status, status);
    gateway.process.signal("KILL");
    gateway.process.wait();
    restart();
    let store = open(&gateway.file);
    assert_whole(&*store);
    for one in answered {
        let token = one.token().unwrap();
        assert!(one.change.is_in(&*store, &token), "answered and lost: {token}");
    }
}

#[test]
fn a_killed_gateway_leaves_sqlite_whole() {
    kill_gateways("", || {});
}

/// The server crashes as well at the end.
#[test]
fn a_killed_gateway_leaves_postgres_whole() {
    let server = Server::start();
    kill_gateways(&format!("[tokens]\nstore = {:?}\n", server.database()), || {
        server.crash();
        server.go();
    });
}
