//! A token that GitHub found in public is refused by every replica within a second of the alert's arrival at one of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Fleet;
use crate::support::{Client, Gateway, GitHub, Receiver, alert, request, run_json, send_admin, until};

const PROMISE: Duration = Duration::from_secs(1);
pub(super) const PATH: &str = "/tollgate/v1/github/secret-scanning";

/// A fleet that takes alerts of this key.
pub(super) fn fleet(github: &GitHub) -> (Fleet, tempfile::TempDir) {
    fleet_with(github, "")
}

/// As [`fleet`] with more in every configuration.
pub(super) fn fleet_with(github: &GitHub, more: &str) -> (Fleet, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, github.keys()).unwrap();
    let section = format!("[secret_scanning]\npath = {PATH:?}\nkeys_file = {:?}\n", keys.to_str().unwrap());
    (Fleet::with(&(section + more)), folder)
}

/// Leaks a token that is used on every replica all the time; from the alert's arrival to its answer, before which the
/// revocation is committed, and to the last answer that the token got through anywhere.
fn leak(fleet: &Fleet, github: &GitHub) -> (Duration, Duration) {
    let (_, token) = fleet.token();
    let bytes = request("GET", "/sources", &token, "");
    let warm = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let users: Vec<_> = fleet
            .replicas
            .iter()
            .flat_map(|replica| [replica.address; 2])
            .map(|address| {
                let (bytes, warm) = (&bytes, &warm);
                scope.spawn(move || {
                    let mut client = Client::connect(address);
                    let mut last = Instant::now();
                    for number in 0.. {
                        let said = client.send(bytes).said();
                        if said == (401, "token_revoked".to_owned()) {
                            return last;
                        }
                        assert_eq!(said.0, 200, "{said:?}");
                        last = Instant::now();
                        warm.fetch_or(number == 50, Ordering::SeqCst);
                        // A load, not a race for the test machine's cores.
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    unreachable!("it is refused or the test fails")
                })
            })
            .collect();
        until("the load", || warm.load(Ordering::SeqCst).then_some(()));
        let posted = Instant::now();
        let answer = fleet.replicas[0].connect().send(&github.post(PATH, &alert([token.as_str()])));
        assert_eq!((answer.status, &answer.json()[0]["label"]), (200, &"true_positive".into()));
        let answered = posted.elapsed();
        let last = users.into_iter().map(|user| user.join().unwrap()).max().unwrap();
        (answered, last.saturating_duration_since(posted))
    })
}

#[test]
fn a_leaked_token_ends_everywhere() {
    let github = GitHub::new();
    let (fleet, _keys) = fleet(&github);
    for _ in 0..5 {
        let (answered, took) = leak(&fleet, &github);
        println!("answered {answered:?} after the alert, last used {took:?} after it");
        assert!(
            took <= PROMISE,
            "the leaked token got its last 2xx {took:?} after the alert, not within {PROMISE:?}"
        );
    }
}

/// The connections on which the replicas are notified stay open, and nothing arrives on them any more.
#[test]
fn a_leaked_token_ends_everywhere_also_without_notifications() {
    let github = GitHub::new();
    let (fleet, _keys) = fleet(&github);
    let listeners = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tollgate listen'";
    until("every replica to listen", || (fleet.server.sql("postgres", listeners) == "3").then_some(()));
    fleet.proxy.silence("tollgate listen");
    for _ in 0..3 {
        let (answered, took) = leak(&fleet, &github);
        println!("answered {answered:?} after the alert, last used {took:?} after it");
        assert!(
            took <= PROMISE,
            "the leaked token got its last 2xx {took:?} after the alert, not within {PROMISE:?}"
        );
    }
}

/// The replica that the alert reached goes on from memory: what GitHub found is refused there at once, and everywhere
/// when the database is back.
#[test]
fn a_leaked_token_ends_where_the_alert_arrives_also_without_the_database() {
    let github = GitHub::new();
    let (fleet, _keys) = fleet(&github);
    let ((_, leaked), (_, kept)) = (fleet.token(), fleet.token());
    fleet.server.stop();
    let reached = &fleet.replicas[0];
    let bytes = github.post(PATH, &alert([leaked.as_str()]));
    let answer = reached.connect().send(&bytes);
    assert_eq!(answer.said(), (503, "registry_unavailable".to_owned()));
    assert_eq!(reached.ask(&leaked, "/sources").said(), (401, "token_revoked".to_owned()));
    for replica in &fleet.replicas {
        assert_eq!(replica.ask(&kept, "/sources").status, 200);
    }
    fleet.server.go();
    fleet.until_all("the token to be refused everywhere", &leaked, |answer| answer.status == 401);
    let told = "SELECT count(*) FROM tollgate.outbox";
    until("its owners to be told", || (fleet.server.sql("test0", told) == "1").then_some(()));
    for replica in &fleet.replicas {
        assert_eq!(replica.ask(&kept, "/sources").status, 200);
    }
}

/// A gateway that was killed hands on nothing of what it saw, and nobody waits for it longer than there is time.
#[test]
fn owners_are_told_within_two_seconds_also_while_a_gateway_was_killed() {
    const WITHIN: Duration = Duration::from_secs(2);
    let (github, receiver) = (GitHub::new(), Receiver::start(&["204 No Content"]));
    let (mut fleet, _keys) = fleet_with(&github, "[notifications]\nallow_private_addresses = true\n");
    let added = fleet.command(&["workspace", "set", "ws-us", "--add-contact", &receiver.url()]);
    assert!(added.status.success(), "{added:?}");
    let (_, token) = fleet.token();
    let seen = "SELECT count(*) FROM tollgate.journal_source";
    until("every gateway to be known", || (fleet.server.sql("test0", seen) == "3").then_some(()));
    let killed = fleet.replicas.pop().unwrap();
    killed.process.signal("KILL");
    let posted = Instant::now();
    let answer = fleet.replicas[0].connect().send(&github.post(PATH, &alert([token.as_str()])));
    assert_eq!(answer.status, 200);
    let hook = until("the webhook", || receiver.hooks().first().cloned());
    let took = posted.elapsed();
    println!("owners were told {took:?} after the alert");
    assert_eq!(hook.json()["data"]["activity"]["gatewaysMissing"], 1, "the killed one cannot be asked");
    assert!(took <= WITHIN, "owners were told {took:?} after the alert, not within {WITHIN:?}");
}

/// Whatever else is asked of the database, the gateway that lost it refuses at once what its operator revokes.
#[test]
fn an_operator_is_refused_at_once_also_without_the_database() {
    let (fleet, _keys) = fleet(&GitHub::new());
    let file = fleet.operators();
    let make = ["operator", "--config", file.to_str().unwrap(), "create", "ana", "--json"];
    let ana = run_json(&make)["token"].as_str().unwrap().to_owned();
    let ask = |replica: &Gateway| {
        send_admin(replica.admin, "GET", "/status.json", &format!("Authorization: Bearer {ana}\r\n"), "")
            .status
    };
    let all = |what: &str, status: u16| {
        for replica in &fleet.replicas {
            until(what, || (ask(replica) == status).then_some(()));
        }
    };
    all("the operator to be known", 200);
    fleet.server.stop();
    let reached = &fleet.replicas[0];
    let key = "Idempotency-Key: once\r\n";
    let refused = reached.operate_with("POST", "/v1/operators/ana/revoke", key, "");
    assert_eq!(refused.said(), (503, "registry_unavailable".to_owned()));
    assert_eq!((ask(reached), ask(&fleet.replicas[1])), (401, 200), "nobody could tell the others");
    fleet.server.go();
    all("the operator to be refused everywhere", 401);
}
