//! Servers that answer, but cannot, may not, or are not the one that is meant.

use std::sync::Arc;

use super::{Redis, linked, linked_to, question, run, settings, until};
use crate::central_store::{Link, LinkState, Server, StoreAddress};
use crate::clock::Clock;
use crate::limits::shared::{CentralStore as _, StoreFault};

/// Servers that answer, but cannot or may not do it.
#[test]
fn a_server_that_cannot_is_given_up_and_says_why() {
    for (spoil, words) in [
        ("REPLICAOF 127.0.0.1 1", "read only replica"),
        ("CONFIG SET maxmemory 1", "maxmemory"),
        ("ACL SETUSER default -evalsha", "permissions"),
    ] {
        let redis = Redis::start();
        run(async {
            let (store, _stop) = linked(&redis, "").await;
            redis.ask(spoil);
            assert_eq!(store.ask(question(1, 1)).await, Err(StoreFault::Broken), "{spoil}");
            assert!(!store.is_up(), "{spoil}");
            let error = store.link().status().last_error.unwrap_or_default();
            assert!(error.contains(words), "{spoil}: {error}");
        });
    }
}

#[test]
fn a_login_is_used_and_a_wrong_one_told_without_it() {
    let redis = Redis::with(&["--requirepass", "hunter22"]);
    run(async {
        let with = |password: &str| {
            let mut server = settings(&redis, "");
            let url = format!("redis://:{password}@127.0.0.1:{}/3", redis.port());
            server.address = StoreAddress::parse(&url).unwrap();
            Link::new(server, 1, Clock::system())
        };
        for (password, works) in [("hunter22", true), ("hunter23", false)] {
            let link = with(password);
            let (_stop, stopped) = tokio::sync::watch::channel(false);
            let (tried, answered) = tokio::sync::oneshot::channel();
            tokio::spawn(Arc::clone(&link).run(move || tried.send(()).unwrap(), || 0, stopped));
            answered.await.unwrap();
            let status = link.status();
            assert_eq!(status.state == LinkState::Closed, works, "{status:?}");
            assert!(!format!("{status:?}").contains("hunter2"), "{status:?}");
        }
    });
}

/// A link's state and last error after its first attempt.
async fn tried(server: Server) -> (LinkState, String) {
    let link = Link::new(server, 1, Clock::system());
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let (tried, answered) = tokio::sync::oneshot::channel();
    tokio::spawn(Arc::clone(&link).run(move || tried.send(()).unwrap(), || 0, stopped));
    answered.await.unwrap();
    let status = link.status();
    (status.state, status.last_error.unwrap_or_default())
}

/// A user of the documented rights, with or without others.
fn of_a_user(redis: &Redis, more: &str) -> Server {
    let page = include_str!("../../../config/docs/redis.md");
    let (_, rights) = page.split_once("A user of its own needs `").unwrap();
    let rights = rights.split_once('`').unwrap().0;
    redis.ask(&format!("ACL SETUSER toll on >hunter22 ~tollgate:* {rights} {more}"));
    let url = format!("redis://toll:hunter22@127.0.0.1:{}/3", redis.port());
    Server { address: StoreAddress::parse(&url).unwrap(), ..settings(redis, "") }
}

/// Without any one of them it is away from the start, in the server's own words, and nobody asks it in vain.
#[test]
fn a_user_without_one_of_the_rights_is_not_served() {
    for (missing, words) in [
        ("-set", "can't run"),
        ("-get", "can't run"),
        ("-script|load", "permissions"),
        ("-evalsha", "permissions"),
        ("-time", "can't run"),
        ("-zadd", "can't run"),
    ] {
        let redis = Redis::start();
        let server = of_a_user(&redis, missing);
        run(async {
            let (state, error) = tried(server).await;
            assert!(state == LinkState::Open && error.contains(words), "{missing}: {state:?} {error}");
        });
    }
}

/// A right that is taken away while the link lasts is missed within a heartbeat.
#[test]
fn a_right_that_is_taken_away_is_missed() {
    let redis = Redis::start();
    let server = of_a_user(&redis, "");
    run(async {
        let (store, _stop) = linked_to(server).await;
        redis.ask("ACL SETUSER toll -set");
        assert_eq!(store.ask(question(1, 1)).await, Err(StoreFault::Broken));
        until("it to be given up", || !store.is_up()).await;
        redis.ask("ACL SETUSER toll +set");
        until("it to be found again", || store.is_up()).await;
        assert!(store.ask(question(1, 1)).await.is_ok());
    });
}

/// The rights that the documentation names are enough for everything.
#[test]
fn a_user_with_the_documented_rights_is_served() {
    let redis = Redis::start();
    let server = of_a_user(&redis, "");
    run(async {
        assert_eq!(tried(server.clone()).await, (LinkState::Closed, String::new()));
        let (store, _stop) = linked_to(server).await;
        assert!(store.ask(question(1, 1)).await.is_ok());
        redis.ask("SCRIPT FLUSH");
        assert!(store.ask(question(1, 1)).await.is_ok());
    });
}

#[test]
fn a_server_over_tls_is_checked_against_its_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ca.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (ca, key) = (path("ca.pem"), path("key.pem"));
    let redis = Redis::with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        ca.to_str().unwrap(),
        "--tls-key-file",
        key.to_str().unwrap(),
        "--tls-auth-clients",
        "no",
    ]);
    run(async {
        let mut server = settings(&redis, "");
        server.address = StoreAddress::parse(&format!("rediss://localhost:{port}")).unwrap();
        let (state, error) = tried(server.clone()).await;
        assert!(state == LinkState::Open && error.contains("certificate"), "not the system's: {error}");
        server.ca_file = Some(path("ca.pem"));
        assert_eq!(tried(server.clone()).await, (LinkState::Closed, String::new()));
        server.address = StoreAddress::parse(&format!("rediss://127.0.0.1:{port}")).unwrap();
        assert_eq!(tried(server).await.0, LinkState::Open, "another name than the certificate's");
    });
}

/// It would answer for a part of the workspaces only.
#[test]
fn a_node_of_a_cluster_is_refused() {
    let bus = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let redis = Redis::with(&["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()]);
    run(async {
        let (state, error) = tried(settings(&redis, "")).await;
        assert!(state == LinkState::Open && error.contains("node of a Redis Cluster"), "{error}");
    });
}
